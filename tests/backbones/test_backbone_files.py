"""What is and what is no backbone among Keras's files, and which head goes with it."""

import keras
import numpy as np
import pytest

from vggface_gender import backbones
from vggface_gender.backbones import vggface
from vggface_gender.base.errors import InputError
from vggface_gender.training import config

SMALL = {"channels": ((2, 2), (3, 3), (4, 4, 4), (5, 5, 5), (6, 6, 6)), "size": 32, "dense": 7}


def save(path, model):
    model.save(path)
    return str(path)


def refusal(name, **options):
    with pytest.raises(InputError) as error:
        backbones.load(name, **options)
    assert "\n" not in str(error.value) and str(error.value).startswith(name)
    return str(error.value)


def convolutions(*before, name=None):
    """VGG-Face's convolutions and pools at full width, after other layers."""
    made = [keras.Input((32, 32, 3)), *before]
    for block in vggface.CHANNELS:
        for width in block:
            made.append(keras.layers.Conv2D(width, 3, padding="same", activation="relu"))
        made.append(keras.layers.MaxPooling2D(2))
    return keras.Sequential(made, name=name)


@pytest.mark.slow
def test_vgg_face_without_its_preprocessing_is_refused_with_the_command(tmp_path):
    for before in ((), (keras.layers.ZeroPadding2D(1),)):
        path = save(tmp_path / "raw.keras", convolutions(*before))
        assert f"vggface-gender convert --h5 {path}" in refusal(path)


@pytest.mark.slow
def test_vgg_face_is_told_by_its_weights_and_not_by_its_name(tmp_path):
    mean = keras.layers.Rescaling(1.0, [-value for value in vggface.MEAN])
    path = save(tmp_path / "own.keras", convolutions(mean, name="my_own"))
    backbone = backbones.load(path)
    assert backbone.name == "my_own" and backbones.family(backbone) == "vggface"
    assert config.transfer_recipe(backbones.family(backbone)).head == "vggface"
    # Another network of that name has not VGG-Face's head.
    small = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)], name="vggface")
    other = backbones.load(save(tmp_path / "other.keras", small))
    assert config.transfer_recipe(backbones.family(other)).head == "compact"


def answers(last):
    return keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(name="flat"), *last], name="m"
    )


@pytest.mark.parametrize(
    "last",
    [
        [keras.layers.Dense(2, activation="softmax")],
        [keras.layers.Dense(1, activation="sigmoid")],
        [keras.layers.Dense(2), keras.layers.Activation("softmax")],
        [keras.layers.Dense(2), keras.layers.Softmax()],
    ],
)
def test_a_whole_classifier_is_refused_with_the_layers_that_give_features(tmp_path, last):
    path = save(tmp_path / "c.keras", answers(last))
    assert "a whole classifier" in refusal(path) and "--layer: flat" in refusal(path)
    assert backbones.load(path, layer="flat").output_shape == (None, 192)


def test_a_classifier_within_a_model_is_seen(tmp_path):
    crop = keras.Input((8, 8, 3))
    inner = answers([keras.layers.Dense(2, activation="softmax")])
    path = save(tmp_path / "c.keras", keras.Model(crop, inner(keras.layers.Rescaling(0.1)(crop))))
    assert "gives probabilities (2 a crop)" in refusal(path)


def test_identities_are_no_features(tmp_path):
    path = save(tmp_path / "i.keras", vggface.build(**SMALL, output="identities", identities=9))
    assert "prob gives probabilities (9 a crop)" in refusal(path)
    assert backbones.load(path, layer="relu7").output_shape == (None, 7)


def test_a_classifier_of_this_package_is_told_what_it_is_for(tiny_run, drawn):
    said = refusal(str(tiny_run / "classifier.keras"))
    assert "3 outputs" in said and "finetune --init" in said


@pytest.mark.parametrize("name", ["s.keras", "s.h5"])
def test_a_sequential_model_is_a_backbone(tmp_path, name):
    made = [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="one"), keras.layers.ReLU()]
    model = keras.Sequential([*made, keras.layers.Conv2D(4, 3, name="two")])
    path = save(tmp_path / name, model)
    crops = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(backbones.load(path)(crops), model(crops), atol=1e-4)
    half = backbones.load(path, precision="mixed_bfloat16", layer="one+two")
    assert half.get_layer("two").compute_dtype == "bfloat16"
    trunk, top = backbones.split(backbones.load(path), "two")
    np.testing.assert_allclose(top(trunk(crops)), model(crops), atol=1e-4)


def test_a_sequential_model_that_was_never_built_is_refused(tmp_path):
    path = save(tmp_path / "s.keras", keras.Sequential([keras.layers.Conv2D(2, 3)]))
    assert "says no input" in refusal(path)


def test_weights_alone_are_told_with_the_command(tmp_path):
    path = tmp_path / "w.weights.h5"
    convolutions().save_weights(path)
    assert f"vggface-gender convert --h5 {path}" in refusal(str(path))


def test_a_damaged_file_is_refused_before_keras_reads_it(tmp_path):
    path = tmp_path / "s.h5"
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]).save(path)
    whole = path.read_bytes()
    for share in (0, 0.3, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        refusal(str(path))
