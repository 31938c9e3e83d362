"""VGG-Face out of Keras's files: every layout that people have, in either order of channels."""

import keras
import keras_files
import matconvnet_files as files
import numpy as np
import pytest

from vggface_gender.backbones import conversion, vggface, vggface_keras
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


def check(original, expected, image, *, output="pool5", **given):
    """The file converts, and its backbone gives for raw RGB what the .mat file's network gives."""
    to = original.with_name("backbone.keras")

    def read(path):
        return vggface_keras.read(path, **given, **KERAS)

    done = conversion.convert(original, to, read=read, output=output, architecture=SMALL)
    assert done.worst < 1e-5
    found = vggface.load(to)(image[np.newaxis]).numpy()
    wanted = expected[LAST[output]].reshape(found.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())
    return done


@pytest.mark.parametrize("top", [False, True])
def test_keras_vggfaces_weights_are_known(tmp_path, layers, expected, image, top):
    path = keras_files.keras_vggface(tmp_path / "rcmalli.h5", layers, top=top)
    done = check(path, expected, image, output="fc7" if top else "pool5")
    assert "keras-vggface's; channels taken as bgr" in conversion.report(done)
    if not top:
        with pytest.raises(InputError, match="fc6: found missing at the end"):
            check(path, expected, image, output="fc6")


def test_deepfaces_weights_are_known(tmp_path, layers, expected, image):
    path = keras_files.deepface(tmp_path / "vgg_face_weights.h5", layers)
    done = check(path, expected, image, output="identities")
    assert "deepface's; channels taken as rgb" in conversion.report(done)
    turned = keras_files.deepface(tmp_path / "turned.h5", layers, channels="bgr")
    check(turned, expected, image, channels="bgr")


@pytest.mark.parametrize("channels", vggface_keras.CHANNELS)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("sequential", "m.h5"),
        ("sequential", "m.keras"),
        ("functional", "m.keras"),
        ("nested", "m.h5"),
        ("nested", "m.keras"),
        ("sequential", "m.weights.h5"),
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
        vggface_keras.read(path, **KERAS)


def test_another_mean_is_subtracted(tmp_path, layers, expected, image):
    path = saved(tmp_path / "m.keras", keras_files.model(layers, "functional", top=False))
    mean = (91.0, 103.0, 131.0)
    shifted = image - np.float32(files.MEAN) + np.float32(mean)
    check(path, expected, shifted, channels="rgb", mean=mean)


def conv(model):
    return next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))


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
        (lambda: with_first(keras.layers.AveragePooling2D()), r"AveragePooling2D\): expected only"),
        (lambda: with_first(keras.layers.Conv2D(3, 3, activation="elu")), "activation elu"),
        (lambda: with_first(keras.layers.Conv2D(3, 3, dilation_rate=2)), r"dilation_rate is"),
        (lambda: with_first(keras.layers.Conv2D(3, 3, use_bias=False)), r"expected a bias"),
        (lambda: with_first(), r"not VGG-Face: layer conv1_1: found conv1_1, conv 3x3x3x16.*pad"),
        (branched, "takes input_layer.*; expected the layer before it, one"),
    ],
)
@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_another_network_is_refused_in_one_line(tmp_path, make, complaint, name):
    path = saved(tmp_path / name, make())

    def parsed(path):  # in this process: a child costs most of a second
        steps = keras_h5._stream(path)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value

    with pytest.raises(InputError, match=complaint) as error:
        facts = parsed(path)
        vggface.vggface_file.match(
            matconvnet.Network(
                path,
                tuple(matconvnet.Layer.from_json(fields) for fields in facts["layers"]),
                {},
                np.zeros((1, 1, 3)),
            ),
            vggface.vggface_file.architecture(
                SMALL["channels"], 64, dense=SMALL["dense"], identities=SMALL["identities"]
            ),
            last="pool5",
        )
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
