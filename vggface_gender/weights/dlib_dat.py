"""dlib's face-recognition ResNet, from dlib's own serialized file to NumPy arrays.

`dlib_face_recognition_resnet_model_v1.dat` (Davis E. King, public domain) maps a 150x150 RGB face
to 128 numbers that tell people apart: with 99.38% accuracy on Labeled Faces in the Wild, its author
reports. The PyPI package `face_recognition_models` carries it.

The format is read off dlib's sources: `dlib/dnn/core.h` (how layers nest), `dlib/dnn/layers.h` (a
layer's details); for numbers and tensors see `dlib_serialized`. A network is written without the
types of its layers, so the reader must know the architecture, which is that of dlib's
`tools/python/src/face_recognition.cpp`. Every number that the architecture fixes is compared with
what the file says.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from vggface_gender.weights import dlib_layers
from vggface_gender.weights.dlib_layers import INSTALL, Arrays, Layer, conv, image, network, plain
from vggface_gender.weights.dlib_serialized import Reader

NAME = "dlib_face_recognition_resnet_model_v1.dat"

# The architecture, for the reader here and for whoever builds the network.
SIZE = 150  # rows and columns of the input
STEM_FILTERS = 32  # of the 7x7 convolution with stride 2 that all begins with
GROUPS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))  # filters, residual blocks
# Name, filters and stride of every block: each group after the first begins by halving the map.
BLOCKS = tuple(
    (f"block_{group}_{block}", filters, 2 if group > 1 and block == 1 else 1)
    for group, (filters, count) in enumerate(GROUPS, start=1)
    for block in range(1, count + 1)
)
EMBEDDING = 128  # outputs


def find() -> Path:
    """The path of dlib's face ResNet in the installed package `face_recognition_models`.

    Raises:
        InputError: the package isn't installed, or lacks the file.
    """
    return dlib_layers.find(NAME)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read all weights of dlib's face ResNet, just as the file has them.

    Args:
        path: the file that `find` gives, or another of the same network.

    Returns:
        float32 arrays by name. For each of the 29 convolutions C, which are `stem_conv`,
        `block_1_1_conv1`, `block_1_1_conv2` and so on through `BLOCKS`: `C/kernel` (rows, columns,
        channels in, filters), `C/bias` (filters,), and of the affine layer behind it, which gives
        gamma x + beta, `C/gamma` and `C/beta` (filters,). Last, `embedding/kernel` (256, 128).

    Raises:
        InputError: the file can't be read, is cut short, goes on after its end, or is another one.
    """
    file = Reader(path, expected=NAME, remedy=f"{INSTALL} brings it")
    file.expect(file.integer, "version of the loss layer", 1)
    file.expect(file.string, "name of the loss", "loss_metric_2")
    file.floating("margin")
    file.floating("distance threshold")

    return network(file, _layers(), read_input=_read_input)


def _layers() -> Iterator[Layer]:
    """Every layer, input to output."""
    relu = partial(plain, kind="relu_")
    add = partial(plain, kind="add_prev_")
    channels = STEM_FILTERS
    first = partial(conv, channels=3, filters=channels, size=7, stride=2, is_first=True)
    yield 3, "stem_conv", first
    yield 2, "stem_conv", partial(_read_affine, channels=channels)
    yield 2, "stem_relu", relu
    yield 2, "stem_pool", partial(_read_pool, kind="max_pool_2", size=3, stride=2)

    for block, filters, stride in BLOCKS:
        conv1 = partial(conv, channels=channels, filters=filters, size=3, stride=stride)
        conv2 = partial(conv, channels=filters, filters=filters, size=3, stride=1)
        affine = partial(_read_affine, channels=filters)
        yield 1, f"{block}_input", _read_tag
        yield 2, f"{block}_conv1", conv1
        yield 2, f"{block}_conv1", affine
        yield 2, f"{block}_conv1_relu", relu
        yield 2, f"{block}_conv2", conv2
        yield 2, f"{block}_conv2", affine
        if stride == 2:
            yield 1, f"{block}_branch", _read_tag
            yield 1, f"{block}_skip", _read_tag
            yield 2, f"{block}_pool", partial(_read_pool, kind="avg_pool_2", size=2, stride=2)
        yield 2, f"{block}_add", add
        yield 2, f"{block}_relu", relu
        channels = filters

    # A size of 0 stands for the whole map.
    yield 2, "pooled", partial(_read_pool, kind="avg_pool_2", size=0, stride=1)
    yield 2, "embedding", partial(_read_dense, inputs=channels, outputs=EMBEDDING)


def _read_input(file: Reader) -> None:
    image(file, kind="input_rgb_image_sized")
    file.integers("the input", rows=SIZE, columns=SIZE)


def _read_affine(file: Reader, name: str, *, channels: int) -> Arrays:
    what = f"affine layer of {name}"
    file.expect(file.string, f"type of {what}", "affine_")
    parameters = file.tensor(f"weights of {what}", (2 * channels, 1, 1, 1))
    file.alias(f"gamma of {name}", (1, channels, 1, 1))
    file.alias(f"beta of {name}", (1, channels, 1, 1))
    file.integers(what, mode=0)  # one gamma and beta a channel, not a pixel
    file.state(what)
    gamma, beta = np.split(parameters, 2)
    return {f"{name}/gamma": gamma, f"{name}/beta": beta}


def _read_dense(file: Reader, name: str, *, inputs: int, outputs: int) -> Arrays:
    file.expect(file.string, f"type of {name}", "fc_2")
    file.integers(name, outputs=outputs, inputs=inputs)
    kernel = file.tensor(f"weights of {name}", (inputs, outputs, 1, 1))
    file.alias(f"kernel of {name}", (inputs, outputs, 1, 1))
    file.alias(f"bias of {name}", (0, 0, 0, 0))
    file.integers(name, bias_mode=1)  # no bias
    file.multipliers(name)
    file.state(name)
    return {f"{name}/kernel": kernel.reshape(inputs, outputs)}  # (in, out), as Keras has it


def _read_pool(file: Reader, name: str, *, kind: str, size: int, stride: int) -> Arrays:
    file.expect(file.string, f"type of {name}", kind)
    file.integers(name, rows=size, columns=size)
    file.integers(name, row_stride=stride, column_stride=stride)
    file.integers(name, row_padding=0, column_padding=0)
    file.state(name)
    return {}


def _read_tag(file: Reader, name: str) -> Arrays:
    return {}  # tags, and the skips that go back to them, write nothing but their version
