"""Tables of files and labels, of named datasets and of one's own."""

import collections
import contextlib
import csv
import functools
import itertools
import os
import unicodedata
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from vggface_gender.base import ages, readings
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.readings import READINGS, Reading
from vggface_gender.base.text import listed, shortened
from vggface_gender.datasets.sources import Unread

T = TypeVar("T")

LONGEST_NAME = 400  # of a file that is not there, in messages

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
KINDS = {",": "CSV", "\t": "tab-separated"}


Row = tuple[int, dict[str, str]]  # the line that it ends on, from 1, and its text by column


class Table(NamedTuple):
    """A table of text, "" where a cell is empty or its line ends before it."""

    columns: list[str]
    # Reads it, row by row: it may be longer than memory. Lines without any text are left out.
    rows: Callable[[], Iterator[Row]]


def read_table(
    path: Path,
    *,
    needed: Sequence[str],
    expected: str,
    known: Sequence[str] = (),
    separator: str = ",",
) -> Table:
    """A table, of whose columns of one name all but the first are left out.

    Args:
        needed: columns without which it is of no use.
        expected: what should be there, for the error.
        known: further columns. Known and needed ones are found whatever their capitals.

    Raises:
        InputError: it is not there, not such a table, or lacks a column; or, from `rows`, a row
            has more cells than its first line, or is no text.
    """
    known = (*needed, *known)
    lines = functools.partial(_lines, path, separator=separator, known=known, expected=expected)
    with contextlib.closing(lines()) as every:
        _, header = next(every)
    spelt = [column.strip().lower() for column in header]
    for name, count in collections.Counter(spelt).items():
        if count > 1 and name in known:
            raise InputError(f"{path}: several columns are called {name}; keep one")
    columns = [
        name if name in known else column for name, column in zip(spelt, header, strict=True)
    ]
    if missing := [column for column in needed if column not in columns]:
        # What is no such table (a web page, another separator) may be one column of a whole line.
        found = shortened(", ".join(columns[:10]), 200)
        hint = _hint(separator.join(columns), known, separator)
        raise InputError(
            f"{path}: no column {', '.join(missing)}; found {found}{hint}; expected {expected}"
        )

    def rows() -> Iterator[Row]:
        for number, cells in itertools.islice(lines(), 1, None):
            if any(cells[len(columns) :]):
                raise InputError(
                    f"{path}, line {number}: number of cells {len(cells)}, of columns "
                    f"{len(columns)}; quote text that holds {SEPARATORS[separator]}"
                )
            filled = [*cells, *[""] * (len(columns) - len(cells))][: len(columns)]
            yield number, dict(zip(reversed(columns), reversed(filled), strict=True))

    return Table(list(dict.fromkeys(columns)), rows)


def _lines(
    path: Path, *, separator: str, known: Sequence[str], expected: str
) -> Generator[tuple[int, list[str]]]:
    """The rows of a table that have any text, the header first, each with its line's number."""
    kind, is_empty = KINDS[separator], True
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=separator, strict=True)
            try:
                for cells in reader:
                    if any(map(str.strip, cells)):
                        is_empty = False
                        yield reader.line_num, cells
            except csv.Error as error:
                raise ValueError(f"line {reader.line_num}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected {expected}") from None
    except (OSError, ValueError) as error:  # ValueError: also bad UTF-8
        hint = _hint(_first_line(path), known, separator)
        raise InputError(
            f"{path}: not a readable {kind} file: {first_line(error)}{hint}; save it as {kind}, "
            "in UTF-8"
        ) from None
    if is_empty:
        raise InputError(f"{path}: empty; expected {expected}")


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


def finder(folder: Path) -> Callable[[str], tuple[str, str | None]]:
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

    def find(name: str) -> tuple[str, str | None]:
        spelt = name.strip().replace("\\", "/")
        for each in (name, spelt):
            if os.path.isfile(folder / each):
                return each, str(folder / each)
        path = folder
        for part in Path(spelt).parts:
            path /= entries(path).get(unicodedata.normalize("NFC", part), part)
        return (spelt, str(path)) if os.path.isfile(path) else (shortened(name, LONGEST_NAME), None)

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
