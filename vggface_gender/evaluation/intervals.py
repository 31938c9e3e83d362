"""Intervals of shares and of means, all at one confidence."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95


def wilson(hits: ArrayLike, counts: ArrayLike) -> np.ndarray:
    """Wilson's intervals of shares (E. B. Wilson, JASA 22, 1927).

    Args:
        hits, counts: whole numbers of one shape, or that broadcast to one; counts of 1 or more.

    Returns:
        `float64` of that shape and a last axis of two: low, high.

    >>> wilson([9, 90], [10, 100]).round(3).tolist()
    [[0.596, 0.982], [0.826, 0.945]]
    """
    ends = proportion_confint(hits, counts, alpha=1 - CONFIDENCE, method="wilson")
    return np.clip(np.stack(np.broadcast_arrays(*ends), axis=-1), 0, 1)


def mean(values: ArrayLike) -> np.ndarray:
    """The interval of a mean of values that may be skewed.

    Student's t, transformed so that the skewness of the values does not move it: P. Hall, "On the
    removal of skewness by transformation", JRSS B 54 (1992), the monotone cubic. Absolute errors
    are skewed: of 30 exponential values Student's own holds the mean at 0.91 in place of 0.95.

    Args:
        values: (..., n), n of 2 or more.

    Returns:
        `float64` (..., 2): low, high of the mean over the last axis.
    """
    values = np.asarray(values, float)
    count = values.shape[-1]
    error = np.std(values, axis=-1, ddof=1) / np.sqrt(count)
    skew = np.zeros_like(error)
    if count > 2:
        # Values that do not vary have no skewness; any others stand in for them.
        varied = np.where(error[..., None] > 0, values, np.arange(count))
        skew = np.where(error > 0, stats.skew(varied, axis=-1, bias=False), 0.0)
    slope = (skew / np.sqrt(count))[..., None]
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.array([1, -1])
    flat = np.abs(slope) < 1e-9
    steep = np.where(flat, 1.0, slope)
    transformed = 3 / steep * (np.cbrt(1 + steep * (quantile - steep / 6)) - 1)
    moved = np.where(flat, quantile, transformed)
    return np.mean(values, axis=-1)[..., None] - moved * error[..., None]
