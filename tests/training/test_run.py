"""A run's folder: begun, resumed, ended, never lost."""

import json
import os
import shutil
from importlib import metadata
from pathlib import Path

import keras
import pytest

from vggface_gender.base import locks, runs
from vggface_gender.base.errors import InputError
from vggface_gender.training import run, space, train
from vggface_gender.training.config import Config
from vggface_gender.training.network import Network


def test_the_run_folder_keeps_settings_and_versions(tmp_path):
    run.begin(tmp_path / "run", {"rate": 0.1, "epochs": 3})
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"] == {"rate": 0.1, "epochs": 3}
    assert config["versions"]["keras"] == metadata.version("keras")


def test_other_settings_do_not_replace_a_run_unless_told_to(tmp_path):
    folder = tmp_path / "run"
    run.begin(folder, {"rate": 0.1})
    (folder / runs.METRICS).write_text("{}")
    with pytest.raises(InputError, match=r"rate: 0\.1 there, 0\.2 now.*--overwrite"):
        run.begin(folder, {"rate": 0.2})
    assert (folder / runs.METRICS).exists()
    run.begin(folder, {"rate": 0.2}, overwrite=True)
    assert not (folder / runs.METRICS).exists()


def test_an_unfinished_run_is_resumed(tmp_path):
    folder = tmp_path / "run"
    run.begin(folder, {"rate": 0.1})
    for kept in (run.checkpoint(folder) / "epoch-0001", folder / runs.TENSORBOARD / "train"):
        kept.mkdir(parents=True)
    (folder / ".part-killed").mkdir()
    run.begin(folder, {"rate": 0.1})
    assert (run.checkpoint(folder) / "epoch-0001").exists()
    assert (folder / runs.TENSORBOARD / "train").exists()
    assert not (folder / ".part-killed").exists()


def test_a_run_that_was_killed_before_its_settings_were_written_is_begun(tmp_path):
    folder = tmp_path / "run"
    (folder / ".part-killed").mkdir(parents=True)
    (folder / ".part-killed" / "config.json").write_text("{")
    run.begin(folder, {"rate": 0.1})
    assert runs.settings(folder, {}) == {"rate": 0.1}
    assert os.listdir(folder) == ["config.json"]


def killed(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("at", ["rename", "rmtree"])
def test_a_run_is_replaced_and_ended_at_once(tmp_path, monkeypatch, at):
    """However little of it was removed when the kill came, the same command goes on."""
    folder = tmp_path / "run"
    run.begin(folder, {"rate": 0.1})
    (run.checkpoint(folder) / "head/epoch-0001").mkdir(parents=True)
    (folder / runs.METRICS).write_text("{}")
    for step in (run.end, lambda at: run.begin(at, {"rate": 0.2}, overwrite=True)):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(*{"rename": (Path, "rename"), "rmtree": (shutil, "rmtree")}[at], killed)
            step(folder)
        whole = run.checkpoint(folder) / "head/epoch-0001"
        assert whole.exists() or not run.checkpoint(folder).exists()
        step(folder)
        assert not run.checkpoint(folder).exists()
    assert runs.settings(folder, {}) == {"rate": 0.2} and not (folder / runs.METRICS).exists()


def test_one_run_is_trained_by_one_process(tmp_path):
    with (
        locks.held(tmp_path / "mine"),
        pytest.raises(InputError, match=f"mine is being written by process {os.getpid()}: wait"),
    ):
        train.train_all({}, tmp_path / "mine", cache=tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": {"ra'])
def test_damaged_settings_are_one_line_unless_they_are_replaced(tmp_path, content):
    folder = tmp_path / "run"
    run.begin(folder, {"rate": 0.1})
    (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config.json is damaged\): name .* or --overwrite it"):
        run.begin(folder, {"rate": 0.1})
    run.begin(folder, {"rate": 0.1}, overwrite=True)
    assert runs.settings(folder, {}) == {"rate": 0.1}


def test_what_a_kill_left_of_a_run_that_was_being_replaced_is_swept(tmp_path):
    left = tmp_path / ".part-left" / "run"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{}")
    run.begin(tmp_path / "run", {"rate": 0.1}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_finished_run_keeps_its_classifier_until_it_is_trained_again(tmp_path):
    folder = tmp_path / "run"
    run.begin(folder, {"rate": 0.1})
    (run.checkpoint(folder) / "epoch-0001").mkdir(parents=True)
    (folder / runs.TENSORBOARD).mkdir()
    for file in (runs.CLASSIFIER, runs.METRICS):
        (folder / file).write_text("kept")
    run.end(folder)
    run.begin(folder, {"rate": 0.1})
    assert {p.name for p in folder.iterdir()} == {runs.CLASSIFIER, runs.METRICS, "config.json"}


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a run"):
        run.begin(tmp_path, {"rate": 0.1}, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_command_trains_once_or_for_each_seed_or_fold():
    assert run.trainings(3) == {"": run.Training(3, 0)}
    assert run.trainings(3, repeats=2, split_seed=7) == {
        "seed-3": run.Training(3, 7),
        "seed-4": run.Training(4, 7),
    }
    assert run.trainings(1, repeats=2, resplit=True)["seed-2"] == run.Training(2, 2)
    folds = run.trainings(0, folds=3)
    assert [one.fold for one in folds.values()] == [(0, 3), (1, 3), (2, 3)]
    assert run.label(folds) == "folds3" and run.label(run.trainings(3)) == "seed3"
    assert run.label(run.trainings(3, repeats=2)) == "seeds3-4"


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"folds": 3, "repeats": 2}])
def test_folds_go_with_no_repeats(wrong):
    with pytest.raises(InputError, match="--folds takes 2 or more"):
        run.trainings(0, **wrong)


def test_a_training_whose_checkpoints_have_no_room_is_not_begun(full_disk):
    crop = keras.Input((8, 8, 3))
    backbone = keras.Model(crop, keras.layers.Flatten()(crop))
    features = keras.Input((192,))
    head = keras.Model(features, keras.layers.Dense(300)(features))  # 57,900 weights, 232 kB
    network = Network(backbone, head)
    for settings, needed in (({}, r"3\.1"), ({"ema": 0.5}, r"4\.1")):
        with pytest.raises(InputError, match=rf"checkpoints .* need {needed} MB and 2\.\d MB are"):
            space.require(
                full_disk / "run", Config("transfer", "x", **settings), **network._asdict()
            )
    (run.checkpoint(full_disk / "run")).mkdir(parents=True)
    (run.checkpoint(full_disk / "run") / "last.weights.h5").write_bytes(bytes(1_500_000))
    (full_disk / "run" / "config.json").touch()
    with pytest.raises(InputError, match=r"need 1\.\d MB and \d+ kB are free"):
        space.require(full_disk / "run", Config("transfer", "x"), **network._asdict())
