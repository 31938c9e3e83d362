"""Whether a classifier's confidence can be believed, and how it is mended.

Its confidence is the probability of the likeliest label. A classifier is calibrated if of its
answers of a confidence of 0.8 eight in ten are right.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import optimize, special

from vggface_gender.base import labels
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import targets
from vggface_gender.evaluation import metrics
from vggface_gender.evaluation.metrics import EPSILON

BINS = 15  # of confidence, as Guo et al. 2017 (arXiv:1706.04599) have them
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
TEMPERATURES = (0.05, 20.0)


def calibration(true: np.ndarray, probability: np.ndarray, bins: int = BINS) -> dict:
    """Whether a confidence of so much is right so often.

    Returns:
        `ece`: the expected calibration error, the mean over faces of the difference between their
        bin's mean confidence and its accuracy; `bins` of equal width that hold faces: `from`, `to`,
        `count`, mean `confidence`, `accuracy` and its Wilson `interval`.
    """
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == true
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    filled = []
    for place in np.unique(places):
        chosen = places == place
        number, hits = int(chosen.sum()), int(right[chosen].sum())
        filled.append(
            {
                "from": place / bins,
                "to": (place + 1) / bins,
                "count": number,
                "confidence": float(confidence[chosen].mean()),
                "accuracy": hits / number,
                "interval": metrics.wilson(hits, number),
            }
        )
    off = sum(each["count"] * abs(each["confidence"] - each["accuracy"]) for each in filled)
    return {"ece": off / len(true) if len(true) else None, "bins": filled}


def temperature(true: np.ndarray, logits: np.ndarray) -> float:
    """The temperature with the least cross-entropy (Guo et al. 2017), to be fitted on validation.

    Logits are divided by it. Above 1 the classifier was too confident, below 1 not enough.

    Args:
        true: (n,) labels' places.
        logits: (n, classes), or logarithms of probabilities.
    """
    logits = logits.astype(np.float64)

    def cross_entropy(logarithm: float) -> float:
        scores = special.log_softmax(logits / np.exp(logarithm), axis=1)
        return float(-np.maximum(scores[np.arange(len(true)), true], np.log(EPSILON)).mean())

    found = optimize.minimize_scalar(
        cross_entropy, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def temperatures(
    truth: pd.DataFrame, logits: Mapping[str, np.ndarray], *, tasks: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """The temperature of each classification task, fitted on a validation split.

    Args:
        truth: the labels (see `data.records.labels`).
        logits: task to (n, classes), row by row.
        tasks: those of the classifier with their label names; age has no temperature.
    """
    found = {}
    for task, names in tasks.items():
        if TASKS[task].is_classification:
            true = targets.indices(truth, task, names=tuple(names))
            known = true != labels.MISSING
            if known.any():
                found[task] = temperature(true[known], logits[task][known])
    return found


def abstention(
    true: np.ndarray, probability: np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> list[dict]:
    """What is left if answers below a confidence are withheld.

    Returns:
        For each threshold `threshold`, the `answered` share of faces, and their `accuracy` (None
        where none is answered).
    """
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == true
    rows = []
    for threshold in thresholds:
        answered = confidence >= threshold
        rows.append(
            {
                "threshold": threshold,
                "answered": float(answered.mean()),
                "accuracy": float(right[answered].mean()) if answered.any() else None,
            }
        )
    return rows
