"""ResNet-50: the preprocessing of keras.applications inside, weights from files."""

import keras
import numpy as np
import pytest

from vggface_gender import backbones
from vggface_gender.backbones import resnet50
from vggface_gender.command import InputError

SIZE = 64


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return resnet50.load(size=SIZE)


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


def test_it_is_keras_applications_network_after_its_preprocessing(model, crops):
    plain = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3)
    )
    assert model.layers[-1].name == plain.layers[-1].name == "conv5_block3_out"
    for layer in plain.layers[1:]:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    prepared = keras.applications.resnet.preprocess_input(crops.astype(np.float32))
    expected = plain.predict(prepared, verbose=0)
    np.testing.assert_allclose(model.predict(crops, verbose=0), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_it_continues_from_its_own_file(model, crops, tmp_path, ending):
    path = tmp_path / f"mine{ending}"
    (model.save if ending == ".keras" else model.save_weights)(path)
    keras.utils.set_random_seed(1)
    again = resnet50.load(path, size=SIZE)
    np.testing.assert_array_equal(again.predict(crops, verbose=0), model.predict(crops, verbose=0))
    if ending == ".keras":  # stock layers: Keras alone reads it in safe mode
        loaded = keras.saving.load_model(path)
        np.testing.assert_array_equal(
            loaded.predict(crops, verbose=0), model.predict(crops, verbose=0)
        )


def test_keras_applications_own_weights_are_read(model, crops, tmp_path):
    plain = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3)
    )
    plain.save_weights(tmp_path / "plain.weights.h5")
    again = resnet50.load(tmp_path / "plain.weights.h5", size=SIZE)
    kernel = again.get_layer("conv4_block2_1_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel, plain.get_layer("conv4_block2_1_conv").get_weights()[0])


def test_a_file_that_is_not_its_weights_is_told(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(
        tmp_path / "other.weights.h5"
    )
    for name in ("other.weights.h5", "nothing.weights.h5"):
        with pytest.raises(InputError, match=name):
            resnet50.load(tmp_path / name, size=SIZE)


def test_the_order_of_the_channels_is_never_trained(model):
    backbones.freeze_before(model, None)
    assert "to_bgr/kernel" not in {variable.path for variable in model.trainable_variables}
    trunk, top = backbones.split(model, "conv5_block1")
    assert trunk.output_shape[1:] == (SIZE // 16, SIZE // 16, 1024)
    assert top.output_shape[1:] == (2, 2, 2048)
