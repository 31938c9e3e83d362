"""Run folders: found, begun, gone on with, never lost."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from vggface_gender.base import runs
from vggface_gender.base.errors import InputError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package that has no default classifier; the working folder is another."""
    folder = tmp_path / "checkout" / "vggface_gender"
    folder.mkdir(parents=True)
    monkeypatch.setattr(runs, "__file__", str(folder / "runs.py"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def test_a_run_is_found_by_name_folder_or_file(package):
    path = runs.MODEL_FILES / "mine" / runs.CLASSIFIER
    path.parent.mkdir(parents=True)
    path.write_text("a classifier")
    (runs.MODEL_FILES / ".part-killed").mkdir()
    (runs.MODEL_FILES / ".part-killed" / runs.CLASSIFIER).write_text("half of one")
    for run in ("mine", "model_files/mine", str(path)):
        assert runs.find(run).samefile(path)
    with pytest.raises(InputError, match="no run yours"):
        runs.find("yours")
    with pytest.raises(InputError, match="no run default"):
        runs.find("default")
    with pytest.raises(InputError, match=r"--run \(there is mine\)"):
        runs.find(None)
    assert runs.default() is None
    assert runs.results_folder(path) == path.parent


def test_the_default_classifier_is_the_installed_one_or_the_checkouts(package):
    for folder in (package.parent / "model_files" / "default", package / "default"):
        folder.mkdir(parents=True)
        path = folder / runs.CLASSIFIER
        path.write_text("a classifier")
        for run in (None, "default"):
            assert runs.find(run).samefile(path)
        assert runs.results_folder(runs.find(None)) == Path("model_files/default-evaluation")
    mine = runs.MODEL_FILES / "mine" / runs.CLASSIFIER
    mine.parent.mkdir(parents=True)
    mine.write_text("a classifier")
    assert runs.find("mine") == mine and runs.results_folder(mine) == mine.parent


def test_a_digest_stands_for_the_content(tmp_path):
    for name, content in {"a": "one", "b": "one", "c": "two"}.items():
        (tmp_path / name).write_text(content)
    a, b, c = (runs.digest(tmp_path / name) for name in "abc")
    assert a == b != c


def test_the_run_folder_keeps_settings_and_versions(tmp_path):
    runs.begin(tmp_path / "run", {"rate": 0.1, "epochs": 3})
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"] == {"rate": 0.1, "epochs": 3}
    assert config["versions"]["keras"] == metadata.version("keras")


def test_other_settings_do_not_replace_a_run_unless_told_to(tmp_path):
    folder = tmp_path / "run"
    runs.begin(folder, {"rate": 0.1})
    (folder / runs.METRICS).write_text("{}")
    with pytest.raises(InputError, match=r"rate: 0\.1 there, 0\.2 now.*--overwrite"):
        runs.begin(folder, {"rate": 0.2})
    assert (folder / runs.METRICS).exists()
    runs.begin(folder, {"rate": 0.2}, overwrite=True)
    assert not (folder / runs.METRICS).exists()


def test_an_unfinished_run_is_gone_on_with(tmp_path):
    folder = tmp_path / "run"
    runs.begin(folder, {"rate": 0.1})
    for kept in (runs.checkpoint(folder) / "epoch-0001", folder / runs.TENSORBOARD / "train"):
        kept.mkdir(parents=True)
    (folder / ".part-killed").mkdir()
    runs.begin(folder, {"rate": 0.1})
    assert (runs.checkpoint(folder) / "epoch-0001").exists()
    assert (folder / runs.TENSORBOARD / "train").exists()
    assert not (folder / ".part-killed").exists()


def test_a_finished_run_keeps_its_classifier_until_it_is_trained_again(tmp_path):
    folder = tmp_path / "run"
    runs.begin(folder, {"rate": 0.1})
    (runs.checkpoint(folder) / "epoch-0001").mkdir(parents=True)
    (folder / runs.TENSORBOARD).mkdir()
    for file in (runs.CLASSIFIER, runs.METRICS):
        (folder / file).write_text("kept")
    runs.end(folder)
    runs.begin(folder, {"rate": 0.1})
    assert {p.name for p in folder.iterdir()} == {runs.CLASSIFIER, runs.METRICS, "config.json"}


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a run"):
        runs.begin(tmp_path, {"rate": 0.1}, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()
