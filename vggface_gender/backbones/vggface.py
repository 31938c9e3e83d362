"""VGG-Face: the VGG-16 of Parkhi, Vedaldi and Zisserman, "Deep Face Recognition", BMVC 2015.

Its weights are the authors' to give: `SOURCE` holds them, and `vggface-gender convert` makes the
file that `load` reads.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import keras
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.weights.matconvnet import Layer, MatConvNet, times

PAGE = "https://www.robots.ox.ac.uk/~vgg/software/vgg_face/"
SOURCE = PAGE + "src/vgg_face_matconvnet.tar.gz"
PATH = Path("model_files/vggface.keras")

CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # a block each
SIZE = 224
DENSE = 4096
IDENTITIES = 2622
MEAN = (129.1863, 104.7624, 93.5940)  # RGB

OUTPUTS = ("pool5", "fc6", "fc7", "identities")

# A Caffe network rounds a pool's size up, which MatConvNet writes as this padding. It does nothing
# here, where every pool halves an even size.
_CEILING = (0, 1, 0, 1)
_IDENTITIES_FILE = "identities.txt"  # within the .keras file, which is a zip archive


def architecture(
    channels: Sequence[Sequence[int]] = CHANNELS,
    size: int = SIZE,
    dense: int = DENSE,
    identities: int = IDENTITIES,
    dropout: float | None = 0.5,
) -> tuple[Layer, ...]:
    """The network's layers in MatConvNet's terms: 39 of them, 37 with `dropout=None`.

    Args:
        channels: the convolutions' channels, a sequence a block; the network has five blocks.
        size: the input's side in pixels, a multiple of 32.
        dense: fc6's and fc7's channels.
        identities: fc8's channels.
        dropout: the rate after fc6 and fc7.
    """
    layers, depth = [], 3

    # Five blocks of 3x3 convolutions, each of which halves the sides.
    for block, widths in enumerate(channels, 1):
        for number, width in enumerate(widths, 1):
            layers.append(
                Layer(f"conv{block}_{number}", "conv", (3, 3, depth, width), pad=(1, 1, 1, 1))
            )
            layers.append(Layer(f"relu{block}_{number}", "relu"))
            depth = width
        layers.append(Layer(f"pool{block}", "pool", window=(2, 2), stride=(2, 2)))

    # Two hidden layers, fully connected: fc6 sees all of pool5.
    side = size >> len(channels)
    for number, shape in ((6, (side, side, depth, dense)), (7, (1, 1, dense, dense))):
        layers += [Layer(f"fc{number}", "conv", shape), Layer(f"relu{number}", "relu")]
        if dropout is not None:
            layers.append(Layer(f"dropout{number}", "dropout", rate=dropout))

    # One output an identity.
    layers += [Layer("fc8", "conv", (1, 1, dense, identities)), Layer("prob", "softmax")]
    return tuple(layers)


def build(
    channels: Sequence[Sequence[int]] = CHANNELS,
    output: str = "pool5",
    size: int = SIZE,
    mean: np.ndarray | Sequence[float] = MEAN,
    dense: int = DENSE,
    identities: int = IDENTITIES,
) -> keras.Model:
    """VGG-Face with random weights; named as in the published files, from conv1_1 to prob.

    It takes RGB in [0, 255], (batch, size, size, 3), and subtracts the mean itself. `output` is

    - `pool5`: (batch, size / 32, size / 32, channels), 7x7x512 at full size;
    - `fc6`, `fc7`: (batch, dense), after their ReLU, which is what the next layer sees;
    - `identities`: (batch, identities), probabilities.

    Args:
        channels, size, dense, identities: as for `architecture`.
        mean: RGB means, or an image (size, size, 3) of them.
    """
    layers = architecture(channels, size, dense, identities)
    return _model(layers, output, size, np.asarray(mean, np.float32))


def from_matconvnet(
    network: MatConvNet,
    output: str = "pool5",
    channels: Sequence[Sequence[int]] = CHANNELS,
    size: int = SIZE,
    dense: int = DENSE,
    identities: int = IDENTITIES,
) -> keras.Model:
    """The same model with a file's weights, mean and layer names.

    The arrays are taken out of `network.weights` on the way, so that a network of 580 MB is not
    held twice; what is left there belongs to the layers beyond `output`.

    Raises:
        InputError: the file's network is not the one described by the arguments.
    """
    dropout = 0.5 if any(layer.type == "dropout" for layer in network.layers) else None
    layers = _checked(network, architecture(channels, size, dense, identities, dropout))
    if output == "identities" and len(network.identities) != identities:
        raise InputError(
            f"{network.path}: classes: {len(network.identities)} names of identities;"
            f" expected fc8's {identities}"
        )

    # Zeros: to draw 145 million random numbers takes seconds and 0.8 GB, now and on every load.
    model = _model(layers, output, size, _mean(network, size), initializer="zeros")
    for layer in model.layers:
        if layer.weights:
            kernel, bias = network.weights.pop(layer.name)
            # Both frameworks keep (rows, columns, in, out) and correlate. A Dense kernel is the
            # same with (rows, columns, in) flattened in the order in which Flatten does.
            kernel = kernel.reshape(layer.kernel.shape)
            layer.set_weights([kernel, bias])
    beyond = {layer.name for layer in layers if layer.shape} - {
        layer.name for layer in model.layers
    }
    assert network.weights.keys() == beyond, f"left: {sorted(network.weights)}"
    return model


def save(model: keras.Model, path: Path, identities: Sequence[str] = ()) -> None:
    """Write a `.keras` file; where it gives identities, with their names in it."""
    model.save(path)
    if identities:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_IDENTITIES_FILE, "\n".join(identities))


def load(path: Path = PATH) -> keras.Model:
    """The converted network: RGB in [0, 255] to what it was converted to give (see `build`).

    Raises:
        InputError: the file is missing or damaged.
    """
    return keras.models.load_model(_converted(path), compile=False)


def identity_names(path: Path = PATH) -> tuple[str, ...]:
    """The names of a converted network's outputs; () where its outputs are features.

    Raises:
        InputError: the file is missing or damaged.
    """
    with zipfile.ZipFile(_converted(path)) as archive:
        if _IDENTITIES_FILE not in archive.namelist():
            return ()
        return tuple(archive.read(_IDENTITIES_FILE).decode().split("\n"))


def _model(
    layers: Sequence[Layer],
    output: str,
    size: int,
    mean: np.ndarray,
    initializer: str = "glorot_uniform",
) -> keras.Model:
    names = [layer.name for layer in layers]
    ends = (names.index("fc6"), names.index("fc6") + 2, names.index("fc7") + 2, len(layers))
    end = dict(zip(OUTPUTS, ends, strict=True))[output]

    image = keras.Input((size, size, 3), name="image")
    # In float32 whatever the precision: eight bits of mantissa do not hold a mean of 129.1863.
    x = keras.layers.Rescaling(1.0, (-mean).tolist(), name="normalization", dtype="float32")(image)
    for layer in layers[:end]:
        if layer.name == "fc6":
            x = keras.layers.Flatten(name="flatten")(x)
        x = _keras_layer(layer, initializer)(x)
    return keras.Model(image, x, name="vggface")


def _keras_layer(layer: Layer, initializer: str) -> keras.layers.Layer:
    match layer.type:
        case "conv" if layer.name.startswith("fc"):
            # Not a convolution as in the file: it computes the same, 4 times slower.
            return keras.layers.Dense(
                layer.shape[-1], kernel_initializer=initializer, name=layer.name
            )
        case "conv":
            return keras.layers.Conv2D(
                layer.shape[-1],
                layer.shape[:2],
                padding="same",
                kernel_initializer=initializer,
                name=layer.name,
            )
        case "relu":
            return keras.layers.ReLU(name=layer.name)
        case "pool":
            return keras.layers.MaxPooling2D(layer.window, layer.stride, name=layer.name)
        case "dropout":
            return keras.layers.Dropout(layer.rate, name=layer.name)
        case "softmax":
            return keras.layers.Softmax(name=layer.name, dtype="float32")


def _checked(network: MatConvNet, expected: Sequence[Layer]) -> list[Layer]:
    """The file's layers, once they are known to be the expected ones.

    Layers without weights may have names of their own, and dropout a rate of its own.
    """
    checked = []
    for found, wanted in zip_longest(network.layers, expected):
        if found is None:
            raise _not_vggface(network, wanted.name, "missing at the end", _described(wanted))
        if wanted is None:
            raise _not_vggface(network, found.name, _described(found), "no layer after the softmax")
        own_name = wanted.type in ("relu", "dropout", "softmax")
        if found.type != wanted.type or not (own_name or found.name == wanted.name):
            raise _not_vggface(
                network, wanted.name, f"{found.name}, {_described(found)}", _described(wanted)
            )
        if found.type == "pool" and found.pad == _CEILING:
            found = replace(found, pad=wanted.pad)
        if replace(found, name=wanted.name, rate=wanted.rate) != wanted:
            raise _not_vggface(network, found.name, _described(found), _described(wanted))
        checked.append(found)
    return checked


def _not_vggface(network: MatConvNet, layer: str, found: str, expected: str) -> InputError:
    return InputError(
        f"{network.path}: not VGG-Face: layer {layer}: found {found}; expected {expected}"
    )


def _described(layer: Layer) -> str:
    match layer.type:
        case "conv":
            return f"conv {times(layer.shape)}, stride {layer.stride}, pad {layer.pad}"
        case "pool":
            return f"pool {times(layer.window)}, stride {layer.stride}, pad {layer.pad}"
        case _:
            return layer.type


def _mean(network: MatConvNet, size: int) -> np.ndarray:
    """The file's mean as float32: (3,) where it is the same all over the image."""
    mean = network.mean.astype(np.float32)
    if mean.shape not in ((1, 1, 3), (size, size, 3)):
        raise InputError(
            f"{network.path}: averageImage is {times(mean.shape)};"
            f" expected 1x1x3 or {size}x{size}x3"
        )
    return mean[0, 0] if (mean == mean[0, 0]).all() else mean


def _converted(path: Path) -> Path:
    """`path`, once it is known to be a whole file."""
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no such file. It holds VGG-Face's weights, which are not ours to pass on:"
            f" read their licence at {PAGE}, download and unpack {SOURCE}, then run"
            " `vggface-gender convert --mat vgg_face_matconvnet/data/vgg_face.mat`"
        )
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path}: not a whole .keras file; write it again with `vggface-gender convert`"
        )
    return Path(path)
