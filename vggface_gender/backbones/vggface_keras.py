"""VGG-Face's weights as other projects have put them into Keras's files.

The files do not say in which order they take an image's channels, nor which mean is subtracted:
that is in the code of the projects that they come from. What is known of each is in `KNOWN`, found
by the names of the layers; for any other file the order has to be given.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggface_gender.backbones import vggface, vggface_file
from vggface_gender.base.errors import InputError
from vggface_gender.weights import keras_h5
from vggface_gender.weights.keras_h5 import KerasFile
from vggface_gender.weights.network import Layer, Network, times

CHANNELS = ("rgb", "bgr")


class Known(NamedTuple):
    """A project's files: how to recognize them, and how its code prepares an image for them."""

    name: str
    is_its: Callable[[KerasFile], bool]
    channels: str | None  # in the order of which the network takes an image; None: not known
    why: str


def _is_keras_vggface(file: KerasFile) -> bool:
    named = file.names[0] == "conv1_1" and all(kernel.ndim == 2 for kernel, _ in file.tensors[13:])
    return named and (file.layers is None or file.model == "vggface_vgg16")


def _is_deepface(file: KerasFile) -> bool:
    generic = all(re.fullmatch(r"(conv|convolution)2d(_\d+)?", name) for name in file.names)
    return generic and len(file.names) == 16 and all(k.ndim == 4 for k, _ in file.tensors)


def _is_keras_vgg16(file: KerasFile) -> bool:
    return file.names[0] == "block1_conv1"


KNOWN = (
    # rcmalli_vggface_tf_vgg16.h5 and rcmalli_vggface_tf_notop_vgg16.h5, "converted from original
    # caffe network" (README.md of github.com/rcmalli/keras-vggface). `preprocess_input` of its
    # keras_vggface/utils.py reverses RGB, then subtracts 93.5940, 104.7624, 129.1863 (version 1).
    Known(
        "keras-vggface's",
        _is_keras_vggface,
        "bgr",
        "its own preprocess_input turns RGB into BGR",
    ),
    # vgg_face_weights.h5: a Sequential model whose layers have no names, fully connected layers as
    # convolutions (deepface/basemodels/VGGFace.py of github.com/serengil/deepface). Its author
    # describes the conversion from MatConvNet, which takes RGB
    # (https://sefiks.com/2019/07/15/how-to-convert-matlab-models-to-keras/), and says that images
    # are fed as RGB (issues 783 and 1262); issue 1457 finds RGB to be the better. Against it,
    # `normalize_input` of deepface/modules/preprocessing.py subtracts the means in BGR's order.
    Known(
        "deepface's",
        _is_deepface,
        "rgb",
        "its author says so, though not all of its code agrees; --channels bgr takes it the other"
        " way",
    ),
    # The names of keras.applications.VGG16, whose weights are ImageNet's, with another mean.
    Known(
        "of Keras's VGG16, which may be ImageNet's and not VGG-Face's",
        _is_keras_vgg16,
        None,
        "",
    ),
)


def read(
    path: Path, *, channels: str | None = None, mean: Sequence[float] | None = None
) -> Network:
    """VGG-Face from a Keras file (see `keras_h5`), in MatConvNet's terms.

    Args:
        path: `.h5`, `.weights.h5` or `.keras`.
        channels: "rgb" or "bgr", the order in which the network takes an image's channels; None for
            that which is known of the file.
        mean: of red, green and blue, in this order, in [0, 255]; None for VGG-Face's own.

    Raises:
        InputError: the file is missing, damaged or another network, or `channels` is None and
            nothing is known of the file.
    """
    return network(keras_h5.read(path), channels=channels, mean=mean)


def network(
    file: KerasFile,
    *,
    channels: str | None = None,
    mean: Sequence[float] | None = None,
    blocks: Sequence[Sequence[int]] = vggface.CHANNELS,
    size: int = vggface.SIZE,
    dense: int = vggface.DENSE,
    identities: int = vggface.IDENTITIES,
) -> Network:
    """What `read` gives, from a file that is read already.

    A file of weights alone is taken for the published network up to its last weights; a whole
    model is taken by its own configuration.

    Args:
        channels, mean: as for `read`.
        blocks, size, dense, identities: as `channels`, ... of `vggface.build`.
    """
    path = file.path
    if not file.names:
        raise InputError(f"{path}: no weights in it; expected VGG-Face's")
    known = next((known for known in KNOWN if known.is_its(file)), None)
    order, note = _order(path, known, channels)
    if known and known.is_its is _is_keras_vgg16 and mean is None:
        raise InputError(
            f"{path}: the names are {known.name}: give the mean that goes with them, --mean"
            f" {_spaced(vggface.MEAN)} for VGG-Face's (ImageNet's is 123.68 116.779 103.939)"
        )
    published = vggface_file.architecture(blocks, size, dense=dense, identities=identities)
    layers = _published(file, published) if file.layers is None else file.layers
    places = [layer for layer in layers if layer.shape]
    rgb = np.asarray(vggface.MEAN if mean is None else mean, np.float64).reshape(1, 1, 3)
    return Network(
        path=file.path,
        layers=tuple(layers),
        weights={
            layer.name: (kernel.reshape(layer.shape), bias)
            for layer, (kernel, bias) in zip(places, file.tensors, strict=True)
        },
        mean=rgb[..., ::-1] if order == "bgr" else rgb,
        channels=order,
        left_out=file.left_out,
        notes=(note,),
    )


def _order(path: Path, known: Known | None, channels: str | None) -> tuple[str, str]:
    """The order of the channels, and a line about it."""
    its = f"the layers' names are {known.name}" if known else "no known file's names"
    if channels is not None:
        note = f"{path}: {its}; channels taken as {channels}, as given"
        if known and known.channels not in (None, channels):
            note += f" (known of it: {known.channels}, as {known.why})"
        return channels, note
    if known is None or known.channels is None:
        raise InputError(
            f"{path}: {its}: say in which order the network takes the colours, --channels rgb (as"
            " MatConvNet's) or --channels bgr (as Caffe's)"
        )
    return known.channels, f"{path}: {its}; channels taken as {known.channels}, as {known.why}"


def _published(file: KerasFile, published: Sequence[Layer]) -> list[Layer]:
    """The published layers up to the last that a file of weights alone has, with its shapes."""
    weighted = [layer for layer in published if layer.shape]
    convolutions = [layer for layer in weighted if layer.name.startswith("conv")]
    if len(file.names) not in (len(convolutions), len(weighted)):
        raise InputError(
            f"{file.path}: {len(file.names)} layers with weights; expected {len(convolutions)}"
            f" (VGG-Face up to pool5) or {len(weighted)} (all of it)"
        )
    layers: list[Layer] = []
    stored = iter(zip(file.names, file.tensors, strict=True))
    for layer in published:
        if layer.shape:
            found = next(stored, None)
            if found is None:  # pool5 was the last
                break
            name, (kernel, _) = found
            layer = _shaped(layer, kernel.shape, f"{file.path}: layer {name}")
            if re.fullmatch(r"conv\d_\d|fc\d", name) and name != layer.name:
                raise InputError(
                    f"{file.path}: weights of {name} where {layer.name}'s are expected; the order"
                    " of its layers is not VGG-Face's"
                )
        layers.append(layer)
    return layers


def _shaped(layer: Layer, shape: tuple[int, ...], where: str) -> Layer:
    """A published layer, once a stored kernel is known to be as large."""
    # A dense layer's two axes are a convolution's four, the first three flattened.
    if shape not in (layer.shape, (math.prod(layer.shape[:3]), layer.shape[3])):
        raise InputError(
            f"{where}: not VGG-Face: found a kernel {times(shape)}; expected {layer.name}'s"
            f" {times(layer.shape)}"
        )
    return layer


def _spaced(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
