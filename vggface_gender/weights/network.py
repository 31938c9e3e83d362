"""A network as a list of layers and arrays, and the same network run in NumPy.

These are MatConvNet's terms: a fully connected layer is a convolution as large as its input, and
activations are layers of their own. Files of other frameworks are put into them, so that all are
compared with the published network, and checked, in one way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TYPES = ("conv", "relu", "pool", "dropout", "softmax")


@dataclass(frozen=True)
class Layer:
    """One layer without its weights. A fully connected layer is a `conv` as large as its input."""

    name: str
    type: str  # one of TYPES
    shape: tuple[int, ...] = ()  # conv: the kernel's (rows, columns, channels in, channels out)
    window: tuple[int, int] = (1, 1)  # pool: (rows, columns) over which the maximum is taken
    stride: tuple[int, int] = (1, 1)  # conv, pool: (down, across)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)  # conv, pool: (top, bottom, left, right)
    rate: float = 0.0  # dropout: the share of values set to zero in training

    @classmethod
    def from_json(cls, fields: dict) -> "Layer":
        """A layer from what JSON makes of `dataclasses.asdict`'s."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Network:
    """A network and every tensor of its file."""

    path: Path
    layers: tuple[Layer, ...]
    weights: dict[str, tuple[np.ndarray, np.ndarray]]  # by layer: kernel as `shape`, bias (out,)
    mean: np.ndarray  # subtracted from an image in [0, 255]: (1, 1, 3) or (rows, columns, 3)
    channels: str = "rgb"  # or "bgr": the order of an image's channels, and of the mean's
    identities: tuple[str, ...] = ()  # the classes' names, where the file has them
    left_out: tuple[str, ...] = ()  # what of the file is not kept, such as "conv1_1.momentum{1}"
    notes: tuple[str, ...] = ()  # for people: what the file was taken for, and why


def forward(network: Network, image: np.ndarray) -> Iterator[tuple[Layer, np.ndarray]]:
    """Run a network on one image by MatConvNet's own definitions, in float64 and in NumPy alone.

    Args:
        network: as a reader gives it.
        image: RGB in [0, 255], shape (rows, columns, 3).

    Yields:
        Each layer and what it gives in evaluation, shape (rows, columns, channels).
    """
    apply: dict[str, Callable[..., np.ndarray]] = {
        "conv": _conv,
        "relu": lambda x, *_: np.maximum(x, 0),
        "pool": _max_pool,
        "dropout": lambda x, *_: x,  # MatConvNet scales in training, so evaluation passes it on
        "softmax": _softmax,
    }
    x = image.astype(np.float64)
    x = (x[..., ::-1] if network.channels == "bgr" else x) - network.mean
    for layer in network.layers:
        x = apply[layer.type](x, layer, *network.weights.get(layer.name, ()))
        yield layer, x


def _conv(x: np.ndarray, layer: Layer, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """`vl_nnconv`: (rows, columns, in) to (rows, columns, out)."""
    # The kernel is not flipped. One of its positions at a time: all windows at once would be nine
    # copies of `x`, and fc6's kernel in float64 is 0.8 GB.
    windows = _windows(_padded(x, layer.pad, 0), kernel.shape[:2], layer.stride)
    products = (
        np.tensordot(windows[..., row, column], kernel[row, column].astype(np.float64), axes=1)
        for row, column in np.ndindex(kernel.shape[:2])
    )
    return bias + sum(products)


def _max_pool(x: np.ndarray, layer: Layer) -> np.ndarray:
    """`vl_nnpool`: the maximum of every window."""
    return _windows(_padded(x, layer.pad, -np.inf), layer.window, layer.stride).max(axis=(-2, -1))


def _softmax(x: np.ndarray, _: Layer) -> np.ndarray:
    """`vl_nnsoftmax`: over the channels."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _padded(x: np.ndarray, pad: tuple[int, int, int, int], value: float) -> np.ndarray:
    """A map with more rows and columns, filled with a value."""
    top, bottom, left, right = pad
    return np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=value)


def _windows(x: np.ndarray, window: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    """A view of all windows: (rows, columns, channels, window's rows, window's columns)."""
    every = np.lib.stride_tricks.sliding_window_view(x, window, axis=(0, 1))
    return every[:: stride[0], :: stride[1]]


def times(shape: tuple[int, ...]) -> str:
    """A shape as text: (3, 3, 64, 64) is "3x3x64x64"."""
    return "x".join(str(side) for side in shape)
