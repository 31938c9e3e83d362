"""The Keras network against dlib itself, and against a plain NumPy network at other sizes."""

import zipfile

import cv2
import dlib
import dlib_files as files
import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from vggface_gender.backbones import dlib_resnet
from vggface_gender.base.errors import InputError
from vggface_gender.weights import dlib_dat


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return dlib_dat.read(dlib_dat.find())


@pytest.fixture(scope="module")
def model(arrays) -> keras.Model:
    return dlib_resnet.build(arrays)


def random_crops(count: int, size: int = 150) -> np.ndarray:
    """Smooth colours with noise over them (count, size, size, 3), uint8."""
    rng = np.random.default_rng(1)
    coarse = rng.uniform(0, 255, (count, 6, 6, 3)).astype(np.float32)
    smooth = np.stack([cv2.resize(image, (size, size)) for image in coarse])
    return np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def faces(faces_dir) -> np.ndarray:
    """30 photographed faces from all over UTKFace (30, 150, 150, 3), RGB uint8."""
    paths = sorted((faces_dir / "UTKFace").glob("*.jpg"))
    photos = [cv2.imread(str(path)) for path in paths[:: len(paths) // 30][:30]]
    return np.stack([cv2.resize(photo, (150, 150))[..., ::-1] for photo in photos])


def dlib_descriptors(path, crops: np.ndarray) -> np.ndarray:
    network = dlib.face_recognition_model_v1(str(path))
    return np.array(network.compute_face_descriptor([np.ascontiguousarray(c) for c in crops]))


def test_equals_dlib_on_faces(model, faces):
    ours = model.predict(faces, verbose=0)["embedding"]
    np.testing.assert_allclose(ours, dlib_descriptors(dlib_dat.find(), faces), rtol=0, atol=1e-5)
    # The tolerance is far below what tells two of these faces apart.
    assert np.linalg.norm(ours[:, None] - ours, axis=-1)[np.triu_indices(len(ours), 1)].min() > 0.1


@pytest.mark.slow
def test_equals_dlib_on_random_images(model):
    crops = random_crops(20)
    ours = model.predict(crops, verbose=0)["embedding"]
    np.testing.assert_allclose(ours, dlib_descriptors(dlib_dat.find(), crops), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_equals_dlib_with_other_weights(arrays, tmp_path):
    # The published biases are nearly 0, so a network that lost them would pass above.
    rng = np.random.default_rng(2)
    other = dict(arrays)
    for name, array in arrays.items():
        spread = np.abs(arrays[name.replace("/bias", "/beta")]).mean() / 5
        other[name] = (array + rng.normal(0, spread, array.shape)).astype(np.float32)
    (tmp_path / "other.dat").write_bytes(files.encode(other))

    crops = random_crops(3)
    ours = dlib_resnet.build(other).predict(crops, verbose=0)["embedding"]
    theirs = dlib_descriptors(tmp_path / "other.dat", crops)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * scale)
    without_biases = {n: a * (not n.endswith("/bias")) for n, a in other.items()}
    ours = dlib_resnet.build(without_biases).predict(crops, verbose=0)["embedding"]
    assert np.abs(ours - theirs).max() > 0.01 * scale


def numpy_network(arrays: dict[str, np.ndarray], crop: np.ndarray) -> dict[str, np.ndarray]:
    """Every block's map, `pooled` and `embedding` of one crop: unfolded, by dlib's own rules."""

    def convolution(x, name, stride):
        kernel = arrays[f"{name}/kernel"]
        padding = kernel.shape[0] // 2 if stride == 1 else 0
        x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        windows = sliding_window_view(x, kernel.shape[:2], axis=(0, 1))[::stride, ::stride]
        x = np.tensordot(windows, kernel, axes=((3, 4, 2), (0, 1, 2))) + arrays[f"{name}/bias"]
        return x * arrays[f"{name}/gamma"] + arrays[f"{name}/beta"]

    def pool(x, size, reduce):
        return reduce(sliding_window_view(x, (size, size), axis=(0, 1))[::2, ::2], axis=(3, 4))

    means = np.array([122.782, 117.001, 104.298])
    x = np.maximum(convolution((crop - means) / 256, "stem_conv", 2), 0)
    x = pool(x, 3, np.max)
    outputs = {}
    for name in dict.fromkeys(name.split("_conv")[0] for name in arrays if name.startswith("b")):
        halves = name.endswith("_1") and name != "block_1_1"
        y = np.maximum(convolution(x, f"{name}_conv1", 2 if halves else 1), 0)
        y = convolution(y, f"{name}_conv2", 1)
        x = pool(x, 2, np.mean) if halves else x
        total = np.zeros(np.maximum(x.shape, y.shape))
        for part in (x, y):
            total[tuple(slice(length) for length in part.shape)] += part
        outputs[name] = x = np.maximum(total, 0)
    pooled = x.mean(axis=(0, 1))
    return outputs | {"pooled": pooled, "embedding": pooled @ arrays["embedding/kernel"]}


@pytest.mark.parametrize("size", [150, 160, 200])
def test_equals_numpy_at_every_depth_and_size(size, arrays):
    crop = random_crops(1, size)[0]
    model = dlib_resnet.build(arrays, size)
    blocks = [name for name, _, _ in dlib_dat.BLOCKS]
    maps = {name: model.get_layer(name).output for name in blocks}
    ours = keras.Model(model.input, maps | model.output)(crop[None])
    theirs = numpy_network(arrays, crop)
    theirs["map"] = theirs["block_5_1"]
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        found = np.asarray(ours[name])[0]
        assert found.shape == expected.shape
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=name
        )


def test_documented_shapes(model):
    sides = {"block_1_3": 35, "block_2_4": 17, "block_3_3": 8, "block_4_3": 4, "block_5_1": 2}
    assert {name: model.get_layer(name).output.shape[1] for name in sides} == sides
    assert {name: output.shape[1:] for name, output in model.output.items()} == {
        "map": (2, 2, 256),
        "pooled": (256,),
        "embedding": (128,),
    }
    assert model.name == "dlib_resnet"


def test_uint8_and_float32_crops_are_the_same(model):
    crops = random_crops(2)
    for name, features in model(crops).items():
        np.testing.assert_array_equal(features, model(crops.astype(np.float32))[name])


def test_smallest_size():
    assert dlib_resnet.build(size=dlib_resnet.MIN_SIZE).output["map"].shape == (None, 1, 1, 256)
    with pytest.raises(InputError, match=r"102 pixels .* 103"):
        dlib_resnet.build(size=dlib_resnet.MIN_SIZE - 1)


def test_saved_model_needs_only_keras(model, tmp_path):
    path = tmp_path / "dlib_resnet.keras"
    model.save(path)
    config = zipfile.ZipFile(path).read("config.json").decode()
    assert "vggface_gender" not in config
    assert "Lambda" not in config
    loaded = keras.saving.load_model(path, safe_mode=True)
    crops = random_crops(2)
    for name, features in model(crops).items():
        np.testing.assert_array_equal(loaded(crops)[name], features)


def test_mixed_bfloat16(model, faces, arrays):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = dlib_resnet.build(arrays)
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.get_layer("block_2_1_conv1").compute_dtype == "bfloat16"
    assert mixed.get_layer("block_2_1").output.dtype == "bfloat16"
    crops = faces[:16]
    for name, expected in model(crops).items():
        found = mixed(crops)[name]
        assert found.dtype == "float32"
        found, expected = (np.reshape(f, (16, -1)) for f in (found, expected))
        error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert 0 < error.max() < 0.03, f"{name}: {error.max()}"
    # Raw values that bfloat16 can't hold arrive whole.
    rescale = keras.Model(mixed.input, mixed.get_layer("stem_rescale").output)
    values = np.random.default_rng(3).uniform(0, 255, (1, 150, 150, 3)).astype(np.float32)
    means = np.float32([122.782, 117.001, 104.298])
    np.testing.assert_allclose(rescale(values), (values - means) / 256, rtol=0, atol=1e-7)


def test_every_weight_can_be_fine_tuned(model, faces):
    with tf.GradientTape() as tape:
        loss = keras.ops.sum(model(faces[:8], training=True)["embedding"][:, :64])
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == len(model.variables) == 2 * 29 + 1
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


def test_every_array_is_used_in_its_own_layer(arrays):
    # Two filters a layer, for speed; + 1, since the published biases are too small to tell apart.
    narrow = {name: array[..., :2] + 1 for name, array in arrays.items()}
    folded = dlib_resnet.fold(narrow)
    assert len(folded) == 2 * 29 + 1
    for name, array in narrow.items():
        changed = dlib_resnet.fold({**narrow, name: array + 1})
        differs = {key for key in folded if not np.array_equal(changed[key], folded[key])}
        layer, kind = name.split("/")
        expected = {"kernel": {"kernel"}, "gamma": {"kernel", "bias"}}.get(kind, {"bias"})
        assert differs == {f"{layer}/{part}" for part in expected}, name


def test_build_refuses_other_weights(arrays):
    less = {name: array for name, array in arrays.items() if not name.startswith("block_3_2_conv1")}
    with pytest.raises(ValueError, match=r"missing: .*block_3_2_conv1/bias"):
        dlib_resnet.build(less)
    with pytest.raises(ValueError, match=r"unexpected: .*block_6_1/kernel"):
        dlib_resnet.build({**arrays, "block_6_1/kernel": arrays["embedding/kernel"]})
    with pytest.raises(ValueError, match="shape"):
        dlib_resnet.build({**arrays, "embedding/kernel": arrays["embedding/kernel"].T})
