"""Audits against other libraries and by simulation: what is planted is found."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import audit, calibration, predictions

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


def test_planted_wrong_labels_are_the_first_to_be_suspected():
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 3, 3000)
    scores = rng.normal(0, 1, (3000, 3))
    scores[np.arange(3000), truth] += 5
    probability = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    right = probability.argmax(1) == truth
    planted = rng.choice(np.flatnonzero(right), 60, replace=False)
    labelled = truth.copy()
    labelled[planted] = (truth[planted] + rng.integers(1, 3, 60)) % 3
    found = audit.suspects(labelled, probability)
    assert np.isin(planted, found).mean() > 0.8
    assert np.isin(found[:40], planted).mean() > 0.9
    assert np.isin(found, planted).mean() > 0.7
    # Where no label is wrong, only what the classifier tells surely wrong is left.
    assert len(audit.suspects(truth, probability)) < 0.01 * 3000


def test_suspects_by_hand():
    true = np.array([0, 0, 0, 1, 1, 1])
    of_one = np.array([0.1, 0.2, 0.9, 0.7, 0.8, 0.39])  # the probability of label 1
    # Label 1 is told its own faces with 0.63 on average, label 0 with 0.6: the third face is told
    # 1 with 0.9, and the last one 0 with 0.61.
    assert audit.suspects(true, np.stack([1 - of_one, of_one], 1)).tolist() == [2, 5]
    of_one[5] = 0.41
    assert audit.suspects(true, np.stack([1 - of_one, of_one], 1)).tolist() == [2]


def test_calibration_and_abstention_of_a_group_are_those_of_its_faces_alone():
    frame = table(600)
    audited = audit.audit(frame, "gender")
    for column, members in audited["abstention_by"].items():
        assert set(members) == set(audited["calibration_by"][column])
    for race, rows in audited["abstention_by"]["race"].items():
        true, probability = arrays(frame[frame.race == race])
        confidence, right = probability.max(1), probability.argmax(1) == true
        for row in rows:
            answered = confidence >= row["threshold"]
            assert row["answered"] == pytest.approx(answered.mean(), abs=1e-9)
            if answered.any():
                assert row["accuracy"] == pytest.approx(right[answered].mean(), abs=1e-9)
        error = calibration.calibration(true, probability)["ece"]
        assert audited["calibration_by"]["race"][race] == pytest.approx(error, abs=1e-9)


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
