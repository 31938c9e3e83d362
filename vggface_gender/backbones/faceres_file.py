"""FaceRes in its TensorFlow.js file: which weights it has, and what its own graph gives.

The graph is run as the file has it, by `tfjs_graph`, so that what Keras computes is compared with
the published network, not with what is taken for it here.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from vggface_gender.backbones import faceres
from vggface_gender.base.errors import InputError
from vggface_gender.weights import tfjs_graph
from vggface_gender.weights.network import Layer, times
from vggface_gender.weights.tfjs import Graph

INPUT = "input_1"  # BGR minus the mean
LEFT_OUT = ("gender_pred", "age_pred")  # its heads


def layers(
    *,
    stem: int = faceres.STEM,
    blocks: Sequence[tuple[int, int]] = faceres.BLOCKS,
    embedding: int = faceres.EMBEDDING,
) -> dict[Layer, str]:
    """The layers by Keras's names with the kernels' shapes, and the file's node of each's output.

    Args:
        stem, blocks, embedding: as for `faceres.build`.
    """
    relu = "{}_relu/clip_by_value"
    found = {
        Layer("conv1", "conv", (3, 3, 3, stem)): "conv1_bn/batchnorm_1/add_1",
        Layer("conv1_relu", "relu6"): relu.format("conv1"),
    }
    channels = stem
    for number, (filters, _) in enumerate(blocks, start=1):
        kinds = (
            (f"conv_dw_{number}", "depthwise", (3, 3, channels, 1)),
            (f"conv_pw_{number}", "conv", (1, 1, channels, filters)),
        )
        for name, kind, shape in kinds:
            found[Layer(name, kind, shape)] = f"{name}_bn/batchnorm_1/add_1"
            found[Layer(f"{name}_relu", "relu6")] = relu.format(name)
        channels = filters
    last = Layer(f"conv_pw_{len(blocks)}_relu", "relu6")
    found[Layer("map", "relu6")] = found.pop(last)
    found[Layer("pooled", "mean")] = "global_pooling/Mean"
    found[Layer("embedding", "dense", (channels, embedding))] = "feats/Relu"
    return found


def weights(graph: Graph, known: Sequence[Layer]) -> dict[str, np.ndarray]:
    """The file's weights as `faceres.build` takes them: RGB, and normalization folded in.

    Args:
        known: the layers that there have to be (see `layers`).

    Returns:
        `NAME/kernel` and `NAME/bias` of every layer that has any, float32.

    Raises:
        InputError: one is missing, of another shape, or one too many.
    """
    left = dict(graph.arrays)

    def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
        array = left.pop(name, None)
        if array is None or array.shape != shape or array.dtype != np.float32:
            found = "none" if array is None else f"{times(array.shape)} of {array.dtype}"
            raise InputError(
                f"{graph.path}: not FaceRes: weight {name}: found {found}; expected {times(shape)}"
                " of float32"
            )
        return array

    made: dict[str, np.ndarray] = {}
    for name, kind, shape in ((layer.name, layer.type, layer.shape) for layer in known):
        if kind == "conv":
            kernel = take(f"{name}/convolution/merged_input", shape)
            if name == "conv1":
                kernel = kernel[:, :, ::-1]  # of the channels in: BGR becomes RGB
            bias = take(f"{name}_bn/batchnorm_1/sub", shape[-1:])
        elif kind == "depthwise":
            kernel = take(f"{name}/depthwise_kernel", shape)
            # The factor is one a channel, which is the kernel's third axis.
            kernel = kernel * take(f"{name}_bn/batchnorm_1/mul", shape[2:3])[:, np.newaxis]
            bias = take(f"{name}_bn/batchnorm_1/sub", shape[2:3])
        elif kind == "dense":
            kernel, bias = take("feats/kernel", shape), take("feats/bias", shape[-1:])
        else:
            continue
        made |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    # Single numbers, such as 6, and axes belong to the graph, which is run to compare.
    over = [n for n, array in left.items() if array.ndim and array.dtype == np.float32]
    if unknown := [n for n in over if n.split("/")[0] not in LEFT_OUT]:
        raise InputError(
            f"{graph.path}: not FaceRes: weights left over: {', '.join(sorted(unknown)):.200}"
        )
    return made


def left_out(graph: Graph) -> tuple[str, ...]:
    """The weights of the file that are not kept: its own heads'."""
    return tuple(name for name in graph.arrays if name.split("/")[0] in LEFT_OUT)


def forward(
    graph: Graph, image: np.ndarray, *, known: dict[Layer, str]
) -> Iterator[tuple[Layer, np.ndarray]]:
    """What the file's own graph gives for an image, layer by layer, in float64.

    Args:
        image: RGB in [0, 255], shape (rows, columns, 3).
        known: see `layers`.
    """
    named = {node: layer for layer, node in known.items()}
    prepared = image[..., ::-1].astype(np.float64) - np.asarray(faceres.MEAN[::-1])
    for name, values in tfjs_graph.forward(graph, {INPUT: prepared}, last=[*named][-1]):
        if name in named:
            yield named[name], values
