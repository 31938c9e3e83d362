"""ResNet-50: the preprocessing of keras.applications inside, weights from files."""

import re
import warnings

import h5py
import keras
import numpy as np
import pytest

from vggface_gender import backbones
from vggface_gender.backbones import resnet50
from vggface_gender.base.errors import InputError

SIZE = 64


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return resnet50.load(size=SIZE)


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def plain(model):
    """keras.applications' own network, with the model's weights."""
    plain = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3)
    )
    for layer in plain.layers[1:]:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    return plain


def test_it_is_keras_applications_network_after_its_preprocessing(model, plain, crops):
    assert model.layers[-1].name == plain.layers[-1].name == "conv5_block3_out"
    prepared = keras.applications.resnet.preprocess_input(crops.astype(np.float32))
    expected = plain(prepared).numpy()
    np.testing.assert_allclose(model(crops).numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_it_continues_from_its_own_file(model, crops, tmp_path, ending):
    path = tmp_path / f"mine{ending}"
    (model.save if ending == ".keras" else model.save_weights)(path)
    keras.utils.set_random_seed(1)
    again = resnet50.load(path, size=SIZE)
    np.testing.assert_array_equal(again(crops).numpy(), model(crops).numpy())
    if ending == ".keras":  # stock layers: Keras alone reads it in safe mode
        loaded = keras.saving.load_model(path)
        np.testing.assert_array_equal(loaded(crops).numpy(), model(crops).numpy())


@pytest.mark.slow
def test_keras_applications_own_weights_are_read(plain, tmp_path):
    plain.save_weights(tmp_path / "plain.weights.h5")
    again = resnet50.load(tmp_path / "plain.weights.h5", size=SIZE)
    kernel = again.get_layer("conv4_block2_1_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel, plain.get_layer("conv4_block2_1_conv").get_weights()[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["notop.h5", "classifier.keras"])
def test_weights_are_read_from_published_files_and_from_classifiers(model, plain, tmp_path, name):
    path = tmp_path / name
    if name == "notop.h5":
        plain.save(path)
        with h5py.File(path, "r+") as file:  # weights alone, as published: at the file's root
            for key, value in file["model_weights"].attrs.items():
                file.attrs[key] = value
            for layer in list(file["model_weights"]):
                file.move(f"model_weights/{layer}", layer)
            del file["model_weights"], file.attrs["model_config"]
    else:
        crop = keras.Input((SIZE, SIZE, 3))
        pooled = keras.layers.GlobalAveragePooling2D()(model(crop))
        keras.Model(crop, keras.layers.Dense(2)(pooled)).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = resnet50.load(path, SIZE)
    for got, expected in zip(again.variables, model.variables, strict=True):
        np.testing.assert_array_equal(got.numpy(), expected.numpy(), err_msg=expected.path)


def other(path):
    """A file of another network's weights: its first layer is a 3x3 convolution."""
    x = keras.Input((SIZE, SIZE, 3))
    y = keras.layers.Conv2D(3, 3, name="conv1_conv")(x)
    model = keras.Model(x, keras.layers.BatchNormalization()(y))
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)


@pytest.mark.parametrize(
    ("name", "make", "complaint"),
    [
        (
            "o.weights.h5",
            other,
            r"layer conv1_conv is \(3, 3, 3, 3\); expected \(7, 7, 3, 64\)$",
        ),
        ("o.keras", other, r"conv1_conv/kernel is \(3, 3, 3, 3\); expected \(7, 7, 3, 64\)$"),
        ("o.h5", other, "expected 106 layers, found 2 saved layers"),
        ("j.weights.h5", lambda path: path.write_text("text"), "not the weights of ResNet-50"),
        ("j.keras", lambda path: path.write_text("text"), "not the weights of ResNet-50"),
        ("r.pth", lambda path: path.write_text("text"), "expected a .weights.h5, .h5 or .keras"),
        ("none.weights.h5", lambda path: None, "no such file"),
    ],
)
def test_a_file_that_is_not_its_weights_is_told_in_one_line(tmp_path, name, make, complaint):
    make(tmp_path / name)
    with warnings.catch_warnings(record=True) as warned, pytest.raises(InputError) as caught:
        warnings.simplefilter("always")
        resnet50.load(tmp_path / name, SIZE)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / name}: ") and re.search(complaint, text)
    assert "\n" not in text and len(text) < 400
    assert not [each for each in warned if each.category is UserWarning]


@pytest.mark.slow
def test_a_keras_file_that_lacks_a_variable_is_told_by_its_name(model, tmp_path):
    part = keras.Model(model.input, model.get_layer("conv5_block3_2_bn").output)
    part.save(tmp_path / "part.keras")
    with pytest.raises(InputError, match=r"it has no conv5_block3_3_conv/kernel$"):
        resnet50.load(tmp_path / "part.keras", SIZE)


def test_its_preprocessing_is_that_of_keras_applications(model, crops):
    step = keras.Model(model.input, model.get_layer("conv1_pad").input)
    expected = keras.applications.resnet.preprocess_input(crops.astype(np.float32))
    for given in (crops, crops.astype(np.float32)):
        np.testing.assert_allclose(step(given).numpy(), expected, atol=1e-4)


def test_its_preprocessing_stays_in_float32(model):
    half = backbones.with_precision(model, "mixed_bfloat16")
    assert half.get_layer("conv1_pad").input.dtype == "float32"
    assert half.get_layer("conv1_conv").compute_dtype == "bfloat16"


def test_crops_that_are_too_small_are_told():
    with pytest.raises(InputError, match="crops of 31 pixels are too small for ResNet-50: 32"):
        resnet50.build(31)


@pytest.mark.slow
def test_it_is_a_backbone_by_name(tmp_path):
    whole = backbones.load("resnet50")
    assert whole.input_shape == (None, 224, 224, 3) and whole.output_shape == (None, 7, 7, 2048)
    path = tmp_path / "w.weights.h5"
    whole.save_weights(path)
    layers = "conv4_block6_out+conv5_block3_out"
    loaded = backbones.load(f"resnet50:{path}", precision="mixed_bfloat16", layer=layers)
    assert loaded.output_shape == (None, 1024 + 2048)
    for got, expected in zip(loaded.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(got.numpy(), expected.numpy(), err_msg=expected.path)


def test_it_is_cut_before_a_block(model):
    trunk, top = backbones.split(model, "conv5_block1")
    assert trunk.output_shape[1:] == (SIZE // 16, SIZE // 16, 1024)
    assert top.output_shape[1:] == (2, 2, 2048)
