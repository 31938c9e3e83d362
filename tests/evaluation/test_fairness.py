"""Differences between groups against fairlearn's, and their intervals and powers by simulation."""

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics as fairlearn
from statsmodels.stats.proportion import proportions_ztest

from vggface_gender.evaluation import fairness, groups

NAMES = ("a", "b", "c")


def drawn(seed: int, count: int = 600, gap: float = 0.0):
    """Faces of three labels and three groups; the last group is right less often by `gap`."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, count)
    group = rng.integers(0, 3, count)
    right = rng.random(count) < 0.8 - gap * (group == 2)
    predicted = np.where(right, true, (true + rng.integers(1, 3, count)) % 3)
    called = pd.Series(pd.Categorical.from_codes(group, ["x", "y", "z"], ordered=True))
    return true, predicted, {"by": called}


@pytest.mark.parametrize("seed", range(3))
def test_they_are_fairlearns(seed):
    true, predicted, called = drawn(seed, gap=0.2)
    found = fairness.differences(true, predicted, names=NAMES, called=called, draws=50)
    assert found["by"]["groups"] == ["x", "y", "z"]
    measures = {
        "demographic parity": fairlearn.demographic_parity_difference,
        "equal opportunity": fairlearn.equal_opportunity_difference,
        "equalized odds": fairlearn.equalized_odds_difference,
    }
    for place, label in enumerate(NAMES):
        for name, measure in measures.items():
            expected = measure(
                (true == place).astype(int),
                (predicted == place).astype(int),
                sensitive_features=called["by"].astype(str),
            )
            each = found["by"]["labels"][label][name]
            assert each["difference"] == pytest.approx(expected, abs=1e-9)
            assert each["interval"][0] <= each["interval"][1]


def test_chance_is_what_equal_groups_show():
    """Of groups that do not differ, the difference is as often above chance as below."""
    above = []
    for seed in range(40):
        true, predicted, called = drawn(seed, gap=0.0)
        each = fairness.differences(true, predicted, names=NAMES, called=called, draws=200)
        one = each["by"]["labels"]["a"]["equal opportunity"]
        above.append(one["difference"] > one["chance"])
    assert 0.25 < np.mean(above) < 0.75
    true, predicted, called = drawn(0, count=3000, gap=0.3)
    one = fairness.differences(true, predicted, names=NAMES, called=called)["by"]["labels"]["a"]
    assert one["equal opportunity"]["interval"][0] > 2 * one["equal opportunity"]["chance"]


def test_small_groups_are_left_out_and_what_no_face_has_is_none():
    true, predicted, called = drawn(0)
    small = called["by"].copy()
    small[(small == "z") & (np.arange(600) > 50)] = None
    found = fairness.differences(true, predicted, names=NAMES, called={"by": small}, draws=20)
    assert found["by"]["groups"] == ["x", "y"]
    kept = ~((called["by"] == "x") & (true == 0)).to_numpy()
    without = {"by": called["by"][kept].reset_index(drop=True)}
    found = fairness.differences(true[kept], predicted[kept], names=NAMES, called=without, draws=20)
    assert found["by"]["labels"]["a"]["equal opportunity"] is None
    assert found["by"]["labels"]["b"]["equal opportunity"] is not None
    assert fairness.differences(true[:20], predicted[:20], names=NAMES, called={}) == {}


def test_the_detectable_gap_is_detected_in_four_of_five():
    share, counts = 0.95, (400, 150)
    gap = groups.detectable(share, counts)
    rng = np.random.default_rng(0)
    hits = rng.binomial(counts, [share, share - gap], size=(2000, 2))
    found = [proportions_ztest(pair, counts)[1] < 0.05 for pair in hits]
    assert np.mean(found) == pytest.approx(groups.POWER, abs=0.05)
    assert groups.detectable(share, counts, pairs=21) > gap
    assert groups.detectable(0.2, (30, 30), pairs=91) is None
