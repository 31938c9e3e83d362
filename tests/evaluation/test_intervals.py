"""Intervals of 95%, by simulation: they hold the truth so often, give or take 1.5%."""

import numpy as np
import pandas as pd
import pytest

from vggface_gender.evaluation import audit, comparison, metrics

TRIALS = 4000  # of which a share of 95% has a standard error of 0.34%


def covers(intervals: np.ndarray, truth: float) -> float:
    low, high = np.asarray(intervals).T
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize(("count", "accuracy"), [(120, 0.8), (499, 0.88), (2371, 0.95)])
def test_an_accuracys_interval(count, accuracy):
    # An interval of counts covers more or less as its truth lies between whole numbers: the truth
    # is drawn about the accuracy.
    rng = np.random.default_rng(count)
    truths = accuracy + rng.uniform(-0.02, 0.02, TRIALS)
    held = [
        (lambda low, high: low <= truth <= high)(*metrics.wilson(rng.binomial(count, truth), count))
        for truth in truths
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("count", [30, 60, 500])
def test_a_mean_errors_interval_though_errors_are_skewed(count):
    rng = np.random.default_rng(count)
    names = [str(i) for i in range(count)]
    intervals = []
    for _ in range(TRIALS // 2):
        off = rng.laplace(0, 5, count)  # whose absolute value has the mean 5
        table = pd.DataFrame({"name": names, "gender": None, "race": None, "age": 200.0})
        table["age_predicted"] = table.age + off
        intervals.append(metrics._errors(table.age_predicted - table.age)["interval"])
    assert covers(intervals, 5.0) == pytest.approx(0.95, abs=0.015)


def test_the_gap_of_one_pair():
    rng = np.random.default_rng(2)
    held = []
    for _ in range(TRIALS):
        hits = rng.binomial([300, 400], [0.8, 0.9])
        groups = {
            name: {"count": n, "accuracy": h / n, "small": False}
            for name, h, n in zip("ab", hits, (300, 400), strict=True)
        }
        found = audit.gap(groups)
        sign = 1 if found["worst"] == "a" else -1
        low, high = found["interval"]
        held.append(low <= sign * 0.1 <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_the_largest_gap_holds_for_all_pairs_together():
    rng = np.random.default_rng(3)
    truth = {"a": 0.84, "b": 0.88, "c": 0.9, "d": 0.93}
    held = []
    for _ in range(TRIALS):
        groups = {
            name: {"count": 250, "accuracy": rng.binomial(250, p) / 250, "small": False}
            for name, p in truth.items()
        }
        found = audit.gap(groups)
        low, high = found["interval"]
        held.append(low <= truth[found["best"]] - truth[found["worst"]] <= high)
    assert np.mean(held) >= 0.935  # Bonferroni's correction covers more, not less


def test_the_difference_of_two_sides_over_repeats():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.90, 0.01, (TRIALS, 4)), rng.normal(0.92, 0.01, (TRIALS, 4))
    intervals = [comparison.welch(*pair)["interval"] for pair in zip(a, b, strict=True)]
    assert covers(intervals, 0.02) == pytest.approx(0.95, abs=0.015)
    together = rng.normal(0, 0.01, (TRIALS, 4))
    pairs = zip(a + together, b + together, strict=True)
    intervals = [comparison.paired(*pair)["interval"] for pair in pairs]
    assert covers(intervals, 0.02) == pytest.approx(0.95, abs=0.015)
