"""Layers of dlib's networks, from dlib's own serialized files to NumPy arrays.

What a layer writes is read off dlib's `dlib/dnn/layers.h`. A network is written without the types
of its layers: who reads one must know its architecture, and states it here layer by layer.
"""

import importlib.util
import math
from pathlib import Path

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.weights.dlib_serialized import Reader

INSTALL = "`pip install --force-reinstall face_recognition_models`"

Arrays = dict[str, np.ndarray]


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
