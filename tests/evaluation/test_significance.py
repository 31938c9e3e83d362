"""Tests of two samples against SciPy and figures worked out by hand."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from vggface_gender.evaluation import significance

A, B = [0.91, 0.93, 0.90, 0.94], [0.95, 0.94, 0.93, 0.97]


def check_against(result: dict, expected) -> None:
    interval = expected.confidence_interval(0.95)
    assert result["t"] == pytest.approx(expected.statistic, rel=1e-9)
    assert result["df"] == pytest.approx(expected.df, rel=1e-9)
    assert result["p"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert result["interval"] == pytest.approx([interval.low, interval.high], rel=1e-9)


def test_the_paired_test_is_scipys():
    result = significance.paired(A, B)
    check_against(result, stats.ttest_rel(B, A))
    differences = [b - a for a, b in zip(A, B, strict=True)]
    assert result["difference"] == pytest.approx(statistics.fmean(differences))
    assert result["effect"] == pytest.approx(
        statistics.fmean(differences) / statistics.stdev(differences)
    )


@pytest.mark.parametrize("b", [B, B[:2], [*B, 0.99]])
def test_welchs_test_is_scipys(b):
    result = significance.welch(A, b)
    check_against(result, stats.ttest_ind(b, A, equal_var=False))
    assert result["difference"] == pytest.approx(statistics.fmean(b) - statistics.fmean(A))


def test_hedgess_g_by_hand():
    # Means 2 and 5, both variances 1, so d = 3. With m = 4 the correction is
    # gamma(2) / (sqrt(2) gamma(3/2)) = 1 / (sqrt(2) sqrt(pi) / 2) = sqrt(2 / pi).
    result = significance.welch([1, 2, 3], [4, 5, 6])
    assert result["effect"] == pytest.approx(3 * math.sqrt(2 / math.pi))


def test_the_corrected_test_by_hand():
    # Differences 1, 2, 3: mean 2, variance 1. With n_test/n_train = 2/3 the variance of the mean is
    # 1/3 + 2/3 = 1, so t = 2 on 2 degrees, of which p is 1 - t / sqrt(t^2 + 2).
    result = significance.paired([0, 0, 0], [1, 2, 3], overlap=2 / 3)
    assert result["t"] == pytest.approx(2)
    assert result["p"] == pytest.approx(1 - 2 / math.sqrt(6))
    assert result["effect"] == pytest.approx(2)
    # Welch's, by the same: each side's mean has the variance 1, the degrees are 2 x 2.
    result = significance.welch([1, 2, 3], [4, 5, 6], overlap=(2 / 3, 2 / 3))
    assert result["t"] == pytest.approx(3 / math.sqrt(2))
    assert result["df"] == pytest.approx(4)


@pytest.mark.parametrize("test", [significance.paired, significance.welch])
def test_without_spread_there_is_no_test(test):
    result = test([0.1 + 0.2, 0.3, 0.3], [0.9, 0.9, 0.9])
    assert result["difference"] == pytest.approx(0.6)
    assert result["p"] is result["t"] is result["interval"] is result["effect"] is None
    assert result["reason"]


def test_welchs_p_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(0)
    p = [significance.welch(rng.normal(0, 1, 12), rng.normal(0, 3, 8))["p"] for _ in range(1000)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_correction_makes_up_for_overlapping_training_sets():
    """Differences with Nadeau and Bengio's correlation n_test / (n_test + n_train), here 0.2."""
    rng = np.random.default_rng(0)
    correlation, n = 0.2, 5
    covariance = np.full((n, n), correlation) + (1 - correlation) * np.eye(n)
    draws = rng.multivariate_normal(np.zeros(n), covariance, 1000)
    zeros = np.zeros(n)
    corrected = [significance.paired(zeros, draw, overlap=0.2 / 0.8)["p"] for draw in draws]
    assert stats.kstest(corrected, "uniform").pvalue > 0.01
    uncorrected = [significance.paired(zeros, draw)["p"] for draw in draws]
    assert np.mean(np.array(uncorrected) < 0.05) > 0.1


def test_holm_by_hand():
    # Sorted 0.01, 0.03, 0.04 times 3, 2, 1, and never less than the one before.
    assert significance.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert significance.holm([]) == []
