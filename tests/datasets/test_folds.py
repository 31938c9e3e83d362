"""Folds: every face tested once, nobody on two sides, and the commands that train on each."""

import collections
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vggface_gender import datasets, evaluate, finetune, multitask, transfer
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import mixes
from vggface_gender.evaluation import predictions

PEOPLE = 20  # with four faces each


@pytest.fixture(scope="module")
def faces(tmp_path_factory, draw_table):
    """Drawn faces of people in a table with folds of its own, named 1, 3 and 7."""
    folder = tmp_path_factory.mktemp("people")
    table = pd.read_csv(draw_table(folder, 4 * PEOPLE, 64))
    person = np.arange(len(table)) // 4
    table = table.assign(subject=[f"p{k}" for k in person], fold=np.array([1, 3, 7])[person % 3])
    table.to_csv(folder / "own.csv", index=False)
    table.drop(columns="fold").to_csv(folder / "drawn.csv", index=False)
    # Person 0 has a face in another fold too; face 4 lacks its fold in a further table.
    torn = table.assign(fold=table.fold.where(table.file != "1.jpg", 3))
    torn.to_csv(folder / "torn.csv", index=False)
    table.astype({"fold": object}).assign(
        fold=table.fold.astype(str).where(table.file != "4.jpg", "")
    ).to_csv(folder / "gaps.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def tfrecords(tmp_path_factory):
    return tmp_path_factory.mktemp("tfrecords")


def split_tables(name: Path, tfrecords: Path, fold: tuple[int, int]) -> dict[str, pd.DataFrame]:
    from vggface_gender.data import records

    dataset = datasets.prepare(str(name), data_dir=tfrecords, fold=fold)
    return {split: records.labels(dataset, split) for split in dataset.counts}


@pytest.mark.parametrize("name", ["own.csv", "drawn.csv"])
def test_each_face_is_tested_once_and_nobody_stands_on_two_sides(name, faces, tfrecords):
    people = pd.read_csv(faces / name).set_index("file").subject
    count = {"own.csv": 3, "drawn.csv": 5}[name]
    tested = []
    for k in range(count):
        tables = split_tables(faces / name, tfrecords, (k, count))
        assert set(tables) == {"train", "validation", "test"}
        assert sum(map(len, tables.values())) == 4 * PEOPLE
        sides = [set(people[table.name]) for table in tables.values()]
        assert sum(map(len, sides)) == len(set.union(*sides)) == PEOPLE
        tested += tables["test"].name.tolist()
    assert collections.Counter(tested) == dict.fromkeys(people.index, 1)


def test_a_datasets_own_folds_are_what_it_is_tested_on(faces, tfrecords):
    table = pd.read_csv(faces / "own.csv")
    for k, own in enumerate((1, 3, 7)):
        tested = split_tables(faces / "own.csv", tfrecords, (k, 3))["test"]
        assert set(tested.name) == set(table.file[table.fold == own])


def test_who_is_in_the_test_fold_is_left_out_of_the_others(faces, tfrecords, capsys):
    tables = split_tables(faces / "torn.csv", tfrecords, (0, 3))
    everywhere = pd.concat(tables.values()).name
    assert "1.jpg" not in set(everywhere) and len(everywhere) == 4 * PEOPLE - 1
    assert "1.jpg: its person, p0, is in the test fold too" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "count", "complaint"),
    [
        ("own.csv", 5, r"folds of its own, 1, 3, 7: give --folds 3"),
        ("gaps.csv", 3, r"4\.jpg has no fold, and others have"),
    ],
)
def test_folds_that_do_not_fit_are_told(name, count, complaint, faces, tfrecords):
    with pytest.raises(InputError, match=complaint):
        datasets.prepare(str(faces / name), data_dir=tfrecords, fold=(0, count))


def test_what_can_not_go_together_is_told():
    for wrong in ({"folds": 1}, {"folds": 5, "repeats": 2}, {"folds": 5, "resplit": True}):
        with pytest.raises(InputError, match="--folds takes 2 or more"):
            runs.trainings(0, **wrong)


def test_transfer_by_folds_has_a_run_a_fold_and_the_published_table(
    faces, tfrecords, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    where = ["--dataset", str(faces / "own.csv"), "--data-dir", str(tfrecords)]
    transfer.main([*where, "--folds", "3", "--epochs", "2", "--layer", "embedding"])
    folder = Path("model_files/own-gender-dlib-embedding-folds3")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["count"] == 4 * PEOPLE
    printed = capsys.readouterr().out
    for k, row in enumerate(summary["folds"]):
        assert row["fold"] == f"fold-{k}"
        assert runs.settings(folder / f"fold-{k}")["fold"] == [k, 3]
        for split in ("train", "validation", "test"):
            table = predictions.read(folder / f"fold-{k}" / f"predictions-own-{split}.csv")
            known = table[table.gender.notna()]
            told = np.where(known.gender_female > known.gender_male, "female", "male")
            assert row[split] == {"count": len(table), "gender": (told == known.gender).mean()}
    mean = np.mean([row["test"]["gender"] for row in summary["folds"]])
    assert summary["tasks"]["gender"]["accuracy"]["mean"] == pytest.approx(mean)
    assert f"{mean:.4f}" in next(line for line in printed.splitlines() if "mean  " in line)

    # A fold's run is tested on its own test fold again, whatever the default split is.
    evaluate.main(["--run", str(folder / "fold-1"), *where])
    again = json.loads((folder / "fold-1/metrics-own-test.json").read_text())
    assert again["count"] == summary["folds"][1]["test"]["count"]
    table = predictions.read(folder / "fold-1/predictions-own-test.csv")
    own = pd.read_csv(faces / "own.csv")
    assert set(table.name) == set(own.file[own.fold == 3])
    with pytest.raises(InputError, match="no fold of it is unseen"):
        finetune.main(["--init", str(folder / "fold-1"), *where, "--folds", "3"])


def test_multitask_by_folds(faces, tfrecords, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["--dataset", str(faces / "drawn.csv"), "--data-dir", str(tfrecords)]
    line += ["--folds", "2", "--tasks", "gender", "age", "--unfreeze", "none", "--batch", "16"]
    multitask.main([*line, "--head-epochs", "1", "--run", "mine"])
    summary = json.loads(Path("model_files/mine/summary.json").read_text())
    assert [sorted(row["test"]) for row in summary["folds"]] == [["age", "count", "gender"]] * 2
    assert sum(row["test"]["count"] for row in summary["folds"]) == 4 * PEOPLE


def test_a_run_is_only_tested_on_its_own_split_where_it_was_trained_there():
    settings = {"dataset": "UTKFace[:20%]+FairFace*0.5", "split_seed": 2, "fold": [1, 5]}
    assert mixes.own_split(settings, "FairFace") == {"seed": 2, "fold": (1, 5)}
    assert mixes.own_split(settings, "GenderDataset") == {}
    chain = {"dataset": "FairFace", "before": ["UTKFace[:20%]+FairFace", "GenderDataset"]}
    assert mixes.learned_from(chain) == ["UTKFace", "FairFace", "GenderDataset"]
    gone = {"dataset": "nowhere/faces.csv*0.5+FairFace", "split_seed": 1}
    assert mixes.own_split(gone, "UTKFace") == {}
    assert mixes.own_split(gone, "nowhere/faces.csv") == {"seed": 1, "fold": None}
    assert mixes.own_split({"dataset": "UTKFace"}, "UTKFace") == {"seed": 0, "fold": None}
