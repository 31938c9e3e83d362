"""dlib's networks written as dlib writes them, for tests.

The writer follows dlib's C++ layer by layer and shares nothing with the reader: what it makes of
the arrays read must be the file itself, byte for byte, so no number in it is lost or misplaced.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vggface_gender.base.errors import InputError


def integer(value: int) -> bytes:
    """A control byte, then the magnitude."""
    magnitude = abs(value).to_bytes(max(1, -(-abs(value).bit_length() // 8)), "little")
    return bytes([len(magnitude) | (0x80 if value < 0 else 0)]) + magnitude


def integers(*values: int) -> bytes:
    return b"".join(map(integer, values))


def string(text: str) -> bytes:
    return integer(len(text)) + text.encode()


def floating(value: float, digits: int) -> bytes:
    """`digits` is the type's mantissa in bits. dlib drops up to eight empty bytes of it."""
    fraction, exponent = math.frexp(value)
    mantissa, exponent = int(fraction * 2**digits), exponent - digits
    for _ in range(8):
        if mantissa % 256 == 0:
            mantissa, exponent = mantissa // 256, exponent + 8
    return integers(mantissa, exponent)


def tensor(data: np.ndarray, shape: tuple[int, ...]) -> bytes:
    return integers(2, *shape) + data.astype("<f4").tobytes()


EMPTY = integers(2, 0, 0, 0, 0)
# Set up? Gradient stale? Output given up, since the relu that follows works in place?
_STATE = b"110" + 3 * EMPTY
_STATE_IN_PLACE = b"111" + 3 * EMPTY
_MULTIPLIERS = b"".join(floating(rate, 53) for rate in (1, 1, 1, 0))


def _convolution(arrays: dict[str, np.ndarray], name: str, stride: int) -> bytes:
    kernel = arrays[f"{name}/kernel"].transpose(3, 2, 0, 1)  # to filters, channels, rows, columns
    filters, _, size, _ = kernel.shape
    bias, gamma, beta = (arrays[f"{name}/{part}"] for part in ("bias", "gamma", "beta"))
    padding = size // 2 if stride == 1 else 0
    weights = np.concatenate([kernel.ravel(), bias])
    alias = integers(1, 1, filters, 1, 1)
    return b"".join(
        [
            string("con_4") + tensor(weights, (weights.size, 1, 1, 1)),
            integers(filters, size, size, stride, stride, padding, padding),
            integers(1, *kernel.shape) + alias + _MULTIPLIERS + _STATE,
            integer(1) if name == "stem_conv" else b"",
            string("affine_") + tensor(np.concatenate([gamma, beta]), (2 * filters, 1, 1, 1)),
            2 * alias + integer(0) + (_STATE if name.endswith("conv2") else _STATE_IN_PLACE),
        ]
    )


def _pool(kind: str, size: int, stride: int) -> bytes:
    return string(kind) + integers(size, size, stride, stride, 0, 0) + _STATE


def encode(arrays: dict[str, np.ndarray]) -> bytes:
    """The file that dlib would write for these weights."""
    relu = string("relu_") + _STATE
    add = string("add_prev_") + _STATE_IN_PLACE
    plain, halving = [1, 2, 2, 2, 2, 2, 2, 2], [1, 2, 2, 2, 2, 2, 1, 1, 2, 2, 2]
    versions, body = [3, 2, 2, 2], []
    for group, count in enumerate((3, 4, 3, 3, 1), start=1):
        for block in range(1, count + 1):
            name, stride = f"block_{group}_{block}", 2 if group > 1 and block == 1 else 1
            body += [_convolution(arrays, f"{name}_conv1", stride), relu]
            body += [_convolution(arrays, f"{name}_conv2", 1)]
            body += [_pool("avg_pool_2", 2, 2)] if stride == 2 else []
            body += [add, relu]
            versions += halving if stride == 2 else plain
    versions += [2, 2]
    kernel = arrays["embedding/kernel"]
    return b"".join(
        [
            integer(1) + string("loss_metric_2"),
            floating(np.float32(0.04), 24) + floating(np.float32(0.6), 24),
            integers(*reversed(versions)),
            string("input_rgb_image_sized"),
            *(floating(np.float32(mean), 24) for mean in (122.782, 117.001, 104.298)),
            integers(150, 150),
            _convolution(arrays, "stem_conv", 2) + relu + _pool("max_pool_2", 3, 2),
            *body,
            _pool("avg_pool_2", 0, 1),
            string("fc_2") + integers(128, 256) + tensor(kernel, (256, 128, 1, 1)),
            integers(1, 256, 128, 1, 1)
            + integers(1, 0, 0, 0, 0)
            + integer(1)
            + _MULTIPLIERS
            + _STATE,
        ]
    )


MMOD = (("down_1", 2), ("down_2", 2), ("down_3", 2), ("conv_1", 1), ("conv_2", 1), ("conv_3", 1))


def _normalized(arrays: dict[str, np.ndarray], name: str, stride: int) -> bytes:
    """A convolution of the face detector and the batch normalization behind it."""
    parts = ("gamma", "beta", "mean", "variance")
    gamma, beta, mean, variance = (arrays[f"{name}/{part}"] for part in parts)
    shape = (1, gamma.size, 1, 1)
    unused = tensor(np.zeros(gamma.size), shape)  # statistics of the last batch
    return b"".join(
        [
            _scored(arrays, name, stride),
            string("bn_con2") + tensor(np.concatenate([gamma, beta]), (2 * gamma.size, 1, 1, 1)),
            2 * integers(1, *shape) + 2 * unused + tensor(mean, shape) + tensor(variance, shape),
            integers(100, 100) + floating(1, 53) + floating(0, 53) + 2 * floating(1, 53),
            floating(1e-4, 53) + _STATE_IN_PLACE + string("relu_") + _STATE,
        ]
    )


def _scored(arrays: dict[str, np.ndarray], name: str, stride: int) -> bytes:
    """A convolution of the face detector."""
    kernel = arrays[f"{name}/kernel"].transpose(3, 2, 0, 1)
    filters, _, size, _ = kernel.shape
    padding = size // 2 if stride == 1 else 0
    weights = np.concatenate([kernel.ravel(), arrays[f"{name}/bias"]])
    return b"".join(
        [
            string("con_4") + tensor(weights, (weights.size, 1, 1, 1)),
            integers(filters, size, size, stride, stride, padding, padding),
            integers(1, *kernel.shape) + integers(1, 1, filters, 1, 1) + _MULTIPLIERS + _STATE,
            integer(1) if name == "down_1" else b"",
        ]
    )


def encode_mmod(
    arrays: dict[str, np.ndarray], window: tuple[int, int] = (80, 80), overlap: float = 0.25
) -> bytes:
    """The file that dlib would write for a face detector of these weights."""
    halves = 3 * [floating(0.5, 53)]
    return b"".join(
        [
            integer(1) + string("loss_mmod_") + integers(1, *window),
            2 * floating(1, 53) + halves[0] + floating(overlap, 53) + floating(1, 53),
            halves[1] + floating(1, 53) + integers(*18 * [2], 3),
            string("input_rgb_image_pyramid"),
            *(floating(np.float32(mean), 24) for mean in (122.782, 117.001, 104.298)),
            *(_normalized(arrays, name, stride) for name, stride in MMOD),
            _scored(arrays, "score", 1),
        ]
    )


def refusal(read: Callable[[Path], object], path: Path) -> tuple[int, str]:
    """The byte that `read`'s error names, and its text, which must be one line naming the file."""
    with pytest.raises(InputError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert "pip install" in text
    return int(re.search(r"byte (\d+),", text)[1]), text
