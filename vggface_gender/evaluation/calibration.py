"""Whether a classifier's confidence can be believed, and how it is mended.

Its confidence is the probability of the likeliest label. A classifier is calibrated if of its
answers of a confidence of 0.8 eight in ten are right.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import optimize

from vggface_gender.evaluation import metrics, predictions
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


def tempered(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities as softmax would give them with all scores divided by a temperature."""
    scores = np.log(np.maximum(probability, np.finfo(np.float32).tiny)) / temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def temperature(true: np.ndarray, probability: np.ndarray) -> float:
    """The temperature with the least cross-entropy (Guo et al. 2017), to be fitted on validation.

    Above 1 the classifier was too sure of itself, below 1 not sure enough.
    """

    def cross_entropy(logarithm: float) -> float:
        likely = tempered(probability, np.exp(logarithm))[np.arange(len(true)), true]
        return float(-np.log(np.clip(likely, EPSILON, 1)).mean())

    found = optimize.minimize_scalar(
        cross_entropy, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


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


def temperatures(frame: pd.DataFrame, tasks: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The temperature of each classification task, fitted on a validation split's predictions.

    Args:
        frame: a predictions table (see `predictions.table`).
        tasks: those of the classifier; age has no temperature.
    """
    found = {}
    for task in predictions.CLASSIFICATION_TASKS:
        if task in tasks:
            known = metrics.compared(frame, task)
            if len(known.faces):
                found[task] = temperature(known.true, known.probability)
    return found
