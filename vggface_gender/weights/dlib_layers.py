"""Layers of dlib's networks, from dlib's own serialized files to NumPy arrays.

What a layer writes is read off dlib's `dlib/dnn/layers.h`. A network is written without the types
of its layers: who reads one must know its architecture, and states it here layer by layer.
"""

import importlib.util
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.weights.dlib_serialized import Reader

INSTALL = "`pip install --force-reinstall face_recognition_models`"

MEAN = (122.782, 117.001, 104.298)  # of red, green and blue in [0, 255]

Arrays = dict[str, np.ndarray]
Layer = tuple[int, str, Callable[[Reader, str], Arrays]]  # wrapper's version, name, what reads it


def find(name: str) -> Path:
    """The path of one of dlib's files in the installed package `face_recognition_models`.

    Raises:
        InputError: the package isn't installed, or lacks the file.
    """
    # Located without importing it: the package needs `pkg_resources`, which setuptools dropped.
    package = importlib.util.find_spec("face_recognition_models")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise InputError(f"{name} not found: run {INSTALL}")


def network(
    file: Reader, layers: Iterable[Layer], *, read_input: Callable[[Reader], None]
) -> Arrays:
    """All layers of a network, with which the file has to end.

    Args:
        layers: input to output.
        read_input: reads what the file says of the input.
    """
    layers = list(layers)
    # A layer wraps those before it and writes its version ahead of them: the last one comes first.
    for version, what, _ in reversed(layers):
        file.expect(file.integer, f"version of {what}", version)
    read_input(file)
    arrays: Arrays = {}
    for _, what, read_details in layers:
        arrays |= read_details(file, what)
    file.finish()
    return arrays


def image(file: Reader, *, kind: str) -> None:
    """The input: its type, and `MEAN`."""
    file.expect(file.string, "type of the input", kind)
    for colour, mean in zip(("red", "green", "blue"), MEAN, strict=True):
        # dlib holds it in float32, so it equals the decimal number only once that is rounded alike.
        file.expect(file.floating, f"mean of {colour}", float(np.float32(mean)))


def conv(
    file: Reader,
    name: str,
    *,
    channels: int,
    filters: int,
    size: int,
    stride: int,
    is_first: bool = False,
) -> Arrays:
    """A convolution of `size` x `size`, padded by half of that only where its stride is 1.

    Args:
        channels: of its input.
        is_first: it takes the image.

    Returns:
        `NAME/kernel` (rows, columns, channels in, filters) and `NAME/bias` (filters,), float32.
    """
    shape = (filters, channels, size, size)
    padding = size // 2 if stride == 1 else 0
    file.expect(file.string, f"type of {name}", "con_4")
    parameters = file.tensor(f"weights of {name}", (math.prod(shape) + filters, 1, 1, 1))
    file.integers(name, filters=filters, rows=size, columns=size)
    file.integers(name, row_stride=stride, column_stride=stride)
    file.integers(name, row_padding=padding, column_padding=padding)
    file.alias(f"kernel of {name}", shape)
    file.alias(f"bias of {name}", (1, filters, 1, 1))
    file.multipliers(name)
    file.state(name, holds_input=is_first)
    kernel, bias = np.split(parameters, [math.prod(shape)])
    return {
        # dlib: filters, channels in, rows, columns. Keras: rows, columns, channels in, filters.
        # Neither flips the kernel (both compute the cross-correlation).
        f"{name}/kernel": np.ascontiguousarray(kernel.reshape(shape).transpose(2, 3, 1, 0)),
        f"{name}/bias": bias,
    }


def plain(file: Reader, name: str, *, kind: str) -> Arrays:
    """A layer that has nothing but its type, such as `relu_`."""
    file.expect(file.string, f"type of {name}", kind)
    file.state(name)
    return {}
