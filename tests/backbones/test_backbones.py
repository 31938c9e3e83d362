"""Backbones by name: which features they give, in which precision, and what is no backbone."""

import keras
import numpy as np
import pytest

from vggface_gender import backbones
from vggface_gender.backbones import dlib_resnet, resnet50, vggface
from vggface_gender.base.errors import InputError
from vggface_gender.weights import dlib_dat


@pytest.fixture(scope="module", autouse=True)
def one_read():
    """dlib's file is read once for all tests here."""
    arrays = dlib_dat.read(dlib_dat.find())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dlib_dat, "read", lambda path: arrays)
        yield


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3)).astype(np.float32)


def test_a_backbone_with_a_weight_that_is_no_number_is_refused(tmp_path):
    crop = keras.Input((8, 8, 3))
    model = keras.Model(crop, keras.layers.Conv2D(2, 3, name="conv")(crop))
    kernel = np.ones((3, 3, 3, 2), np.float32)
    kernel[0, 0, 0] = np.nan, np.inf
    model.get_layer("conv").kernel.assign(kernel)
    model.save(tmp_path / "bad.keras")
    with pytest.raises(InputError, match=r"bad\.keras: damaged, 2 of 54 numbers in conv/kernel"):
        backbones.load(str(tmp_path / "bad.keras"))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(None, (2, 2, 256)), ("pooled", (256,)), ("embedding", (128,)), ("block_4_3", (4, 4, 256))],
)
def test_dlibs_layers_are_features_by_name(crops, layer, shape):
    backbone = backbones.load("dlib", layer=layer)
    got = backbone(crops).numpy()
    assert got.shape == (3, *shape) and backbone.name == "dlib_resnet"
    whole = dlib_resnet.load()
    expected = keras.Model(whole.input, whole.get_layer(layer or "map").output)
    np.testing.assert_allclose(got, expected(crops).numpy(), atol=1e-6)
    assert all(variable.trainable for variable in backbone.trainable_variables)


def test_precision_is_the_networks_and_not_the_preprocessings(crops):
    backbone = backbones.load("dlib", precision="mixed_bfloat16", layer="embedding")
    assert backbone.get_layer("block_1_1_conv1").compute_dtype == "bfloat16"
    assert backbone.get_layer("stem_rescale").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"  # others' layers are left alone
    got, expected = (
        b(crops).numpy() for b in (backbone, backbones.load("dlib", layer="embedding"))
    )
    distance = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0 < distance.max() < 0.05


def small(path, size=32, outputs=1):
    crop = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(crop)
    keras.Model(crop, [x, crop][:outputs] if outputs > 1 else x, name="small").save(path)
    return str(path)


def test_a_file_is_a_backbone_in_any_precision(tmp_path):
    backbone = backbones.load(small(tmp_path / "b.keras"), precision="mixed_bfloat16")
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


@pytest.mark.parametrize("layer", ["maps", "map+maps"])
def test_an_unknown_layer_is_told_with_those_there_are(layer):
    with pytest.raises(InputError, match=r"dlib has no layer maps; .* map, pooled"):
        backbones.load("dlib", layer=layer)


def test_several_layers_are_one_vector(crops):
    names = ("map", "block_4_3", "embedding")
    parts = [backbones.load("dlib", layer=name)(crops).numpy() for name in names]
    flat, mean = parts[0].reshape(3, -1), parts[1].mean((1, 2))  # 2x2, 4x4
    backbone = backbones.load("dlib", layer="map+block_4_3+embedding")
    got = backbone(crops).numpy()
    assert got.shape == (3, 1024 + 256 + 128) and backbone.layers[-1].name == "features"
    np.testing.assert_allclose(got, np.concatenate([flat, mean, parts[2]], axis=1), atol=1e-5)


def residual():
    """A stem, then two blocks with a skip connection around each, the second with a bare pad."""
    keras.utils.set_random_seed(5)
    crop = keras.Input((16, 16, 3), name="crop")
    x = keras.layers.Rescaling(1 / 255, name="rescale")(crop)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="stem_conv")(x)
    x = keras.layers.BatchNormalization(name="stem_norm")(x)
    y = keras.layers.Conv2D(4, 3, padding="same", name="block_1_conv")(x)
    x = keras.layers.Add(name="block_1")([x, y])
    y = keras.layers.Conv2D(6, 3, padding="same", name="block_2_conv")(x)
    x = keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, 2)))
    x = keras.layers.Add(name="block_2_add")([x, y])
    x = keras.layers.ReLU(name="block_2")(x)
    return keras.Model(crop, x, name="residual")


def test_several_layers_are_joined_in_float32_under_any_precision(tmp_path):
    residual().save(tmp_path / "b.keras")
    half = backbones.load(
        str(tmp_path / "b.keras"), precision="mixed_bfloat16", layer="block_1+block_2"
    )
    assert half.output_shape == (None, 10)
    for model in (half, backbones.with_precision(half, "mixed_float16")):
        assert model.get_layer("features").compute_dtype == model.output.dtype == "float32"
        assert model.get_layer("block_1_conv").compute_dtype != "float32"


def assert_cut(backbone, first, crops, cut_shape):
    """Both parts give what the whole gives, and the weights are its own."""
    trunk, top = backbones.split(backbone, first)
    assert (trunk.name, top.name) == (f"{backbone.name}_trunk", f"{backbone.name}_top")
    assert trunk.output_shape[1:] == top.input_shape[1:] == cut_shape
    for _ in range(2):
        got = top(trunk(crops)).numpy()
        np.testing.assert_allclose(got, backbone(crops).numpy(), atol=1e-5)
        for variable in backbone.trainable_variables:  # then once more, with other weights
            variable.assign(variable * 0.9)
    shared = {id(variable) for part in (trunk, top) for variable in part.variables}
    assert shared == {id(variable) for variable in backbone.variables}
    assert not {id(v) for v in trunk.variables} & {id(v) for v in top.variables}
    return trunk, top


@pytest.mark.parametrize(
    ("first", "cut"),
    [("stem_conv", (16, 16, 3)), ("block_1_c", (8, 8, 4)), ("block_2", (8, 8, 4))],
)
def test_a_backbone_is_cut_in_two_that_share_its_weights(first, cut):
    crops = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    assert_cut(residual(), first, crops, cut)


def test_a_cut_leaves_the_backbone_as_it_was(tmp_path):
    backbone = residual()
    before = backbone.get_config()
    trunk, top = backbones.split(backbone, "block_2")
    assert backbone.get_config() == before
    crops = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    for model, inputs in (
        (backbone, crops),
        (trunk, crops),
        (top, trunk(crops).numpy()),
    ):
        model.save(tmp_path / "m.keras")
        loaded = keras.saving.load_model(tmp_path / "m.keras", compile=False)
        np.testing.assert_array_equal(loaded(inputs).numpy(), model(inputs).numpy())


def test_vggface_is_cut_before_a_convolution():
    backbone = vggface.build(((2, 2), (3, 3), (4, 4, 4), (5, 5, 5), (6, 6, 6)), size=32)
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    trunk, top = assert_cut(backbone, "conv5_1", crops, (2, 2, 5))
    assert trunk.layers[-1].name == "pool4" and top.layers[1].name == "conv5_1"


@pytest.mark.slow
def test_resnet50_is_cut_before_a_block():
    backbone = resnet50.build(32)
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    trunk, top = backbones.split(backbone, "conv5_block1")
    assert trunk.layers[-1].name == "conv4_block6_out"
    got, expected = top(trunk(crops)).numpy(), backbone(crops).numpy()
    assert expected.std() > 0
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_a_part_within_the_backbone_is_cut_around():
    inner = residual()
    crop = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(2.0, name="rescale")(crop)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(inner(x))
    crops = np.random.default_rng(0).integers(0, 128, (3, 16, 16, 3)).astype(np.float32)
    outer = keras.Model(crop, x, name="outer")
    trunk, _ = assert_cut(outer, "pool", crops, (8, 8, 6))
    assert trunk.layers[-1] is inner
    assert backbones.freeze_before(outer, "pool") == ["residual"]
    assert not outer.trainable_variables


@pytest.mark.parametrize("first", ["rescale", "block_2_add", "block_1_conv"])
def test_what_is_no_cut_is_told_with_the_layers_that_are(first):
    backbone = residual()
    if first == "block_1_conv":  # a layer's own output beside what follows from it
        pooled = [
            keras.layers.GlobalAveragePooling2D()(backbone.get_layer(name).output)
            for name in ("rescale", "block_2")
        ]
        output = keras.layers.Concatenate()(pooled)
        backbone = keras.Model(backbone.input, output, name="residual")
        known = "stem_conv"
    else:
        known = "stem_conv, stem_norm, block_1_conv, block_2_conv"
    with pytest.raises(InputError, match=f"residual cannot be cut before {first}: .*{known}$"):
        backbones.split(backbone, first)


def test_dlibs_features_that_pass_the_cut_by_are_told(crops):
    backbone = backbones.load("dlib", layer="map+block_2_4")
    with pytest.raises(InputError, match=r"before block_4_1: .*block_3_1_conv1$") as caught:
        backbones.split(backbone, "block_4_1")
    assert "\n" not in str(caught.value)
    assert_cut(backbone, "block_3_1", crops, (17, 17, 64))


@pytest.mark.parametrize("use", [backbones.split, backbones.freeze_before])
def test_a_layer_that_is_not_there_is_told(use):
    with pytest.raises(InputError, match=r"residual has no layer block_3, .*before stem_conv, "):
        use(residual(), "block_3")


def test_what_lies_before_a_layer_is_frozen_and_the_rest_is_not():
    backbone = residual()
    stem = ["stem_conv", "stem_norm"]
    assert backbones.freeze_before(backbone, "block_1") == stem
    assert {variable.path.split("/")[0] for variable in backbone.trainable_variables} == {
        "block_1_conv",
        "block_2_conv",
    }
    assert backbones.freeze_before(backbone, "block_2") == [*stem, "block_1_conv"]
    assert [v.path for v in backbone.trainable_variables] == [
        "block_2_conv/kernel",
        "block_2_conv/bias",
    ]
    # What was frozen is not frozen for ever.
    assert backbones.freeze_before(backbone, "rescale") == []
    assert len(backbone.trainable_variables) == 8
    backbones.freeze_before(backbone, "block_2")
    assert backbones.freeze_before(backbone, None) == []
    assert len(backbone.trainable_variables) == 8


@pytest.mark.parametrize("first", ["block_1", "block_2", "stem_conv"])
def test_the_trunk_is_what_is_frozen(first):
    backbone = residual()
    frozen = backbones.freeze_before(backbone, first)
    trunk, top = backbones.split(backbone, first)
    assert [layer.name for layer in trunk.layers if layer.weights] == frozen
    assert not trunk.trainable_variables and all(v.trainable for v in top.trainable_variables)


@pytest.mark.parametrize("first", ["block_2_1", "block_4_1", "block_4_1_conv1"])
def test_dlibs_network_is_cut_across_its_pads_and_joined_layers(crops, first):
    backbone = backbones.load("dlib", layer="map+block_4_3")
    trunk, top = backbones.split(backbone, first)
    expected = backbone(crops).numpy()
    got = top(trunk(crops)).numpy()
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


def test_a_convolution_by_channel_with_strides_stays_in_float32():
    """Its bfloat16 gradient is many times as slow on a processor."""
    crop = keras.Input((8, 8, 3))
    x = keras.layers.DepthwiseConv2D(3, name="even")(crop)
    x = keras.layers.DepthwiseConv2D(3, strides=2, name="strided")(x)
    model = backbones.with_precision(keras.Model(crop, x), "mixed_bfloat16")
    computed = {name: model.get_layer(name).compute_dtype for name in ("even", "strided")}
    assert computed == {"even": "bfloat16", "strided": "float32"}
