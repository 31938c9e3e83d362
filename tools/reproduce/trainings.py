"""Runs that are made where they are missing, by the commands that anyone would make them with.

The published recipes are options of these commands, whose defaults are a part of the recipe: so
they are started here as on the command line, and printed.
"""

import importlib
import shlex
from collections.abc import Sequence

from reproduce.request import Request
from vggface_gender.base import runs


def name(request: Request, what: str) -> str:
    """The run that is trained for a table, by what sets it apart from the table's others."""
    return f"reproduce-{request.table}-{what}"


def train(
    request: Request,
    run: str,
    *,
    command: str,
    dataset: str,
    options: Sequence[str],
    trainings: int = 1,
) -> str:
    """Train a run, unless it is finished; returns its name.

    Args:
        command: the one that trains it.
        dataset: as the command takes it.
        options: of the command, besides where the dataset is.
        trainings: how many the run is of: its seeds, or its folds.
    """
    if not is_finished(run, trainings=trainings):
        line = ["--dataset", dataset, "--data-dir", str(request.data_dir), "--run", run]
        if source := request.source_of(dataset):
            line += ["--source", str(source)]
        start(command, *line, *options, *request.training)
    return run


def is_finished(run: str, *, trainings: int = 1) -> bool:
    """Whether a run has so many trainings, or more, and all of them are finished."""
    folder = runs.MODEL_FILES / run
    if not folder.is_dir():
        return False
    each = runs.repeats(folder).values()
    return len(each) >= trainings and all((at / runs.METRICS).is_file() for at in each)


def start(command: str, *arguments: str) -> None:
    """Run a command as the command line does, once it is printed."""
    print(f"\n$ vggface-gender {shlex.join([command, *arguments])}", flush=True)
    importlib.import_module(f"vggface_gender.{command}").main(list(arguments))
