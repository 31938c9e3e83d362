"""ResNet-50, preprocessing inside.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016
(https://arxiv.org/abs/1512.03385). Topology and layer names are those of
`keras.applications.ResNet50`, so that its weight files fit. None is brought along: the network is
trained here from the start, or from a file of weights.

Its batch normalization keeps averages of the data that it was trained on. Whether they stay as they
are or move with new data is for whoever trains to say (a layer that is not trainable keeps them),
never for this file: from random weights they must move.
"""

import re
import warnings
from pathlib import Path

import keras

from vggface_gender.base.errors import InputError, first_line
from vggface_gender.weights import keras_h5

SIZE = 224
MIN_SIZE = 32  # halved five times, a smaller crop leaves nothing
MEAN = (123.68, 116.779, 103.939)  # ImageNet's, RGB


def load(weights: str | Path | None = None, size: int = SIZE) -> keras.Model:
    """The network (see `build`) with random weights, or those of a file.

    Args:
        weights: a `.weights.h5`; a whole model's `.h5` or a "notop" file of `keras.applications`;
            or a `.keras` file that has this network's layers by name, such as a classifier of this
            package. A top or head in a `.weights.h5` or `.keras` file is passed over.

    Raises:
        InputError: the file is missing, or not of this network; `size` is too small.
    """
    model = build(size)
    if weights is None:
        return model
    path = Path(weights)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give ResNet-50's weights, .weights.h5 or .keras")
    if path.suffix not in (".keras", ".h5"):
        raise InputError(f"{path}: expected a .weights.h5, .h5 or .keras file")
    try:
        keras_h5.check(path)
        with warnings.catch_warnings():
            # Over a file that doesn't fit Keras warns dozens of times before it raises.
            warnings.simplefilter("ignore", UserWarning)
            if path.suffix == ".keras":
                _assign(model, keras.saving.load_model(path, compile=False))
            else:
                model.load_weights(path)
    except Exception as error:  # what Keras and HDF5 raise over other files is of many kinds
        raise InputError(f"{path}: not the weights of ResNet-50: {_reason(error)}") from None
    return model


def build(size: int = SIZE) -> keras.Model:
    """The network with random weights, from crops to its last map.

    It takes RGB crops (b, size, size, 3), uint8 or float32 in [0, 255], and gives
    `conv5_block3_out`, (b, size / 32, size / 32, 2048) rounded up: 7x7 at 224. Preprocessing is
    what `keras.applications.resnet.preprocess_input` does: ImageNet's mean is subtracted, and the
    channels are turned to BGR.

    Args:
        size: rows and columns of the crops in pixels, from 32 up; the weights fit any.

    Raises:
        InputError: `size` is too small.
    """
    if size < MIN_SIZE:
        raise InputError(
            f"crops of {size} pixels are too small for ResNet-50: {MIN_SIZE} is its least"
        )
    image = keras.Input((size, size, 3), name="image")
    # In float32 whatever the precision: eight bits of mantissa do not hold a mean of 123.68.
    x = keras.layers.Rescaling(
        1.0, [-mean for mean in MEAN], name="normalization", dtype="float32"
    )(image)
    x = keras.ops.flip(x, axis=-1)
    network = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x)
    # Anew from the same layers, since that one takes a list of one image.
    return keras.Model(image, network.output, name="resnet50")


def _assign(model: keras.Model, source: keras.Model) -> None:
    """Give every variable the value of the one in `source` with its path, `layer/variable`.

    Raises:
        ValueError: `source` has no such variable, or one of another shape.
    """
    values = {variable.path: variable for variable in source.variables}
    for variable in model.variables:
        if variable.path not in values:
            raise ValueError(f"it has no {variable.path}")
        value = values[variable.path]
        if value.shape != variable.shape:
            raise ValueError(
                f"{variable.path} is {tuple(value.shape)}; expected {tuple(variable.shape)}"
            )
        variable.assign(value)


def _reason(error: Exception) -> str:
    """What did not match, in one line: Keras tells of a `.weights.h5` in pages."""
    text = str(error)
    layer = re.search(r"for object <\w+ name=([^,>]+)", text)
    if not layer:
        return first_line(error)
    shapes = re.search(r"\.shape=(\([\d, ]*\)), Received: value\.shape=(\([\d, ]*\))", text)
    if not shapes:
        return f"it has none that fit layer {layer[1]}"
    return f"layer {layer[1]} is {shapes[2]}; expected {shapes[1]}"
