"""TensorFlow.js's graph models: what is read, what is computed, and what is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tfjs_files as files

from vggface_gender.base.errors import InputError
from vggface_gender.weights import tfjs, tfjs_graph


@pytest.fixture(scope="module")
def small() -> files.Model:
    return files.faceres(**files.SMALL)


@pytest.mark.parametrize(("kept_in", "shards"), [("float16", 1), ("float32", 3)])
def test_weights_come_back_as_they_were_written(tmp_path, small, kept_in, shards):
    graph = tfjs.read(files.write(tmp_path / "m.json", small, kept_in=kept_in, shards=shards))
    assert list(graph.arrays) == list(small.weights)
    for name, array in small.weights.items():
        assert graph.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(graph.arrays[name], array, err_msg=name)
    assert graph.nodes["conv_pw_1_relu/clip_by_value"].op == "Maximum"
    assert len(graph.nodes) == len(small.nodes)


@pytest.mark.parametrize("kept_in", ["uint8", "uint16"])
def test_scaled_weights_are_as_near_as_their_steps(tmp_path, small, kept_in):
    graph = tfjs.read(files.write(tmp_path / "m.json", small, kept_in=kept_in))
    for name, array in small.weights.items():
        step = np.ptp(array) / np.iinfo(kept_in).max
        np.testing.assert_allclose(graph.arrays[name], array, atol=0.51 * step + 1e-6)


def run(tmp_path, model: files.Model, image: np.ndarray, last: str) -> np.ndarray:
    graph = tfjs.read(files.write(tmp_path / "g.json", model, kept_in="float32"))
    return dict(tfjs_graph.forward(graph, {"x": image}, last=last))[last]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 8])
def test_convolutions_are_tensorflows(tmp_path, side, stride):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(side, side, 3))
    kernel, each = (rng.normal(size=shape).astype("f4") for shape in ((3, 3, 3, 5), (3, 3, 3, 1)))
    model = files.Model()
    model.node("x", "Placeholder")
    model.weight("k", kernel)
    model.weight("d", each)
    model.node("conv", "Conv2D", "x", "k:0", **files.convolution(stride))
    model.node("each", "DepthwiseConv2dNative", "x", "d", **files.convolution(stride))
    strides = [1, stride, stride, 1]
    batch = image[np.newaxis].astype("f8")
    expected = tf.nn.conv2d(batch, kernel.astype("f8"), strides, "SAME")[0]
    np.testing.assert_allclose(run(tmp_path, model, image, "conv"), expected, atol=1e-12)
    expected = tf.nn.depthwise_conv2d(batch, each.astype("f8"), strides, "SAME")[0]
    np.testing.assert_allclose(run(tmp_path, model, image, "each"), expected, atol=1e-12)


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        graph = tfjs.read(path)
        list(tfjs_graph.forward(graph, {"input_1": np.zeros((32, 32, 3))}, last="feats/Relu"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def whole(tmp_path, small):
    return files.write(tmp_path / "m.json", small, shards=2)


def test_files_that_are_not_whole_are_refused(whole, tmp_path):
    second = tmp_path / "m-1.bin"
    data, text = second.read_bytes(), whole.read_text()
    for wrong in (data[:-1], data + b"\0", b""):
        second.write_bytes(wrong)
        assert "m-0.bin, m-1.bin: " in refused(whole) and "get them again" in refused(whole)
    second.unlink()
    assert refused(whole).startswith(f"{second}: no such file; m.json names it")
    second.write_bytes(data)
    for wrong in (
        "",
        text[:-2],
        "[" * 100_000,
        "\udcff".join("ab").encode("utf-8", "surrogatepass"),
    ):
        whole.write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
        assert "not whole JSON" in refused(whole)
    whole.unlink()
    assert "No such file" in refused(whole)
    whole.mkdir()
    assert "Is a directory" in refused(whole)


def content(whole) -> dict:
    return json.loads(whole.read_text())


@pytest.mark.parametrize(
    ("member", "value", "complaint"),
    [
        ("shape", [2**31 - 1, 2**31 - 1], "bytes for"),
        ("shape", [10**400], "its shape is"),
        ("shape", [-3, 3, 3, 4], "its shape is"),
        ("shape", [3.0], "its shape is"),
        ("shape", [True], "its shape is"),
        ("shape", "3", "no `shape` that is a list"),
        ("dtype", "string", "of dtype string; expected one of float32"),
        ("dtype", "int32", "int32 quantized as float16"),
        ("dtype", None, "no `dtype` that is a text"),
        ("name", ["a"], "no `name` that is a text"),
        ("quantization", {"dtype": "float8"}, "float32 quantized as float8"),
        ("quantization", {"dtype": "uint8"}, "without a `scale` and a `min`"),
        ("quantization", {"dtype": "uint8", "scale": 1e400, "min": 0}, "without a `scale`"),
        ("quantization", 7, "no `dtype` that is a text"),
        ("quantization", None, "bytes for"),
    ],
)
def test_what_a_weight_cannot_be_is_refused(whole, member, value, complaint):
    said = content(whole)
    said["weightsManifest"][0]["weights"][0][member] = value
    whole.write_text(json.dumps(said))
    assert complaint in refused(whole)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_weight_that_is_no_number_is_refused(tmp_path, value):
    model = files.faceres(**files.SMALL)
    model.weights["feats/bias"][2] = value
    path = files.write(tmp_path / "m.json", model)
    assert "weight feats/bias: has numbers that are infinite or none" in refused(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda said: said.pop("modelTopology"), "no `modelTopology` that is an object"),
        (lambda said: said.update(weightsManifest={}), "no `weightsManifest` that is a list"),
        (lambda said: said["modelTopology"].update(node=3), "no `node` that is a list"),
        (lambda said: said["modelTopology"]["node"].append("a"), "no `name` that is a text"),
        (lambda said: said["weightsManifest"].append(None), "no `weights` that is a list"),
        (lambda said: said["weightsManifest"][0].update(paths=["../m-0.bin"]), "beside it"),
        (lambda said: said["weightsManifest"][0].update(paths=[4]), "a shard is called 4"),
        (lambda said: said["weightsManifest"][0].update(paths=[]), "no shard: 0 bytes for"),
        (lambda said: said["modelTopology"]["node"].append({"name": "x"}), "no `op` that is"),
        (
            lambda said: said["modelTopology"]["node"].append(said["modelTopology"]["node"][0]),
            "two nodes are called",
        ),
    ],
)
def test_what_is_no_graph_model_is_refused(whole, change, complaint):
    said = content(whole)
    change(said)
    whole.write_text(json.dumps(said))
    assert complaint in refused(whole)


def test_two_weights_of_one_name_are_refused(whole):
    said = content(whole)
    entries = said["weightsManifest"][0]["weights"]
    entries[1]["name"] = entries[0]["name"]
    whole.write_text(json.dumps(said))
    assert "two weights are called" in refused(whole)


@pytest.mark.parametrize(
    ("node", "member", "value", "complaint"),
    [
        ("feats/Relu", "op", "Softmax", "node feats/Relu (Softmax): expected one of Conv2D"),
        ("feats/Relu", "input", ["gone"], "no node gone"),
        ("feats/Relu", "input", ["feats/Relu"], "depends on itself"),
        ("feats/Relu", "input", [7], "`input` is no list of names"),
        ("feats/Relu", "input", ["feats/bias"], "does not fit its inputs"),
        ("feats/Relu", "attr", {}, "does not fit its inputs"),
        ("feats/Relu", "attr", [], "`attr` is no object"),
        ("conv1_bn/batchnorm_1/mul_1", "attr", {"strides": 2}, "does not fit its inputs"),
        ("conv1_bn/batchnorm_1/mul_1", "attr", files.convolution(0), "does not fit its inputs"),
        ("conv1_bn/batchnorm_1/mul_1", "input", ["input_1", "feats/kernel"], "does not fit"),
        ("conv1_relu/Relu", "input", ["feats/bias", "conv1_relu/Cast"], "does not fit its inputs"),
        ("global_pooling/Mean", "input", ["input_1", "feats/bias"], "does not fit its inputs"),
    ],
)
def test_a_graph_that_cannot_be_run_is_refused(whole, node, member, value, complaint):
    said = content(whole)
    next(each for each in said["modelTopology"]["node"] if each["name"] == node)[member] = value
    whole.write_text(json.dumps(said))
    assert complaint in refused(whole)
