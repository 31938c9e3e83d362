"""Grad-CAM's maps against a forward pass and a backward pass through all weights."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import faces
from benchmark.report import Row
from benchmark.timing import BATCH_SIZE, exhaust, in_turns

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


def measure(paths: Sequence[Path], *, repeats: int) -> list[Row]:
    """Of an untrained gender classifier on dlib's network.

    Args:
        paths: image files.
    """
    import tensorflow as tf

    from vggface_gender import backbones
    from vggface_gender.base import device, geometry, labels
    from vggface_gender.evaluation import gradcam
    from vggface_gender.inference import classifier
    from vggface_gender.training import heads

    tasks, precision = {"gender": labels.GENDERS}, device.precision()
    backbone = backbones.load("dlib", precision=precision, layer="map+block_4_3")
    head = heads.build("shared", backbone.output_shape[1:], tasks=tasks)
    made = classifier.build(
        backbone,
        head,
        tasks=tasks,
        padding=geometry.PADDING,
        precision=precision,
        about={},
    )
    images = faces.crops(paths, backbone.input_shape[1])
    explain = gradcam.explainer(made, "gender", layer="block_4_3")
    weights = [*backbone.trainable_variables, *head.trainable_variables]

    @tf.function(reduce_retracing=True)
    def passes(crops: "tf.Tensor") -> "list[tf.Tensor]":
        with tf.GradientTape() as tape:
            score = tf.reduce_sum(head(backbone(crops, training=False), training=False)["gender"])
        return tape.gradient(score, [weight.value for weight in weights])

    def each(function: "Callable[[np.ndarray], object]") -> Callable[[], None]:
        starts = range(0, len(images), BATCH_SIZE)
        return lambda: exhaust(function(images[start : start + BATCH_SIZE]) for start in starts)

    sides = (each(lambda crops: passes(tf.constant(crops))), each(explain))
    return [
        Row(
            name="gradcam",
            ours=f"maps of a classifier on dlib's network, batches of {BATCH_SIZE}",
            reference="a forward and a backward pass through the same network",
            unit="images/s",
            goal="at least 0.5",
            pairs=[
                (len(images) / theirs, len(images) / ours)
                for theirs, ours in in_turns("gradcam", sides, repeats=repeats)
            ],
        )
    ]
