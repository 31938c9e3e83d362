"""True labels and groups for predictions that others made, from their table or one beside it."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import external_columns, groups

MOST_GROUPS = 50
MOST_NUMBERS = 12  # distinct ones: a column of more is cut into quarters


def labelled(
    made: pd.DataFrame,
    frame: pd.DataFrame,
    *,
    roles: Mapping[str, str],
    truth: pd.DataFrame | None,
    where: str,
    meaning: Mapping[str, str],
    notes: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions with their faces' true labels, and the columns that groups may come from.

    Args:
        made: the names and outputs, a row for each of `frame`.
        frame: the table that they come from.
        roles: what its columns are (see `external_columns.roles`).
        truth: a table with the true labels; None where `frame` has them.
        where: what to call the table with the true labels in an error.
        notes: takes a line on whatever is left out.

    Returns:
        The table, and of the same faces in the same order, all columns as text.

    Raises:
        InputError: see `external.read`.
    """
    beside = frame
    columns = {task: roles[task] for task in TASKS if task in roles}
    if truth is not None:
        made, beside = _matched(made, frame, truth, where=where, notes=notes)
        columns = {task: column for task in TASKS if (column := _column(truth, task)) is not None}
    for task in TASKS:
        made[task] = None
        if task in columns:
            made[task] = external_columns.said(
                beside, columns[task], task=task, meaning=meaning, where=where, unread=notes
            )
    return made, beside


def _column(frame: pd.DataFrame, name: str) -> str | None:
    """The column of a name, however it is written, `name_true` and the like among them."""
    names = (name, *external_columns.spellings(name, external_columns.TRUE))
    return external_columns.first(frame, names)


def _matched(
    made: pd.DataFrame,
    frame: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    where: str,
    notes: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions for the faces of a table of labels, in its order, and that table's columns.

    Faces have one name, or names that end alike, in a folder or with another ending.
    """
    column = external_columns.first(truth, external_columns.NAMES)
    if column is None:
        has = external_columns.listed(truth)
        raise InputError(f"{where}: no column names the faces, such as file; it has {has}")
    names = pd.Series(external_columns.names(truth[column], where))
    found = _places(names, made["name"], notes)
    if found is None:
        raise InputError(
            f"{where}: no face has a prediction: it calls the first {names[0]}, and the "
            f"predictions call theirs {made['name'][0]}"
        )
    if other := len(made) - int(found.notna().sum()):
        notes.append(f"{other:,} predictions are of faces that {where} hasn't: left out")
    kept = made.reindex(found.fillna(-1).astype(int)).reset_index(drop=True)
    kept["name"] = names
    rest = frame.reindex(found.fillna(-1).astype(int)).reset_index(drop=True)
    more = [column for column in rest if column not in truth]
    return kept, truth.join(rest[more])


def _places(names: pd.Series, among: pd.Series, notes: list[str]) -> pd.Series | None:
    """Where each name is among others, NaN where it isn't; None where none is."""
    for how, shorten in SHORTER.items():
        ours, theirs = names.map(shorten), among.map(shorten)
        if ours.isin(theirs).any() and ours.is_unique and theirs.is_unique:
            notes += [f"faces are matched by {how}"] if how else []
            return ours.map(pd.Series(among.index, index=theirs))
    return None


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


# What faces' names are matched by, in turn.
SHORTER: dict[str, Callable[[str], str]] = {
    "": str,
    "the names of their files": lambda name: _path(name).name,
    "the names of their files without the endings": lambda name: _path(name).stem,
}


def grouping(name: str, table: pd.DataFrame, *, beside: pd.DataFrame, where: str) -> pd.Series:
    """Each face's group by a column, or by several joined by " x ", as `groups.joined` gives it.

    Args:
        table: see `predictions.table`.
        beside: the columns to take, as text, row by row.

    Raises:
        InputError: there is no such column, or it has too many values.
    """
    keys = groups.keys(table)
    parts = {}
    for column in name.split(groups.CROSSED):
        if column in keys:
            parts[column] = keys[column]
        elif column in beside:
            parts[column] = pd.Series(_groups(beside[column], column, where), index=table.index)
        else:
            there = external_columns.listed(beside)
            raise InputError(f"{where}: no column {column!r} to group by; there are {there}")
    return groups.joined(pd.DataFrame(parts))


def _groups(cells: pd.Series, name: str, where: str) -> pd.Categorical:
    """A column's values as groups; numbers of many values in quarters."""
    values = cells.dropna()
    numbers = pd.to_numeric(values, errors="coerce")
    if values.nunique() > MOST_NUMBERS and numbers.notna().all():
        every = pd.to_numeric(cells, errors="coerce")
        edges = np.unique(np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1]))
        bands = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
        places = np.clip(np.searchsorted(edges, every, side="right") - 1, 0, len(bands) - 1)
        places = np.where(every.isna(), -1, places)
        return pd.Categorical.from_codes(places, bands, ordered=True)
    if values.nunique() > MOST_GROUPS:
        raise InputError(
            f"{where}: {name} has {values.nunique():,} values, and groups of so few faces say "
            f"nothing: give a column of at most {MOST_GROUPS}"
        )
    order = sorted(values.unique(), key=float if numbers.notna().all() else str)
    return pd.Categorical(cells, order, ordered=True)
