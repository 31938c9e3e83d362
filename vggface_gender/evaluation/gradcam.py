"""Grad-CAM: which parts of a crop a classifier's output comes from (Selvaraju et al., ICCV 2017).

The channels of a layer's map, each weighted by the mean over the map of the gradient of one output
with respect to it, added up and cut off below 0. For a classification task the output is a label's
logit, before any temperature; for age it is the years.

A deep layer knows more of what a face is and less of where: dlib's last map has 2x2 places, which
laid over a crop is a blur. So the layer is chosen by its places.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from vggface_gender.backbones import onnx_network
from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import MISSING
from vggface_gender.base.tasks import TASKS
from vggface_gender.inference import decoding
from vggface_gender.inference.classifier import Classifier

LEAST_MAP = 8  # rows and columns: half an eye's width in a crop

Explain = Callable[..., tuple[np.ndarray, np.ndarray]]


def explainer(classifier: Classifier, task: str, *, layer: str | None = None) -> Explain:
    """A function that explains crops, a batch a call, its graph compiled once.

    Args:
        task: whose output.
        layer: whose map is weighted; by default see `chosen`.

    Returns:
        A function of crops (b, size, size, 3) in `[0, 255]`, size the backbone's, and optionally of
        the labels (b,) to explain, as their places in the classifier's names; by default the
        predicted ones. It gives the maps (b, rows, columns) `float32` from 0 up, and the labels'
        places (b,), or for age the predicted years.

    Raises:
        InputError: the classifier has no such task or layer, the layer gives no map, or the
            backbone has no gradients.
    """
    backbone, head = classifier.parts()
    if task not in head.output:
        raise InputError(f"the classifier does not predict {task}: {', '.join(head.output)}")
    if onnx_network.is_one(backbone):
        raise InputError(
            f"{backbone.name}: an ONNX network has no gradients: give --method occlusion or rise"
        )
    watched = keras.Model(backbone.input, [chosen(backbone, layer).output, backbone.output])
    output_of = keras.Model(head.input, head.output[task])
    is_classification = TASKS[task].is_classification
    signature = [
        tf.TensorSpec([None, *backbone.input_shape[1:]], tf.float32),
        tf.TensorSpec([None], tf.int64),
    ]

    def explain(crops: tf.Tensor, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(crops)  # so that everything computed from them is recorded
            maps, features = watched(crops, training=False)
            output = output_of(features, training=False)
            if is_classification:
                explained = tf.where(wanted < 0, tf.argmax(output, axis=1), wanted)
                score = tf.gather(output, explained, axis=1, batch_dims=1)
            else:
                explained = score = decoding.years(output)
        gradient = tf.cast(tape.gradient(score, maps), tf.float32)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1))
        return heat, explained

    # Traced once for batches of any size: a smaller last one is no other graph.
    traced = tf.function(explain).get_concrete_function(*signature)

    def explained(
        crops: np.ndarray, wanted: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        wanted = np.full(len(crops), MISSING) if wanted is None else np.asarray(wanted)
        maps, values = traced(tf.constant(crops, tf.float32), tf.constant(wanted, tf.int64))
        return maps.numpy(), values.numpy()

    return explained


def chosen(backbone: keras.Model, name: str | None = None) -> keras.layers.Layer:
    """The layer whose map is explained.

    Args:
        name: None for the deepest whose map has at least `LEAST_MAP` rows and columns, or, where
            none has, as many as any has.

    Raises:
        InputError: it has no such layer, or none with a map.
    """
    maps = _maps(backbone)
    if name is None:
        if not maps:
            raise InputError(f"{backbone.name} has no map to explain: give --method occlusion")
        least = min(LEAST_MAP, max(min(layer.output.shape[1:3]) for layer in maps))
        return [layer for layer in maps if min(layer.output.shape[1:3]) >= least][-1]
    found = next((layer for layer in maps if layer.name == name), None)
    if found is None:
        last = ", ".join(layer.name for layer in maps[-5:])
        raise InputError(f"the backbone has no layer {name} that gives a map; its last: {last}")
    return found


def _maps(backbone: keras.Model) -> list[keras.layers.Layer]:
    """The layers that give maps, from the first that has weights on: no preprocessing."""
    first = next((place for place, one in enumerate(backbone.layers) if one.weights), 0)
    return [
        layer
        for layer in backbone.layers[first:]
        if isinstance(layer.output, keras.KerasTensor) and len(layer.output.shape) == 4
    ]
