"""Tallies of tables that need not fit in memory: read in chunks, twice, in parts.

The first pass keeps of each part the rows that say how the table is to be read: every label and
pair of labels that occurs, and with each the least and the largest numbers. What is decided by
these few rows (`external.decided`) is what the whole table would decide. The second pass reads
every row so and counts it; the parts' tallies add up to the table's.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vggface_gender.base import files, parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import Engine, Part, Tick
from vggface_gender.base.tasks import CLASSIFICATION, TASKS
from vggface_gender.evaluation import (
    external,
    external_columns,
    external_files,
    external_truth,
    groups,
    metrics,
    predictions,
    tally,
    unseen,
)
from vggface_gender.evaluation.external import Reading
from vggface_gender.evaluation.external_columns import Notes
from vggface_gender.evaluation.external_files import Piece
from vggface_gender.evaluation.tally import Tally

MOST_CELLS = 2**22  # of a tally, so that it is small beside a chunk


class Counted(NamedTuple):
    """A table, counted."""

    tallies: dict[str, Tally]  # by task that it has predictions of
    notes: list[str]  # on how it was read, a line each


class _Truth(NamedTuple):
    """A table of true labels that is held in memory."""

    path: Path  # of what `parts.write` wrote: its frame (see `external_columns.as_text`)
    where: str
    by: str  # what faces are matched by


class _Plan(NamedTuple):
    """How all parts are read."""

    columns: list[str]  # those of the predictions that are looked at
    grouped_by: list[str]
    truth: _Truth | None
    rows: int  # of a chunk
    names: dict[str, tuple[str, ...]] = {}  # the labels that each task is compared in
    among: dict[str, list[str]] = {}  # the groups of each column to group by


def counted(
    table: Path,
    *,
    out: Path,
    truth: Path | None = None,
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    grouped_by: Sequence[str] = (),
    engine: Engine = parts.HERE,
    rows: int = external_files.CHUNK,
) -> Counted:
    """The tallies of a table of predictions, read in chunks.

    Whether two rows are of one face is looked for within a chunk alone, unless there is a table of
    true labels.

    Args:
        table: a CSV or Parquet file, a folder of such, or a pattern; all have the same columns.
        out: what the work is to end in: its parts lie beside, until it is done.
        truth: a table with the true labels; it is held in memory.
        columns, values, grouped_by: see `external.read`. Numbers are not cut into quarters.
        engine: does the parts.
        rows: in a chunk, at the most.

    Raises:
        InputError: see `external.read`; groups that can't be found by reading in chunks.
        Unfinished: the engine does a share of the parts, which is done.
    """
    pieces = external_files.pieces(table)
    labelled = [] if truth is None else external_files.pieces(truth)
    about = [columns, values, list(grouped_by), rows, *map(_about, pieces + labelled)]
    folder = parts.place(out, files.digest_of(json.dumps(about).encode())[:12])

    first = external_columns.as_text(
        next(external_files.chunks(pieces[0], rows=rows)).reset_index(drop=True)
    )
    meaning = {external_columns.plain(said): meant for said, meant in (values or {}).items()}
    roles = external_columns.roles(
        first,
        str(pieces[0].path),
        given=columns or {},
        meaning=meaning,
        has_truth=truth is not None,
    )
    wanted = [*roles.values(), *_own(grouped_by)]
    plan = _Plan(
        [column for column in dict.fromkeys(wanted) if column in first],
        list(grouped_by),
        None if truth is None else _truth(truth, first[roles["name"]], folder=folder),
        rows,
    )
    kept = _kept(
        engine, pieces, _unnamed(plan, roles), labels=Reading(roles, {}, meaning), folder=folder
    )

    its_rows = kept if len(pieces) == 1 else kept.reset_index(drop=True)
    reading, notes = external.decided(
        its_rows, where=str(table), values=values, has_truth=truth is not None, roles=roles
    )
    reading = reading._replace(by=plan.truth.by if plan.truth else None)
    plan = _decided(plan, its_rows, reading, where=str(table))
    make = functools.partial(_tally, plan=plan, reading=reading)
    parted = _of_each(pieces, folder, name="tally", make=make)
    parts.finish(engine, parted, what="counting faces")
    each = (parts.read(part.path) for part in parted)
    found = functools.reduce(_added, (its for its in each if its is not None))
    if plan.truth is None:
        notes.append("read in chunks: faces that are there twice are looked for within each alone")
    else:
        found = _added(found, _unmatched(plan, reading, found.matched))
    parts.discard(out)
    return Counted(found.tallies, external_columns.lines(notes + found.notes))


def _unnamed(plan: _Plan, roles: Mapping[str, str]) -> _Plan:
    """A plan for the first pass: names take the most time to read, and are for matching alone."""
    if plan.truth is not None:
        return plan
    left_out = {roles.get("name")} - set(_own(plan.grouped_by))
    return plan._replace(columns=[its for its in plan.columns if its not in left_out])


def _about(piece: Piece) -> list[Any]:
    """What stands for a piece's content."""
    stat = piece.path.stat()
    return [str(piece.path), piece.row_groups, stat.st_size, stat.st_mtime_ns]


def _own(grouped_by: Sequence[str]) -> list[str]:
    """The columns to group by, but for true labels."""
    own = [column for name in grouped_by for column in name.split(groups.CROSSED)]
    return [column for column in dict.fromkeys(own) if column not in TASKS]


def _truth(path: Path, names: pd.Series, *, folder: Path) -> _Truth:
    """A table of true labels, made ready for all parts."""
    if external_files.is_large(path):
        raise InputError(
            f"{path}: a table of true labels is held in memory, and this one is too large: put its "
            "columns into the predictions' table"
        )
    frame = external_columns.as_text(external_files.read(path).reset_index(drop=True))
    called = external_truth.names_of(frame, str(path))
    by = external_truth.matched_by(
        called, external_columns.words(names).dropna(), where=f"{path}, the first predictions"
    )
    ready = folder / "truth"
    parts.write(frame, ready)
    return _Truth(ready, str(path), by)


@functools.lru_cache(maxsize=1)
def _read_truth(truth: _Truth) -> tuple[pd.DataFrame, pd.Index]:
    """A table of true labels, and what its faces are matched by."""
    frame = parts.read(truth.path)
    shorten = external_truth.SHORTER[truth.by]
    return frame, pd.Index([shorten(name) for name in external_truth.names_of(frame, truth.where)])


def _matching(truth: _Truth, names: pd.Series) -> np.ndarray:
    """The place of each face in the table of true labels, (n,); -1 where it isn't there."""
    _, called = _read_truth(truth)
    shorten = external_truth.SHORTER[truth.by]
    return called.get_indexer([shorten(name) for name in external_columns.words(names)])


def _chunks(piece: Piece, plan: _Plan) -> Iterator[pd.DataFrame]:
    for chunk in external_files.chunks(piece, plan.columns, rows=plan.rows):
        yield external_columns.as_text(chunk)


def _kept(
    engine: Engine, pieces: Sequence[Piece], plan: _Plan, *, labels: Reading, folder: Path
) -> pd.DataFrame:
    """The first pass: rows that stand for all of a table, in its order."""
    make = functools.partial(_keep, plan=plan, labels=labels)
    wanted = _of_each(pieces, folder, name="kept", make=make)
    engine.run(wanted, "looking what there is")
    return pd.concat([parts.read(part.path) for part in wanted])


def _of_each(
    pieces: Sequence[Piece], folder: Path, *, name: str, make: Callable[..., None]
) -> list[Part]:
    """A part for each piece, which `make` makes."""
    return [
        Part(
            folder / f"{name}-{number:05d}",
            functools.partial(make, piece=piece),
            size=piece.rows or 1,
        )
        for number, piece in enumerate(pieces)
    ]


def _keep(place: Path, tick: Tick, *, piece: Piece, plan: _Plan, labels: Reading) -> None:
    """Write the rows of a piece that stand for all of it."""
    kept: pd.DataFrame | None = None
    for chunk in _chunks(piece, plan):
        where = str(piece.path)
        its = chunk[_stand_for_all(chunk, plan, labels, where=where)]
        both = its if kept is None else pd.concat([kept, its])
        kept = both[_stand_for_all(both, plan, labels, where=where)]
        tick(len(chunk) if piece.rows else 0)
    tick(0 if piece.rows else 1)
    parts.write(kept, place)


def _stand_for_all(frame: pd.DataFrame, plan: _Plan, labels: Reading, *, where: str) -> np.ndarray:
    """Which rows stand for all in what a reading depends on (see `external.decided`), (n,)."""
    roles = labels.roles

    def codes(role: str, task: str, unread: Notes | None = None) -> np.ndarray:
        said = external_columns.said(
            frame, roles[role], task=task, meaning=labels.meaning, where=where, unread=unread
        )
        return pd.factorize(said)[0]

    alike: dict[str, np.ndarray] = {}  # what makes two rows stand for each other
    extremes: list[pd.Series] = []  # numbers, by predicted label
    if predictions.OVERLAP in roles:
        alike["overlap"] = pd.factorize(frame[roles[predictions.OVERLAP]])[0]
    if plan.truth is not None:
        truth, _ = _read_truth(plan.truth)
        matched = _matching(plan.truth, frame[roles["name"]])
        alike["matched"] = matched >= 0
    for task in CLASSIFICATION:
        if plan.truth is not None:
            column = external_truth.column(truth, task)
            if column is not None:
                places = pd.factorize(truth[column])[0]
                alike[task] = np.where(matched >= 0, places[matched], -1)
        elif task in roles:
            alike[task] = codes(task, task, unread=[])
        stated = np.zeros(len(frame), int)
        if f"{task}_predicted" in roles:
            alike[f"{task} predicted"] = stated = codes(f"{task}_predicted", task)
        numbers = [
            external_columns.numbers(frame, roles[role], where=where)
            for role in (*TASKS[task].output_columns(TASKS[task].labels), f"{task}_score")
            if role in roles
        ]
        if numbers:
            shares = np.stack(numbers, axis=1)
            lacks = np.isnan(shares).any(axis=1)
            alike[f"{task} likeliest"] = np.where(lacks, -1, shares.argmax(axis=1))
        for its in numbers:
            series = pd.Series(its).dropna()
            by_label = series.groupby(stated[series.index])
            extremes += [by_label.idxmin(), by_label.idxmax()]
    stands = ~pd.DataFrame(alike, index=frame.index).duplicated().to_numpy()
    for column in plan.columns:  # a value, where there is one, and each group
        cells = frame[column]
        if column in _own(plan.grouped_by):
            external_truth.occurring(column, frame, where=where)  # refuses too many
            stands |= ~cells.duplicated().to_numpy()
        elif cells.notna().any():
            stands[np.argmax(cells.notna().to_numpy())] = True
    stands[np.unique(np.concatenate([[0], *extremes])).astype(int)] = True
    return stands


def _decided(plan: _Plan, kept: pd.DataFrame, reading: Reading, *, where: str) -> _Plan:
    """The labels that tasks are compared in and the groups that there are, from the rows kept."""
    truth, among = None, {}
    if plan.truth is not None:
        truth, _ = _read_truth(plan.truth)
    for column in _own(plan.grouped_by):
        is_of_truth = truth is not None and column in truth
        among[column] = external_truth.occurring(
            column, truth if is_of_truth else kept, where=where
        )
    there = {role: column for role, column in reading.roles.items() if column in kept}
    table, _ = _of_rows(kept, plan, reading._replace(roles=there), where=where)
    if reading.outputs:
        external.check_count(table, where)
    faces = unseen.faces(table)
    names = {task: metrics.compared_names(faces, task) for task in reading.outputs}
    return plan._replace(names=names, among=among)


def _of_rows(
    frame: pd.DataFrame,
    plan: _Plan,
    reading: Reading,
    *,
    where: str,
    among: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, Notes]:
    """The predictions table of some rows, and notes on them.

    Args:
        among: the true labels to match; None: those of the faces that the rows have.
    """
    more: dict[str, Any] = {}
    if plan.truth is not None:
        if among is None:
            every, _ = _read_truth(plan.truth)
            matched = _matching(plan.truth, frame[reading.roles["name"]])
            among = every.iloc[np.unique(matched[matched >= 0])]
        more = {"truth": among, "truth_where": plan.truth.where}
    table, beside, notes = external.applied(frame, reading, where=where, **more)
    for grouping in plan.grouped_by if plan.among else ():
        if grouping not in groups.GROUPINGS:
            table[grouping] = external_truth.grouping(
                grouping, table, beside=beside, where=where, among=plan.among
            )
    return table, notes


class _Found(NamedTuple):
    """What is counted of a piece."""

    tallies: dict[str, Tally]
    notes: Notes
    matched: np.ndarray  # (n,) how many rows are of each face of the table of true labels


def _tally(place: Path, tick: Tick, *, piece: Piece, plan: _Plan, reading: Reading) -> None:
    """Write what is counted of a piece."""
    found = None
    for chunk in _chunks(piece, plan):
        table, notes = _of_rows(chunk, plan, reading, where=str(piece.path))
        matched = np.zeros(0, int)
        if plan.truth is not None:
            every, _ = _read_truth(plan.truth)
            places = _matching(plan.truth, chunk[reading.roles["name"]])
            matched = np.bincount(places[places >= 0], minlength=len(every))
        its = _Found(_tallies(table, plan), notes, matched)
        found = its if found is None else _added(found, its)
        tick(len(chunk) if piece.rows else 0)
    tick(0 if piece.rows else 1)
    parts.write(found, place)


def _tallies(table: pd.DataFrame, plan: _Plan) -> dict[str, Tally]:
    return {task: tally.of(table, task, names=names) for task, names in plan.names.items()}


def _added(one: _Found, other: _Found) -> _Found:
    """What is counted of two pieces."""
    tallies = {task: tally.joined([its, other.tallies[task]]) for task, its in one.tallies.items()}
    if max((len(its.cells) for its in tallies.values()), default=0) > MOST_CELLS:
        raise InputError(
            f"the groups divide the faces into more than {MOST_CELLS:,} cells, too many to hold: "
            "group by fewer columns at once"
        )
    return _Found(tallies, one.notes + other.notes, one.matched + other.matched)


def _unmatched(plan: _Plan, reading: Reading, matched: np.ndarray) -> _Found:
    """What is counted of the faces with true labels that no row is of.

    Raises:
        InputError: several rows are of one face.
    """
    assert plan.truth is not None
    every, called = _read_truth(plan.truth)
    if (matched > 1).any():
        raise InputError(
            f"{called[matched > 1][0]} is there twice among the predictions; keep one row a face"
        )
    none = external_columns.as_text(pd.DataFrame(columns=plan.columns, dtype=object))
    rest = every[matched == 0]
    table, notes = _of_rows(none, plan, reading, where="the predictions", among=rest)
    return _Found(_tallies(table, plan), notes, np.zeros_like(matched))
