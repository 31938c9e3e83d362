"""A table of one's own: a CSV with `file` and any of gender, race, age, subject, fold and split.

A column `confidence` says that the labels are a classifier's (`vggface-gender pseudo_label`). Such
a table is for training alone: nothing of it is drawn for validation or test.
"""

import array
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vggface_gender.base import labels, remote, splits
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, problem_of
from vggface_gender.datasets.tables import (
    Table,
    cell,
    finder,
    labels_of,
    mended_ages,
    read_table,
)

# How what is no label is read, and what it may be. What a row means for the split is never guessed.
COLUMNS: dict[str, tuple[Callable[[str], Any], str]] = {
    "fold": (lambda text: int(text.removesuffix(".0")), "a whole number"),
    "split": (splits.split, ", ".join(splits.SPLITS)),
}


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the CSV file. Its config is named after the file."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="table")]
    FACTS = catalogue.TABLE
    STATES_SPLITS = True

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        table = read(source)
        if not {*table.columns} & {*labels.TASKS}:
            raise InputError(
                f"{source}: no labels; found the columns {', '.join(table.columns[:10])}; expected "
                "a column gender, race or age"
            )
        find = finder(source.parent)
        places = array.array("q")
        for number, row in table.rows():
            item = parse(row, source, number=number, find=find)
            places.append(hash(_place(item)))
            yield item
        _require_each_once(table, source, places=np.array(places))

    @classmethod
    def notes(cls, source: Path | None) -> Sequence[str]:
        if source is None:
            return []
        table = read(source)
        unknown = sorted({*table.columns} - {*catalogue.TABLE_COLUMNS})
        return [
            *([f"columns not used: {', '.join(unknown)}"] if unknown else []),
            *mended_ages(row.get("age", "") for _, row in table.rows()),
        ]


def read(source: Path) -> Table:
    """The table.

    Raises:
        InputError: it is not a CSV file with a column `file`.
    """
    return read_table(
        source,
        needed=["file"],
        known=catalogue.TABLE_COLUMNS[1:],
        expected=catalogue.TABLE.files,
    )


def _place(item: Labelled) -> str:
    """Where an image is, spelt in one way."""
    return os.path.normpath(os.fsdecode(item.image))


def _require_each_once(table: Table, source: Path, *, places: np.ndarray) -> None:
    """Refuse a table that lists a file twice.

    Args:
        places: (n,) the hash of each row's `_place`, which takes less memory than the text. Rows
            of equal hashes are read once more.

    Raises:
        InputError: it does.
    """
    hashes, counts = np.unique(places, return_counts=True)
    twice = set(hashes[counts > 1].tolist())
    if not twice:
        return
    find, seen = finder(source.parent), set()
    for (number, row), its in zip(table.rows(), places.tolist(), strict=True):
        if its not in twice:
            continue
        item = parse(row, source, number=number, find=find)
        if _place(item) in seen:
            raise InputError(f"{source}: {item.name} is listed twice; list each file once")
        seen.add(_place(item))


def parse(
    row: Mapping[str, str],
    source: Path,
    *,
    number: int,
    find: Callable[[str], tuple[str, str | None]],
) -> Labelled:
    """One line of the table; an empty cell is a missing label.

    Args:
        find: finds the file (see `tables.finder`).

    Raises:
        InputError: it names no file, or the fold or the split can't be understood.
    """
    said: dict[str, Any] = {}
    for column, (reader, allowed) in COLUMNS.items():
        try:
            said[column] = cell(row, column, read=reader)
        except ValueError as error:
            raise InputError(
                f"{source}, line {number}: {error}; give {allowed}, or nothing"
            ) from None
    if not row["file"].strip():
        raise InputError(
            f"{source}, line {number}: no file is named; name one, or leave the line out"
        )
    name, image, problem = _located(row["file"], source, find=find)
    return Labelled(
        name=name,
        image=image,
        subject=cell(row, "subject", read=str),
        problem=problem,
        is_predicted=bool(row.get("confidence", "").strip()),
        **said,
        **labels_of(row, f"line {number}"),
    )


def _located(
    listed: str, source: Path, *, find: Callable[[str], tuple[str, str | None]]
) -> tuple[str, str, str | None]:
    """A listed image's name, where it is, and why it can't be used, where it isn't there."""
    if remote.is_url(url := listed.strip()):
        return url, url, None  # whether it is there is found as it is read
    name, image = find(listed)
    if image:
        return name, image, None
    return name, str(source.parent / name), problem_of(source.parent / name)
