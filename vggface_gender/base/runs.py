"""Runs: where they lie and what their folders hold.

A run is a folder with `config.json`, `classifier.keras`, a predictions table and `metrics.json`,
whose being there says that the run is finished (`training.run` says how one comes about). The
default classifier, which comes with the package, has such a folder too.
"""

import os
import re
from pathlib import Path
from types import MappingProxyType

from vggface_gender.base import state
from vggface_gender.base.errors import InputError

MODEL_FILES = Path("model_files")
DEFAULT = "default"  # the name of the classifier that comes with the package
CLASSIFIER = "classifier.keras"
ONNX = "classifier.onnx"  # the same, exported
METRICS = "metrics.json"
TENSORBOARD = "tensorboard"


def find(run: str | None, *, onnx: bool = False) -> Path:
    """The classifier's file of a run: its name under `model_files`, its folder, or the file itself.

    The name `default`, or none, is that of the default classifier wherever there is one.

    Args:
        onnx: a run that has only an exported file, or that file itself, will do.

    Raises:
        InputError: there is none.
    """
    if run in (None, DEFAULT) and (path := default()):
        return path
    if run is None:
        found = sorted(MODEL_FILES.glob(f"[!.]*/{CLASSIFIER}"))
        runs = [path.parent.name for path in found]
        there = f"(there is {', '.join(runs)})" if runs else "(train one first)"
        raise InputError(f"name the run whose classifier to use {there}")
    names = (CLASSIFIER, ONNX) if onnx else (CLASSIFIER,)
    for path in (
        Path(run),
        *(place / run / name for place in (Path(), MODEL_FILES) for name in names),
    ):
        if path.is_file() and (onnx or path.suffix != ".onnx"):
            return path
    if Path(run).suffix == ".onnx" and Path(run).is_file():
        raise InputError(f"{run}: this takes a run's {CLASSIFIER}, which Keras reads; name the run")
    raise InputError(
        f"no run {run}: neither a .keras file, nor a folder with {' or '.join(names)}, here or "
        f"in {MODEL_FILES}"
    )


def folder(run: str) -> Path:
    """The folder of a run, or of its repeats: its name under `model_files`, or the folder itself.

    Raises:
        InputError: there is none.
    """
    candidates = [Path(run), MODEL_FILES / run]
    if run == DEFAULT and (path := default()):
        candidates.append(path.parent)
    # A dataset's folder may have a run's name: what holds a run goes before what does not.
    for is_it in (_holds_a_run, Path.is_dir):
        for candidate in candidates:
            if is_it(candidate):
                return candidate
    raise InputError(f"no run {run}: neither a folder, nor one in {MODEL_FILES}")


def _holds_a_run(folder: Path) -> bool:
    """Whether a folder is a run's, or that of its repeats."""
    names = ("config.json", CLASSIFIER)
    return any(next(folder.glob(part + name), None) for name in names for part in ("", "*/"))


def default() -> Path | None:
    """The default classifier's file, installed with the package or in the checkout; else None."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / DEFAULT, package.parent / MODEL_FILES / DEFAULT):
        if (path := folder / CLASSIFIER).is_file():
            return path
    return None


def called(classifier: Path) -> str:
    """What a classifier's file is called: its run's name, or its own of one that is in no run."""
    return classifier.parent.name if classifier.name == CLASSIFIER else classifier.name


def results_folder(classifier: Path) -> Path:
    """Where figures on a classifier's file go: beside it.

    The default classifier's go to a folder in the working directory: its own is the package's.
    """
    path = default()
    if path and path.samefile(classifier):
        return MODEL_FILES / f"{DEFAULT}-evaluation"
    return classifier.parent


def features_folder(data_dir: Path) -> Path:
    """Where features are cached: beside the records, or beside the runs if those may only be read.

    Args:
        data_dir: the records' folder.
    """
    place = Path(data_dir, "features")
    there = place if place.exists() else place.parent
    return place if not there.exists() or os.access(there, os.W_OK) else MODEL_FILES / "features"


def config(folder: Path) -> dict:
    """The content of a run's `config.json`: its `settings`, and the `versions` of packages.

    Raises:
        InputError: the file is not there, or not a run's.
    """
    remedy = "give a run's folder, or train it again in a new one"
    return state.read(folder / "config.json", {"settings": dict}, remedy=remedy)


def settings(folder: Path, form: state.Form = MappingProxyType({"dataset": str})) -> dict:
    """The settings of a run.

    Args:
        form: those that have to be there.

    Raises:
        InputError: its `config.json` is not there, or not a run's.
    """
    found = config(folder)["settings"]
    where = f"{folder / 'config.json'}: its object settings"
    state.check(found, form, where=where, remedy="train it again in a new folder")
    return found


def figures(path: Path) -> dict:
    """The content of a metrics file, a run's `metrics.json` or an evaluation's.

    Raises:
        InputError: the file is not there, or not of metrics.
    """
    form = {"dataset": str, "split": str, "count": int, "tasks": dict}
    return state.read(path, form, remedy="delete it, and evaluate the run again")


def repeats(folder: Path) -> dict[str, Path]:
    """The trainings of a run: `seed-<k>` or `fold-<k>` to folder, by number; of a single one "".

    Raises:
        InputError: it holds both seeds and folds.
    """
    found = {}
    for path in folder.iterdir():
        if (match := re.fullmatch(r"(seed|fold)-(-?\d+)", path.name)) and path.is_dir():
            found[match[1], int(match[2])] = path
    if len({kind for kind, _ in found}) > 1:
        raise InputError(f"{folder} holds both seeds and folds: give a folder of one kind")
    return {path.name: path for _, path in sorted(found.items())} or {"": folder}
