"""Audits against other libraries and by simulation: what is planted is found."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from vggface_gender import audit as command
from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import audit, calibration, groups, predictions

GENDERS = ("female", "male")


def table(count=400, seed=0, accuracy=0.9, by_race=None):
    """A predictions table that is right as often as the accuracy says, or its race's."""
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
    return predictions.table(names, truth, outputs=outputs, tasks={"gender": GENDERS})


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
        assert group["selection_rate"]["male"] == pytest.approx(predicted[chosen].mean(), abs=1e-9)
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
    frame["gender"] = None
    with pytest.raises(InputError, match="no face has a true gender"):
        audit.audit(frame, "gender")


def test_the_gaps_interval_is_newcombes_by_hand():
    some = {
        name: {"count": n, "accuracy": hits / n, "small": n < 30}
        for name, n, hits in (("a", 80, 56), ("b", 70, 62), ("c", 10, 0))
    }
    found = groups.gap(some)
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


def test_a_planted_gap_is_found():
    planted = audit.audit(table(1500, by_race={"Black": 0.7}), "gender")["gaps"]["race"]
    assert planted["worst"] == "Black" and planted["interval"][0] > 0.05


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
    # Where no label is wrong, only what the classifier gets wrong with confidence is left.
    assert len(audit.suspects(truth, probability)) < 0.01 * 3000


def test_suspects_by_hand():
    true = np.array([0, 0, 0, 1, 1, 1])
    of_one = np.array([0.1, 0.2, 0.9, 0.7, 0.8, 0.39])  # the probability of label 1
    # Faces with label 1 have 0.63 of it on average, those with label 0 have 0.6: the third face has
    # 0.9 of label 1, and the last one 0.61 of label 0.
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


def test_the_command_reads_a_runs_table_and_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("model_files/mine")
    run.mkdir(parents=True)
    predictions.write(table(), run / "predictions-Faces-test.csv")
    command.main(["--run", "mine", "--dataset", "Faces", "--json", "a.json"])
    written = json.loads(Path("a.json").read_text())
    assert (written["run"], written["dataset"], written["split"]) == ("mine", "Faces", "test")
    assert written["tasks"] == {"gender": audit.audit(table(), "gender")}
    for arguments, complaint in (
        (["--dataset", "Other"], "Other.*Faces"),
        (["--dataset", "Faces", "--split", "validation"], "validation"),
        (["--dataset", "Faces", "--tasks", "race"], "race"),
    ):
        with pytest.raises(InputError, match=complaint):
            command.main(["--run", "mine", *arguments])


def test_a_run_of_repeats_is_audited_one_by_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        Path(f"mine/seed-{seed}").mkdir(parents=True)
    with pytest.raises(InputError, match="seed-0, seed-1"):
        command.main(["--run", "mine", "--dataset", "Faces"])


def test_a_folder_is_the_dataset_of_its_name_unless_there_are_several(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("model_files/mine")
    run.mkdir(parents=True)
    predictions.write(table(), run / "predictions-faces-test.csv")
    command.main(["--run", "mine", "--dataset", "one/faces", "--json", "a.json"])
    assert json.loads(Path("a.json").read_text())["dataset"] == "faces"
    predictions.write(table(), run / "predictions-faces-0123abcd-test.csv")
    with pytest.raises(InputError, match="faces-0123abcd, faces"):
        command.main(["--run", "mine", "--dataset", "other/faces"])
    command.main(["--run", "mine", "--dataset", "faces-0123abcd"])


def test_a_table_of_ages_alone_is_not_audited(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    ages = predictions.table(
        ["a", "b"], {"age": [3.0, 40.0]}, outputs={"age": np.array([5.0, 30.0])}, tasks={"age": ()}
    )
    predictions.write(ages, Path("mine/predictions-faces-test.csv"))
    with pytest.raises(InputError, match="age alone"):
        command.main(["--run", "mine", "--dataset", "faces"])


def test_faces_without_a_race_are_a_row_with_their_accuracy():
    frame = table()
    frame.loc[:19, "race"] = None
    audited = audit.audit(frame, "gender")
    true, probability = arrays(frame)
    right = (probability.argmax(1) == true)[:20]
    unknown = audited["ungrouped"]["race"]
    assert unknown["count"] == 20 and unknown["accuracy"] == pytest.approx(right.mean())
    assert audited["ungrouped"].keys() == {"race", "gender x race"}
    rows = [line.split() for line in audit.report(audited).splitlines()]
    assert [row[3:5] for row in rows if row[:3] == ["race", "not", "known"]] == [
        ["20", f"{right.mean():.1%}"]
    ]


@pytest.mark.slow
def test_seven_races_fit_a_page():
    rng = np.random.default_rng(0)
    races = labels.FAIRFACE_RACES
    probability = rng.dirichlet(np.ones(7), 700)
    truth = {"race": rng.choice(races, 700), "gender": rng.choice(GENDERS, 700)}
    names = [f"{i}.jpg" for i in range(700)]
    frame = predictions.table(names, truth, outputs={"race": probability}, tasks={"race": races})
    lines = audit.report(audit.audit(frame, "race")).splitlines()
    assert max(len(line) for line in lines if line.startswith("  ")) <= 100
    assert sum(line.startswith("  female, Southeast Asian") for line in lines) == 1


def test_an_audit_leaves_out_what_was_trained_on():
    frame = table()
    marked = frame.assign(overlap=["exact"] * 50 + ["near"] * 30 + [None] * 320)
    audited, without = audit.audit(marked, "gender"), audit.audit(frame[50:], "gender")
    for key in ("count", "groups", "calibration", "confusion"):
        assert audited[key] == without[key]
    assert audited["overlap"] == {"exact": 50, "near": 80, "names": ["0.jpg", "1.jpg", "2.jpg"]}
    assert audited["without_near"]["count"] == 320
    text = audit.report(audited)
    assert "left out: 50 that are copies of images" in text
    assert "(0.jpg, 1.jpg, 2.jpg and 47 others)" in text
    assert "near-duplicates of training images: 30 of the faces" in text
