"""The layers that are trained on features: features in, one named output a task, logits.

Every head is a functional model named "head" in `float32`, whose output is a dictionary: logits
(b, classes) for gender and race; for age what its loss takes (see `losses`): years (b, 1), logits
over `decoding.AGES` (b, 117), or years and the logarithm of their scale (b, 2). What people read
is made of them by `inference.decoding`.
"""

from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np

from vggface_gender.base.tasks import TASKS
from vggface_gender.inference.decoding import AGES

AGE_SCALE, AGE_OFFSET = 20.0, 35.0  # an untrained network's outputs, moved to where ages are
DROPOUT = 0.4  # of a shared head


def build(
    kind: str,
    shape: tuple[int, ...],
    *,
    tasks: Mapping[str, tuple[str, ...]],
    age: str = "years",
    dropout: float | None = None,
) -> keras.Model:
    """A head with random weights.

    Args:
        kind: "vggface", "compact" or "shared".
        shape: of a crop's features, without the batch.
        tasks: task to label names, () for age.
        age: "years", a regression; "distribution", a probability for each year, as Rothe et al.
            2015 (DEX) read ages off one; "laplace", a regression with an uncertainty.
        dropout: the share that a shared head drops before and after its layer; None for its own.
    """
    features = keras.Input(shape, name="features")
    if kind == "vggface":
        x = _vggface(features)
    elif kind == "compact":
        x = _compact(features)
    else:
        x = _shared(features, DROPOUT if dropout is None else dropout)
    outputs = {}
    for task, names in tasks.items():
        if TASKS[task].is_classification:
            outputs[task] = keras.layers.Dense(len(names), name=task)(x)
        else:
            outputs[task] = _AGE[age](x)
    return keras.Model(features, outputs, name="head")


def begin_normalization(head: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Set the statistics of a head's batch normalization to those of the features it will see.

    Moving averages begin at a mean of 0 and a variance of 1, and come to the features' own over
    hundreds of steps; until then validation shows how far they are, not what was learned. A head
    that normalizes each example for itself is left alone.

    Args:
        head: see `build`.
        batches: features (b, ...), each example's once.
    """
    layer = head.get_layer("normalize")
    if not isinstance(layer, keras.layers.BatchNormalization):
        return
    count, total, squares = 0, 0.0, 0.0
    for batch in batches:
        flat = batch.reshape(len(batch), -1).astype(np.float64)
        count, total, squares = count + len(flat), total + flat.sum(0), squares + (flat**2).sum(0)
    mean = total / count
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(np.maximum(squares / count - mean**2, 0))


def _vggface(x: keras.KerasTensor) -> keras.KerasTensor:
    """Published for VGG-Face's pool5: two wide layers, half of each dropped."""
    x = keras.layers.LayerNormalization(name="normalize")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for width in (1024, 256):
        x = keras.layers.Dense(width, activation="relu", name=f"dense_{width}")(x)
        x = keras.layers.Dropout(0.5, name=f"dropout_{width}")(x)
    return x


def _compact(x: keras.KerasTensor) -> keras.KerasTensor:
    """For features of a few hundred or thousand numbers, such as dlib's last map (2, 2, 256)."""
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.BatchNormalization(name="normalize")(x)
    x = keras.layers.Dropout(0.3, name="dropout_features")(x)
    x = keras.layers.Dense(256, activation="relu", name="dense_256")(x)
    return keras.layers.Dropout(0.5, name="dropout_256")(x)


def _shared(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    """One layer that all tasks share, and a network is fine-tuned under."""
    x = keras.layers.Flatten(name="flatten")(x)
    # Over the whole batch, also where several devices have a part of it each. Keras can do so on
    # TensorFlow alone.
    x = keras.layers.BatchNormalization(
        synchronized=keras.backend.backend() == "tensorflow", name="normalize"
    )(x)
    x = keras.layers.Dropout(dropout, name="dropout_features")(x)
    x = keras.layers.Dense(256, activation="relu", name="shared")(x)
    return keras.layers.Dropout(dropout, name="dropout_shared")(x)


def _age_years(x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.Dense(1, name="age_dense")(x)
    return keras.layers.Rescaling(AGE_SCALE, AGE_OFFSET, name="age_years")(x)


def _age_distribution(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Dense(len(AGES), name="age_distribution")(x)


def _age_laplace(x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.Dense(2, name="age_pair")(x)
    return keras.layers.Rescaling([AGE_SCALE, 1.0], [AGE_OFFSET, 2.0], name="age_laplace")(x)


_AGE: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "years": _age_years,
    "distribution": _age_distribution,
    "laplace": _age_laplace,
}
