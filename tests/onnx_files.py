"""Small networks of ArcFace's form, as ONNX files: convolution, PReLU, a dense layer."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 16


def write(
    path: Path,
    *,
    side: int = 112,
    batch: int | str = "None",
    channels_last: bool = False,
    scales: bool = False,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Write a network with random weights, and return these.

    Args:
        batch: pictures that it takes at once; a name for any number.
        channels_last: it takes (b, side, side, 3) in place of (b, 3, side, side).
        scales: it subtracts 127.5 and multiplies with 1/128 itself, as MXNet's exports do.
    """
    rng = np.random.default_rng(seed)
    after = side // 8
    weights = {
        "kernel": rng.normal(0, 0.2, (4, 3, 8, 8)),
        "slope": rng.uniform(0.1, 0.4, (4, 1, 1)),
        "dense": rng.normal(0, 0.05, (4 * after * after, WIDTH)),
        "bias": rng.normal(0, 1, WIDTH),
    }
    if scales:
        weights |= {"mean": np.array([127.5]), "factor": np.array([1 / 128])}
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    nodes, last = [], "input.1"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [last], ["first"], perm=[0, 3, 1, 2]))
        last = "first"
    if scales:
        nodes.append(helper.make_node("Sub", [last, "mean"], ["shifted"]))
        nodes.append(helper.make_node("Mul", ["shifted", "factor"], ["scaled"]))
        last = "scaled"
    nodes += [
        helper.make_node("Conv", [last, "kernel"], ["map"], strides=[8, 8]),
        helper.make_node("PRelu", ["map", "slope"], ["active"]),
        helper.make_node("Flatten", ["active"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "bias"], ["683"]),
    ]
    shape = [batch, side, side, 3] if channels_last else [batch, 3, side, side]
    graph = helper.make_graph(
        nodes,
        "arcface",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("683", TensorProto.FLOAT, [batch, WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return weights


def embeddings(pictures: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """What the network gives for pictures (b, side, side, 3) that are scaled, by NumPy alone."""
    count, side = pictures.shape[:2]
    x = pictures.astype(np.float64).transpose(0, 3, 1, 2)
    patches = x.reshape(count, 3, side // 8, 8, side // 8, 8)
    maps = np.einsum("bcyixj,ocij->boyx", patches, weights["kernel"].astype(np.float64))
    active = np.where(maps > 0, maps, maps * weights["slope"])
    return active.reshape(count, -1) @ weights["dense"] + weights["bias"]
