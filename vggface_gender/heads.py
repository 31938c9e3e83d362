"""The layers that are trained on features: features in, one named output a task.

Every head is a functional model named "head" in `float32`, whose output is a dictionary: softmax
probabilities (b, classes) for gender and race, years (b,) for age.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import keras

AGE_SCALE, AGE_OFFSET = 20.0, 35.0  # an untrained network's outputs, moved to where ages are


def vggface(shape: tuple[int, ...], tasks: Mapping[str, tuple[str, ...]]) -> keras.Model:
    """The head published for VGG-Face's pool5: two wide layers, half of each dropped.

    Args:
        shape: of a crop's features, without the batch.
        tasks: task to label names, () for age.
    """
    features = keras.Input(shape, name="features")
    x = keras.layers.LayerNormalization(name="normalize")(features)
    x = keras.layers.Flatten(name="flatten")(x)
    for width in (1024, 256):
        x = keras.layers.Dense(width, activation="relu", name=f"dense_{width}")(x)
        x = keras.layers.Dropout(0.5, name=f"dropout_{width}")(x)
    return _with_outputs(features, x, tasks)


def compact(shape: tuple[int, ...], tasks: Mapping[str, tuple[str, ...]]) -> keras.Model:
    """For features of a few hundred or thousand numbers, such as dlib's last map (2, 2, 256)."""
    features = keras.Input(shape, name="features")
    x = keras.layers.Flatten(name="flatten")(features)
    x = keras.layers.BatchNormalization(name="normalize")(x)
    x = keras.layers.Dropout(0.3, name="dropout_features")(x)
    x = keras.layers.Dense(256, activation="relu", name="dense_256")(x)
    x = keras.layers.Dropout(0.5, name="dropout_256")(x)
    return _with_outputs(features, x, tasks)


class Recipe(NamedTuple):
    """A head and how it is trained with Adam."""

    build: Callable[[tuple[int, ...], Mapping[str, tuple[str, ...]]], keras.Model]
    batch: int
    rate: float
    falls: bool  # whether the rate falls along a cosine to 0, or stays

    def optimizer(self, rate: float, steps: int) -> keras.Optimizer:
        """Adam at `rate`, for a training of so many steps."""
        schedule = keras.optimizers.schedules.CosineDecay(rate, steps) if self.falls else rate
        return keras.optimizers.Adam(schedule)


def recipe(backbone: str) -> Recipe:
    """What goes with a backbone, by its model's name: the published head for VGG-Face's features.

    The compact head's batch and rate are those that validated best on UTKFace with dlib's map.
    """
    if backbone == "vggface":
        return Recipe(vggface, batch=32, rate=1e-4, falls=False)
    return Recipe(compact, batch=128, rate=1e-3, falls=True)


def _with_outputs(
    features: keras.KerasTensor, x: keras.KerasTensor, tasks: Mapping[str, tuple[str, ...]]
) -> keras.Model:
    outputs = {}
    for task, names in tasks.items():
        if task == "age":
            years = keras.layers.Dense(1, name="age_dense")(x)
            years = keras.layers.Rescaling(AGE_SCALE, AGE_OFFSET, name="age_years")(years)
            outputs[task] = keras.layers.Reshape((), name=task)(years)
        else:
            outputs[task] = keras.layers.Dense(len(names), activation="softmax", name=task)(x)
    return keras.Model(features, outputs, name="head")
