"""True labels and groups for predictions that others made, from their table or one beside it."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import external_columns, groups
from vggface_gender.evaluation.external_columns import Notes

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
    notes: Notes,
    by: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions with their faces' true labels, and the columns that groups may come from.

    Args:
        made: the names and outputs, a row for each of `frame`.
        frame: the table that they come from.
        roles: what its columns are (see `external_columns.roles`).
        truth: a table with the true labels; None where `frame` has them.
        where: what to call the table with the true labels in an error.
        notes: takes a line on whatever is left out.
        by: what faces' names are matched by (see `matched_by`); None: not known yet.

    Returns:
        The table, and of the same faces in the same order, all columns.

    Raises:
        InputError: see `external.read`.
    """
    beside = frame
    columns = {task: roles[task] for task in TASKS if task in roles}
    if truth is not None:
        made, beside = _matched(made, frame, truth, by=by, where=where, notes=notes)
        columns = {task: its for task in TASKS if (its := column(truth, task)) is not None}
    for task in TASKS:
        made[task] = None
        if task in columns:
            made[task] = external_columns.said(
                beside, columns[task], task=task, meaning=meaning, where=where, unread=notes
            )
    return made, beside


def column(frame: pd.DataFrame, name: str) -> str | None:
    """The column of a name, however it is written, `name_true` and the like among them."""
    names = (name, *external_columns.spellings(name, external_columns.TRUE))
    return external_columns.first(frame, names)


def _matched(
    made: pd.DataFrame,
    frame: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    by: str | None,
    where: str,
    notes: Notes,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions for the faces of a table of labels, in its order, and that table's columns.

    Faces have one name, or names that end alike, in a folder or with another ending.
    """
    names = names_of(truth, where)
    by = matched_by(names, made["name"], where=where) if by is None else by
    if by:
        notes.append(f"faces are matched by {by}")
    theirs = pd.Index([SHORTER[by](name) for name in made["name"]])
    if not theirs.is_unique:
        twice = theirs[theirs.duplicated()][0]
        raise InputError(f"{twice} is there twice among the predictions; keep one row a face")
    found = theirs.get_indexer([SHORTER[by](name) for name in names])
    missed = len(made) - int((found >= 0).sum())
    notes.append((missed, f" predictions are of faces that {where} hasn't: left out"))
    kept, rest = (
        its.reset_index(drop=True).reindex(found).set_axis(truth.index) for its in (made, frame)
    )
    kept["name"] = names
    more = [column for column in rest if column not in truth]
    return kept, truth.join(rest[more])


def names_of(truth: pd.DataFrame, where: str) -> pd.Series:
    """The names of the faces of a table of labels, (n,) with its index.

    Raises:
        InputError: no column holds them, or not one a row.
    """
    column = external_columns.first(truth, external_columns.NAMES)
    if column is None:
        has = external_columns.listed(truth)
        raise InputError(f"{where}: no column names the faces, such as file; it has {has}")
    return pd.Series(external_columns.names(truth[column], where), truth.index, dtype=object)


def matched_by(names: pd.Series, among: pd.Series, *, where: str) -> str:
    """What faces of a table of labels and of predictions are matched by: a key of `SHORTER`.

    Args:
        names, among: the names in the one and the other.
        where: what to call the table of labels.

    Raises:
        InputError: no face is in both.
    """
    for by, shorten in SHORTER.items():
        ours, theirs = names.map(shorten), among.map(shorten)
        if ours.isin(theirs).any() and ours.is_unique and theirs.is_unique:
            return by
    raise InputError(
        f"{where}: no face has a prediction: it calls the first {names.iloc[0]}, and the "
        f"predictions call theirs {among.iloc[0]}"
    )


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


# What faces' names are matched by, in turn.
SHORTER: dict[str, Callable[[str], str]] = {
    "": str,
    "the names of their files": lambda name: _path(name).name,
    "the names of their files without the endings": lambda name: _path(name).stem,
}


def grouping(
    name: str,
    table: pd.DataFrame,
    *,
    beside: pd.DataFrame,
    where: str,
    among: Mapping[str, Sequence[str]] | None = None,
) -> pd.Series:
    """Each face's group by a column, or by several joined by " x ", as `groups.joined` gives it.

    Args:
        table: see `predictions.table`.
        beside: the columns to take, row by row.
        among: of each of these columns, all its groups (see `occurring`), where the table is a part
            of one: then categories are all that there may be; None: those that occur.

    Raises:
        InputError: there is no such column, or it has too many values.
    """
    keys = groups.keys(table)
    parts = {}
    for column in name.split(groups.CROSSED):
        if column in keys:
            parts[column] = keys[column]
        elif column in beside:
            cells = external_columns.words(beside[column])
            its = _groups(cells, column, where) if among is None else _among(cells, among[column])
            parts[column] = pd.Series(its, index=table.index)
        else:
            there = external_columns.listed(beside)
            raise InputError(f"{where}: no column {column!r} to group by; there are {there}")
    joined = groups.joined(pd.DataFrame(parts))
    if among is None:
        return joined
    every = itertools.product(*(part.cat.categories for part in parts.values()))
    return joined.cat.set_categories([", ".join(names) for names in every], ordered=True)


def occurring(column: str, beside: pd.DataFrame, *, where: str) -> list[str]:
    """The groups of a column, of rows that have all its values in a large table.

    Raises:
        InputError: there is no such column, it has too many values, or numbers to be cut.
    """
    if column not in beside:
        there = external_columns.listed(beside)
        raise InputError(f"{where}: no column {column!r} to group by; there are {there}")
    cells = external_columns.words(beside[column])
    if _are_many_numbers(cells.dropna()):
        raise InputError(
            f"{where}: {column} has numbers of more than {MOST_NUMBERS} values, which are not cut "
            "into quarters where a table is read in chunks: give a column of bands"
        )
    return list(_groups(cells, column, where).categories)


def _among(cells: pd.Series, names: Sequence[str]) -> pd.Categorical:
    return pd.Categorical(cells, names, ordered=True)


def _are_many_numbers(values: pd.Series) -> bool:
    """Whether values, as text, are numbers that are to be cut."""
    numbers = pd.to_numeric(values, errors="coerce")
    return values.nunique() > MOST_NUMBERS and bool(numbers.notna().all())


def _groups(cells: pd.Series, name: str, where: str) -> pd.Categorical:
    """A column's values as groups; numbers of many values in quarters."""
    values = cells.dropna()
    numbers = pd.to_numeric(values, errors="coerce")
    if _are_many_numbers(values):
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
