"""Commands that train on each fold: a run a fold, and tests on what it has not seen."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vggface_gender import evaluate, finetune, multitask, transfer
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import held_out, predictions
from vggface_gender.training import run

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
    return folder


@pytest.fixture(scope="module")
def tfrecords(tmp_path_factory):
    return tmp_path_factory.mktemp("tfrecords")


def test_what_can_not_go_together_is_told():
    for wrong in ({"folds": 1}, {"folds": 5, "repeats": 2}, {"folds": 5, "resplit": True}):
        with pytest.raises(InputError, match="fold"):
            run.trainings(0, **wrong)


@pytest.mark.slow
def test_transfer_by_folds_has_a_run_a_fold_and_the_published_table(
    faces, tfrecords, drawn, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    where = ["--dataset", str(faces / "own.csv"), "--data-dir", str(tfrecords)]
    where += ["--align", "never"]
    network = ["--backbone", str(drawn.backbone), "--layer", "conv2"]
    transfer.main([*where, *network, "--folds", "3", "--epochs", "2"])
    folder = Path("model_files/own-gender-tiny-conv2-folds3")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["count"] == 4 * PEOPLE
    printed = capsys.readouterr().out
    for k, row in enumerate(summary["folds"]):
        assert row["fold"] == f"fold-{k}"
        assert runs.settings(folder / f"fold-{k}")["fold"] == [k, 3]
        for split in ("train", "validation", "test"):
            table = predictions.read(folder / f"fold-{k}" / f"predictions-own-{split}.csv")
            known = table[table.gender.notna()]
            predicted = np.where(known.gender_female > known.gender_male, "female", "male")
            assert row[split] == {"count": len(table), "gender": (predicted == known.gender).mean()}
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


@pytest.mark.slow
def test_multitask_by_folds(faces, tfrecords, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["--dataset", str(faces / "drawn.csv"), "--data-dir", str(tfrecords)]
    line += ["--align", "never"]
    line += ["--folds", "2", "--tasks", "gender", "age", "--unfreeze", "none", "--batch", "16"]
    multitask.main([*line, "--head-epochs", "1", "--run", "mine"])
    summary = json.loads(Path("model_files/mine/summary.json").read_text())
    assert [sorted(row["test"]) for row in summary["folds"]] == [["age", "count", "gender"]] * 2
    assert sum(row["test"]["count"] for row in summary["folds"]) == 4 * PEOPLE


def test_a_run_is_only_tested_on_its_own_split_where_it_was_trained_there():
    settings = {"dataset": "UTKFace[:20%]+FairFace*0.5", "split_seed": 2, "fold": [1, 5]}
    assert held_out.own_split(settings, "FairFace") == {"seed": 2, "fold": (1, 5)}
    assert held_out.own_split(settings, "GenderDataset") == {}
    chain = {"dataset": "FairFace", "before": ["UTKFace[:20%]+FairFace", "GenderDataset"]}
    assert held_out.learned_from(chain) == ["UTKFace", "FairFace", "GenderDataset"]
    gone = {"dataset": "nowhere/faces.csv*0.5+FairFace", "split_seed": 1}
    assert held_out.own_split(gone, "UTKFace") == {}
    assert held_out.own_split(gone, "nowhere/faces.csv") == {"seed": 1, "fold": None}
    assert held_out.own_split({"dataset": "UTKFace"}, "UTKFace") == {"seed": 0, "fold": None}
