"""Predictions that others made: any table with a row a face, read as a predictions table.

A cloud service's CSV, another package's output, scikit-learn's `y_true` and `y_pred`: what each
column holds is guessed from its name and values, and said; `columns` says it where a guess fails.
Labels alone are enough: each is a probability of 1, and whoever computes figures sees that there is
no confidence (`predictions.are_hard`). A face without a prediction stays in the table, since whom
a classifier doesn't answer for is a finding too.

True labels and further groups may come from a second table, matched by the faces' names.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION, TASKS, Task
from vggface_gender.evaluation import (
    external_columns,
    external_files,
    external_truth,
    groups,
    predictions,
)
from vggface_gender.evaluation.external_columns import Notes

TIE = 1e-9  # by how much a predicted label is ahead of others with its score


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
        external_files.read(Path(path)),
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
    frames = [(str(path), external_files.read(Path(path))) for path in paths]
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
    return {"truth": external_files.read(Path(truth)), "truth_where": str(truth)}


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
    frame = external_columns.as_text(frame.reset_index(drop=True))
    if truth is not None:
        truth = external_columns.as_text(truth.reset_index(drop=True))
    reading, notes = decided(
        frame, where=where, columns=columns, values=values, has_truth=truth is not None
    )
    table, beside, more = applied(frame, reading, where=where, truth=truth, truth_where=truth_where)
    notes += more
    check_count(table, where)
    for grouping in grouped_by:
        if grouping not in groups.GROUPINGS:
            table[grouping] = external_truth.grouping(grouping, table, beside=beside, where=where)
    return External(table, external_columns.lines(notes))


class Outputs(NamedTuple):
    """How a classification task's probabilities come from a table's columns."""

    names: tuple[str, ...]  # the labels that there will be probabilities of
    columns: dict[str, str]  # of probabilities, by role, where the table has such
    stated: str | None  # the column of predicted labels, where they count
    score: str | None = None  # the column of the scores that go with them
    score_of: str | None = None  # the label whose probability these are; None: the predicted one
    scale: float = 1  # what numbers are divided by: 100 where they are percentages


class Reading(NamedTuple):
    """How a table is read, as the whole of it says: alike for all its parts."""

    roles: dict[str, str]  # see `external_columns.roles`
    outputs: dict[str, Outputs]  # of the classification tasks that the table has predictions of
    meaning: dict[str, str]  # what values mean, by their plain form
    by: str | None = None  # what faces are matched by (see `external_truth.matched_by`)


def decided(
    frame: pd.DataFrame,
    *,
    where: str,
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    has_truth: bool,
    roles: Mapping[str, str] | None = None,
) -> tuple[Reading, Notes]:
    """How a table is to be read, and notes on what was guessed.

    Args:
        frame: the table (see `external_columns.as_text`), or rows that have all that it depends
            on: every label and pair of labels, and with each label the least and the largest of
            all numbers.
        where: what to call it in an error.
        columns, values: see `read`.
        has_truth: whether true labels come from another table.
        roles: those of the columns, where they are known.

    Raises:
        InputError: see `read`.
    """
    meaning = {external_columns.plain(said): meant for said, meant in (values or {}).items()}
    if roles is None:
        roles = external_columns.roles(
            frame, where, given=columns or {}, meaning=meaning, has_truth=has_truth
        )
    notes: Notes = [external_columns.describe(roles)]
    if "name" not in roles:
        notes.append("no column names the faces: they are called by their rows")
    kinds = [f"{task}_{what}" for task in TASKS for what in ("predicted", "score")]
    roles = {
        role: column
        for role, column in roles.items()
        if role not in kinds or frame[column].notna().any()
    }
    outputs = {}
    for task in CLASSIFICATION:
        its = _outputs(frame, task, roles, meaning=meaning, where=where, notes=notes)
        if its is not None:
            outputs[task] = its
    return Reading(roles, outputs, meaning), notes


def applied(
    frame: pd.DataFrame,
    reading: Reading,
    *,
    where: str,
    truth: pd.DataFrame | None = None,
    truth_where: str = "the labels",
) -> tuple[pd.DataFrame, pd.DataFrame, Notes]:
    """A table, or a part of one, as its reading says.

    Args:
        frame: see `external_columns.as_text`; its index counts rows, for errors.
        where, truth_where: what to call the tables in an error.
        truth: a table with the true labels, as `frame` is.

    Returns:
        The predictions table; of the same faces all columns; notes on what was left out.

    Raises:
        InputError: see `read`.
    """
    roles = reading.roles
    notes: Notes = []
    names = (
        external_columns.names(frame[roles["name"]], where)
        if "name" in roles
        else [f"row {row + 2}" for row in frame.index]
    )
    made: dict[str, pd.Series | np.ndarray] = {
        "name": pd.Series(names, index=frame.index, dtype=object)
    }
    if predictions.OVERLAP in roles:
        marks = external_columns.words(frame[roles[predictions.OVERLAP]])
        made[predictions.OVERLAP] = marks.to_numpy(object)
    for task, its in reading.outputs.items():
        made |= _probabilities(frame, task, its, meaning=reading.meaning, where=where, notes=notes)
    made |= _years(frame, roles, meaning=reading.meaning, where=where)
    labelled, beside = external_truth.labelled(
        pd.DataFrame(made, index=frame.index),
        frame,
        roles=roles,
        truth=truth,
        where=where if truth is None else truth_where,
        meaning=reading.meaning,
        notes=notes,
        by=reading.by,
    )
    table = predictions.checked(labelled, where=where)
    _count(table, notes)
    return table, beside, notes


def is_table(name: str) -> bool:
    """Whether a name is a table's file rather than a run's."""
    return Path(name).suffix.lower() in external_files.ENDINGS and not Path(name).is_dir()


def _years(
    frame: pd.DataFrame, roles: Mapping[str, str], *, meaning: Mapping[str, str], where: str
) -> dict[str, np.ndarray]:
    """The column of predicted ages, in years or bands; {} where the table has none."""
    (role,) = TASKS["age"].output_columns()
    if role not in roles:
        return {}
    cells = frame[roles[role]]
    years = pd.to_numeric(cells, errors="coerce")
    if (years.isna() & cells.notna()).any():
        years = external_columns.said(frame, roles[role], task="age", meaning=meaning, where=where)
    return {role: np.asarray(years, float)}


def _outputs(
    frame: pd.DataFrame,
    task: str,
    roles: Mapping[str, str],
    *,
    meaning: Mapping[str, str],
    where: str,
    notes: Notes,
) -> Outputs | None:
    """How a classification task's probabilities are read; None where the table has none."""
    its = TASKS[task]
    predicted = None
    if stated := roles.get(f"{task}_predicted"):
        predicted = external_columns.said(frame, stated, task=task, meaning=meaning, where=where)
    columns = {role: roles[role] for role in its.output_columns(its.labels) if role in roles}
    scale = 1.0
    if columns:
        numbers = _numbers(frame, columns, where=where)
        scale = _scale(numbers, notes, f"{task}'s probabilities")
        given = _given(numbers / scale, its, columns)
        names = tuple(role.removeprefix(f"{task}_") for role in given)
        for role in given.keys() - columns.keys():
            notes.append(f"{role} is taken for the rest of {', '.join(columns.values())}")
        if predicted is None or not _differing(predicted, given, its):
            return Outputs(names, columns, None, scale=scale)
    if predicted is None:
        return None
    names = _taxonomy(task, set(predicted) - {None})
    score = None if columns else roles.get(f"{task}_score")
    if score is None:
        notes.append(f"{task}: labels alone, so neither calibration nor abstention")
        return Outputs(names, columns, stated, scale=scale)
    numbers = external_columns.numbers(frame, score, where=where)
    scale = _scale(numbers, notes, score)
    hard = _one_hot(predicted, names)
    of = _score_of(numbers / scale, hard, names, column=score, where=where)
    if of is not None:
        notes.append(f"{score} is taken for the probability of {of}")
    if len(names) > 2:
        notes.append(f"{task}: what {score} leaves is shared evenly by the other labels")
    return Outputs(names, columns, stated, score=score, score_of=of, scale=scale)


def _probabilities(
    frame: pd.DataFrame,
    task: str,
    how: Outputs,
    *,
    meaning: Mapping[str, str],
    where: str,
    notes: Notes,
) -> dict[str, np.ndarray]:
    """The columns of a classification task's probabilities."""
    its = TASKS[task]
    given = {}
    if how.columns:
        given = _given(_numbers(frame, how.columns, where=where) / how.scale, its, how.columns)
        likeliest = np.stack([*given.values()], axis=1)
        ties = (likeliest == likeliest.max(axis=1, keepdims=True)).sum(axis=1) > 1
        notes.append((f"{task}: ", int(ties.sum()), " faces are a tie: the first label counts"))
    if how.stated is None:
        return given
    predicted = external_columns.said(frame, how.stated, task=task, meaning=meaning, where=where)
    if given:
        differ = _differing(predicted, given, its)
        said = " faces: the labels count, and the probabilities don't"
        notes.append((f"{task}: {how.stated} is not the likeliest label of ", differ, said))
    shares = _one_hot(predicted, how.names)
    if how.score is not None:
        shares = _scored(frame, how, shares, where=where)
    return dict(zip(its.output_columns(how.names), shares.T, strict=True))


def _one_hot(predicted: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Predicted labels as probabilities (n, k), NaN where there is none."""
    places = pd.Categorical(predicted, names).codes
    return np.vstack([np.eye(len(names)), np.full(len(names), np.nan)])[places]


def _differing(predicted: np.ndarray, given: Mapping[str, np.ndarray], its: Task) -> int:
    """How many faces have a stated label that is not the likeliest."""
    places = pd.Categorical(predicted, [role.removeprefix(f"{its.name}_") for role in given]).codes
    likeliest = np.stack([*given.values()], axis=1).argmax(axis=1)
    return int((likeliest != places)[pd.notna(predicted)].sum())


def _scored(frame: pd.DataFrame, how: Outputs, hard: np.ndarray, *, where: str) -> np.ndarray:
    """Probabilities (n, k) from predicted labels, one-hot, and a column of their scores."""
    assert how.score is not None
    score = external_columns.numbers(frame, how.score, where=where) / how.scale
    lacking = ~np.isnan(hard[:, 0]) & np.isnan(score)
    if lacking.any():
        row = frame.index[lacking][0]
        raise InputError(
            f"{where}: row {row + 2}: a prediction without {how.score}; give one or none"
        )
    is_predicted = hard == 1
    confidence = score
    if how.score_of is not None:
        confidence = np.where(is_predicted[:, how.names.index(how.score_of)], score, 1 - score)
    rest = (1 - confidence) / (len(how.names) - 1)
    shares = np.where(is_predicted, confidence[:, None], hard * 0 + rest[:, None])
    # A score that rounding made a tie, 50% of two labels, is still of the predicted one.
    others = np.where(is_predicted, 0, shares).max(axis=1, keepdims=True)
    return np.where(is_predicted, np.maximum(shares, others + TIE), shares)


def _numbers(frame: pd.DataFrame, columns: Mapping[str, str], *, where: str) -> np.ndarray:
    """The numbers in columns of labels, (n, k)."""
    its = [external_columns.numbers(frame, column, where=where) for column in columns.values()]
    return np.stack(its, axis=1)


def _given(shares: np.ndarray, its: Task, columns: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Probabilities (n, k) by role; of two labels the other's where one lacks."""
    found = dict(zip(columns, shares.T, strict=True))
    lacking = [role for role in its.output_columns(its.labels) if role not in found]
    if len(its.labels) == 2 and lacking:
        (there,) = found
        found[lacking[0]] = 1 - found[there]
    return found


def _taxonomy(task: str, occurring: set[str]) -> tuple[str, ...]:
    """The labels of a classifier of which these occur: a known taxonomy's, else these alone."""
    known = [names for names in TASKS[task].taxonomies if occurring <= set(names)]
    order = TASKS[task].labels
    return known[0] if known else tuple(label for label in order if label in occurring)


def _score_of(
    score: np.ndarray, hard: np.ndarray, names: Sequence[str], *, column: str, where: str
) -> str | None:
    """The label whose probability scores always are; None where they are of the predicted ones."""
    known = ~np.isnan(hard[:, 0]) & ~np.isnan(score)
    least = 1 / len(names) - predictions.TOLERANCE
    if (score[known] >= least).all():
        return None
    for place, name in enumerate(names if len(names) == 2 else ()):
        own = hard[:, place] == 1
        if (score[known & own] >= least).all() and (score[known & ~own] <= 1 - least).all():
            return name
    raise InputError(
        f"{where}: {column} is neither the probability of the predicted label nor of "
        f"{' or '.join(names)} (a predicted label has {score[known].min():g}): leave it out, or "
        "name what it is, such as gender_female=COLUMN gender_male=COLUMN"
    )


def _scale(numbers: np.ndarray, notes: Notes, what: str) -> float:
    """What probabilities are divided by: 100 where they are percentages."""
    most = np.nanmax(numbers, initial=0)
    if 1 + predictions.TOLERANCE < most <= 100 + predictions.TOLERANCE:
        notes.append(f"{what} reach {most:g}: taken for percentages")
        return 100.0
    return 1.0


def _count(table: pd.DataFrame, notes: Notes) -> None:
    """Note the faces without predictions or true labels."""
    for task in TASKS:
        if predictions.has(table, task):
            is_labelled = table[task].notna().to_numpy()
            is_predicted = predictions.is_predicted(table, task)
            unknown, lacking = (
                int(its.sum()) for its in (is_predicted & ~is_labelled, is_labelled & ~is_predicted)
            )
            labelled = int(is_labelled.sum())
            notes.append((f"{task}: ", unknown, " faces with a prediction have no true label"))
            notes.append((f"{task}: ", lacking, " of ", labelled, " faces have no prediction"))


def check_count(table: pd.DataFrame, where: str) -> None:
    """Refuse a table without anything to compare.

    Raises:
        InputError: no face has a true label and a prediction.
    """
    for task in TASKS:
        if predictions.has(table, task):
            known = table[task].notna().to_numpy() & predictions.is_predicted(table, task)
            if known.any():
                return
    raise InputError(
        f"{where}: no face has a true label and a prediction: give the true labels, in a column "
        "or in a table of their own"
    )
