"""Backbones by name: which features they give, in which precision, and what is no backbone."""

import keras
import numpy as np
import pytest

from vggface_gender import backbones
from vggface_gender.backbones import dlib_resnet
from vggface_gender.command import InputError


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(None, (2, 2, 256)), ("pooled", (256,)), ("embedding", (128,)), ("block_4_3", (4, 4, 256))],
)
def test_dlibs_layers_are_features_by_name(crops, layer, shape):
    backbone = backbones.load("dlib", layer=layer)
    got = backbone.predict(crops, verbose=0)
    assert got.shape == (3, *shape) and backbone.name == "dlib_resnet"
    whole = dlib_resnet.load()
    expected = keras.Model(whole.input, whole.get_layer(layer or "map").output)
    np.testing.assert_allclose(got, expected.predict(crops, verbose=0), atol=1e-6)
    assert all(variable.trainable for variable in backbone.trainable_variables)


def test_precision_is_the_networks_and_not_the_preprocessings(crops):
    backbone = backbones.load("dlib", "mixed_bfloat16", "embedding")
    assert backbone.get_layer("block_1_1_conv1").compute_dtype == "bfloat16"
    assert backbone.get_layer("stem_rescale").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"  # others' layers are left alone
    got, expected = (
        b.predict(crops, verbose=0) for b in (backbone, backbones.load("dlib", layer="embedding"))
    )
    distance = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0 < distance.max() < 0.05


def small(path, size=32, outputs=1):
    crop = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(crop)
    keras.Model(crop, [x, crop][:outputs] if outputs > 1 else x, name="small").save(path)
    return str(path)


def test_a_file_is_a_backbone_in_the_precision_asked_for(tmp_path):
    backbone = backbones.load(small(tmp_path / "b.keras"), "mixed_bfloat16")
    assert backbone.get_layer("conv").compute_dtype == "bfloat16"
    assert backbone.output_shape == (None, 30, 30, 4)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: str(path), "no backbone"),
        (lambda path: (path.write_text("text"), str(path))[1], "not a model that Keras can load"),
        (lambda path: small(path, outputs=2), "one input and one output"),
        (lambda path: small(path, size=None), "expected crops of"),
    ],
)
def test_what_is_no_backbone_is_told_in_one_line(tmp_path, make, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        backbones.load(make(tmp_path / "b.keras"))
    assert "\n" not in str(caught.value)


def test_an_unknown_layer_is_told_with_those_there_are():
    with pytest.raises(InputError, match=r"dlib has no layer maps; .*'map', 'pooled'"):
        backbones.load("dlib", layer="maps")


def test_layers_joined_are_vectors_side_by_side(crops):
    joined = backbones.load("dlib", layer="map+block_4_3")
    last, middle = (backbones.load("dlib", layer=name) for name in ("map", "block_4_3"))
    expected = np.concatenate(
        [
            last.predict(crops, verbose=0).reshape(len(crops), -1),
            middle.predict(crops, verbose=0).mean(axis=(1, 2)),
        ],
        axis=1,
    )
    np.testing.assert_allclose(joined.predict(crops, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("first", ["block_2_1", "block_4_1", "block_4_1_conv1"])
def test_a_backbone_is_cut_in_two_that_share_its_weights(crops, first):
    backbone = backbones.load("dlib", layer="map+block_4_3")
    trunk, top = backbones.split(backbone, first)
    expected = backbone.predict(crops, verbose=0)
    got = top.predict(trunk.predict(crops, verbose=0), verbose=0)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    shared = {id(variable) for variable in backbone.variables}
    parts = [id(variable) for variable in trunk.variables + top.variables]
    assert set(parts) == shared and len(parts) == len(shared)


@pytest.mark.parametrize("first", ["block_4_1_conv2", "nothing"])
def test_where_a_backbone_cannot_be_cut_is_told(first):
    with pytest.raises(InputError, match=first):
        backbones.split(backbones.load("dlib"), first)


def test_what_lies_before_a_layer_is_frozen():
    backbone = backbones.load("dlib")
    frozen = backbones.freeze_before(backbone, "block_1_2")
    assert frozen == ["stem_conv", "block_1_1_conv1", "block_1_1_conv2"]
    trainable = {variable.path for variable in backbone.trainable_variables}
    assert "block_1_2_conv1/kernel" in trainable and "stem_conv/kernel" not in trainable
    assert backbones.freeze_before(backbone, None) == []
    assert len(backbone.trainable_variables) == len(backbone.variables)
