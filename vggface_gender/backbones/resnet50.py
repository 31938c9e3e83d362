"""ResNet-50 (He et al. 2015, https://arxiv.org/abs/1512.03385) as `keras.applications` builds it.

It comes without weights: it is trained from the start, or continues from a file of weights.
"""

import zipfile
from pathlib import Path

import keras
import numpy as np

from vggface_gender.command import InputError, first_line

SIZE = 224
# ImageNet's means of red, green and blue, which the "caffe" preprocessing subtracts.
MEANS = (123.68, 116.779, 103.939)


def load(weights: str | Path | None = None, size: int = SIZE) -> keras.Model:
    """The network up to its last map, from raw RGB crops; preprocessing is inside.

    Batch normalization's statistics move when the model is called with `training=True`.

    Args:
        weights: a `.weights.h5`, `.h5` or `.keras` file of this network's, with or without the
            layers that preprocess; None for random weights.
        size: rows and columns of the crops in pixels, from 32 up.

    Returns:
        A model from RGB crops (b, size, size, 3), uint8 or float32 in [0, 255], to
        (b, size / 32, size / 32, 2048), its layers named as in `keras.applications`.

    Raises:
        InputError: the file is not there, or its weights are not this network's.
    """
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    crop = keras.Input((size, size, 3), name="crop")
    # float32 under any precision: bfloat16 would round [0, 255] to steps of 1.
    x = keras.layers.Rescaling(
        1.0, [-mean for mean in MEANS], dtype="float32", name="subtract_mean"
    )(crop)
    # The order of the channels is a convolution of fixed weights, a layer that any Keras loads.
    swap = keras.layers.Conv2D(
        3, 1, use_bias=False, trainable=False, dtype="float32", name="to_bgr"
    )
    x = swap(x)
    swap.set_weights([np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)])
    model = _inline(network, crop, x)
    if weights is not None:
        _load_weights(model, network, Path(weights))
    return model


def _inline(network: keras.Model, crop: keras.KerasTensor, x: keras.KerasTensor) -> keras.Model:
    """The network's own layers after `x`, so that they can be named, frozen and cut one by one."""
    made = {id(network.input): x}
    for depth in sorted(network._nodes_by_depth, reverse=True):
        for node in network._nodes_by_depth[depth]:
            if isinstance(node.operation, keras.layers.InputLayer):
                continue
            inputs = [made[id(tensor)] for tensor in node.input_tensors]
            output = node.operation(inputs if len(inputs) > 1 else inputs[0])
            made[id(node.output_tensors[0])] = output
    return keras.Model(crop, made[id(network.output)], name="resnet50")


def _load_weights(model: keras.Model, network: keras.Model, path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a file of ResNet-50's weights")
    try:
        if path.suffix == ".keras":
            model.set_weights(keras.saving.load_model(path, compile=False).get_weights())
        elif path.name.endswith(".weights.h5"):
            try:
                model.load_weights(path)
            except ValueError:
                network.load_weights(path)
        else:
            network.load_weights(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not ResNet-50's weights without its classifier ({first_line(error)})"
        ) from None
