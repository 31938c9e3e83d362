"""The predictions table: one row a face, from which every published figure is computed.

Its columns are `name`; the true labels `gender`, `race` and `age` (years), always there and empty
where unknown; and the outputs of each task that the classifier has: a probability for each label
(`gender_female`, `race_White`, ...) and `age_predicted` in years. In memory it is a data frame with
text columns of dtype object (None where a label is missing) and number columns of dtype float64.
"""

import contextlib
import csv
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vggface_gender.base import files, labels
from vggface_gender.base.errors import InputError

CLASSIFICATION_TASKS = ("gender", "race")
AGE_OUTPUT = "age_predicted"
TRUE_LABELS = {
    "gender": labels.GENDERS,
    "race": tuple(dict.fromkeys(name for taxonomy in labels.RACES for name in taxonomy)),
}
# How far from 1 a row's probabilities may sum: room for half precision and for hand-rounded
# tables, none for logits or percentages.
_SUM_TOLERANCE = 0.01


def table(
    names: Sequence[str],
    truth: Mapping[str, Sequence],
    outputs: Mapping[str, np.ndarray],
    label_names: Mapping[str, tuple[str, ...]],
) -> pd.DataFrame:
    """The predictions table of `n` faces.

    Args:
        names: what each face is called, such as its file's name.
        truth: for any of the tasks, `n` true labels: text for gender and race, years for age;
            None, NaN or "" where a label is missing. A task that is not named has none.
        outputs: for each task predicted, probabilities of shape `(n, k)`, in `[0, 1]` and summing
            to 1, or for age years of shape `(n,)`; any float dtype, kept exactly as float64.
        label_names: for each classification task in `outputs`, the names of its `k` columns.

    Raises:
        ValueError: an unknown task, or lengths and shapes that don't match.
        InputError: a value that `read` would refuse, such as a NaN output.
    """
    if unknown := {*truth, *outputs} - set(labels.TASKS):
        raise ValueError(f"unknown tasks: {', '.join(sorted(unknown))}")
    count = len(names)
    columns = {"name": pd.Series(list(names), dtype=object)}
    for task in labels.TASKS:
        true = truth.get(task, [None] * count)
        if len(true) != count:
            raise ValueError(f"{len(true)} true {task} labels for {count} names")
        columns[task] = pd.Series(
            [None if pd.isna(value) or value == "" else value for value in true],
            dtype=float if task == "age" else object,
        )
        if task in outputs:
            output = np.asarray(outputs[task], dtype=np.float64)
            if task == "age":
                output_columns, shape = [AGE_OUTPUT], (count,)
            else:
                output_columns = _columns(task, label_names[task])
                shape = (count, len(output_columns))
            if output.shape != shape:
                raise ValueError(f"{task} outputs have the shape {output.shape}, not {shape}")
            columns.update(zip(output_columns, np.atleast_2d(output.T), strict=True))
    frame = pd.DataFrame(columns)
    _check(frame, "predictions")
    return frame


def output_labels(frame: pd.DataFrame, task: str) -> tuple[str, ...]:
    """The label names that a predictions table has probabilities for; () where it has none."""
    prefix = f"{task}_"
    return tuple(
        column.removeprefix(prefix)
        for column in frame.columns
        if column.startswith(prefix) and column != AGE_OUTPUT
    )


def probabilities(frame: pd.DataFrame, task: str) -> np.ndarray:
    """A classification task's outputs: float64 of shape `(n, k)`, columns as `output_labels`."""
    return frame[_columns(task, output_labels(frame, task))].to_numpy(np.float64)


def write(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a table of faces as CSV (UTF-8), whole or not at all; `read` gives predictions back.

    Text is quoted, since a file's name may hold anything, line breaks and undecodable bytes
    included; numbers are written with as many digits as tell them apart.
    """
    with files.whole(path) as part:
        frame.to_csv(
            part,
            index=False,
            quoting=csv.QUOTE_NONNUMERIC,
            lineterminator="\n",
            encoding="utf-8",
            errors="surrogateescape",
        )


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
        elif column in CLASSIFICATION_TASKS:
            columns[column] = pd.Series([cell or None for cell in cells], dtype=object)
        else:
            columns[column] = _numbers(cells, path, column)
    frame = pd.DataFrame(columns)
    _check(frame, path)
    return frame


def _columns(task: str, names: Sequence[str]) -> list[str]:
    return [f"{task}_{name}" for name in names]


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
                    f"{_place(where, row, column)}: {cell!r} is not a number; correct it"
                )
    return numbers


def _check_columns(columns: Sequence[str], where: str | os.PathLike) -> None:
    """Refuse a header that has a column missing, twice, or that no task explains."""
    outputs = {AGE_OUTPUT}
    for task, names in TRUE_LABELS.items():
        outputs.update(_columns(task, names))
    for column in ("name", *labels.TASKS):
        if column not in columns:
            raise InputError(
                f"{where}: no column {column!r}; a predictions table has name, "
                f"{', '.join(labels.TASKS)} and a column for each output"
            )
    for position, column in enumerate(columns):
        if column in columns[:position]:
            raise InputError(f"{where}: column {column!r} is there twice; remove one")
        if column not in {"name", *labels.TASKS, *outputs}:
            raise InputError(
                f"{where}: unknown column {column!r}; rename it to an output "
                f"(such as gender_female, race_White or {AGE_OUTPUT}) or remove it"
            )


def _check(frame: pd.DataFrame, where: str | os.PathLike) -> None:
    """Refuse a table whose columns or values can't be what they say."""
    _check_columns(list(frame.columns), where)

    def refuse(bad: np.ndarray, column: str, reason: str) -> None:
        """Raise for the first row that is bad, if any; `reason` follows the column's value."""
        if bad.any():
            row = int(np.argmax(bad))
            value = frame[column].iloc[row]
            shown = value if isinstance(value, float) else repr(value)
            raise InputError(f"{_place(where, row, column)}: {shown} {reason}")

    for task, known in TRUE_LABELS.items():
        true = frame[task]
        refuse(
            (true.notna() & ~true.isin(known)).to_numpy(),
            task,
            f"is not a {task} label; use one of {', '.join(known)}, or leave it empty",
        )
        columns = _columns(task, output_labels(frame, task))
        for column in columns:
            # Written so that NaN is refused too.
            possible = frame[column].between(0, 1 + _SUM_TOLERANCE)
            refuse(~possible.to_numpy(), column, "is not a probability; it must be in [0, 1]")
        if columns:
            off = np.abs(probabilities(frame, task).sum(axis=1) - 1) > _SUM_TOLERANCE
            refuse(off, columns[0], f"and the row's other {task} probabilities must sum to 1")
    true = frame["age"]
    refuse(
        (true < 0).to_numpy() | np.isinf(true.to_numpy()),
        "age",
        "is not an age in years; correct it or leave it empty",
    )
    if AGE_OUTPUT in frame:
        refuse(
            ~np.isfinite(frame[AGE_OUTPUT].to_numpy()),
            AGE_OUTPUT,
            "is not an age in years; the classifier must give one for each face",
        )
