"""The parts of published tables: the validation set as published, Adience's bins, what is asked."""

import json
import math
import re

import numpy as np
import onnx_files
import pytest
import stand_ins

from benchmark import faces
from reproduce import command, figures, heads, nii, tables, trainings, utkface
from vggface_gender import datasets
from vggface_gender.base import device, labels, runs
from vggface_gender.base.errors import InputError
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
    counted = utkface.counts(dataset, copies=copies)
    rows = {title: its["validation, rarer races copied"] for title, its in counted.items()}
    assert rows["faces by race"] == made.race.value_counts().to_dict()
    assert rows["faces by gender"] == made.gender.value_counts().to_dict()
    assert sum(counted["faces by race"]["raw"].values()) == sum(dataset.counts.values())
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


# Every published figure, typed from the sources once more, and never from `published.json`.
PUBLISHED = {
    "adience-five-folds": """
        92.274 94.292 79.949  90.828 94.591 95.424  88.942 93.324 94.437
        90.306 95.002 94.918  89.850 93.659 95.044  90.440 94.174 91.954
        56.294 62.149 47.181  61.537 68.789 77.042  62.825 66.051 69.507
        60.092 62.550 69.860  63.208 65.916 74.943  60.791 65.091 67.707""",
    "nii-cross-dataset": """
        97.21 89.74 70.40 78.31 49.89
        97.21 95.60 98.81  90.44 95.44 84.79  70.40 97.93 48.46
        78.31 97.41 60.52  98.02 99.43 68.65""",
    "nii-fine-tuning": """
        97.21 95.60 98.81  96.10 93.75 98.44  97.34 96.29 98.39
        90.44 95.44 84.79  96.74 97.38 96.02  94.37 96.61 91.86
        70.40 97.93 48.46  86.41 95.36 79.28  96.27 96.19 96.33
        78.31 97.41 60.52  89.22 94.76 84.52  96.73 96.36 97.04
        98.02 99.43 68.65  97.66 98.25 83.58  97.07 97.63 83.58""",
    "nii-pseudo-labels": "",  # the source's table is empty
    "resnet50-subgroups": "99 95  88 99 60  99 82  99 50",
    "utkface-multitask": """
        94.43 86.45 95.15 87.56
        12,391 11,317  10,078 4,528 3,434 3,976 1,692
        22,188 21,128  2,473 2,336
        10,809 9,270 9,057 8,156 6,024  1,116 1,032 1,021 896 744""",
    "vggface-transfer": "0.1404 94.11  0.0967 96.42",
}
# What the sources say beside their tables, and where they contradict themselves.
SAID = {
    "adience-five-folds": ["512 numbers", "8 bins", "15 points below", "arxiv.org/abs/2108.08186"],
    "nii-cross-dataset": [
        "89.74 and 90.44 on UTKFace",
        "49.89 and 98.02",
        "does not say why",
        "1/5",
    ],
    "nii-fine-tuning": ["for 5 epochs on FairFace", "for 5 more on a mix", "code was lost"],
    "nii-pseudo-labels": ["the table is empty in the source", "Grad-CAM on NHK"],
    "resnet50-subgroups": ["epoch 63", "a million images of each gender", "MS1MV2"],
    "utkface-multitask": ["over 50 evaluations of one checkpoint", "batch normalization"],
    "vggface-transfer": ["60/20/20"],
}


@pytest.mark.parametrize("name", list(tables.PUBLISHED))
def test_every_published_figure_is_printed(name, capsys):
    command.main([name, "--published"])
    printed = capsys.readouterr().out
    wanted = sorted(PUBLISHED[name].split())
    assert sorted(figure.rstrip("%") for figure in tables.figures(tables.PUBLISHED[name])) == wanted
    there = re.findall(r"(?<=\s)[\d.,]+(?=%?$|%?\s)", printed, re.MULTILINE)
    assert {figure: there.count(figure) >= wanted.count(figure) for figure in wanted} == (
        dict.fromkeys(wanted, True)
    )
    assert tables.PUBLISHED[name]["source"] in printed
    assert [said for said in SAID[name] if said not in printed] == []


def test_published_means_are_those_of_the_folds():
    for title in heads.TITLES.values():
        for split in ("train", "validation", "test"):
            column = tables.column(tables.PUBLISHED["adience-five-folds"], title, split)
            mean = column.pop("mean")
            assert len(column) == 5 and np.mean([*column.values()]) == pytest.approx(mean, abs=6e-6)


def test_all_tables_are_printed_at_once(workplace, capsys):
    command.main(["--published", "--json", "published.json"])
    printed = capsys.readouterr().out
    written = json.loads((workplace / "published.json").read_text())
    assert written == {"published": tables.PUBLISHED}
    assert all(tables.describe(name) in printed for name in tables.PUBLISHED)


def test_the_list_says_what_is_at_hand_and_how_to_get_the_rest(workplace, monkeypatch, capsys):
    monkeypatch.delenv("FACES_DIR", raising=False)
    (workplace / "faces" / "UTKFace").mkdir(parents=True)
    (workplace / "kaggle").mkdir()
    (workplace / "tfrecords/fair_face/split_0/1.0.0").mkdir(parents=True)
    (workplace / "tfrecords/fair_face/split_0/1.0.0/metadata.json").touch()
    command.main(["--list", "--source", "faces", "--tables", "KaggleGender=kaggle"])
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line in tables.PUBLISHED] == sorted(
        tables.PUBLISHED
    )
    for published in tables.PUBLISHED.values():
        assert published["what"] in printed and published["source"] in printed
    assert "datasets of ours: UTKFace (at hand), FairFace (at hand)\n" in printed
    assert (
        "datasets of ours: MORPH (missing), FairFace (at hand), KaggleGender (at hand)" in printed
    )
    missing = printed.partition("missing, and how to get it")[2].splitlines()[1:]
    assert [line.split()[0].rstrip(",") for line in missing] == [
        *("Adience", "AllAgeFaces", "GenderDataset", "GenderDataset_Small"),
        *("JapanesePoliticians", "MORPH"),
    ]
    assert "https://talhassner.github.io" in missing[0] and "--tables MORPH=PATH" in missing[-1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nothing", "utkface-multitask"),
        ("", "give --list, --published, or one of adience-five-folds"),
        ("--list vggface-transfer", "without a name"),
        ("--list --published", "without --published"),
        ("--list --json a.json", "--json is of figures"),
        ("vggface-transfer --embedding a.onnx", "--embedding is of adience-five-folds alone"),
        ("adience-five-folds --embedding dlib", "give FILE.onnx"),
        ("adience-five-folds --embedding a.onnx --runs a b", "without --runs"),
        ("vggface-transfer --threshold 0.5", "--threshold is of nii-pseudo-labels alone"),
        ("resnet50-subgroups --tables MORPH=nowhere.csv", "that exists"),
        ("resnet50-subgroups --tables Morph=.", "no published table takes Morph"),
    ],
)
def test_bad_input_is_one_line(line, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(line.split())
    assert stopped.value.code == 2
    written = capsys.readouterr().err
    assert said in written and written.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adience-five-folds", "Adience is not in the records"),
        ("nii-cross-dataset", "none of its datasets is there"),
        ("nii-fine-tuning", "needs KaggleGender, which has no builder: it is Kaggle's .* --tables"),
        ("nii-pseudo-labels", "UTKFace is not in the records"),
        ("resnet50-subgroups", "needs MORPH, which has no builder: it is MORPH II"),
        ("utkface-multitask", "UTKFace is not in the records"),
        ("vggface-transfer", "none of its datasets is there"),
    ],
)
def test_without_data_it_is_said_at_once_what_to_get(name, said, workplace, monkeypatch, capsys):
    monkeypatch.delenv("FACES_DIR", raising=False)
    monkeypatch.setattr(device, "start", lambda **_: pytest.fail("TensorFlow was started"))
    with pytest.raises(InputError, match=said):
        command.main([name])
    assert tables.describe(name) in capsys.readouterr().out  # it is published all the same
    assert not any(workplace.iterdir())


def test_an_embedding_that_is_not_there_comes_after_what_was_published(workplace, capsys):
    with pytest.raises(InputError, match=r"a\.onnx: no such file"):
        command.main(["adience-five-folds", "--embedding", "a.onnx"])
    assert "91.954%" in capsys.readouterr().out


def test_it_is_said_what_embedding_ours_is_on(workplace):
    adience = tables.PUBLISHED["adience-five-folds"]
    onnx_files.write(workplace / "small.onnx")
    said = {
        "dlib": "ours: on dlib's 128, which is another embedding",
        "small.onnx:rgb:127.5:127.5": "ours: on the 16 of small.onnx:rgb:127.5:127.5, which is an",
        "gone.onnx:rgb:127.5:127.5": "ours: on gone.onnx:rgb:127.5:127.5",
    }
    for number, (backbone, expected) in enumerate(said.items()):
        folder = runs.MODEL_FILES / f"run-{number}"
        run.begin(folder, {"dataset": "Adience", "tasks": ["gender"], "backbone": backbone})
        found = heads.embedding_of(folder, adience)
        assert found.startswith("published: on ArcFace's 512 numbers; ") and expected in found
    same = heads.embedding_of(runs.MODEL_FILES / "run-1", adience | {"embedding": 16})
    assert same.endswith("ours: on the 16 of small.onnx:rgb:127.5:127.5")


def test_a_mix_counts_each_face_as_much_as_its_part():
    def cell(*counts_and_accuracies):
        (female, its), (male, other) = counts_and_accuracies
        both = (female * its + male * other) / (female + male)
        by_gender = {
            "female": {"count": female, "accuracy": its},
            "male": {"count": male, "accuracy": other},
        }
        return {"gender": {"count": female + male, "accuracy": both, "by_gender": by_gender}}

    cells = {"A": cell((50, 0.8), (50, 0.6)), "B": cell((10, 0.4), (30, 0.9))}
    parts = {"A": 0.2, "B": 1}
    # By hand: a fifth of A are 10 women and 10 men.
    for gender, right, count in (("female", 8 + 4, 20), ("male", 6 + 27, 40), ("all", 45, 60)):
        assert nii.accuracy(cells, parts, gender=gender) == pytest.approx(right / count)
    assert nii.accuracy({"A": {}}, {"A": 1}, gender="male") is None
