"""Monte-Carlo dropout: a classifier's answers with parts of its head dropped at random."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.inference import arrays, decoding
from vggface_gender.inference.classifier import Classifier, crops_of, with_mirrored


class Sampled(NamedTuple):
    """What a classifier predicts over many samples of dropout."""

    means: dict[str, np.ndarray]  # as `Classifier.predict` gives them
    uncertainties: dict[str, np.ndarray]  # (n,) entropy of the mean in nats; of age sd in years


def sampler(
    classifier: Classifier, *, samples: int, seed: int = 0
) -> Callable[[np.ndarray], Sampled]:
    """A function that predicts with dropout left on, as in training.

    The mean of such predictions stands for the mean over networks that fit the training data as
    well (Gal and Ghahramani, ICML 2016), and its entropy for how little these agree or know. Only
    the head drops anything, so a crop passes the backbone once.

    Args:
        samples: predictions to take the mean of.
        seed: of what is dropped; the same calls in the same order give the same.

    Returns:
        A function of crops (n, h, w, 3), at most a batch of them.

    Raises:
        InputError: the head drops nothing.
    """
    backbone, head = classifier.parts()
    if not any(getattr(layer, "rate", 0) for layer in head.layers):
        raise InputError("the classifier's head has no dropout, so every sample would be the same")
    trunk = _trunk(classifier, backbone)
    noisy = _noisy(head, seed)
    features = [keras.Input(backbone.output_shape[1:]) for _ in trunk.outputs]
    views = [noisy(one) for one in features]
    top = keras.Model(features, decoding.answers(views, classifier.temperatures))

    def sample(crops: np.ndarray) -> Sampled:
        seen = trunk.predict_on_batch(arrays.crops(crops))
        seen = seen if isinstance(seen, list) else [seen]
        drawn = [top(seen, training=True) for _ in range(samples)]
        sampled = summary(
            {
                task: np.stack([np.asarray(one[task], np.float64) for one in drawn])
                for task in classifier.tasks
            }
        )
        arrays.require_finite(sampled.means)
        return sampled

    return sample


def summary(drawn: dict[str, np.ndarray]) -> Sampled:
    """Means and uncertainties of samples: task to (samples, n, classes), or of age (samples, n)."""
    means = {task: each.mean(axis=0) for task, each in drawn.items()}
    uncertainties = {}
    for task, each in drawn.items():
        if TASKS[task].is_classification:
            surprise = -np.log(np.maximum(means[task], np.finfo(np.float32).tiny))
            uncertainties[task] = (means[task] * surprise).sum(-1)
        else:
            uncertainties[task] = each.std(axis=0)
    return Sampled(means, uncertainties)


def classify_sampled(
    classifier: Classifier,
    dataset: Dataset,
    *,
    split: str,
    samples: int,
    seed: int = 0,
    batch_size: int = 64,
) -> tuple[pd.DataFrame, Sampled]:
    """`classifier.classify` with dropout left on: the labels, and what was sampled."""
    truth = records.labels(dataset, split)
    sample = sampler(classifier, samples=samples, seed=seed)
    batches = crops_of(classifier, dataset, split=split, batch_size=batch_size)
    parts = [sample(crops) for crops in batches]
    joined = (
        {task: np.concatenate([one[task] for one in several]) for task in classifier.tasks}
        for several in zip(*parts, strict=True)
    )
    return truth, Sampled(*joined)


def _trunk(classifier: Classifier, backbone: keras.Model) -> keras.Model:
    """From crops to the features of each of their views."""
    crop = keras.Input((None, None, 3))
    x = keras.layers.Resizing(classifier.size, classifier.size, dtype="float32")(crop)
    views = with_mirrored(x, classifier.mirror)
    return keras.Model(crop, [backbone(view, training=False) for view in views])


def _noisy(head: keras.Model, seed: int) -> keras.Model:
    """A copy of the head, to be called as in training, but for what normalizes a batch."""
    noisy = keras.models.clone_model(head)
    noisy.set_weights(head.get_weights())
    for layer in noisy.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    dropouts = [layer for layer in noisy.layers if isinstance(layer, keras.layers.Dropout)]
    for place, layer in enumerate(dropouts):
        layer.seed_generator.state.assign([seed, place])
    return noisy
