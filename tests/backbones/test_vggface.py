"""VGG-Face in Keras: its published shape, its preprocessing and the weights of a file."""

import json
import zipfile

import keras
import matconvnet_files as files
import numpy as np
import pytest
from PIL import Image

from vggface_gender.backbones import vggface, vggface_file
from vggface_gender.base.errors import InputError
from vggface_gender.weights import matconvnet
from vggface_gender.weights.network import forward

SMALL = files.SMALL


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(5).integers(0, 256, (64, 64, 3)).astype(np.float32)


def converted(tmp_path, output="pool5", mean=files.MEAN, change=lambda layers: None, **form):
    """The Keras model of a small file, and what the file's network gives in NumPy for an image."""
    layers = files.network(**form)
    change(layers)
    path = files.write(tmp_path / "vgg.mat", layers, mean=mean)
    model = vggface.from_network(matconvnet.parse(path), output, **SMALL)

    def expected(image):
        steps = forward(matconvnet.parse(path), image)
        return {layer.name: step for layer, step in steps}

    return model, expected


@pytest.mark.parametrize("dropout", [True, False])
def test_the_published_network(dropout):
    """The table of Parkhi et al.: 145,002,878 parameters in 16 layers, 39 or 37 with all others."""
    layers = vggface_file.architecture(
        vggface.CHANNELS,
        vggface.SIZE,
        dense=vggface.DENSE,
        identities=vggface.IDENTITIES,
        has_dropout=dropout,
    )
    assert len(layers) == (39 if dropout else 37)
    shapes = {layer.name: layer.shape for layer in layers if layer.shape}
    assert shapes["fc6"] == (7, 7, 512, 4096) and shapes["fc8"] == (1, 1, 4096, 2622)
    assert len(shapes) == 16
    assert sum(np.prod(shape) + shape[-1] for shape in shapes.values()) == 145_002_878


def test_pool5_at_full_size_is_keras_vgg16_but_for_preprocessing():
    model = vggface.build()
    assert model.name == "vggface"
    assert model.input.shape == (None, 224, 224, 3) and model.output.shape == (None, 7, 7, 512)
    reference = keras.applications.VGG16(include_top=False, weights=None)
    reference.set_weights(model.get_weights())
    image = np.random.default_rng(6).uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    expected = reference(image - np.float32(files.MEAN)).numpy()
    np.testing.assert_allclose(model(image).numpy(), expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize(
    ("output", "last"),
    [("pool5", "pool5"), ("fc6", "relu6"), ("fc7", "relu7"), ("identities", "prob")],
)
@pytest.mark.parametrize("dropout", [True, False])
def test_every_output_is_the_files_own(tmp_path, image, output, last, dropout):
    model, expected = converted(tmp_path, output, dropout=dropout)
    expected = expected(image)[last]
    found = model(image[np.newaxis]).numpy().reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
    assert model.layers[-1].name == last
    assert model.output.shape[1:] == {"pool5": (2, 2, 28), "identities": (12,)}.get(output, (29,))


def test_layer_names_are_the_files_own(tmp_path):
    def rename(layers):
        files.layer(layers, "relu1_1")["name"] = "rectifier1"
        files.layer(layers, "dropout6")["name"] = "drop6"
        files.layer(layers, "drop6")["rate"] = 0.3
        files.layer(layers, "prob")["name"] = "softmax"

    model, _ = converted(tmp_path, "identities", change=rename)
    names = [layer.name for layer in model.layers]
    assert names[:4] == ["image", "normalization", "conv1_1", "rectifier1"]
    assert names[-1] == "softmax"
    assert model.get_layer("drop6").rate == 0.3


def test_a_mean_image_is_subtracted_pixel_by_pixel(tmp_path, image):
    mean = np.random.default_rng(7).uniform(80, 140, (64, 64, 3)).astype(np.float32)
    model, expected = converted(tmp_path, mean=mean)
    model.save(tmp_path / "m.keras")
    found = vggface.load(tmp_path / "m.keras")(image[np.newaxis]).numpy()[0]
    expected = expected(image)["pool5"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
    subtracted = keras.Model(model.input, model.get_layer("normalization").output)
    np.testing.assert_array_equal(subtracted(image[np.newaxis]).numpy()[0], image - mean)


def test_a_mean_image_of_one_colour_becomes_three_numbers(tmp_path):
    model, _ = converted(tmp_path, mean=np.broadcast_to(np.float32(files.MEAN), (64, 64, 3)))
    np.testing.assert_array_equal(model.get_layer("normalization").offset, -np.float32(files.MEAN))


@pytest.mark.slow
def test_channels_are_red_green_blue(tmp_path, faces_dir):
    """On a real photo: the file's own network gives what the model gives, and not for BGR."""
    photo = next(path for path in sorted(faces_dir.rglob("*.jpg")))
    image = np.asarray(Image.open(photo).convert("RGB").resize((64, 64)), np.float32)
    model, expected = converted(tmp_path)
    expected = expected(image)["pool5"]
    difference = abs(model(image[np.newaxis]).numpy()[0] - expected).max()
    swapped = abs(model(image[np.newaxis, ..., ::-1]).numpy()[0] - expected).max()
    assert difference < 1e-5 * expected.max() < swapped


def test_the_mean_is_subtracted_in_float32_under_mixed_precision(image):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = vggface.build(**SMALL)
    finally:
        keras.config.set_dtype_policy("float32")
    subtracted = keras.Model(model.input, model.get_layer("normalization").output)
    found = subtracted(image[np.newaxis]).numpy()[0]
    np.testing.assert_array_equal(found, image - np.float32(files.MEAN))
    assert model.get_layer("conv1_1").compute_dtype == "bfloat16"


def test_bytes_and_floats_give_the_same(image):
    model = vggface.build(**SMALL)
    batch = image[np.newaxis]
    np.testing.assert_array_equal(model(batch.astype(np.uint8)), model(batch))


def test_a_saved_model_loads_in_safe_mode_with_its_identities(tmp_path, image):
    model, _ = converted(tmp_path, "identities")
    vggface.save(model, tmp_path / "named.keras", identities=files.names(12))
    loaded = vggface.load(tmp_path / "named.keras")
    np.testing.assert_array_equal(loaded(image[np.newaxis]), model(image[np.newaxis]))
    assert vggface.identity_names(tmp_path / "named.keras") == tuple(files.names(12))
    vggface.save(model, tmp_path / "features.keras")
    assert vggface.identity_names(tmp_path / "features.keras") == ()
    # Only stock layers: nothing of ours is needed to open the file.
    config = json.loads(zipfile.ZipFile(tmp_path / "named.keras").read("config.json"))
    assert {layer["module"] for layer in config["config"]["layers"]} == {"keras.layers"}


def test_a_missing_or_damaged_file_is_told_in_one_line(tmp_path):
    with pytest.raises(
        InputError, match=r"none\.keras: no such file.*licence.*tar\.gz.*--mat"
    ) as e:
        vggface.load(tmp_path / "none.keras")
    assert "\n" not in str(e.value)
    path = tmp_path / "cut.keras"
    vggface.build(**SMALL).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole"):
        vggface.load(path)
    with pytest.raises(InputError, match="not a whole"):
        vggface.identity_names(path)


def drop(layers, name):
    layers.remove(files.layer(layers, name))


def widen(layers, name):
    fields = files.layer(layers, name)
    kernel, bias = fields["weights"].flat
    fields["weights"] = files.cell([np.concatenate([kernel, kernel]), bias])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda n: drop(n, "conv3_2"),
            "layer conv3_2: found relu3_2, relu; expected conv 3x3x20x21, stride (1, 1),",
        ),
        (lambda n: drop(n, "pool5"), "layer pool5: found fc6, conv"),
        (lambda n: n.append({"name": "x", "type": "relu"}), "layer x: found relu; expected no"),
        (lambda n: drop(n, "dropout7"), "layer dropout7: found fc8, conv"),
        (
            lambda n: widen(n, "conv2_1"),
            "layer conv2_1: found conv 6x3x17x18, stride (1, 1), pad (1, 1, 1, 1); expected conv"
            " 3x3x17x18",
        ),
        (
            lambda n: files.layer(n, "conv2_1").update(stride=2.0),
            "layer conv2_1: found conv 3x3x17x18, stride (2, 2)",
        ),
        (
            lambda n: files.layer(n, "pool4").update(pool=[3.0, 3.0]),
            "layer pool4: found pool 3x3",
        ),
        (
            lambda n: files.layer(n, "pool4").update(pad=1.0),
            "layer pool4: found pool 2x2, stride (2, 2), pad (1, 1, 1, 1)",
        ),
        (lambda n: files.layer(n, "conv4_1").update(name="c"), "layer conv4_1: found c, conv"),
    ],
)
def test_another_network_is_refused_with_the_layers_name(tmp_path, change, message):
    with pytest.raises(InputError) as error:
        converted(tmp_path, change=change)
    assert f"vgg.mat: not VGG-Face: {message}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mean_of_another_size_and_missing_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="averageImage is 32x32x3; expected 1x1x3 or 64x64x3"):
        converted(tmp_path, mean=np.ones((32, 32, 3)))
    path = files.write(tmp_path / "vgg.mat", files.network(), identities=files.names(11))
    with pytest.raises(InputError, match="classes: 11 names of identities; expected fc8's 12"):
        vggface.from_network(matconvnet.parse(path), "identities", **SMALL)
    vggface.from_network(matconvnet.parse(path), "fc7", **SMALL)


def test_weights_of_other_layers_than_the_files_are_told_by_name(tmp_path):
    network = matconvnet.parse(files.write(tmp_path / "vgg.mat", files.network()))
    network.weights["conv9"] = network.weights.pop("conv3_2")
    with pytest.raises(InputError, match=r"weights missing: conv3_2; left over: conv9$"):
        vggface.from_network(network, **SMALL)


def test_every_weight_is_taken_up_to_the_output(tmp_path):
    network = matconvnet.parse(files.write(tmp_path / "vgg.mat", files.network()))
    vggface.from_network(network, **SMALL)
    assert list(network.weights) == ["fc6", "fc7", "fc8"]
    with pytest.raises(InputError, match=r"weights missing: conv1_1, .*; left over: none$"):
        vggface.from_network(network, **SMALL)


@pytest.mark.parametrize("output", vggface.OUTPUTS)
def test_a_file_that_ends_early_gives_the_layers_that_it_has(tmp_path, image, output):
    last = vggface.LAST[output]

    def end_at(layers):
        del layers[layers.index(files.layer(layers, last)) + 1 :]

    model, expected = converted(tmp_path, output, change=end_at)
    found, wanted = model(image[np.newaxis]).numpy().ravel(), expected(image)[last].ravel()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())
    with pytest.raises(InputError, match=f"layer {last}: found missing at the end"):
        converted(tmp_path, output, change=lambda layers: (end_at(layers), layers.pop()))


@pytest.mark.parametrize("output", ["pool5", "identities"])
def test_a_network_in_training_ends_in_its_loss(tmp_path, image, output):
    def lose(layers):
        files.layer(layers, "prob").update(type="softmaxloss", name="loss")

    model, expected = converted(tmp_path, output, change=lose)
    last = {"pool5": "pool5", "identities": "loss"}[output]
    found, wanted = model(image[np.newaxis]).numpy().ravel(), expected(image)[last].ravel()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())


def test_names_of_several_lines_stay_whole(tmp_path):
    names = ["A\nB", "C", *files.names(10)]
    path = files.write(tmp_path / "vgg.mat", files.network(), identities=names)
    found = matconvnet.parse(path)
    model = vggface.from_network(found, "identities", **SMALL)
    vggface.save(model, tmp_path / "named.keras", identities=found.identities)
    assert vggface.identity_names(tmp_path / "named.keras") == tuple(names)


def test_names_of_earlier_versions_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        archive.writestr("identities.txt", "A\nB")
    assert vggface.identity_names(tmp_path / "old.keras") == ("A", "B")


def test_an_output_that_it_does_not_have_is_refused():
    with pytest.raises(ValueError, match="fc8 is none of"):
        vggface.build(**SMALL, output="fc8")
