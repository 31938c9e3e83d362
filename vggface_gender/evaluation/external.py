"""Predictions that others made: any table with a row a face, read as a predictions table.

A cloud service's CSV, another package's output, scikit-learn's `y_true` and `y_pred`: what each
column holds is guessed from its name and values, and said; `columns` says it where a guess fails.
Labels alone are enough: each is a probability of 1, and whoever computes figures sees that there is
no confidence (`predictions.are_hard`). A face without a prediction stays in the table, since whom
a classifier doesn't answer for is a finding too.

True labels and further groups may come from a second table, matched by the faces' names.
"""

import codecs
import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vggface_gender.base import extras
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.tasks import TASKS, Task
from vggface_gender.evaluation import external_columns, external_truth, groups, predictions

TIE = 1e-9  # by how much a predicted label is ahead of others with its score
ENDINGS = (".csv", ".tsv", ".txt", ".parquet")


class External(NamedTuple):
    """A table that others made, as it was understood."""

    table: pd.DataFrame  # see `predictions.table`; faces without a prediction have NaN outputs
    notes: list[str]  # what was guessed, converted or left out, a line each


def read(
    path: str | os.PathLike,
    *,
    truth: str | os.PathLike | pd.DataFrame | None = None,
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    grouped_by: Sequence[str] = (),
) -> External:
    """A table of predictions from anywhere, CSV (any usual separator) or Parquet.

    Args:
        truth: a table with the true labels and further columns, a row a face.
        columns: what the table's columns are, where that isn't guessed: a role to a column's name.
            Roles are `name`; a task's name (its true labels); `<task>_predicted`, `<task>_score`
            (the probability of the predicted label, or of two labels always the same one's); and
            the columns of a predictions table, such as `gender_female`.
        values: what a label is called in the tables, to what it means: {"1": "male"}.
        grouped_by: columns of either table whose values are groups, or several joined by " x ",
            gender, race and age (in bands) among them. Numbers of many values are cut in quarters.

    Raises:
        InputError: a file is no table; a column isn't there or can't be understood; a value is no
            label, probability or age; two rows are of one face; no face has a prediction and a
            true label.
    """
    return understood(
        _read(Path(path)),
        where=str(path),
        **_truth(truth),
        columns=columns,
        values=values,
        grouped_by=grouped_by,
    )


def read_all(
    paths: Sequence[str | os.PathLike],
    *,
    columns: Mapping[str, str] | None = None,
    **given: Any,
) -> list[External]:
    """Several tables, of which each may have other columns; how each was understood is printed.

    Args:
        columns, given: see `read`. A column need be in one of the tables alone.

    Raises:
        InputError: see `read`; no table has one of the columns.
    """
    frames = [(str(path), _read(Path(path))) for path in paths]
    for column in (columns or {}).values():
        if not any(column in frame for _, frame in frames):
            raise InputError(f"no column {column!r} in {', '.join(where for where, _ in frames)}")
    truth = given.pop("truth", None)
    found = []
    for where, frame in frames:
        its = {role: column for role, column in (columns or {}).items() if column in frame}
        one = understood(frame, where=where, columns=its, **_truth(truth), **given)
        found.append(one)
        print("".join(f"{where}: {note}\n" for note in one.notes), end="")
    return found


def _truth(truth: str | os.PathLike | pd.DataFrame | None) -> dict[str, Any]:
    """A table of true labels and what to call it, as `understood` takes them."""
    if truth is None:
        return {"truth": None}
    if isinstance(truth, pd.DataFrame):
        return {"truth": truth, "truth_where": "the true labels"}
    return {"truth": _read(Path(truth)), "truth_where": str(truth)}


def understood(
    frame: pd.DataFrame,
    *,
    where: str = "the table",
    truth: pd.DataFrame | None = None,
    truth_where: str = "the labels",
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    grouped_by: Sequence[str] = (),
) -> External:
    """The same of data frames; see `read`.

    Args:
        where, truth_where: what to call the tables in an error.
    """
    frame = _as_text(frame)
    truth = None if truth is None else _as_text(truth)
    meaning = {external_columns.plain(said): meant for said, meant in (values or {}).items()}
    roles = external_columns.roles(
        frame, where, given=columns or {}, meaning=meaning, has_truth=truth is not None
    )
    notes = [external_columns.describe(roles)]
    if "name" not in roles:
        notes.append("no column names the faces: they are called by their rows")
    made: dict[str, np.ndarray] = {
        "name": external_columns.names(frame[roles["name"]], where)
        if "name" in roles
        else np.array([f"row {row + 2}" for row in range(len(frame))], object),
    }
    if predictions.OVERLAP in roles:
        made[predictions.OVERLAP] = frame[roles[predictions.OVERLAP]].to_numpy(object)
    for task, its in TASKS.items():
        outputs = _probabilities if its.is_classification else _years
        made |= outputs(frame, task, roles, meaning=meaning, where=where, notes=notes)
    labelled, beside = external_truth.labelled(
        pd.DataFrame(made),
        frame,
        roles=roles,
        truth=truth,
        where=where if truth is None else truth_where,
        meaning=meaning,
        notes=notes,
    )
    table = predictions.checked(labelled, where=where)
    _count(table, where, notes)
    for grouping in grouped_by:
        if grouping not in groups.GROUPINGS:
            table[grouping] = external_truth.grouping(grouping, table, beside=beside, where=where)
    return External(table, [note for note in notes if note])


def is_table(name: str) -> bool:
    """Whether a name is a table's file rather than a run's."""
    return Path(name).suffix.lower() in ENDINGS and not Path(name).is_dir()


def _read(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file as it stands there."""
    what = "give a CSV or Parquet file with a row a face"
    if path.suffix.lower() == ".parquet":
        try:
            return pd.read_parquet(path)
        except ImportError:
            raise InputError(extras.absence("pyarrow")) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a Parquet file ({first_line(error)}); {what}") from None
    try:
        content = _decoded(path.read_bytes())
        head = content.partition("\n")[0]
        separator = max(",\t;|", key=head.count)
        if head.startswith("sep="):  # a spreadsheet's own line
            separator, content = head.strip()[-1], content.partition("\n")[2]
        lines = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
        header, *rows = list(lines) or [[]]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {what}") from None
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file ({error}); {what}") from None
    if not rows:
        raise InputError(f"{path}: no rows; {what} under a line that names the columns")
    for number, cells in enumerate(rows, 2):
        if len(cells) != len(header) and any(cells):
            raise InputError(
                f"{path}: row {number}: {len(cells)} cells under {len(header)} column names; "
                "quote text that holds the separator"
            )
    twice = [name for name in header if name.strip() and header.count(name) > 1]
    if twice:
        raise InputError(f"{path}: several columns are called {twice[0]!r}; keep one")
    frame = pd.DataFrame([cells for cells in rows if any(cells)], columns=header, dtype=object)
    return frame.loc[:, [bool(name.strip()) for name in header]]  # a spreadsheet's empty columns


def _decoded(content: bytes) -> str:
    """A file's text: UTF-8, UTF-16 by its mark, else as Western spreadsheets write it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame's cells as text, None where they are empty."""
    return frame.reset_index(drop=True).astype(object).map(_text).astype(object)


def _text(value: object) -> str | None:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() or None


def _years(
    frame: pd.DataFrame,
    task: str,
    roles: Mapping[str, str],
    *,
    meaning: Mapping[str, str],
    where: str,
    notes: list[str],
) -> dict[str, np.ndarray]:
    """The column of predicted ages, in years or bands; {} where the table has none."""
    (role,) = TASKS[task].output_columns()
    column = _filled(frame, roles, role)
    if column is None:
        return {}
    years = pd.to_numeric(frame[column], errors="coerce")
    if (years.isna() & frame[column].notna()).any():
        years = external_columns.said(frame, column, task=task, meaning=meaning, where=where)
    return {role: np.asarray(years, float)}


def _probabilities(
    frame: pd.DataFrame,
    task: str,
    roles: Mapping[str, str],
    *,
    meaning: Mapping[str, str],
    where: str,
    notes: list[str],
) -> dict[str, np.ndarray]:
    """The columns of a classification task's probabilities; {} where the table has none."""
    its = TASKS[task]
    predicted = None
    if stated := _filled(frame, roles, f"{task}_predicted"):
        predicted = external_columns.said(frame, stated, task=task, meaning=meaning, where=where)
    columns = {role: roles[role] for role in its.output_columns(its.labels) if role in roles}
    if columns:
        given = _given(frame, its, columns, where=where, notes=notes)
        differ = 0 if predicted is None else _differing(predicted, given, its)
        if not differ:
            return given
        notes.append(
            f"{task}: {stated} is not the likeliest label of {differ:,} faces: the labels count, "
            "and the probabilities don't"
        )
    if predicted is None:
        return {}
    names = _taxonomy(task, set(predicted) - {None})
    shares = np.array([[label == name for name in names] for label in predicted], float)
    shares[np.array([label is None for label in predicted])] = np.nan
    scored = None if columns else _filled(frame, roles, f"{task}_score")
    if scored is None:
        notes.append(f"{task}: labels alone, so neither calibration nor abstention")
    else:
        shares = _scored(frame, scored, shares, names=names, where=where, notes=notes)
        if len(names) > 2:
            notes.append(f"{task}: what {scored} leaves is shared evenly by the other labels")
    return dict(zip(its.output_columns(names), shares.T, strict=True))


def _filled(frame: pd.DataFrame, roles: Mapping[str, str], role: str) -> str | None:
    """The column of a role; None where there is none, or nothing in it."""
    column = roles.get(role)
    return None if column is None or frame[column].isna().all() else column


def _differing(predicted: np.ndarray, given: Mapping[str, np.ndarray], its: Task) -> int:
    """How many faces have a stated label that is not the likeliest."""
    names = [column.removeprefix(f"{its.name}_") for column in given]
    likeliest = np.array(names, object)[np.stack([*given.values()], axis=1).argmax(axis=1)]
    is_known = np.array([label is not None for label in predicted])
    return int((likeliest != predicted)[is_known].sum())


def _scored(
    frame: pd.DataFrame,
    column: str,
    hard: np.ndarray,
    *,
    names: Sequence[str],
    where: str,
    notes: list[str],
) -> np.ndarray:
    """Probabilities (n, k) from predicted labels, one-hot, and a column of their scores."""
    score = external_columns.numbers(frame, column, where=where)
    score = _shares(score, notes, column)
    confidence = _confidence(score, hard, names, column=column, where=where, notes=notes)
    rest = (1 - confidence) / (len(names) - 1)
    is_predicted = hard == 1
    shares = np.where(is_predicted, confidence[:, None], hard * 0 + rest[:, None])
    # A score that rounding made a tie, 50% of two labels, is still of the predicted one.
    others = np.where(is_predicted, 0, shares).max(axis=1, keepdims=True)
    return np.where(is_predicted, np.maximum(shares, others + TIE), shares)


def _given(
    frame: pd.DataFrame, its: Task, given: Mapping[str, str], *, where: str, notes: list[str]
) -> dict[str, np.ndarray]:
    """The probabilities in columns of labels; of two labels the other's where one lacks."""
    columns = [external_columns.numbers(frame, column, where=where) for column in given.values()]
    shares = _shares(np.stack(columns, axis=1), notes, f"{its.name}'s probabilities")
    found = dict(zip(given, shares.T, strict=True))
    lacking = [column for column in its.output_columns(its.labels) if column not in found]
    if len(its.labels) == 2 and lacking:
        (there,) = found
        notes.append(f"{lacking[0]} is taken for the rest of {given[there]}")
        found[lacking[0]] = 1 - found[there]
    likeliest = np.stack([*found.values()], axis=1)
    ties = (likeliest == likeliest.max(axis=1, keepdims=True)).sum(axis=1) > 1
    if ties.any():
        notes.append(f"{its.name}: {int(ties.sum()):,} faces are a tie: the first label counts")
    return found


def _taxonomy(task: str, occurring: set[str]) -> tuple[str, ...]:
    """The labels of a classifier of which these occur: a known taxonomy's, else these alone."""
    known = [names for names in TASKS[task].taxonomies if occurring <= set(names)]
    order = TASKS[task].labels
    return known[0] if known else tuple(label for label in order if label in occurring)


def _confidence(
    score: np.ndarray,
    hard: np.ndarray,
    names: Sequence[str],
    *,
    column: str,
    where: str,
    notes: list[str],
) -> np.ndarray:
    """The probability of each predicted label, from scores that are so, or always one label's."""
    known = ~np.isnan(hard[:, 0])
    if np.isnan(score[known]).any():
        row = int(np.flatnonzero(known & np.isnan(score))[0])
        raise InputError(f"{where}: row {row + 2}: a prediction without {column}; give one or none")
    least = 1 / len(names) - predictions.TOLERANCE
    if (score[known] >= least).all():
        return score
    for place, name in enumerate(names if len(names) == 2 else ()):
        own = hard[:, place] == 1
        if (score[known & own] >= least).all() and (score[known & ~own] <= 1 - least).all():
            notes.append(f"{column} is taken for the probability of {name}")
            return np.where(own, score, 1 - score)
    raise InputError(
        f"{where}: {column} is neither the probability of the predicted label nor of "
        f"{' or '.join(names)} (a predicted label has {score[known].min():g}): leave it out, or "
        "name what it is, such as gender_female=COLUMN gender_male=COLUMN"
    )


def _shares(numbers: np.ndarray, notes: list[str], what: str) -> np.ndarray:
    """Probabilities, from percentages too."""
    most = np.nanmax(numbers, initial=0)
    if 1 + predictions.TOLERANCE < most <= 100 + predictions.TOLERANCE:
        notes.append(f"{what} reach {most:g}: taken for percentages")
        return numbers / 100
    return numbers


def _count(table: pd.DataFrame, where: str, notes: list[str]) -> None:
    """Note the faces without predictions; refuse a table without anything to compare."""
    compared = 0
    for task in TASKS:
        if not predictions.has(table, task):
            continue
        is_labelled = table[task].notna().to_numpy()
        is_predicted = predictions.is_predicted(table, task)
        compared += int((is_labelled & is_predicted).sum())
        if unknown := int((is_predicted & ~is_labelled).sum()):
            notes.append(f"{task}: {unknown:,} faces with a prediction have no true label")
        if lacking := int((is_labelled & ~is_predicted).sum()):
            notes.append(
                f"{task}: {lacking:,} of {int(is_labelled.sum()):,} faces have no prediction"
            )
    if not compared:
        raise InputError(
            f"{where}: no face has a true label and a prediction: give the true labels, in a "
            "column or in a table of their own"
        )
