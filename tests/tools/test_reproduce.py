"""The parts of published tables: the validation set as published, Adience's bins, what is asked."""

import math

import numpy as np
import pytest
import stand_ins

from benchmark import faces
from reproduce import command, figures, heads, trainings, utkface
from vggface_gender import datasets
from vggface_gender.base import labels, runs
from vggface_gender.datasets.adience import adience_dataset_builder as adience
from vggface_gender.evaluation import predictions
from vggface_gender.inference import classifier
from vggface_gender.training import run


@pytest.mark.slow
def test_the_published_validation_set_counts_races_as_stated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifier, "load", stand_ins.Guess)
    faces.draw(tmp_path / "UTKFace", 120)
    dataset = datasets.prepare("UTKFace", tmp_path / "UTKFace")
    folder = runs.MODEL_FILES / "mine"
    run.begin(folder, {"dataset": "UTKFace", "tasks": ["gender", "race"]})
    (folder / runs.CLASSIFIER).write_text("mine")
    copies = {"Black": 2, "Asian": 3, "Indian": 3, "Others": 4}
    made = utkface.evaluate_oversampled(folder, dataset, copies=copies)
    table = predictions.read(folder / "predictions-UTKFace-validation-oversampled.csv")
    assert table.equals(made) and table.name.is_unique
    times = table.groupby(table.name.str.rpartition(" copy ")[0]).race.agg(["first", "count"])
    assert set(times["first"]) == {"White", *copies}
    assert len(times) == dataset.counts["validation"]
    assert (times["count"] == times["first"].map(copies | {"White": 1})).all()


class Means:
    """Stands for a classifier: its outputs say what it was shown."""

    tasks = {"gender": labels.GENDERS}

    def predict(self, crops):
        left, right = crops[:, :, :4].mean((1, 2, 3)), crops[:, :, 4:].mean((1, 2, 3))
        return {"gender": np.stack([left, right], axis=1)}


def test_changes_are_the_four_stated_and_spare_white_faces():
    crop = np.zeros((8, 8, 3), np.uint8)
    crop[:, :4], crop[:, 4:] = 200, 100
    shown = utkface.predict_changed(
        Means(), crop[None], rows=np.zeros(600, int), is_changed=np.arange(600) >= 100
    )["gender"]
    assert (shown[:100] == [200, 100]).all()
    kinds, counts = np.unique(shown[100:].round(), axis=0, return_counts=True)
    assert kinds.tolist() == [[75, 150], [100, 200], [150, 75], [200, 100]]
    assert counts.min() > 80  # of 500, at random


def test_every_whole_year_is_in_its_nearest_adience_bin():
    # By hand, for each bin the last whole year that is nearest to it; the younger of two.
    lasts = {"0-2": 3, "4-6": 7, "8-13": 14, "15-20": 22, "25-32": 35, "38-43": 45, "48-53": 56}
    assert (*lasts, "60-100") == heads.AGE_BIN_NAMES
    for years in range(117):
        expected = next((name for name, last in lasts.items() if years <= last), "60-100")
        assert heads.age_bin(years) == expected
    assert heads.age_bin(-1.5) == "0-2" and heads.age_bin(35.01) == "38-43"
    for years in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="no bin"):
            heads.age_bin(years)


def test_the_age_in_a_record_is_in_the_bin_that_the_row_named():
    for (first, last), name in zip(labels.ADIENCE_AGE_BINS, heads.AGE_BIN_NAMES, strict=True):
        assert heads.age_bin(adience.years(f"({first}, {last})")) == name
        for year in range(first, last + 1):
            assert heads.age_bin(adience.years(str(year))) == name


def test_a_spread_is_that_of_a_sample():
    values = [0.9, 0.92, 0.97]
    found = figures.spread(values)
    assert found == {"mean": np.mean(values), "sd": pytest.approx(np.std(values, ddof=1))} | {
        "n": 3,
        "values": values,
    }
    assert figures.spread([0.9])["sd"] is None


def test_a_run_is_finished_when_all_its_trainings_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not trainings.is_finished("mine")
    for seed in (0, 1):
        (runs.MODEL_FILES / "mine" / f"seed-{seed}").mkdir(parents=True)
        (runs.MODEL_FILES / "mine" / f"seed-{seed}" / runs.METRICS).write_text("{}")
    assert trainings.is_finished("mine", trainings=2)
    assert not trainings.is_finished("mine", trainings=3)
    (runs.MODEL_FILES / "mine" / "seed-0" / runs.METRICS).unlink()
    assert not trainings.is_finished("mine", trainings=2)


def test_a_name_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["nothing"])
    assert stopped.value.code == 2
    assert "utkface-multitask" in capsys.readouterr().err
