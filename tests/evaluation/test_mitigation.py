"""Mitigation: what it makes more alike on faces that it was not fitted on, and what it costs."""

import json

import numpy as np
import pandas as pd
import pytest

from vggface_gender import mitigate
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, mitigation, predictions

GENDERS = ("female", "male")


def table(seed: int, count: int = 3000, first: int = 0) -> pd.DataFrame:
    """Scores of which those of one race lean towards male, as a biased classifier's do."""
    rng = np.random.default_rng(seed)
    gender, race = rng.choice(GENDERS, count), rng.choice(["White", "Black"], count)
    logit = (
        rng.normal(0, 1, count) + np.where(gender == "male", 1.5, -1.5) + 1.5 * (race == "Black")
    )
    male = 1 / (1 + np.exp(-logit))
    return predictions.table(
        [f"{i}.jpg" for i in range(first, first + count)],
        {"gender": gender, "race": race},
        outputs={"gender": np.stack([1 - male, male], axis=1)},
        tasks={"gender": GENDERS},
    )


@pytest.fixture(scope="module")
def splits():
    return table(0), table(1, first=10_000)


def test_thresholds_make_odds_alike_on_other_faces_at_a_stated_price(splits):
    after = mitigation.mitigate(*splits, task="gender", by="race")
    found = mitigation.figures(after, task="gender", by="race")
    before, thresholds = found["before"], found["thresholds"]
    assert before["odds"]["difference"] > 0.15
    assert thresholds["odds"]["difference"] < before["odds"]["difference"] / 3
    for name, figures in found.items():
        evaluated = metrics.evaluate(after[name])["gender"]
        assert figures["accuracy"] == pytest.approx(evaluated["accuracy"])
        assert figures["price"] == pytest.approx(before["accuracy"] - figures["accuracy"])
        for group, one in evaluated["groups"]["race"].items():
            assert figures["groups"][group]["accuracy"] == pytest.approx(one["accuracy"])
    assert predictions.are_hard(after["thresholds"], "gender")
    again = mitigation.mitigate(*splits, task="gender", by="race")
    pd.testing.assert_frame_equal(after["thresholds"], again["thresholds"])


def test_the_weights_make_label_and_group_independent():
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b", "c"], 2000)
    true = (rng.random(2000) < np.where(group == "a", 0.8, 0.3)).astype(int)
    weights = mitigation.weights(true, group)
    assert weights.sum() == pytest.approx(2000)
    for name in "abc":
        its = group == name
        share = weights[its & (true == 1)].sum() / weights[its].sum()
        assert share == pytest.approx(true.mean())  # the same in every group


def test_reweighing_asks_for_no_group(splits):
    validation, test = splits
    one = mitigation.mitigate(validation, test, task="gender", by="race")["reweighing"]
    swapped = test.assign(race=test.race.map({"White": "Black", "Black": "White"}))
    other = mitigation.mitigate(validation, swapped, task="gender", by="race")["reweighing"]
    pd.testing.assert_series_equal(one.gender_male, other.gender_male)


def test_what_can_not_be_fitted_is_refused(splits):
    validation, test = splits
    with pytest.raises(InputError, match="1 groups have 30 validation faces"):
        mitigation.mitigate(validation[validation.race == "White"], test, task="gender", by="race")
    with pytest.raises(InputError, match="are of one gender each"):
        mitigation.mitigate(validation, test, task="gender", by="gender x race")
    with pytest.raises(InputError, match="no groups by skin"):
        mitigation.mitigate(validation, test, task="gender", by="skin")


def test_the_command_on_tables(splits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, each in zip(("validation", "test"), splits, strict=True):
        predictions.write(each, f"{name}.csv")
    line = ["--predictions", "test.csv", "--validation"]
    mitigate.main([*line, "validation.csv", "--out", "after", "--json", "found.json"])
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())["after"]
    assert list(found) == ["before", "thresholds", "reweighing"]
    assert f"{found['thresholds']['accuracy']:.1%}" in said and "White" in said
    written = predictions.read("after/predictions-thresholds.csv")
    accuracy = metrics.evaluate(written)["gender"]["accuracy"]
    assert accuracy == pytest.approx(found["thresholds"]["accuracy"])
    for arguments, message in (
        ([*line, "test.csv"], "3,000 faces in common"),
        (["--predictions", "test.csv"], "takes --validation"),
        (["--run", "default"], "takes a --dataset"),
        ([*line, "validation.csv", "--task", "race"], "no predictions of race"),
    ):
        with pytest.raises(InputError, match=message):
            mitigate.main(arguments)
