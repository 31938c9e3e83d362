"""A TensorFlow.js graph model run in NumPy, operation by operation.

What the operations do is read off TensorFlow's documentation (`tf.nn.conv2d`,
`tf.nn.depthwise_conv2d` and, for the zeros around a map, "Notes on padding" of `tf.nn`). Only what
MobileNet (Howard et al. 2017, https://arxiv.org/abs/1704.04861) is made of is known.
"""

import base64
import graphlib
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from vggface_gender.base.errors import InputError, first_line
from vggface_gender.weights.network import times
from vggface_gender.weights.tfjs import Graph, Node


def forward(
    graph: Graph, given: Mapping[str, np.ndarray], *, last: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Run a graph by its operations' definitions, in float64 and in NumPy alone.

    Args:
        given: placeholders' values by name: an image (rows, columns, channels), without a batch.
        last: the node to end with; what it does not depend on is not run.

    Yields:
        Each node's name and what it gives, without the batch, in an order that the graph allows.

    Raises:
        InputError: a node is missing, depends on itself, is of an operation that is not known here,
            or does not fit what it is given.
    """
    values = {name: array.astype(np.float64) for name, array in given.items()}
    for name in _order(graph, last):
        if name in values:
            continue
        if name in graph.arrays:
            values[name] = graph.arrays[name].astype(np.float64)
            continue
        node = graph.nodes[name]
        where = f"{graph.path}: node {name} ({node.op})"
        if node.op not in _OPERATIONS:
            raise InputError(f"{where}: expected one of {', '.join(_OPERATIONS)}, or a weight")
        try:
            values[name] = _OPERATIONS[node.op](node, *(values[each] for each in node.inputs))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise InputError(f"{where}: does not fit its inputs ({first_line(error)})") from None
        yield name, values[name]


def _order(graph: Graph, last: str) -> list[str]:
    """The nodes that one depends on, itself included, each after those that it takes."""
    taken: dict[str, tuple[str, ...]] = {}
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name in taken:
            continue
        if name not in graph.nodes:
            raise InputError(f"{graph.path}: no node {name}; expected one in the graph")
        # A weight is a node too, without inputs.
        taken[name] = () if name in graph.arrays else graph.nodes[name].inputs
        waiting += taken[name]
    try:
        return list(graphlib.TopologicalSorter(taken).static_order())
    except graphlib.CycleError as error:
        raise InputError(f"{graph.path}: node {error.args[1][0]} depends on itself") from None


def _texts(node: Node, key: str) -> list[str]:
    """An attribute that is a text, or a list of texts: base64 in the file."""
    value = node.attributes.get(key, {})
    texts = value["list"].get("s", []) if "list" in value else [value["s"]]
    return [base64.b64decode(each).decode() for each in texts]


def _strides(node: Node) -> tuple[int, int]:
    """Down and across, of a convolution that nothing else is said of than this network needs."""
    whole = [int(each) for each in node.attributes["strides"]["list"]["i"]]
    dilations = node.attributes.get("dilations", {}).get("list", {}).get("i", [1])
    if _texts(node, "padding") != ["SAME"] or _texts(node, "data_format") != ["NHWC"]:
        raise ValueError("expected padding SAME, data_format NHWC")
    if len(whole) != 4 or min(whole) < 1 or {int(each) for each in dilations} != {1}:
        raise ValueError("expected four strides from 1 up, and no dilation")
    return whole[1], whole[2]


def _windows(x: np.ndarray, kernel: np.ndarray, strides: tuple[int, int]) -> np.ndarray:
    """All windows: (rows, columns, channels, kernel's rows, kernel's columns).

    As many as there are whole and broken strides; where zeros are missing for that, the odd one is
    added at the bottom and at the right, as TensorFlow's SAME has it.
    """
    pads = []
    for side, window, stride in zip(x.shape, kernel.shape, strides, strict=False):
        missing = max((math.ceil(side / stride) - 1) * stride + window - side, 0)
        pads.append((missing // 2, missing - missing // 2))
    padded = np.pad(x, (*pads, (0, 0)))
    every = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(0, 1))
    return every[:: strides[0], :: strides[1]]


def _conv(node: Node, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(rows, columns, in) under a kernel (rows, columns, in, out), which is not flipped."""
    windows = _windows(x, kernel, _strides(node))
    places = np.ndindex(*kernel.shape[:2])
    return sum(windows[..., row, column] @ kernel[row, column] for row, column in places)


def _depthwise(node: Node, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Each channel under its own kernel, out of (rows, columns, channels, 1)."""
    windows = _windows(x, kernel, _strides(node))
    if kernel.shape[2:] != (x.shape[-1], 1):
        raise ValueError(f"expected a kernel of {x.shape[-1]} channels and one output of each")
    places = np.ndindex(*kernel.shape[:2])
    return sum(windows[..., row, column] * kernel[row, column, :, 0] for row, column in places)


def _dense(node: Node, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """x kernel + bias, and what is fused with it."""
    fused = _texts(node, "fused_ops")
    if fused not in (["BiasAdd"], ["BiasAdd", "Relu"]):
        raise ValueError(f"expected BiasAdd, or BiasAdd and Relu, in place of {fused}")
    y = x @ kernel + bias
    return np.maximum(y, 0) if "Relu" in fused else y


def _mean(node: Node, x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Over rows and columns, which are axes 1 and 2 of a batch."""
    if sorted(axes.ravel().tolist()) != [1, 2] or x.ndim != 3:
        raise ValueError("expected the mean over rows and columns")
    return x.mean(axis=(0, 1))


def _elementwise(function: np.ufunc) -> Callable[..., np.ndarray]:
    """An operation of a map and a number, or a number a channel."""

    def apply(node: Node, x: np.ndarray, other: np.ndarray) -> np.ndarray:
        if other.shape not in ((), x.shape[-1:], x.shape):  # else the result could be any size
            raise ValueError(f"{times(x.shape)} and {times(other.shape)}")
        return function(x, other)

    return apply


_OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "_FusedMatMul": _dense,
    "Mean": _mean,
    "Add": _elementwise(np.add),
    "AddV2": _elementwise(np.add),
    "BiasAdd": _elementwise(np.add),
    "Mul": _elementwise(np.multiply),
    "Minimum": _elementwise(np.minimum),
    "Maximum": _elementwise(np.maximum),
    "Relu": lambda node, x: np.maximum(x, 0),
    "Identity": lambda node, x: x,
}
