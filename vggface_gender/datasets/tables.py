"""Tables of files and labels, of named datasets and of one's own."""

import collections
import functools
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from vggface_gender.base import ages, readings
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.readings import READINGS, Reading
from vggface_gender.base.text import listed, shortened
from vggface_gender.datasets.sources import Unread

T = TypeVar("T")

LONGEST_NAME = 400  # of a file that is not there, in messages

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
KINDS = {",": "CSV", "\t": "tab-separated"}


def read_table(
    path: Path,
    *,
    needed: Sequence[str],
    expected: str,
    known: Sequence[str] = (),
    separator: str = ",",
) -> pd.DataFrame:
    """A table of text, "" where a cell is empty.

    Args:
        needed: columns without which it is of no use.
        expected: what should be there, for the error.
        known: further columns. Known and needed ones are found whatever their capitals.

    Raises:
        InputError: it is not there, not such a table, or lacks a column.
    """
    known = (*needed, *known)
    try:
        rows = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected {expected}") from None
    except (OSError, ValueError) as error:  # ValueError: pandas's parser errors, bad UTF-8
        kind = KINDS[separator]
        hint = _hint(_first_line(path), known, separator)
        raise InputError(
            f"{path}: not a readable {kind} file: {first_line(error)}{hint}; save it as {kind}, "
            "in UTF-8"
        ) from None
    spelt = {column: column.strip().lower() for column in rows}
    for name, count in collections.Counter(spelt.values()).items():
        if count > 1 and name in known:
            raise InputError(f"{path}: several columns are called {name}; keep one")
    rows = rows.rename(columns={column: name for column, name in spelt.items() if name in known})
    if missing := [column for column in needed if column not in rows]:
        # What is no such table (a web page, another separator) may be one column of a whole line.
        found = shortened(", ".join(rows.columns[:10]), 200)
        hint = _hint(separator.join(rows.columns), known, separator)
        raise InputError(
            f"{path}: no column {', '.join(missing)}; found {found}{hint}; expected {expected}"
        )
    if not isinstance(rows.index, pd.RangeIndex):  # pandas takes what is too much for row names
        raise InputError(f"{path}: its lines have more cells than its first line names columns")
    return rows


def cell(row: Mapping[str, str], column: str, *, read: Callable[[str], T | None]) -> T | None:
    """What a row says in a column; None where it is empty.

    Args:
        read: its value from its text; None, or a ValueError, where it can't be understood.

    Raises:
        ValueError: it can't be understood; the message quotes it.
    """
    text = row.get(column, "").strip()
    if not text:
        return None
    try:
        value = read(text)
    except ValueError:
        value = None
    if value is None:
        raise ValueError(f"{shortened(text, 80)!r} is not a known {column}")
    return value


def labels_of(
    row: Mapping[str, str], where: str, *, known: Mapping[str, Reading] = READINGS
) -> dict[str, Any]:
    """The labels in a row, as fields of `Labelled`: None where a cell is empty.

    A label that is not understood is missing, and stands in `unread`.

    Args:
        where: the row's line, and its file where the dataset has several.
        known: how each task is read.
    """
    said: dict[str, Any] = {}
    unread = []
    for task, reading in known.items():
        text = row.get(task, "").strip()
        said[task] = reading.read(text) if text else None
        if text and said[task] is None:
            refusal = readings.refusal(task, text, reading=reading)
            unread.append(Unread(task, shortened(text, 80), where, refusal))
    return said | {"unread": tuple(unread)}


def mended_ages(texts: Iterable[str]) -> list[str]:
    """A note on the ages that a spreadsheet turned into dates; none where there are none."""
    counts = collections.Counter(texts)
    mended = [
        f"{text.strip()} as {band} ({count:,})"
        for text, count in counts.most_common()
        if (band := ages.mended(text))
    ]
    what = "ages that a spreadsheet turned into dates are read as bands"
    return [f"{what}: {listed(mended, 10)}"] if mended else []


def finder(folder: Path) -> Callable[[str], tuple[str, Path | None]]:
    """A function that finds a listed file below `folder`.

    It takes a file's name as it is listed and gives its name, separated by slashes, and its path;
    None where no such file is there. Backslashes are taken for separators, and accents are found
    whether they are characters of their own or not, unless a file is called just so.
    """

    @functools.cache
    def entries(parent: Path) -> dict[str, str]:
        try:
            return {unicodedata.normalize("NFC", entry): entry for entry in os.listdir(parent)}
        except OSError:
            return {}

    def find(name: str) -> tuple[str, Path | None]:
        spelt = name.strip().replace("\\", "/")
        for each in (name, spelt):
            if os.path.isfile(folder / each):
                return each, folder / each
        path = folder
        for part in Path(spelt).parts:
            path /= entries(path).get(unicodedata.normalize("NFC", part), part)
        return (spelt, path) if os.path.isfile(path) else (shortened(name, LONGEST_NAME), None)

    return find


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline(10_000).rstrip("\n")
    except OSError:
        return ""


def _hint(header: str, known: Sequence[str], separator: str) -> str:
    """What is probably wrong with a header in which columns are not found."""
    for other, name in SEPARATORS.items():
        if other != separator and {*map(str.strip, header.lower().split(other))} & {*known}:
            return (
                f" (its columns are separated by {name}: separate them by {SEPARATORS[separator]})"
            )
    if not {*map(str.strip, header.lower().split(separator))} & {*known}:
        return " (its first line has to name the columns)"
    return ""
