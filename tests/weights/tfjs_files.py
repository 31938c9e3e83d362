"""TensorFlow.js graph models for tests: FaceRes's layout, in any width, with random weights."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

# A few narrow blocks, of which one halves the map.
SMALL: dict[str, Any] = {"stem": 4, "blocks": ((6, 1), (8, 2), (8, 1)), "embedding": 5}


class Model:
    """Nodes and weights of a graph, as they are put together."""

    def __init__(self) -> None:
        self.nodes: list[dict] = []
        self.weights: dict[str, np.ndarray] = {}

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attributes})
        return name

    def weight(self, name: str, array: np.ndarray) -> str:
        self.nodes.append({"name": name, "op": "Const", "attr": {}})
        self.weights[name] = array
        return name


def text(value: str) -> dict:
    return {"s": base64.b64encode(value.encode()).decode()}


def convolution(stride: int) -> dict:
    """The attributes of one."""
    return {
        "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
        "dilations": {"list": {"i": ["1", "1", "1", "1"]}},
        "padding": text("SAME"),
        "data_format": text("NHWC"),
    }


def faceres(*, stem: int, blocks: tuple, embedding: int, seed: int = 0) -> Model:
    """FaceRes's graph, its heads for gender and age among it."""
    model, rng = Model(), np.random.default_rng(seed)

    def random(*shape: int, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
        """Numbers that 16 bits hold."""
        return rng.normal(mean, scale, shape).astype(np.float16).astype(np.float32)

    def relu6(name: str) -> str:
        x = model.node(f"{name}_relu/Relu", "Relu", f"{name}_bn/batchnorm_1/add_1")
        six = model.weight(f"{name}_relu/Cast", np.float32(6))
        x = model.node(f"{name}_relu/clip_by_value/Minimum", "Minimum", x, six)
        zero = model.weight(f"{name}_relu/Const_1", np.float32(0))
        return model.node(f"{name}_relu/clip_by_value", "Maximum", x, zero)

    def add(name: str, channels: int) -> str:
        bias = model.weight(f"{name}_bn/batchnorm_1/sub", random(channels))
        x = f"{name}_bn/batchnorm_1/mul_1"
        model.node(f"{name}_bn/batchnorm_1/add_1", "Add", x, bias)
        return relu6(name)

    def conv(x: str, name: str, shape: tuple[int, ...], stride: int) -> str:
        scale = 0.02 if name == "conv1" else 1 / np.sqrt(shape[2])
        kernel = model.weight(f"{name}/convolution/merged_input", random(*shape, scale=scale))
        model.node(f"{name}_bn/batchnorm_1/mul_1", "Conv2D", x, kernel, **convolution(stride))
        return add(name, shape[-1])

    def depthwise(x: str, name: str, channels: int, stride: int) -> str:
        kernel = model.weight(f"{name}/depthwise_kernel", random(3, 3, channels, 1, scale=0.4))
        x = model.node(
            f"{name}/depthwise", "DepthwiseConv2dNative", x, kernel, **convolution(stride)
        )
        factor = model.weight(f"{name}_bn/batchnorm_1/mul", random(channels, scale=0.2, mean=1.0))
        model.node(f"{name}_bn/batchnorm_1/mul_1", "Mul", x, factor)
        return add(name, channels)

    def dense(x: str, node: str, shape: tuple[int, int], *fused: str) -> str:
        name = node.split("/")[0]
        kernel = model.weight(f"{name}/kernel", random(*shape))
        bias = model.weight(f"{name}/bias", random(shape[1]))
        ops = {"list": {"s": [text(op)["s"] for op in fused]}}
        return model.node(node, "_FusedMatMul", x, kernel, bias, fused_ops=ops)

    x = model.node("input_1", "Placeholder")
    x = conv(x, "conv1", (3, 3, 3, stem), 2)
    channels = stem
    for number, (filters, stride) in enumerate(blocks, start=1):
        x = depthwise(x, f"conv_dw_{number}", channels, stride)
        x = conv(x, f"conv_pw_{number}", (1, 1, channels, filters), 1)
        channels = filters
    axes = model.weight("global_pooling/Mean/reduction_indices", np.array([1, 2], np.int32))
    x = model.node("global_pooling/Mean", "Mean", x, axes)
    x = dense(x, "feats/Relu", (channels, embedding), "BiasAdd", "Relu")
    dense(x, "gender_pred/BiasAdd", (embedding, 1), "BiasAdd")
    dense(x, "age_pred/BiasAdd", (embedding, 100), "BiasAdd")
    return model


def write(path: Path, model: Model, *, kept_in: str = "float16", shards: int = 1) -> Path:
    """A model's JSON file and, beside it, its shards.

    Args:
        kept_in: "float32", or what floating-point weights are quantized as.
    """
    entries, data = [], b""
    for name, array in model.weights.items():
        entry: dict[str, Any] = {
            "name": name,
            "shape": list(np.shape(array)),
            "dtype": str(array.dtype),
        }
        if array.dtype == np.float32 and kept_in != "float32":
            quantization: dict[str, Any] = {"dtype": kept_in, "original_dtype": "float32"}
            if kept_in == "float16":
                array = array.astype(np.float16)
            else:
                kind = np.dtype(kept_in)
                least = float(array.min())
                scale = float(array.max() - least) / np.iinfo(kind).max or 1.0
                array = np.round((array - least) / scale).astype(kind)
                quantization |= {"scale": scale, "min": least}
            entry["quantization"] = quantization
        entries.append(entry)
        data += array.tobytes()
    names = [f"{path.stem}-{number}.bin" for number in range(shards)]
    parts = np.array_split(np.frombuffer(data, np.uint8), shards)
    for name, part in zip(names, parts, strict=True):
        path.with_name(name).write_bytes(part.tobytes())
    content = {
        "format": "graph-model",
        "modelTopology": {"node": model.nodes},
        "weightsManifest": [{"paths": names, "weights": entries}],
    }
    path.write_text(json.dumps(content))
    return path
