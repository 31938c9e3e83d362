"""The layers that are trained on features: features in, one named output a task.

Every head is a functional model named "head" in `float32`, whose output is a dictionary: softmax
probabilities (b, classes) for gender and race, years (b,) for age. While `shared` is trained, its
age is what its loss needs (see `losses`); `answers` turns that into years.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import keras
import numpy as np

from vggface_gender.base import labels

AGES = np.arange(labels.AGE_BANDS[-1][1] + 1, dtype=np.float32)  # years that a distribution is over
AGE_HEADS = ("distribution", "laplace")
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


def shared(
    shape: tuple[int, ...],
    tasks: Mapping[str, tuple[str, ...]],
    age: str = "distribution",
    width: int = 256,
    dropout: float = 0.4,
) -> keras.Model:
    """One layer that all tasks share, then a layer a task; for training (see `answers`).

    Args:
        shape, tasks: as `vggface` takes them.
        age: what is learned of it. "distribution": a probability for each year of `AGES`
            (b, 117), as Rothe et al. 2015 (DEX) read ages off one; "laplace": years and the
            logarithm of their scale (b, 2), a regression with an uncertainty.
        width: of the shared layer.
        dropout: the share dropped before and after it.
    """
    features = keras.Input(shape, name="features")
    x = keras.layers.Flatten(name="flatten")(features)
    # Over the whole batch, also where several devices have a part of it each.
    x = keras.layers.BatchNormalization(synchronized=True, name="normalize")(x)
    x = keras.layers.Dropout(dropout, name="dropout_features")(x)
    x = keras.layers.Dense(width, activation="relu", name="shared")(x)
    x = keras.layers.Dropout(dropout, name="dropout_shared")(x)
    outputs = {}
    for task, names in tasks.items():
        if task != "age":
            outputs[task] = keras.layers.Dense(len(names), activation="softmax", name=task)(x)
        elif age == "distribution":
            outputs[task] = keras.layers.Dense(
                len(AGES), activation="softmax", name="age_distribution"
            )(x)
        else:
            pair = keras.layers.Dense(2, name="age_pair")(x)
            outputs[task] = keras.layers.Rescaling(
                [AGE_SCALE, 1.0], [AGE_OFFSET, 2.0], name="age_laplace"
            )(pair)
    return keras.Model(features, outputs, name="head")


def answers(head: keras.Model) -> keras.Model:
    """The head with age in years (b,): the distribution's mean, or the regression's first number.

    The layers are the head's own; one that gives years already is returned as it is.
    """
    known = {layer.name: layer for layer in head.layers}
    if "age_distribution" in known:
        kernel, x = AGES[:, None], known["age_distribution"].output
    elif "age_laplace" in known:
        kernel, x = np.array([[1.0], [0.0]], np.float32), known["age_laplace"].output
    else:
        return head
    # A layer of fixed weights, since stock layers are all that Keras loads by itself.
    mean = keras.layers.Dense(1, use_bias=False, trainable=False, name="age_years")
    years = keras.layers.Reshape((), name="age")(mean(x))
    mean.set_weights([kernel])
    return keras.Model(head.input, head.output | {"age": years}, name="head")


def trainable(head: keras.Model) -> keras.Model:
    """The head with age as its loss needs it: what `answers` was given."""
    for layer in head.layers:
        if layer.name in ("age_distribution", "age_laplace"):
            return keras.Model(head.input, head.output | {"age": layer.output}, name="head")
    return head


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
