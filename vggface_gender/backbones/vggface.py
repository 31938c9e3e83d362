"""VGG-Face: the VGG-16 of Parkhi, Vedaldi and Zisserman, "Deep Face Recognition", BMVC 2015.

Its weights are the authors' to give: `SOURCE` holds them, and `vggface-gender convert` makes the
file that `load` reads.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from vggface_gender.backbones import vggface_file
from vggface_gender.base import networks
from vggface_gender.base.errors import InputError
from vggface_gender.weights.network import Network

PAGE, SOURCE, PATH = networks.PAGE, networks.SOURCE, networks.VGGFACE

CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # a block each
SIZE = 224
DENSE = 4096
IDENTITIES = 2622
MEAN = (129.1863, 104.7624, 93.5940)  # RGB

# What a network can give, and the published name of the last layer of each.
LAST = {"pool5": "pool5", "fc6": "relu6", "fc7": "relu7", "identities": "prob"}
OUTPUTS = tuple(LAST)

# Layers before the first convolution that leave pixels as they are.
_UNCHANGED = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Resizing)

# Within the .keras file, which is a zip archive; until version 0.1, a name a line of a .txt.
_IDENTITIES_FILE = "identities.json"
_IDENTITIES_LINES = "identities.txt"


def build(
    channels: Sequence[Sequence[int]] = CHANNELS,
    output: str = "pool5",
    *,
    size: int = SIZE,
    mean: np.ndarray | Sequence[float] = MEAN,
    dense: int = DENSE,
    identities: int = IDENTITIES,
    has_dropout: bool = True,
    initializer: str = "glorot_uniform",
) -> keras.Model:
    """VGG-Face with random weights; layers are named as in the published files.

    Args:
        channels: the channels of the convolutions of each of the five blocks: 2, 2, 3, 3 and 3.
        output: what the model gives:
            `pool5` (b, size / 32, size / 32, channels), 7x7x512 at full size;
            `fc6`, `fc7` (b, dense), after their ReLU, which is what the next layer sees;
            `identities` (b, identities), probabilities.
        size: rows and columns of the crops in pixels, a multiple of 32.
        mean: RGB means, or an image (size, size, 3) of them, in [0, 255].
        dense: units of fc6 and fc7.
        identities: classes.
        has_dropout: whether dropout follows fc6 and fc7, as in training; it changes no prediction.
        initializer: of the kernels; "zeros" where a file's weights replace them.

    Returns:
        A model from RGB crops (b, size, size, 3), uint8 or float32 in [0, 255]; it subtracts the
        mean itself. Layers beyond `output` are not made.

    Raises:
        ValueError: `output` is none of `OUTPUTS`.
    """
    if output not in OUTPUTS:
        raise ValueError(f"{output} is none of VGG-Face's outputs: {', '.join(OUTPUTS)}")

    def convolve(x: keras.KerasTensor, place: str, width: int) -> keras.KerasTensor:
        """A 3x3 convolution that keeps rows and columns, and its ReLU."""
        x = keras.layers.Conv2D(
            width, 3, padding="same", kernel_initializer=initializer, name=f"conv{place}"
        )(x)
        return keras.layers.ReLU(name=f"relu{place}")(x)

    def halve(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The maximum of every 2x2 pixels."""
        return keras.layers.MaxPooling2D(2, strides=2, name=name)(x)

    def connect(x: keras.KerasTensor, name: str, units: int) -> keras.KerasTensor:
        # A convolution as large as its input in the file: Dense computes the same 4 times faster.
        return keras.layers.Dense(units, kernel_initializer=initializer, name=name)(x)

    def model(x: keras.KerasTensor) -> keras.Model:
        return keras.Model(image, x, name="vggface")

    # The shapes beside are those at full size.
    block1, block2, block3, block4, block5 = channels

    # Preprocessing, in float32 under any precision: bfloat16 does not hold a mean of 129.1863.
    image = keras.Input((size, size, 3), name="image")
    offset = (-np.asarray(mean, np.float32)).tolist()
    x = keras.layers.Rescaling(1.0, offset, name="normalization", dtype="float32")(image)

    # Block 1: two convolutions.
    x = convolve(x, "1_1", block1[0])  # (b, 224, 224, 64)
    x = convolve(x, "1_2", block1[1])
    x = halve(x, "pool1")  # (b, 112, 112, 64)

    # Block 2: two convolutions.
    x = convolve(x, "2_1", block2[0])  # (b, 112, 112, 128)
    x = convolve(x, "2_2", block2[1])
    x = halve(x, "pool2")  # (b, 56, 56, 128)

    # Block 3: three convolutions.
    x = convolve(x, "3_1", block3[0])  # (b, 56, 56, 256)
    x = convolve(x, "3_2", block3[1])
    x = convolve(x, "3_3", block3[2])
    x = halve(x, "pool3")  # (b, 28, 28, 256)

    # Block 4: three convolutions.
    x = convolve(x, "4_1", block4[0])  # (b, 28, 28, 512)
    x = convolve(x, "4_2", block4[1])
    x = convolve(x, "4_3", block4[2])
    x = halve(x, "pool4")  # (b, 14, 14, 512)

    # Block 5: three convolutions.
    x = convolve(x, "5_1", block5[0])  # (b, 14, 14, 512)
    x = convolve(x, "5_2", block5[1])
    x = convolve(x, "5_3", block5[2])
    x = halve(x, "pool5")  # (b, 7, 7, 512)
    if output == "pool5":
        return model(x)

    # First hidden layer: it sees all of pool5.
    x = keras.layers.Flatten(name="flatten")(x)  # (b, 25088)
    x = connect(x, "fc6", dense)  # (b, 4096)
    x = keras.layers.ReLU(name="relu6")(x)
    if output == "fc6":
        return model(x)

    # Second hidden layer.
    if has_dropout:
        x = keras.layers.Dropout(0.5, name="dropout6")(x)
    x = connect(x, "fc7", dense)  # (b, 4096)
    x = keras.layers.ReLU(name="relu7")(x)
    if output == "fc7":
        return model(x)

    # One output an identity.
    if has_dropout:
        x = keras.layers.Dropout(0.5, name="dropout7")(x)
    x = connect(x, "fc8", identities)  # (b, 2622)
    x = keras.layers.Softmax(name="prob", dtype="float32")(x)
    return model(x)


def from_network(
    network: Network,
    output: str = "pool5",
    *,
    channels: Sequence[Sequence[int]] = CHANNELS,
    size: int = SIZE,
    dense: int = DENSE,
    identities: int = IDENTITIES,
) -> keras.Model:
    """The same model with a file's weights, mean and layer names; it takes RGB in any case.

    The arrays are taken out of `network.weights` on the way, so that a network of 580 MB is not
    held twice; what is left there belongs to the layers beyond `output`.

    Raises:
        InputError: the file's network is not the one described by the arguments.
    """
    has_dropout = any(layer.type == "dropout" for layer in network.layers)
    expected = vggface_file.architecture(
        channels, size, dense=dense, identities=identities, has_dropout=has_dropout
    )
    matched = vggface_file.match(network, expected, last=LAST[output])
    if output == "identities" and len(network.identities) not in (0, identities):
        raise InputError(
            f"{network.path}: classes: {len(network.identities)} names of identities;"
            f" expected fc8's {identities}"
        )

    model = build(
        channels,
        output,
        size=size,
        mean=vggface_file.mean(network, size),
        dense=dense,
        identities=identities,
        has_dropout=has_dropout,
        # To draw 145 million random numbers takes seconds and 0.8 GB, now and on every load.
        initializer="zeros",
    )

    def as_in_file(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if layer.name in matched:
            config["name"] = matched[layer.name].name
        if isinstance(layer, keras.layers.Dropout):
            config["rate"] = matched[layer.name].rate
        return type(layer).from_config(config)

    if any(layer != matched.get(layer.name, layer) for layer in expected):
        model = keras.models.clone_model(model, clone_function=as_in_file)
    _assign(model, network)
    return model


def save(model: keras.Model, path: Path, *, identities: Sequence[str] = ()) -> None:
    """Write a `.keras` file; where it gives identities, with their names in it."""
    model.save(path)
    if identities:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_IDENTITIES_FILE, json.dumps(list(identities)))


def load(path: Path = PATH) -> keras.Model:
    """The converted network: RGB in [0, 255] to what it was converted to give (see `build`).

    Raises:
        InputError: the file is missing or damaged.
    """
    return keras.models.load_model(networks.converted(path), compile=False)


def has_its_convolutions(model: keras.Model) -> bool:
    """Whether a model begins with VGG-Face's convolutions at full size, whatever it is called."""
    kernels = [layer.kernel.shape for layer in _flat(model) if hasattr(layer, "kernel")]
    widths = [width for block in CHANNELS for width in block]
    shapes = zip((3, *widths[:-1]), widths, strict=True)
    return [tuple(shape) for shape in kernels[: len(widths)]] == [(3, 3, *pair) for pair in shapes]


def takes_no_preprocessing(model: keras.Model) -> bool:
    """Whether a model's first convolution sees the crops' pixels as they are."""
    for operation in _flat(model):
        if isinstance(operation, keras.layers.Conv2D):
            return True
        if not isinstance(operation, _UNCHANGED):
            return False
    return False


def identity_names(path: Path = PATH) -> tuple[str, ...]:
    """The names of a converted network's outputs; () where its outputs are features.

    Raises:
        InputError: the file is missing or damaged.
    """
    with zipfile.ZipFile(networks.converted(path)) as archive:
        if _IDENTITIES_FILE in archive.namelist():
            return tuple(json.loads(archive.read(_IDENTITIES_FILE)))
        if _IDENTITIES_LINES in archive.namelist():
            return tuple(archive.read(_IDENTITIES_LINES).decode().split("\n"))
        return ()


def _flat(model: keras.Model) -> Iterator[keras.Operation]:
    """A model's layers and operations in order, those of models within it among them."""
    for operation in getattr(model, "operations", model.layers):
        if isinstance(operation, keras.Model):
            yield from _flat(operation)
        else:
            yield operation


def _assign(model: keras.Model, network: Network) -> None:
    """Move a file's weights into a model whose layers have the file's names."""
    weighted = [layer for layer in model.layers if layer.weights]
    for layer in weighted:
        kernel, bias = network.weights.pop(layer.name)
        # No axis moves: both frameworks keep (rows, columns, in, out), and neither flips a kernel.
        # fc6's (7, 7, 512, 4096) becomes Dense's (25088, 4096): its first three axes are flattened
        # in the order in which Flatten does it to pool5's (7, 7, 512).
        # MATLAB's arrays are column-major, so this copies; the original is let go of (411 MB).
        kernel = kernel.reshape(layer.kernel.shape)
        if layer is weighted[0] and network.channels == "bgr":
            kernel = kernel[:, :, ::-1]
        layer.set_weights([kernel, bias])
