"""Whether a classifier's confidence can be believed, and how it is calibrated.

Its confidence is the probability of the likeliest label. A classifier is calibrated if of its
predictions with a confidence of 0.8 eight in ten are right.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import optimize, special

from vggface_gender.base import labels, text
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import targets
from vggface_gender.evaluation import intervals
from vggface_gender.evaluation.metrics import EPSILON

BINS = 15  # of confidence, as Guo et al. 2017 (arXiv:1706.04599) have them
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
TEMPERATURES = (0.05, 20.0)


def calibration(true: np.ndarray, probability: np.ndarray, *, bins: int = BINS) -> dict:
    """Whether a confidence of so much is right so often.

    Args:
        true: (n,) places of the true labels.
        probability: (n, k), rows sum to 1.

    Returns:
        `ece`: the expected calibration error, the mean over faces of the difference between their
        bin's mean confidence and its accuracy, None of no faces; `bins` of equal width that hold
        faces: `from`, `to`, `count`, mean `confidence`, `accuracy` and its Wilson `interval`.
    """
    confidence, right = _confidence(true, probability)
    places = binned(confidence, bins)
    return of_bins(places, right, counts=np.ones(len(true), int), confidence=confidence, bins=bins)


def binned(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin that each confidence falls in, from 0; one on an edge falls in the lower."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def of_bins(
    places: np.ndarray,
    right: np.ndarray,
    *,
    counts: np.ndarray,
    confidence: np.ndarray,
    bins: int = BINS,
) -> dict:
    """`calibration` of faces that are counted.

    Args:
        places: (n,) bins (see `binned`).
        right: (n,) whether the likeliest label is the true one.
        counts: (n,) of the faces that each of these stands for.
        confidence: (n,) the sum of their confidences.
    """
    total = int(counts.sum())
    sums = np.bincount(places, confidence, minlength=bins)
    hits = np.bincount(places, counts * right, minlength=bins).astype(int)
    counts = np.bincount(places, counts, minlength=bins).astype(int)
    filled = np.flatnonzero(counts)
    sums, hits, counts = sums[filled], hits[filled], counts[filled]
    every = zip(
        filled.tolist(),
        counts.tolist(),
        hits.tolist(),
        (sums / counts).tolist(),
        _ends(hits, counts),
        strict=True,
    )
    rows = [
        {
            "from": place / bins,
            "to": (place + 1) / bins,
            "count": number,
            "confidence": mean,
            "accuracy": right_ones / number,
            "interval": ends,
        }
        for place, number, right_ones, mean, ends in every
    ]
    off = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows)
    return {"ece": off / total if total else None, "bins": rows}


def _ends(hits: np.ndarray, counts: np.ndarray) -> list[list[float]]:
    return intervals.wilson(hits, counts).tolist() if len(counts) else []


def _confidence(true: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each face's confidence, and whether its likeliest label is the true one."""
    return probability.max(axis=1), probability.argmax(axis=1) == true


def temperature(true: np.ndarray, logits: np.ndarray) -> float:
    """The temperature with the least cross-entropy (Guo et al. 2017), to be fitted on validation.

    Logits are divided by it. Above 1 the classifier was overconfident, below 1 underconfident.

    Args:
        true: (n,) places of the true labels.
        logits: (n, k), or logarithms of probabilities.
    """
    logits = logits.astype(np.float64)
    rows = np.arange(len(true))

    def cross_entropy(logarithm: float) -> float:
        scores = special.log_softmax(logits / np.exp(logarithm), axis=1)
        return float(-np.maximum(scores[rows, true], np.log(EPSILON)).mean())

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
        logits: task to (n, k), row by row.
        tasks: those of the classifier with their label names; age has no temperature.

    Returns:
        Task to temperature; without the tasks that no face has a label of.
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
    true: np.ndarray, probability: np.ndarray, *, thresholds: Sequence[float] = THRESHOLDS
) -> list[dict]:
    """What is left if predictions below a confidence are withheld.

    Args:
        true: (n,) places of the true labels.
        probability: (n, k), rows sum to 1.
        thresholds: in ascending order.

    Returns:
        For each threshold `threshold`, the `answered` share of faces, and their `accuracy` (None
        where none is answered).
    """
    confidence, right = _confidence(true, probability)
    places = reached(confidence, thresholds)
    return of_thresholds(places, right, counts=np.ones(len(true), int), thresholds=thresholds)


def reached(confidence: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """How many of the thresholds, in ascending order, each confidence reaches."""
    return np.searchsorted(thresholds, confidence, side="right")


def of_thresholds(
    places: np.ndarray,
    right: np.ndarray,
    *,
    counts: np.ndarray,
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[dict]:
    """`abstention` of faces that are counted.

    Args:
        places: (n,) how many thresholds are reached (see `reached`).
        right, counts: see `of_bins`.
    """
    rows = []
    for place, threshold in enumerate(thresholds):
        its = counts * (places > place)
        answered = int(its.sum())
        accuracy = int((its * right).sum()) / answered if answered else None
        share = answered / int(counts.sum())
        rows.append({"threshold": threshold, "answered": share, "accuracy": accuracy})
    return rows


def describe(calibration: Mapping) -> str:
    """What `calibration` gives, to read."""
    rows = [
        [
            f"{each['from']:.2f} to {each['to']:.2f}",
            f"{each['count']:,}",
            text.percent(each["confidence"]),
            text.percent(each["accuracy"]),
        ]
        for each in calibration["bins"]
    ]
    table = text.table(["confidence", "faces", "mean confidence", "accuracy"], rows)
    return f"expected calibration error {calibration['ece']:.4f}\n{table}"


def describe_abstention(rows: Sequence[Mapping]) -> str:
    """What `abstention` gives, to read."""
    cells = [
        [
            f"{row['threshold']:.2f}",
            text.percent(row["answered"]),
            "-" if row["accuracy"] is None else text.percent(row["accuracy"]),
        ]
        for row in rows
    ]
    header = ["answered from a confidence of", "share of faces", "accuracy"]
    return text.table(header, cells, text_columns=0)
