"""Audits against other libraries and by simulation: what is planted is found."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from vggface_gender.command import InputError
from vggface_gender.evaluation import audit, predictions

TOOLS = Path(__file__).resolve().parents[1] / "tools"
GENDERS = ("female", "male")


def table(count=400, seed=0, accuracy=0.9, by_race=None):
    """A predictions table whose faces are told rightly at the accuracy, of a race where given."""
    rng = np.random.default_rng(seed)
    gender = rng.choice(GENDERS, count)
    race = rng.choice(["White", "Black", "Asian"], count)
    chance = np.array([(by_race or {}).get(one, accuracy) for one in race])
    right = rng.random(count) < chance
    confidence = rng.uniform(0.5, 1, count)
    female = np.where((gender == "female") == right, confidence, 1 - confidence)
    truth = {"gender": gender, "race": race, "age": rng.integers(0, 90, count)}
    names = [f"{i}.jpg" for i in range(count)]
    outputs = {"gender": np.stack([female, 1 - female], axis=1)}
    return predictions.table(names, truth, outputs, {"gender": GENDERS})


def arrays(frame):
    true = (frame.gender == "male").to_numpy().astype(int)
    return true, frame[["gender_female", "gender_male"]].to_numpy()


def test_rates_are_scikit_learns_of_each_group():
    frame = table()
    true, probability = arrays(frame)
    predicted = probability.argmax(1)
    found = audit.audit(frame, "gender")["groups"]
    for race, group in found["race"].items():
        chosen = (frame.race == race).to_numpy()
        assert group["count"] == chosen.sum()
        expected = sk.accuracy_score(true[chosen], predicted[chosen])
        assert group["accuracy"] == pytest.approx(expected, abs=1e-9)
        recall = sk.recall_score(true[chosen], predicted[chosen], average=None)
        assert list(group["recall"].values()) == pytest.approx(list(recall), abs=1e-9)
        assert group["told"]["male"] == pytest.approx(predicted[chosen].mean(), abs=1e-9)
    assert list(found["gender x race"])[:2] == ["female, White", "female, Black"]
    assert found["gender x race"]["female, White"]["recall"]["male"] is None
    assert sum(group["count"] for group in found["age"].values()) == len(frame)


def test_a_face_without_a_label_is_in_no_group_by_it_and_small_groups_are_marked():
    frame = table(100)
    frame.loc[:79, "race"] = None
    found = audit.audit(frame, "gender")
    assert sum(group["count"] for group in found["groups"]["race"].values()) == 20
    assert all(group["small"] for group in found["groups"]["race"].values())
    assert found["gaps"]["race"] is None and found["count"] == 100
    assert "small" in audit.report(found)
    frame["gender"] = None
    with pytest.raises(InputError, match="no face has a true gender"):
        audit.audit(frame, "gender")


def test_the_gaps_interval_is_newcombes_by_hand():
    groups = {
        name: {"count": n, "accuracy": hits / n, "small": n < 30}
        for name, n, hits in (("a", 80, 56), ("b", 70, 62), ("c", 10, 0))
    }
    found = audit.gap(groups)
    assert (found["worst"], found["best"], found["pairs"]) == ("a", "b", 1)

    def wilson(hits, n, z=1.959963984540054):
        middle, half = hits + z * z / 2, z * np.sqrt(hits * (n - hits) / n + z * z / 4)
        return (middle - half) / (n + z * z), (middle + half) / (n + z * z)

    (low_b, high_b), (low_a, high_a) = wilson(62, 70), wilson(56, 80)
    b, a = 62 / 70, 56 / 80
    low = b - a - np.hypot(b - low_b, high_a - a)
    high = b - a + np.hypot(high_b - b, a - low_a)
    assert found["interval"] == pytest.approx([low, high], abs=1e-9)
    assert found["difference"] == pytest.approx(b - a, abs=1e-12)


def test_a_planted_gap_is_found_and_where_there_is_none_the_interval_mostly_says_so():
    planted = audit.audit(table(1500, by_race={"Black": 0.7}), "gender")["gaps"]["race"]
    assert planted["worst"] == "Black" and planted["interval"][0] > 0.05
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(2000):
        hits = rng.binomial(150, 0.9, 5)
        groups = {
            str(i): {"count": 150, "accuracy": h / 150, "small": False} for i, h in enumerate(hits)
        }
        covered += audit.gap(groups)["interval"][0] <= 0
    # Of the best of ten pairs: without the correction 0.73 of these would hold 0.
    assert covered / 2000 >= 0.935


def test_the_calibration_error_by_a_loop_of_its_own():
    true, probability = arrays(table())
    confidence, right = probability.max(1), probability.argmax(1) == true
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    found = audit.calibration(true, probability)
    assert found["ece"] == pytest.approx(error, abs=1e-9)
    assert sum(each["count"] for each in found["bins"]) == 400


def test_planted_overconfidence_is_found_and_the_temperature_takes_it_away():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, (20_000, 3))
    honest = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    true = (rng.random((20_000, 1)) > honest.cumsum(1)).sum(1)
    assert audit.calibration(true, honest)["ece"] < 0.01
    sharp = audit.tempered(honest, 1 / 2.5)
    assert audit.calibration(true, sharp)["ece"] > 0.1
    fitted = audit.temperature(true, sharp)
    assert fitted == pytest.approx(2.5, rel=0.05)
    np.testing.assert_allclose(audit.tempered(sharp, 2.5), honest, atol=1e-4)
    assert audit.calibration(true, audit.tempered(sharp, fitted))["ece"] < 0.01


def test_abstaining():
    probability = np.array([[0.55, 0.45], [0.3, 0.7], [0.05, 0.95], [0.9, 0.1]])
    rows = audit.abstention(np.array([1, 1, 1, 1]), probability, (0.5, 0.6, 0.95, 0.96))
    assert [row["answered"] for row in rows] == [1, 0.75, 0.25, 0]
    assert [row["accuracy"] for row in rows] == [0.5, pytest.approx(2 / 3), 1, None]


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("audit_tool", TOOLS / "audit.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "audit_tool", module)
    spec.loader.exec_module(module)
    return module


def test_the_tool_reads_tables_fits_on_validation_and_writes(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = Path("model_files/mine")
    run.mkdir(parents=True)
    for split, seed in (("test", 0), ("validation", 1)):
        predictions.write(table(seed=seed), run / f"predictions-Faces-{split}.csv")
    tool.main(["--run", "mine", "--dataset", "Faces", "--json", "a.json"])
    printed = capsys.readouterr().out
    assert "gender: 400 faces" in printed and "fitted on validation" in printed
    written = json.loads(Path("a.json").read_text())["tasks"]["gender"]
    assert written["temperature"]["ece"] < written["calibration"]["ece"]
    assert pd.DataFrame(written["groups"]["race"]).loc["count"].sum() == 400
    for arguments, complaint in (
        (["--dataset", "Other"], "no test predictions of Other; there is Faces"),
        (["--dataset", "Faces", "--tasks", "race"], "no predictions of race"),
    ):
        with pytest.raises(InputError, match=complaint):
            tool.main(["--run", "mine", *arguments])
