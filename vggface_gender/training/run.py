"""The folder of a run while it is trained: begun, resumed, ended.

A run is a folder: `config.json` first, then, an epoch at a time, `history.csv`, `tensorboard/` and
a checkpoint; at the end `classifier.keras`, the predictions table and `metrics.json`, whose being
there says that the run is finished (see `base.runs`).
"""

import json
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vggface_gender.base import files, runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.text import listed

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "opencv-python-headless")


class Training(NamedTuple):
    """What sets one training of a command apart from its others."""

    seed: int  # of weights, order and dropout
    split_seed: int
    fold: tuple[int, int] | None = None  # which fold is the test split, and of how many


def trainings(
    seed: int,
    *,
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
        InputError: both repeats and folds are wanted, or a single fold.
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


def name(folder: Path) -> str:
    """What a training is called: its folder's place among the runs, such as "mine/seed-0"."""
    try:
        return folder.relative_to(runs.MODEL_FILES).as_posix()
    except ValueError:  # elsewhere
        return folder.name


def begin(folder: Path, settings: Mapping, *, overwrite: bool = False) -> None:
    """Begin the run in `folder`, or resume it.

    An unfinished run of the same settings is resumed; a finished one is trained again, which gives
    the same; one of other settings is only replaced where `overwrite` says so.

    Raises:
        InputError: the folder holds a run of other settings, or something else.
    """
    settings = json.loads(json.dumps(settings))
    for place in (folder, folder.parent):  # a run that was being replaced lies beside it
        files.sweep(place)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "config.json").exists():
            raise InputError(f"{folder} is not a run, and not empty: name another run")
        try:
            changed = _differences(runs.settings(folder, {}), settings)
        except InputError:
            changed = ["its config.json is damaged"]
        if changed and not overwrite:
            raise InputError(
                f"{folder} holds a run of other settings ({listed(changed, 5)}): name another run, "
                "or --overwrite it"
            )
        if changed:
            files.remove(folder)
        elif not checkpoint(folder).exists():
            # Finished: it is trained again beside what there is, until that is replaced.
            shutil.rmtree(folder / runs.TENSORBOARD, ignore_errors=True)
    versions = {package: _version(package) for package in PACKAGES}
    files.write_json({"settings": settings, "versions": versions}, folder / "config.json")


def keep(folder: Path, history: pd.DataFrame | None) -> str | None:
    """Write into `config.json` which epoch's weights the classifier holds; returns their phase.

    Args:
        history: of all phases (see `loop.fit`), the last epoch marked as best being the one; None
            where nothing was trained.
    """
    kept: dict[str, Any] = {"phase": None, "epoch": None}
    if history is not None:
        best = history[history.is_best].iloc[-1]
        kept = {"phase": str(best.phase), "epoch": int(best.epoch)}
    files.write_json(runs.config(folder) | {"kept": kept}, folder / "config.json")
    return kept["phase"]


def is_finished(folder: Path, settings: Mapping, *, by: str = runs.METRICS) -> bool:
    """Whether a folder holds a finished run of these settings.

    Args:
        by: the file that is written last.
    """
    if checkpoint(folder).exists() or not (folder / by).is_file():
        return False
    return not _differences(runs.settings(folder, {}), json.loads(json.dumps(settings)))


def checkpoint(folder: Path) -> Path:
    """Where a training keeps what its resumption needs."""
    return folder / "checkpoint"


def epochs_kept(folder: Path) -> list[str]:
    """The epochs that a resumption goes on from, the last last: ["backbone/epoch-0003"]."""
    states = sorted(checkpoint(folder).glob("*/epoch-*"))
    states.sort(key=lambda path: path.parent.name, reverse=True)  # the head is trained first
    return [path.relative_to(checkpoint(folder)).as_posix() for path in states]


def end(folder: Path) -> None:
    """Remove what only an unfinished run needs."""
    files.remove(checkpoint(folder))


def _differences(before: Mapping, now: Mapping) -> list[str]:
    """Settings that are not equal, each as `name: before there, after now`."""
    return [
        f"{key}: {before.get(key)} there, {now.get(key)} now"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
