"""Run folders: found by name, folder or file."""

from pathlib import Path

import pytest

from vggface_gender.base import runs
from vggface_gender.base.errors import InputError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package that has no default classifier; the working folder is another."""
    folder = tmp_path / "checkout" / "vggface_gender"
    folder.mkdir(parents=True)
    monkeypatch.setattr(runs, "__file__", str(folder / "base" / "runs.py"))
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
    with pytest.raises(InputError, match=r"\(there is mine\)"):
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


def test_the_trainings_of_a_run_are_its_seeds_or_folds_by_number(tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    assert runs.repeats(alone) == {"": alone}
    for name in ("seed-10", "seed-2", "seed-x", "other"):
        (tmp_path / "many" / name).mkdir(parents=True)
    assert list(runs.repeats(tmp_path / "many")) == ["seed-2", "seed-10"]
    (tmp_path / "many" / "fold-0").mkdir()
    with pytest.raises(InputError, match="both seeds and folds"):
        runs.repeats(tmp_path / "many")


def test_features_lie_beside_the_records_unless_those_may_only_be_read(workplace, unwritable):
    records = workplace / "tfrecords"
    assert runs.features_folder(records) == records / "features"
    records.mkdir()
    assert runs.features_folder(records) == records / "features"
    with unwritable(records):
        assert runs.features_folder(records) == runs.MODEL_FILES / "features"
