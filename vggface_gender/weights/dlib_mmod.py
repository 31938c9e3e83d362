"""dlib's CNN face detector, from dlib's own serialized file to NumPy arrays.

`mmod_human_face_detector.dat` (Davis E. King, public domain) is a convolutional network that slides
a window of 80 pixels over an image pyramid, trained by max-margin object detection (D. E. King,
arXiv:1502.00046; http://blog.dlib.net/2016/10/easily-create-high-quality-object.html). The PyPI
package `face_recognition_models` carries it.

The format is read off dlib's sources: `dlib/dnn/loss.h` (the detector's options), `dlib/dnn/core.h`
(how layers nest), `dlib/dnn/layers.h` (a layer's details), `dlib/dnn/input.h` (the pyramid); for
numbers and tensors see `dlib_serialized`. The architecture is that of dlib's
`tools/python/src/cnn_face_detector.cpp`. Every number that it fixes is compared with what the file
says. The file was written in training: where dlib then computes with affine layers, it has batch
normalization.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggface_gender.weights import dlib_layers
from vggface_gender.weights.dlib_layers import INSTALL, Arrays, Layer
from vggface_gender.weights.dlib_serialized import Reader

NAME = "mmod_human_face_detector.dat"

# The architecture, for the reader here and for whoever builds the network.
EPSILON = 1e-4  # what batch normalization adds to the variance
# Name, filters, size and stride of each convolution; one that halves the map has no padding.
CONVOLUTIONS = (
    *((f"down_{number}", filters, 5, 2) for number, filters in ((1, 16), (2, 32), (3, 32))),
    *((f"conv_{number}", 45, 5, 1) for number in (1, 2, 3)),
    ("score", 1, 9, 1),  # the last, which has neither normalization nor ReLU behind it
)


class Detector(NamedTuple):
    """A network and what its scores mean."""

    # Of each convolution C of `CONVOLUTIONS` `C/kernel` (rows, columns, channels in, filters) and
    # `C/bias` (filters,); of the batch normalization behind all but the last `C/gamma`, `C/beta`,
    # `C/mean` and `C/variance` (filters,). float32.
    arrays: Arrays
    window: tuple[int, int]  # width and height in pixels of what a score is of
    overlap: float  # intersection over union above which the weaker of two windows is dropped


def find() -> Path:
    """The path of dlib's CNN face detector in the installed package `face_recognition_models`.

    Raises:
        InputError: the package isn't installed, or lacks the file.
    """
    return dlib_layers.find(NAME)


def read(path: str | os.PathLike) -> Detector:
    """Read dlib's CNN face detector.

    Args:
        path: the file that `find` gives, or another of the same network.

    Raises:
        InputError: the file can't be read, is cut short, goes on after its end, or is another one.
    """
    file = Reader(path, expected=NAME, remedy=f"{INSTALL} brings it")
    window, overlap = _read_options(file)
    # Of the input, files of this name say nothing of the gaps in the tiled pyramid: they are dlib's
    # first ones.
    read_input = partial(dlib_layers.image, kind="input_rgb_image_pyramid")
    arrays = dlib_layers.network(file, _layers(), read_input=read_input)
    return Detector(arrays, window, overlap)


def _read_options(file: Reader) -> tuple[tuple[int, int], float]:
    """The window and the overlap of a detector that has one window."""
    file.expect(file.integer, "version of the loss layer", 1)
    file.expect(file.string, "name of the loss", "loss_mmod_")
    # In this version there is one window, and no bounding-box regression.
    file.expect(file.integer, "version of the detector's options", 1)
    width = file.within(file.integer, "width of the window", 1, 1000)
    height = file.within(file.integer, "height of the window", 1, 1000)
    for what in ("loss of a false alarm", "loss of a miss", "overlap with the truth"):
        file.floating(what)  # for training alone
    overlap = file.within(file.floating, "overlap of two windows", 0, 1)
    # Above a share of 1 that is covered nothing can be: the overlap alone counts.
    file.expect(file.floating, "share of a window that another covers", 1.0)
    for what in ("overlap", "share"):
        file.floating(f"{what} of windows that training ignores")
    return (int(width), int(height)), float(overlap)


def _layers() -> Iterator[Layer]:
    """Every layer, input to output."""
    channels = 3
    for name, filters, size, stride in CONVOLUTIONS:
        is_first = name == CONVOLUTIONS[0][0]
        conv = partial(
            dlib_layers.conv,
            channels=channels,
            filters=filters,
            size=size,
            stride=stride,
            is_first=is_first,
        )
        yield 3 if is_first else 2, name, conv
        if name != CONVOLUTIONS[-1][0]:
            yield 2, name, partial(_read_normalization, channels=filters)
            yield 2, f"{name}_relu", partial(dlib_layers.plain, kind="relu_")
        channels = filters


def _read_normalization(file: Reader, name: str, *, channels: int) -> Arrays:
    what = f"normalization of {name}"
    shape = (1, channels, 1, 1)
    file.expect(file.string, f"type of {what}", "bn_con2")
    parameters = file.tensor(f"weights of {what}", (2 * channels, 1, 1, 1))
    file.alias(f"gamma of {name}", shape)
    file.alias(f"beta of {name}", shape)
    file.tensor(f"last batch's means of {what}", shape)
    file.tensor(f"last batch's inverse deviations of {what}", shape)
    mean = file.tensor(f"means of {what}", shape)
    variance = file.within(
        partial(file.tensor, shape=shape), f"variances of {what}", 0, float("inf")
    )
    for which in ("updates", "window"):  # of the running means, for training alone
        file.integer(f"{which} of {what}")
    file.multipliers(what)
    file.expect(file.floating, f"epsilon of {what}", EPSILON)
    file.state(what)
    gamma, beta = np.split(parameters, 2)
    found = {"gamma": gamma, "beta": beta, "mean": mean, "variance": np.asarray(variance)}
    return {f"{name}/{part}": array for part, array in found.items()}
