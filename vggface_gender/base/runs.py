"""Runs: where they lie, what their folders hold, how one is begun and ended.

A run is a folder: `config.json` first, then, an epoch at a time, `history.csv`, `tensorboard/` and
a checkpoint; at the end `classifier.keras`, the predictions table and `metrics.json`, whose being
there says that the run is finished. The default classifier, which comes with the package, has such
a folder too. Nothing here needs Keras.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from vggface_gender.base import files
from vggface_gender.base.errors import InputError

MODEL_FILES = Path("model_files")
DEFAULT = "default"  # the name of the classifier that comes with the package
CLASSIFIER = "classifier.keras"
METRICS = "metrics.json"
TENSORBOARD = "tensorboard"
PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "opencv-python-headless")


def find(run: str | None) -> Path:
    """The classifier's file of a run: its name under `model_files`, its folder, or the file itself.

    The name `default`, or none, is that of the default classifier wherever there is one.

    Raises:
        InputError: there is none.
    """
    if run in (None, DEFAULT) and (path := default()):
        return path
    if run is None:
        found = sorted(MODEL_FILES.glob(f"[!.]*/{CLASSIFIER}"))
        runs = [path.parent.name for path in found]
        there = f"(there is {', '.join(runs)})" if runs else "(train one first)"
        raise InputError(f"say which classifier to use with --run {there}")
    for path in (Path(run), Path(run) / CLASSIFIER, MODEL_FILES / run / CLASSIFIER):
        if path.is_file():
            return path
    raise InputError(
        f"no run {run}: neither a .keras file, nor a folder with {CLASSIFIER}, here or "
        f"in {MODEL_FILES}"
    )


def default() -> Path | None:
    """The default classifier's file, installed with the package or in the checkout; else None."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / DEFAULT, package.parent / MODEL_FILES / DEFAULT):
        if (path := folder / CLASSIFIER).is_file():
            return path
    return None


def results_folder(classifier: Path) -> Path:
    """Where figures on a classifier's file go: beside it.

    The default classifier's go to a folder in the working directory: its own is the package's.
    """
    path = default()
    if path and path.samefile(classifier):
        return MODEL_FILES / f"{DEFAULT}-evaluation"
    return classifier.parent


def settings(folder: Path) -> dict:
    """The settings of a run.

    Raises:
        InputError: its `config.json` is not there, or not a run's.
    """
    config = folder / "config.json"
    try:
        return json.loads(config.read_text())["settings"]
    except FileNotFoundError:
        raise InputError(f"{config}: no such file; give a run's folder") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{config} is not a run's: train it again") from None


def is_current(table: Path, folder: Path) -> bool:
    """Whether there is such a table and the run's classifier has not been made anew since."""
    return table.is_file() and table.stat().st_mtime >= (folder / CLASSIFIER).stat().st_mtime


def digest(path: Path) -> str:
    """Stands for a file's content."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


class Training(NamedTuple):
    """What sets one training of a command apart from its others."""

    seed: int  # of weights, order and dropout
    split_seed: int
    fold: tuple[int, int] | None = None  # which fold is the test split, and of how many

    @property
    def settings(self) -> dict:
        """As a run's settings keep it."""
        return self._asdict() if self.fold else {"seed": self.seed, "split_seed": self.split_seed}


def trainings(
    seed: int,
    repeats: int = 1,
    split_seed: int = 0,
    resplit: bool = False,
    folds: int | None = None,
) -> dict[str, Training]:
    """What a command is to train, by the folder of each within the run's.

    Args:
        seed: the first.
        repeats: how many seeds from there on.
        resplit: each seed has the split of its own number, in place of `split_seed`.
        folds: train once for each of so many folds, which is its test split.

    Returns:
        `seed-<k>` or `fold-<k>` to training; of a single one, whose folder is the run's, "".

    Raises:
        InputError: both repeats and folds are asked for, or a single fold.
    """
    if folds is not None:
        if folds < 2 or repeats > 1 or resplit:
            raise InputError(
                "--folds takes 2 or more, and goes with neither --repeats nor --resplit"
            )
        return {f"fold-{k}": Training(seed, split_seed, (k, folds)) for k in range(folds)}
    each = {
        f"seed-{k}": Training(k, k if resplit else split_seed) for k in range(seed, seed + repeats)
    }
    return each if repeats > 1 else {"": next(iter(each.values()))}


def label(each: Mapping[str, Training]) -> str:
    """What a run's name says of its trainings: `seed0`, `seeds0-4` or `folds5`."""
    several = list(each.values())
    if several[0].fold:
        return f"folds{len(several)}"
    first, last = several[0].seed, several[-1].seed
    return f"seed{first}" if first == last else f"seeds{first}-{last}"


def begin(folder: Path, settings: Mapping, overwrite: bool = False) -> None:
    """Begin the run in `folder`, or go on with it.

    An unfinished run of the same settings is gone on with; a finished one is trained again, which
    gives the same; one of other settings is only replaced where `overwrite` says so.

    Raises:
        InputError: the folder holds a run of other settings, or something else.
    """
    settings = json.loads(json.dumps(settings))
    config = folder / "config.json"
    if folder.exists() and any(folder.iterdir()):
        if not config.exists():
            raise InputError(f"{folder} is not a run, and not empty: choose another --run")
        before = json.loads(config.read_text())["settings"]
        changed = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
        if changed and not overwrite:
            differences = "; ".join(
                f"{k}: {before.get(k)} there, {settings.get(k)} now" for k in changed
            )
            raise InputError(
                f"{folder} holds a run of other settings ({differences}): choose another --run, or "
                "--overwrite it"
            )
        if changed:
            shutil.rmtree(folder)
        elif not checkpoint(folder).exists():
            # Finished: it is trained again beside what there is, until that is replaced.
            shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
    for leftover in folder.glob(f"{files.PART_PREFIX}*"):  # of a write that was killed
        shutil.rmtree(leftover)
    versions = {package: _version(package) for package in PACKAGES}
    files.write_json({"settings": settings, "versions": versions}, config)


def checkpoint(folder: Path) -> Path:
    """Where a training keeps what its resumption needs."""
    return folder / "checkpoint"


def end(folder: Path) -> None:
    """Remove what only an unfinished run needs."""
    shutil.rmtree(checkpoint(folder), ignore_errors=True)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
