"""Tests of whether two samples of figures differ: t-tests, their correction for many, effects."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from vggface_gender.evaluation.intervals import CONFIDENCE

# A spread below this share of the values is what rounding leaves of none.
_ROUNDING = 1e-12


def paired(a: Sequence[float], b: Sequence[float], *, overlap: float = 0.0) -> dict:
    """The paired t-test of b - a; without overlap that of `scipy.stats.ttest_rel`.

    Args:
        a, b: n >= 2 values each, the i-th of one belonging to the i-th of the other.
        overlap: n_test / n_train (see `repeats.design`).

    Returns:
        `difference` of the means, its 95% `interval`, `t`, `df`, the two-sided `p`, and `effect`,
        Cohen's d_z: the mean difference in standard deviations of the differences. Where the
        differences don't vary, all but `difference` are None and there is a `reason`.
    """
    differences = np.asarray(b, float) - np.asarray(a, float)
    n, mean, sd = len(differences), differences.mean(), differences.std(ddof=1)
    if sd <= _ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        return _no_spread(mean, "the differences do not vary")
    return _t_test(mean, error=sd * math.sqrt(1 / n + overlap), df=n - 1, effect=mean / sd)


def welch(
    a: Sequence[float], b: Sequence[float], *, overlap: tuple[float, float] = (0.0, 0.0)
) -> dict:
    """Welch's t-test of b - a; without overlap `scipy.stats.ttest_ind(equal_var=False)`.

    Args:
        a, b: at least 2 values each.
        overlap: n_test / n_train of a and of b (see `repeats.design`).

    Returns:
        As `paired`, but `effect` is Hedges's g: the difference in pooled standard deviations, times
        his exact correction for small samples (L. Hedges, Distribution Theory for Glass's Estimator
        of Effect Size, Journal of Educational Statistics 6, 1981).
    """
    samples = [np.asarray(values, float) for values in (a, b)]
    n = np.array([len(values) for values in samples])
    mean = samples[1].mean() - samples[0].mean()
    variance = np.array([values.var(ddof=1) for values in samples])
    if math.sqrt(variance.max()) <= _ROUNDING * max(np.abs(each).max() for each in samples):
        return _no_spread(mean, "neither side's values vary")
    of_means = variance * (1 / n + np.asarray(overlap))
    df = of_means.sum() ** 2 / (of_means**2 / (n - 1)).sum()
    m = n.sum() - 2
    pooled = math.sqrt(((n - 1) * variance).sum() / m)
    small = math.exp(special.gammaln(m / 2) - special.gammaln((m - 1) / 2)) / math.sqrt(m / 2)
    return _t_test(mean, error=math.sqrt(of_means.sum()), df=df, effect=small * mean / pooled)


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for their number (S. Holm, Scandinavian Journal of Statistics 6, 1979)."""
    return multipletests(p, method="holm")[1].tolist() if len(p) else []


def _t_test(mean: float, *, error: float, df: float, effect: float) -> dict:
    """Student's test of a mean difference with its standard error."""
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, df) * error
    return {
        "difference": float(mean),
        "interval": [float(mean - margin), float(mean + margin)],
        "t": float(mean / error),
        "df": float(df),
        "p": float(2 * stats.t.sf(abs(mean / error), df)),
        "effect": float(effect),
    }


def _no_spread(mean: float, reason: str) -> dict:
    nothing = dict.fromkeys(("interval", "t", "df", "p", "effect"))
    return {"difference": float(mean), **nothing, "reason": reason}
