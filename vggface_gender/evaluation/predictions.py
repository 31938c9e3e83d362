"""The predictions table: one row a face, from which every published figure is computed.

Its columns are `name`; the true labels `gender`, `race` and `age` (years), always there and empty
where unknown; and the outputs of each task that the classifier has: a probability for each label
(`gender_female`, `race_White`, ...) and `age_predicted` in years. Where it is known what the
classifier was trained on, `overlap` says of each face whether it is an `exact` copy or a `near`
duplicate of a training image, and is empty where it is neither. In memory it is a data frame with
text columns of dtype object (None where a label is missing) and number columns of dtype float64.
A table that others made (see `external`) may have faces without a prediction, whose outputs are
NaN, and columns of dtype category, which are groups of its own.

Beside a table that was computed here lies what it was made from (see `provenance`).
"""

import contextlib
import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vggface_gender.base import files, runs, text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION, TASKS, Task
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import provenance

# How far from 1 a row's probabilities may sum: room for half precision and for hand-rounded
# tables, none for logits or percentages.
TOLERANCE = 0.01
OVERLAP = "overlap"  # a column that need not be there
EXACT, NEAR = "exact", "near"  # what it says of a face


def table(
    names: Sequence[str],
    truth: Mapping[str, Sequence],
    *,
    outputs: Mapping[str, np.ndarray],
    tasks: Mapping[str, tuple[str, ...]],
    overlap: Sequence[str | None] | None = None,
) -> pd.DataFrame:
    """The predictions table of `n` faces.

    Args:
        names: what each face is called, such as its file's name.
        truth: for any of the tasks, `n` true labels: text for gender and race, years for age;
            None, NaN or "" where a label is missing. A task that is not named has none.
        outputs: for each task predicted, probabilities of shape `(n, k)`, in `[0, 1]` and summing
            to 1, or for age years of shape `(n,)`; any float dtype, kept exactly as float64.
        tasks: for each classification task in `outputs`, the names of its `k` columns.
        overlap: `n` times `EXACT`, `NEAR` or None (see `trained_on.marks`); None where it is not
            known what the classifier was trained on.

    Raises:
        ValueError: an unknown task, or lengths and shapes that don't match.
        InputError: a value that `read` would refuse, such as a NaN output.
    """
    if unknown := {*truth, *outputs} - set(TASKS):
        raise ValueError(f"unknown tasks: {', '.join(sorted(unknown))}")
    columns = {"name": pd.Series(list(names), dtype=object)}
    for task in TASKS.values():
        columns[task.name] = _true_labels(task, truth.get(task.name), len(names))
        if task.name in outputs:
            its = task.output_columns(tasks.get(task.name, ()))
            output = np.asarray(outputs[task.name], dtype=np.float64)
            shape = (len(names), len(its)) if task.is_classification else (len(names),)
            if output.shape != shape:
                raise ValueError(f"{task.name} outputs have the shape {output.shape}, not {shape}")
            columns.update(zip(its, output.reshape(len(names), len(its)).T, strict=True))
    if overlap is not None:
        columns[OVERLAP] = pd.Series(list(overlap), dtype=object)
    frame = pd.DataFrame(columns)
    _check(frame, "predictions")
    return frame


def _true_labels(task: Task, values: Sequence | None, count: int) -> pd.Series:
    values = [None] * count if values is None else values
    if len(values) != count:
        raise ValueError(f"{len(values)} true {task.name} labels for {count} names")
    return pd.Series(
        [None if pd.isna(value) or value == "" else value for value in values],
        dtype=object if task.is_classification else float,
    )


def has(frame: pd.DataFrame, task: str) -> bool:
    """Whether a predictions table has outputs of a task."""
    return bool(outputs_of(frame, task))


def outputs_of(frame: pd.DataFrame, task: str) -> list[str]:
    """The columns of a task's outputs in a predictions table; [] where there are none."""
    known = TASKS[task].output_columns(TASKS[task].labels)
    return [column for column in frame.columns if column in known]


def output_labels(frame: pd.DataFrame, task: str) -> tuple[str, ...]:
    """The label names that a predictions table has probabilities for; () where it has none."""
    if not TASKS[task].is_classification:
        return ()
    return tuple(column.removeprefix(f"{task}_") for column in outputs_of(frame, task))


def is_predicted(frame: pd.DataFrame, task: str) -> np.ndarray:
    """Which faces have outputs of a task, (n,): all, but in tables that others made."""
    return frame[outputs_of(frame, task)].notna().all(axis=1).to_numpy(bool)


def are_hard(frame: pd.DataFrame, task: str) -> bool:
    """Whether a classification task's outputs are labels alone: each probability is 0 or 1.

    There is no confidence then, so nothing to say of calibration, abstention or cross-entropy.
    """
    given = probabilities(frame, task)
    return len(given) > 0 and bool((np.isnan(given) | (given == 0) | (given == 1)).all())


def probabilities(frame: pd.DataFrame, task: str) -> np.ndarray:
    """A classification task's outputs: float64 of shape `(n, k)`, columns as `output_labels`."""
    return frame[outputs_of(frame, task)].to_numpy(np.float64)


def years(frame: pd.DataFrame) -> pd.Series:
    """The ages that a predictions table's outputs give, (n,) in years."""
    return frame[outputs_of(frame, "age")[0]]


def tables(folder: Path, split: str) -> dict[str, Path]:
    """A run's predictions tables of a split, by what their names call their datasets."""
    classifier = folder / runs.CLASSIFIER
    within = runs.results_folder(classifier) if classifier.is_file() else folder
    start, end = "predictions-", f"-{split}.csv"
    return {
        path.name.removeprefix(start).removesuffix(end): path
        for path in sorted(within.glob(f"{start}*{end}"))
    }


def write(frame: pd.DataFrame, path: str | os.PathLike, *, made_by: Mapping | None = None) -> None:
    """Write a table of faces as CSV (UTF-8), whole or not at all; `read` gives predictions back.

    Text is quoted, since a file's name may hold anything, line breaks and undecodable bytes
    included; numbers are written with as many digits as keep them distinct.

    Args:
        made_by: what `provenance.is_current` shall compare; None for one of unknown origin.
    """
    path = Path(path)
    with files.whole(path) as part:
        frame.to_csv(
            part,
            index=False,
            quoting=csv.QUOTE_NONNUMERIC,
            lineterminator="\n",
            encoding="utf-8",
            errors="surrogateescape",
        )
    # What may still lie there is of the table before: it holds another hash than this one's.
    provenance.sign(path, made_by)


def place(
    folder: Path, dataset: Dataset, *, split: str, made_by: Mapping | None, table: pd.DataFrame
) -> Path:
    """Where a table of predictions belongs: `predictions-<label>-<split>.csv` in `folder`.

    Where another dataset's table of that name is (see `provenance.place`), it goes beside. Of one
    that does not say what it was made from, names and true labels decide.

    Args:
        made_by: see `provenance.made_by`; None where that is not known.
        table: what is to be written.
    """
    if made_by is None:
        return folder / file_name(split).format(dataset.label)
    usual, beside = provenance.places(folder, file_name(split), dataset=dataset, made_by=made_by)
    is_others = provenance.is_of_others(usual, made_by) or (
        provenance.known(usual) is None and _is_of_other_faces(usual, table)
    )
    return beside if is_others else usual


def current(folder: Path, dataset: Dataset, *, split: str, made_by: Mapping) -> Path | None:
    """The table in `folder` that was made from exactly this; None where there is none."""
    for path in provenance.places(folder, file_name(split), dataset=dataset, made_by=made_by):
        if provenance.is_current(path, made_by):
            return path
    return None


def file_name(split: str) -> str:
    """The name of a split's table, `{}` in the place of the dataset's label."""
    return f"predictions-{{}}-{split}.csv"


def _is_of_other_faces(path: Path, table: pd.DataFrame) -> bool:
    """Whether there is a table of predictions of other faces; what can't be read is none."""
    try:
        there = read(path)
    except InputError:
        return False
    columns = ["name", *TASKS]
    one, other = (its[columns].sort_values("name", ignore_index=True) for its in (there, table))
    return not one.equals(other)


def read(path: str | os.PathLike) -> pd.DataFrame:
    """The predictions table in a CSV file, as `table` gives it.

    Only an empty cell is a missing label: "NA" and "None" are text. Cells are parsed here, not by
    `pandas.read_csv`, so that a fault can be named by its row and column.

    Raises:
        InputError: there is no such file or it is no predictions table; the message names
            the file and the first offending row (the header is row 1) and column.
    """
    try:
        # utf-8-sig, since spreadsheets put a byte order mark first.
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = list(csv.reader(file, strict=True))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a predictions CSV") from error
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file ({error})") from error
    if not lines:
        raise InputError(f"{path}: empty; evaluate the run again to write it")
    header, *rows = lines
    _check_columns(header, path)
    for row, cells in enumerate(rows):
        if len(cells) != len(header):
            raise InputError(
                f"{_place(path, row)}: {len(cells)} cells under {len(header)} column names; "
                "restore the table as it was written"
            )
    columns = {}
    for position, column in enumerate(header):
        cells = [row[position] for row in rows]
        if column == "name":
            columns[column] = pd.Series(cells, dtype=object)
        elif column in (*CLASSIFICATION, OVERLAP):
            columns[column] = pd.Series([cell or None for cell in cells], dtype=object)
        else:
            columns[column] = _numbers(cells, path, column)
    frame = pd.DataFrame(columns)
    _check(frame, path)
    return frame


def checked(frame: pd.DataFrame, *, where: str | os.PathLike = "the table") -> pd.DataFrame:
    """A predictions table that somebody made, in the types that `table` gives.

    True labels of a task may lack where it has no outputs: they are not known. A face may have no
    prediction of a task, and all of that task's outputs are NaN then. Columns of dtype category
    stay: they are groups.

    Args:
        where: what to call it in an error.

    Raises:
        InputError: a column is missing or unknown, or a value can't be what its column says.
    """
    lacking = [task for task in TASKS if task not in frame and not has(frame, task)]
    grouped = frame.select_dtypes("category")
    frame = frame.drop(columns=grouped.columns).assign(**dict.fromkeys(lacking))
    _check_columns(list(frame.columns), where)
    given = {column: frame[column].to_numpy() for column in frame}
    for column in (*CLASSIFICATION, OVERLAP):
        if column in given:
            empty = pd.isna(frame[column]) | (frame[column] == "")
            given[column] = frame[column].astype(object).where(~empty, None).to_numpy()
    made = pd.DataFrame(given, index=frame.index)
    for column in made:
        if column not in ("name", *CLASSIFICATION, OVERLAP):
            try:
                made[column] = made[column].astype(np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"{where}: column {column}: {error}; give numbers") from None
    _check(made, where, every_face=False)
    return made.join(grouped.set_axis(made.index))


def _place(where: str | os.PathLike, row: int, column: str | None = None) -> str:
    """Where a fault is, rows counted as a spreadsheet shows them."""
    return f"{where}: row {row + 2}" + (f", column {column}" if column else "")


def _numbers(cells: list[str], where: str | os.PathLike, column: str) -> np.ndarray:
    """The cells as float64, NaN where empty (and nowhere else)."""
    numbers = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell:
            with contextlib.suppress(ValueError):
                numbers[row] = float(cell)
            if not np.isfinite(numbers[row]):
                raise InputError(
                    f"{_place(where, row, column)}: {text.shortened(repr(cell))} is not a number; "
                    "correct it"
                )
    return numbers


def _check_columns(columns: Sequence[str], where: str | os.PathLike) -> None:
    """Refuse a header that has a column missing, twice, or that no task explains."""
    required = ("name", *TASKS)
    outputs = [task.output_columns(task.labels) for task in TASKS.values()]
    known = {*required, OVERLAP, *(column for its in outputs for column in its)}
    for column in required:
        if column not in columns:
            raise InputError(
                f"{where}: no column {column!r}; a predictions table has name, "
                f"{', '.join(TASKS)} and a column for each output"
            )
    for position, column in enumerate(columns):
        if column in columns[:position]:
            raise InputError(
                f"{where}: column {text.shortened(repr(column))} is there twice; remove one"
            )
        if column not in known:
            raise InputError(
                f"{where}: unknown column {text.shortened(repr(column))}; rename it to an output "
                f"(such as gender_female, race_White or age_predicted) or remove it"
            )


def _check(frame: pd.DataFrame, where: str | os.PathLike, *, every_face: bool = True) -> None:
    """Refuse a table whose columns or values can't be what they say.

    Args:
        every_face: whether every face must have a prediction.
    """
    _check_columns(list(frame.columns), where)
    for task in TASKS.values():
        _check_truth(frame, task, where)
        outputs = frame[outputs_of(frame, task.name)]
        # Some of a row's outputs without the others are a fault all the same.
        predicted = frame if every_face else frame[outputs.notna().any(axis=1)]
        check = _check_probabilities if task.is_classification else _check_years
        check(predicted, task, where)
    if OVERLAP in frame:
        its = frame[OVERLAP]
        reason = f"does not say how a face overlaps with training; use {EXACT}, {NEAR} or nothing"
        _refuse(frame, OVERLAP, its.notna() & ~its.isin((EXACT, NEAR)), reason, where)


def _check_truth(frame: pd.DataFrame, task: Task, where: str | os.PathLike) -> None:
    true = frame[task.name]
    if task.is_classification:
        bad = true.notna() & ~true.isin(task.labels)
        names = ", ".join(task.labels)
        reason = f"is not a {task.name} label; use one of {names}, or leave it empty"
    else:
        bad = (true < 0) | np.isinf(true)
        reason = "is not an age in years; correct it or leave it empty"
    _refuse(frame, task.name, bad, reason, where)


def _check_probabilities(frame: pd.DataFrame, task: Task, where: str | os.PathLike) -> None:
    columns = outputs_of(frame, task.name)
    for column in columns:
        # Written so that NaN is refused too.
        impossible = ~frame[column].between(0, 1 + TOLERANCE)
        _refuse(frame, column, impossible, "is not a probability; it must be in [0, 1]", where)
    if columns:
        off = np.abs(probabilities(frame, task.name).sum(axis=1) - 1) > TOLERANCE
        reason = f"and the row's other {task.name} probabilities must sum to 1"
        _refuse(frame, columns[0], off, reason, where)


def _check_years(frame: pd.DataFrame, task: Task, where: str | os.PathLike) -> None:
    for column in outputs_of(frame, task.name):
        reason = "is not an age in years; the classifier must give one for each face"
        _refuse(frame, column, ~np.isfinite(frame[column]), reason, where)


def _refuse(
    frame: pd.DataFrame,
    column: str,
    bad: pd.Series | np.ndarray,
    reason: str,
    where: str | os.PathLike,
) -> None:
    """Raise for the first row that is bad, if any; `reason` follows the column's value."""
    bad = np.asarray(bad, bool)
    if bad.any():
        row = int(np.argmax(bad))
        value = frame[column].iloc[row]
        shown = value if isinstance(value, float) else text.shortened(repr(value))
        raise InputError(f"{_place(where, frame.index[row], column)}: {shown} {reason}")
