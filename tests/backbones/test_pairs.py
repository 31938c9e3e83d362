"""Networks side by side: their features, their names, what is frozen, and one classifier's file."""

import keras
import numpy as np
import pytest

from vggface_gender import backbones
from vggface_gender.backbones import pairs
from vggface_gender.base import networks
from vggface_gender.base.errors import InputError
from vggface_gender.data import features
from vggface_gender.weights import keras_h5


def network(name: str, size: int, *, seed: int) -> keras.Model:
    """Two convolutions with a skip connection around the second; a bare pad and a bare product."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Rescaling(1 / 255, name="rescale")(image)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv1")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    y = keras.layers.Conv2D(6, 3, padding="same", name="conv2")(x)
    x = keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, 2))) * 0.5
    x = keras.layers.Add(name="add")([x, y])
    return keras.Model(image, x, name=name)


@pytest.fixture(scope="module", autouse=True)
def unchecked():
    """Files are not read in a process of their own first, which takes most of the time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keras_h5, "check", lambda path: None)
        yield


@pytest.fixture(scope="module")
def both() -> dict[str, keras.Model]:
    return {"one": network("one", 20, seed=1), "two": network("two", 32, seed=2)}


@pytest.fixture(scope="module")
def names(both, tmp_path_factory) -> str:
    """Their files, joined."""
    folder = tmp_path_factory.mktemp("pair")
    for name, model in both.items():
        model.save(folder / f"{name}.keras")
    return "+".join(str(folder / f"{name}.keras") for name in both)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)


def test_each_network_gives_what_it_gives_alone(both, crops, tmp_path):
    whole = pairs.joined(both)
    assert whole.input_shape == (None, 32, 32, 3)
    small = keras.layers.Resizing(20, 20)(crops)
    expected = [both["one"](small).numpy(), both["two"](crops).numpy()]
    for got, wanted in zip(whole(crops), expected, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, atol=1e-6)
    layers = [layer.name for layer in whole.layers]
    assert len(set(layers)) == len(layers)
    assert {"image", "one.conv2", "two.conv2"} <= {*layers}
    # Its weights are its own.
    whole.get_layer("two.conv1").kernel.assign(np.zeros((3, 3, 3, 4)))
    np.testing.assert_allclose(both["two"](crops).numpy(), expected[1], atol=1e-6)
    whole.save(tmp_path / "whole.keras")
    loaded = keras.saving.load_model(tmp_path / "whole.keras")
    for got, wanted in zip(loaded(crops), whole(crops), strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_their_features_stand_side_by_side(both, names, crops):
    backbone = backbones.load(names)
    assert backbone.name == "one_two" and backbone.layers[-1].name == "features"
    small = keras.layers.Resizing(20, 20)(crops)
    maps = both["one"](small).numpy(), both["two"](crops).numpy()  # of 9x9 and 15x15
    expected = np.concatenate([each.mean((1, 2)) for each in maps], axis=1)
    np.testing.assert_allclose(backbone(crops).numpy(), expected, atol=1e-5)
    half = backbones.load(names, precision="mixed_bfloat16")
    assert half.get_layer("one.conv1").compute_dtype == "bfloat16"
    assert half.get_layer("one.rescale").compute_dtype == half.output.dtype == "float32"


def test_layers_are_named_with_their_network(names, crops):
    backbone = backbones.load(names, layer="two.conv1+two.add")  # and what one gives by default
    assert backbone.output_shape == (None, 6 + 4 + 6)
    first = backbones.load(names, layer="one.conv1+two.conv1")(crops).numpy()
    other = backbones.load(names, layer="two.conv1+one.conv1")(crops).numpy()
    np.testing.assert_array_equal(first, other)  # one's come first, as in the name
    for layer in ("conv1", "three.conv1", "two.conv3"):
        with pytest.raises(InputError, match=f"has no layer {layer}; the last of") as caught:
            backbones.load(names, layer=layer)
        assert "\n" not in str(caught.value)


def test_a_whole_classifier_is_taken_where_a_layer_of_it_is_named(names, both, tmp_path):
    image = keras.Input((20, 20, 3))
    x = keras.layers.Flatten(name="flat")(image)
    x = keras.layers.Dense(2, activation="softmax", name="answer")(x)
    keras.Model(image, x, name="whole").save(tmp_path / "whole.keras")
    together = f"{names.split('+')[0]}+{tmp_path / 'whole.keras'}"
    with pytest.raises(InputError, match="a whole classifier: answer gives probabilities"):
        backbones.load(together)
    assert backbones.load(together, layer="whole.flat").output_shape == (None, 6 + 1200)


def test_two_of_one_name_are_told(names):
    one = names.split("+")[0]
    with pytest.raises(InputError, match="two networks are called one; join others"):
        backbones.load(f"{one}+{one}")


def test_a_files_name_may_have_a_plus(both, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both["one"].save("a+b.keras")
    assert networks.parts("a+b.keras") == ["a+b.keras"]
    networks.check("a+b.keras")
    assert backbones.load("a+b.keras").name == "one"
    assert networks.label("dlib+faceres:224") == "dlib+faceres-224"
    with pytest.raises(InputError, match=r"no backbone a\+dlib: give dlib, faceres"):
        networks.check("a+dlib")


def test_a_layer_of_each_says_what_is_frozen(names):
    backbone = backbones.load(names)
    frozen = ["one.conv1", "one.norm", "two.conv1", "two.norm"]
    assert sorted(backbones.freeze_before(backbone, "one.conv2+two.conv2")) == frozen
    trained = {variable.path.split("/")[0] for variable in backbone.trainable_variables}
    assert trained == {"one.conv2", "two.conv2"}
    # Of one alone: all of the other is trained.
    assert backbones.freeze_before(backbone, "two.conv2") == frozen[2:]
    assert backbones.freeze_before(backbone, None) == []
    for first in ("conv2", "one.conv2+two.conv3"):
        with pytest.raises(InputError, match=r"its layers are .*one\.conv1"):
            backbones.freeze_before(backbone, first)
    with pytest.raises(InputError, match="one_two cannot be cut before one"):
        backbones.split(backbone, "one.conv2")


def test_features_are_keyed_by_the_layers_that_are_joined(names):
    """Layers of one shape, of networks of the same weights."""
    found = [
        features._layers(backbones.load(names, layer=layer))
        for layer in ("one.add", "one.conv2", "one.conv2+two.conv2")
    ]
    assert len({tuple(layers) for layers in found}) == 3
