"""Intervals of 95%, by simulation: they hold the truth so often, give or take 1.5%."""

import numpy as np
import pytest
from scipy import stats

from vggface_gender.evaluation import groups, intervals, significance

TRIALS = 4000  # of which a share of 95% has a standard error of 0.34%


def covered(ends: np.ndarray, truth: np.ndarray | float) -> float:
    """The share of intervals (n, 2) that hold the truth."""
    low, high = np.asarray(ends).T
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize(("count", "accuracy"), [(120, 0.8), (499, 0.88), (2371, 0.95)])
def test_an_accuracys_interval(count, accuracy):
    # An interval of counts covers more or less as its truth lies between whole numbers: the truth
    # is drawn about the accuracy.
    rng = np.random.default_rng(count)
    truths = accuracy + rng.uniform(-0.02, 0.02, TRIALS)
    ends = intervals.wilson(rng.binomial(count, truths), count)
    assert covered(ends, truths) == pytest.approx(0.95, abs=0.015)


def test_wilsons_interval_is_scipys_one_by_one():
    hits, counts = np.array([0, 1, 17, 30]), np.array([1, 3, 20, 30])
    expected = [
        [*stats.binomtest(h, n).proportion_ci(0.95, "wilson")]
        for h, n in zip(hits.tolist(), counts.tolist(), strict=True)
    ]
    np.testing.assert_allclose(intervals.wilson(hits, counts), expected, atol=1e-12)
    assert intervals.wilson(0, 9)[0] == 0 and intervals.wilson(9, 9)[1] == 1


@pytest.mark.parametrize("count", [30, 60, 500])
def test_a_mean_errors_interval_though_errors_are_skewed(count):
    rng = np.random.default_rng(count)
    absolute = np.abs(rng.laplace(0, 5, (TRIALS, count)))  # whose mean is 5
    ends = intervals.mean(absolute)
    assert covered(ends, 5.0) == pytest.approx(0.95, abs=0.015)
    np.testing.assert_allclose(ends[7], intervals.mean(absolute[7]))


def test_without_skewness_a_means_interval_is_students():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7])
    students = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert intervals.mean(values) == pytest.approx([students.low, students.high], abs=1e-9)


def test_without_spread_a_means_interval_is_the_mean():
    assert intervals.mean([3.0, 3.0]).tolist() == intervals.mean([3.0] * 5).tolist() == [3, 3]


def largest_gaps(counts: list[int], truths: list[float], seed: int) -> tuple:
    """Of drawn groups, the gap's interval (TRIALS, 2) and the true gap of the groups it is of."""
    rng = np.random.default_rng(seed)
    counts, truths = np.array(counts), np.array(truths)
    hits = rng.binomial(counts, truths, (TRIALS, len(counts)))
    rows = np.arange(TRIALS)
    best, worst = (hits / counts).argmax(axis=1), (hits / counts).argmin(axis=1)
    ends = groups.newcombe(
        [hits[rows, best], hits[rows, worst]],
        [counts[best], counts[worst]],
        pairs=len(counts) * (len(counts) - 1) // 2,
    )
    some = {
        str(i): {"count": n, "accuracy": h / n, "small": False}
        for i, (n, h) in enumerate(zip(counts.tolist(), hits[0].tolist(), strict=True))
    }
    assert groups.gap(some)["interval"] == pytest.approx([ends[0][0], ends[1][0]])
    return np.stack(ends, axis=1), truths[best] - truths[worst]


def test_the_gap_of_one_pair():
    assert covered(*largest_gaps([300, 400], [0.8, 0.9], 2)) == pytest.approx(0.95, abs=0.015)


def test_the_largest_gap_holds_for_all_pairs_together():
    # Bonferroni's correction covers more, not less.
    assert covered(*largest_gaps([250] * 4, [0.84, 0.88, 0.9, 0.93], 3)) >= 0.935
    # Of the best of ten pairs: without the correction 0.73 of these would hold 0.
    assert covered(*largest_gaps([150] * 5, [0.9] * 5, 5)) >= 0.935


def test_the_difference_of_two_sides_over_repeats():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.90, 0.01, (TRIALS, 4)), rng.normal(0.92, 0.01, (TRIALS, 4))
    ends = [significance.welch(*pair)["interval"] for pair in zip(a, b, strict=True)]
    assert covered(ends, 0.02) == pytest.approx(0.95, abs=0.015)
    together = rng.normal(0, 0.01, (TRIALS, 4))
    pairs = zip(a + together, b + together, strict=True)
    ends = [significance.paired(*pair)["interval"] for pair in pairs]
    assert covered(ends, 0.02) == pytest.approx(0.95, abs=0.015)
