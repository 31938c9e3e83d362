"""VGG-Face out of Keras's files: every layout that people have, in either order of channels."""

import h5py
import keras
import keras_files
import matconvnet_files as files
import numpy as np
import pytest

from vggface_gender import backbones, convert
from vggface_gender.backbones import conversion, vggface, vggface_keras
from vggface_gender.base import console
from vggface_gender.base.errors import InputError
from vggface_gender.weights import keras_h5, matconvnet
from vggface_gender.weights.network import forward

SMALL = dict(files.SMALL)
KERAS = {"blocks": SMALL["channels"]} | {k: v for k, v in SMALL.items() if k != "channels"}
LAST = vggface.LAST


@pytest.fixture(scope="module")
def layers():
    return files.network()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(5).integers(0, 256, (64, 64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, layers, image):
    """What the network gives for the image after every layer, by way of a .mat file."""
    path = files.write(tmp_path_factory.mktemp("mat") / "vgg.mat", layers)
    return {layer.name: x for layer, x in forward(matconvnet.parse(path), image)}


def saved(path, model):
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


def check(path, expected, image, *, output="pool5", **given):
    """The backbone of a file gives for raw RGB what the .mat file's network gives."""
    found = vggface_keras.network(keras_h5.parse(path), **given, **KERAS)
    model = vggface.from_network(found, output, **SMALL)
    got = model(image[np.newaxis]).numpy()
    wanted = expected[LAST[output]].reshape(got.shape)
    np.testing.assert_allclose(got, wanted, atol=1e-5 * wanted.max())


@pytest.mark.slow
def test_keras_vggfaces_file_becomes_a_checked_backbone(tmp_path, layers, expected, image):
    path = keras_files.keras_vggface(tmp_path / "rcmalli.h5", layers, top=True)

    def read(path):  # in a process of its own, as the command does
        return vggface_keras.network(keras_h5.read(path), **KERAS)

    to = tmp_path / "made" / "backbone.keras"
    done = conversion.convert(path, to, read=read, output="fc7", architecture=SMALL)
    assert done.worst < 1e-5 and list(to.parent.iterdir()) == [to]
    assert "keras-vggface's; channels taken as bgr" in conversion.report(done)
    got, wanted = backbones.load(str(to))(image[np.newaxis]).numpy()[0], expected["relu7"][0, 0]
    np.testing.assert_allclose(got, wanted, atol=1e-5 * wanted.max())


def test_keras_vggfaces_weights_without_a_top_are_known(tmp_path, layers, expected, image):
    path = keras_files.keras_vggface(tmp_path / "notop.h5", layers, top=False)
    check(path, expected, image)
    with pytest.raises(InputError, match="fc6: found missing at the end"):
        check(path, expected, image, output="fc6")


def test_deepfaces_weights_are_known(tmp_path, layers, expected, image):
    path = keras_files.deepface(tmp_path / "vgg_face_weights.h5", layers)
    [note] = vggface_keras.network(keras_h5.parse(path), **KERAS).notes
    assert "deepface's; channels taken as rgb" in note
    check(path, expected, image, output="identities")
    turned = keras_files.deepface(tmp_path / "turned.h5", layers, channels="bgr")
    check(turned, expected, image, channels="bgr")


@pytest.mark.parametrize(
    ("kind", "name", "channels"),
    [
        ("sequential", "m.h5", "rgb"),
        ("sequential", "m.keras", "bgr"),
        ("functional", "m.keras", "rgb"),
        ("nested", "m.h5", "bgr"),
        ("nested", "m.keras", "rgb"),
        ("sequential", "m.weights.h5", "bgr"),
        ("functional", "m.weights.h5", "rgb"),
    ],
)
def test_whole_models_are_read_by_their_configuration(
    tmp_path, layers, expected, image, kind, name, channels
):
    path = saved(tmp_path / name, keras_files.model(layers, kind, channels=channels))
    check(path, expected, image, output="identities", channels=channels)


def test_a_file_of_unknown_origin_needs_its_channels(tmp_path, layers):
    path = saved(tmp_path / "m.keras", keras_files.model(layers, "functional", top=False))
    with pytest.raises(InputError, match=r"--channels rgb .* or --channels bgr"):
        vggface_keras.network(keras_h5.parse(path), **KERAS)


def test_keras_own_names_need_the_mean_too(tmp_path, layers):
    held = keras_files.tensors(layers, channels="rgb")
    names = [f"block{name[4]}_conv{name[6]}" for name in held if name.startswith("conv")]
    groups = [
        (name, [(f"{name}/kernel:0", kernel), (f"{name}/bias:0", bias)])
        for name, (kernel, bias) in zip(names, held.values(), strict=False)
    ]
    file = keras_h5.parse(keras_files.write_weights(tmp_path / "vgg16.h5", groups))
    with pytest.raises(InputError, match=r"may be ImageNet's.*--channels"):
        vggface_keras.network(file, **KERAS)
    with pytest.raises(InputError, match=r"--mean 129.186 104.762 93.594 .*ImageNet's is 123.68"):
        vggface_keras.network(file, channels="bgr", **KERAS)
    found = vggface_keras.network(file, channels="bgr", mean=(123.68, 116.779, 103.939), **KERAS)
    np.testing.assert_array_equal(found.mean.ravel(), (103.939, 116.779, 123.68))


def test_another_mean_is_subtracted(tmp_path, layers, expected, image):
    path = saved(tmp_path / "m.keras", keras_files.model(layers, "functional", top=False))
    mean = (91.0, 103.0, 131.0)
    shifted = image - np.float32(files.MEAN) + np.float32(mean)
    check(path, expected, shifted, channels="rgb", mean=mean)


def test_weights_in_another_order_are_refused(tmp_path, layers):
    layers = [dict(layer) for layer in layers]
    one, other = files.layer(layers, "conv3_2"), files.layer(layers, "conv3_3")
    one["name"], other["name"] = other["name"], one["name"]
    path = keras_files.keras_vggface(tmp_path / "m.h5", layers, top=False)
    with pytest.raises(InputError, match="weights of conv3_3 where conv3_2's are expected"):
        vggface_keras.network(keras_h5.parse(path), **KERAS)
    layers.remove(one)
    path = keras_files.keras_vggface(tmp_path / "m.h5", layers, top=False)
    with pytest.raises(InputError, match=r"12 layers with weights; expected 13 .* or 16"):
        vggface_keras.network(keras_h5.parse(path), **KERAS)


def with_first(*first):
    """A chain that begins with these layers."""
    return keras.Sequential([keras.Input((64, 64, 3)), *first, keras.layers.Conv2D(16, 3)])


def branched():
    image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(16, 3, name="one")(image)
    y = keras.layers.Conv2D(16, 3, name="two")(image)
    return keras.Model(image, keras.layers.Add()([x, y]))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: with_first(keras.layers.Rescaling(1 / 255)), r"Rescaling\): preprocessing of its"),
        (lambda: with_first(keras.layers.BatchNormalization()), r"an array 3 of float32"),
        (
            lambda: with_first(keras.layers.AveragePooling2D(2)),
            r"AveragePooling2D\): expected only",
        ),
        (lambda: with_first(keras.layers.Conv2D(3, 3, activation="elu")), "activation elu"),
        (lambda: with_first(keras.layers.Conv2D(3, 3, dilation_rate=2)), r"dilation_rate is"),
        (lambda: with_first(keras.layers.Conv2D(3, 3, use_bias=False)), r"expected a bias"),
        (
            lambda: with_first(),
            r"not VGG-Face: layer conv1_1: found conv 3x3x3x16.*pad .0, 0, 0, 0",
        ),
        (branched, "takes input_layer.*; expected the layer before it, one"),
    ],
)
@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_another_network_is_refused_in_one_line(tmp_path, make, complaint, name):
    path = saved(tmp_path / name, make())

    with pytest.raises(InputError, match=complaint) as error:
        found = vggface_keras.network(keras_h5.parse(path), channels="rgb", **KERAS)
        vggface.from_network(found, **SMALL)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def infinite(path, layers):
    layers = [dict(layer) for layer in layers]
    fields = files.layer(layers, "conv2_1")
    kernel, bias = fields["weights"].flat
    fields["weights"] = files.cell([kernel, np.where(np.arange(bias.size) == 3, np.nan, bias.T).T])
    return keras_files.keras_vggface(path, layers, top=False)


def linked(path, layers):
    """A weight that lies in another file, which the path of a link names."""
    keras_files.keras_vggface(path, layers, top=False)
    with h5py.File(path, "r+") as file:
        del file["conv2_1/conv2_1/kernel:0"]
        file["conv2_1/conv2_1/kernel:0"] = h5py.ExternalLink("other.h5", "/x")
    return path


def incomplete(path, layers):
    keras_files.keras_vggface(path, layers, top=False)
    with h5py.File(path, "r+") as file:
        del file["conv5_3"]
    return path


def of_something_else(path, layers):
    with h5py.File(path, "w") as file:
        file["x"] = np.ones(3)
    return path


def text(path, layers):
    path.write_text("nothing of Keras's")
    return path


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (infinite, "conv2_1: weights that are infinite or no number"),
        (linked, "is a link, which is not followed"),
        (incomplete, "nothing at conv5_3; the file is incomplete"),
        (of_something_else, "HDF5, but not Keras's"),
        (text, "neither HDF5 nor a .keras file"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, layers, make, complaint):
    path = make(tmp_path / "m.h5", layers)
    with pytest.raises(InputError, match=complaint) as error:
        keras_h5.parse(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_the_command_needs_a_keras_file_for_channels(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        convert.main(["--mat", str(tmp_path / "v.mat"), "--channels", "rgb"])
    assert ended.value.code == 2 and "go with --h5" in capsys.readouterr().err
    assert convert.CHANNELS == vggface_keras.CHANNELS


def test_the_command_refuses_a_small_network(tmp_path, layers, capsys):
    path = keras_files.keras_vggface(tmp_path / "small.h5", layers, top=False)
    command = ["--h5", str(path), "--to", str(tmp_path / "v.keras")]
    assert console.run(lambda: convert.main(command)) == 2
    assert "conv1_1's 3x3x3x64" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
