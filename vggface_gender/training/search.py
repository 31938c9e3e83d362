"""A search for settings on validation alone: every combination trained, none of them tested."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vggface_gender.base import files, locks, runs, state, text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.training import learning_rates, loop, run, selection, tracking, train
from vggface_gender.training.tracking import Group
from vggface_gender.training.train import Training

TABLE = "sweep.csv"
DIVERGED = "diverged"  # the phase of a training whose loss came not to be finite
VALIDATED = "validation.json"  # in a training's folder: what its best epoch validated; it is done


class Combination(NamedTuple):
    """Settings that are tried together."""

    chosen: Mapping[str, str]  # option to value, as they were given; of a plain training none
    trainings: Mapping[str, Training]  # see `train.plan`


def train_or_search(
    combinations: Sequence[Combination],
    folder: Path,
    *,
    cache: Path,
    find_learning_rate: bool = False,
    overwrite: bool = False,
    track: str | None = None,
) -> None:
    """What a training command does: train and test, or compare settings, or try learning rates.

    Args:
        combinations: several, or one of settings chosen, are swept; else that one is trained.
        folder: the run's.
        cache: where features are kept.
        find_learning_rate: try learning rates instead, in the first training.
        overwrite: replace a run of other settings.
        track: what keeps the experiment, too (see `tracking.connected`).

    Raises:
        InputError: see `train.train_all` and `sweep`.
    """
    chosen, trainings = combinations[0]
    if find_learning_rate:
        curve = train.find_learning_rate(next(iter(trainings.values())), folder, cache=cache)
        print(f"{learning_rates.describe(curve)}\ncurve: {folder / learning_rates.NAME}.png")
    elif chosen:
        table = sweep(combinations, folder, cache=cache, overwrite=overwrite, track=track)
        print(f"\n{report(table, list(chosen))}\ntable: {folder / TABLE}")
    else:
        train.train_all(trainings, folder, cache=cache, overwrite=overwrite, track=track)


def sweep(
    combinations: Sequence[Combination],
    folder: Path,
    *,
    cache: Path,
    overwrite: bool = False,
    track: str | None = None,
) -> pd.DataFrame:
    """Train every combination, and write the table of what they validate, best first.

    Each has a folder that is called by what was chosen, with its settings and history; no
    classifier is kept. The same call after a kill, or with further values, trains what is missing.

    Args:
        folder: the sweep's.
        cache: where features are kept.
        overwrite: replace a sweep of other settings.
        track: what keeps the experiment, too (see `tracking.connected`).

    Returns:
        A row a combination: the options' values, `trainings`, the `phase` of the best epoch
        (`DIVERGED` where there is none), and the means of `epoch`, `val_loss` and each task's
        figures on validation, of several trainings with their standard deviations.

    Raises:
        InputError: a folder holds something else, or another process is at it; see `train.fit`.
    """
    rows = []
    with locks.held(folder, wait=False):
        if (folder / "config.json").exists():
            raise InputError(f"{folder} holds a run: name another with --run")
        tracker = tracking.connected(track, runs.MODEL_FILES)
        with tracking.grouped(tracker, folder, grows=True) as group:
            for number, (chosen, trainings) in enumerate(combinations, start=1):
                print(f"{number} of {len(combinations)}: {' '.join(options(chosen))}")
                place = folder / _called(chosen)
                reached = [
                    _validated(
                        training, place / repeat, cache=cache, overwrite=overwrite, group=group
                    )
                    for repeat, training in trainings.items()
                ]
                rows.append({**chosen, **_spread(pd.DataFrame(reached))})
                table = pd.DataFrame(rows)
                score = "val_score" if "val_score" in table else "val_loss"
                if score not in table:  # until now all have diverged
                    table[score] = float("nan")
                table = table.sort_values(score, ascending=score == "val_loss", kind="stable")
                with files.whole(folder / TABLE) as part:
                    table.to_csv(part, index=False)
            group.keep({}, [folder / TABLE])
    return table


def report(table: pd.DataFrame, chosen: Sequence[str]) -> str:
    """The table as Markdown, and the options of its first row.

    Args:
        chosen: the options that were swept.
    """
    shown = [name for name in SHOWN if name in table]
    header = [*chosen, *(SHOWN[name] for name in shown)]
    cells = [
        [*(row[option] for option in chosen), *(_cell(row, name) for name in shown)]
        for _, row in table.iterrows()
    ]
    best = " ".join(options({option: table[option].iloc[0] for option in chosen}))
    return f"{text.table(header, cells)}\n\nbest on validation: {best}"


def _cell(row: pd.Series, name: str) -> str:
    """A mean, and of several trainings their standard deviation."""
    if isinstance(row[name], str):
        return row[name]
    if pd.isna(row[name]):
        return "-"
    return f"{row[name]:.4g}" + (f" ± {sd:.2g}" if (sd := row.get(f"{name}_sd")) else "")


# What of a table's columns is shown, and how it is called.
SHOWN = {
    "val_loss": "loss",
    "val_score": "score",
    **{
        f"val_{task}_{metric}": f"{task} {metric}"
        for task, its in TASKS.items()
        for metric in (("accuracy",) if its.is_classification else ("mae",))
    },
    "phase": "best in phase",
    "epoch": "epoch",
}


def options(chosen: Mapping[str, str]) -> list[str]:
    """Options as a command takes them; those of one name that hold several numbers together.

    Args:
        chosen: option to value; `augment.noise` is the noise of `--augment`.
    """
    found: dict[str, list[str]] = {}
    for option, value in chosen.items():
        name, _, part = option.partition(".")
        found.setdefault(name, []).append(f"{part}={value}" if part else value)
    return [each for name, values in found.items() for each in (f"--{name}", *values)]


def _called(chosen: Mapping[str, str]) -> str:
    """A folder's name that says what was chosen."""
    said = ",".join(f"{option}={value}" for option, value in chosen.items())
    return re.sub(r"[^\w.,=+-]", "-", said)


def _validated(
    training: Training, folder: Path, *, cache: Path, overwrite: bool, group: Group
) -> dict:
    """What a training's best epoch validates, trained first unless it was."""
    settings = training.config.settings()
    done = folder / VALIDATED
    if not run.is_finished(folder, settings, by=VALIDATED):
        run.begin(folder, settings, overwrite=overwrite)
        with tracking.tracked(group, folder, settings=settings) as tracked:
            values = _tried(training, folder, cache=cache, tracked=tracked)
            files.write_json(values, done)
            run.end(folder)
    return state.read(done, {"phase": str})


def _tried(
    training: Training, folder: Path, *, cache: Path, tracked: tracking.Tracked
) -> dict[str, str | float]:
    """The phase and the epoch that would be kept of a training, and what it validates."""
    try:
        history = train.fit(training, folder, cache=cache, watch=tracked.show).history
    except loop.Diverged as error:  # that is what this combination does; the others go on
        print(f"diverged: {error}")
        return {"phase": DIVERGED}
    if history is None:
        raise InputError("nothing is trained: give --head-epochs or --unfreeze")
    best, reached = selection.best(history), train.validated(history, training.tasks)
    compared = {f"validation/{name}": value for name, value in reached.items()}
    train.log_hparams(training, compared, folder=folder)
    tracked.keep(compared, [folder / "config.json", folder / loop.HISTORY])
    values: dict[str, str | float] = {"phase": str(best.phase), "epoch": float(best.epoch)}
    return values | {f"val_{name}": value for name, value in reached.items()}


def _spread(reached: pd.DataFrame) -> dict[str, float | str]:
    """The phases that the best epochs are of, means over trainings, and of several their standard
    deviations."""
    numbers = reached.drop(columns="phase")
    phases = ", ".join(dict.fromkeys(reached["phase"]))
    found = {"trainings": len(reached), "phase": phases, **numbers.mean()}
    if len(reached) > 1:
        found |= {f"{name}_sd": value for name, value in numbers.std().items()}
    return found
