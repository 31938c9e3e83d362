"""What lies in a dataset's source folder, and what the dataset says of each image."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd

from vggface_gender.base.errors import InputError, first_line
from vggface_gender.photos.read import SUFFIXES

T = TypeVar("T")

NOT_THERE = "listed, but not there"


class Labelled(NamedTuple):
    """One image of a dataset and what the dataset says of it; None where it says nothing."""

    name: str  # unique in the dataset and stable: a relative path, never an absolute one
    image: Path | bytes
    gender: str | None = None
    race: str | None = None
    age: float | None = None  # years
    subject: str | None = None
    fold: int | None = None
    split: str | None = None  # where the dataset itself says so
    problem: str | None = None  # why it can't be used, where its name or row shows that already
    is_predicted: bool = False  # its labels are a classifier's: to train on, not to score by

    @property
    def key(self) -> list[str]:
        """Name and labels as text, for hashes."""
        labels = (self.gender, self.race, self.age, self.subject, self.fold)
        return [self.name, *map(str, labels)]


def images_under(folder: Path, within: Path) -> Iterator[Labelled]:
    """Every file below `folder` whose name ends like an image's, unlabelled.

    Hidden files and folders are left out, and macOS's `__MACOSX`, which mirrors them.

    Args:
        within: the dataset's own folder, to which the images' names are relative.

    Raises:
        OSError: a folder can't be read.
    """
    # os.walk and text: in a folder of tens of thousands of files, pathlib would take seconds.
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(filter(is_shown, folders))
        start = Path(parent).relative_to(within).as_posix()
        start = "" if start == "." else f"{start}/"
        for file in sorted(filter(is_shown, files)):
            if os.path.splitext(file)[1].lower() in SUFFIXES:
                yield Labelled(start + file, Path(parent, file))


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # a folder that need not be there
        raise error


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and is_shown(path.name)]


def is_shown(name: str) -> bool:
    """Whether a file or folder is the user's, not a tool's: `.ipynb_checkpoints`, `__MACOSX`."""
    return not name.startswith(".") and name != "__MACOSX"


def read_table(
    path: Path, *, needed: Sequence[str], expected: str, separator: str = ","
) -> pd.DataFrame:
    """A table of text, "" where a cell is empty.

    Args:
        needed: columns without which it is of no use.
        expected: what should be there, for the error.

    Raises:
        InputError: it is not there, not such a table, or lacks a column.
    """
    kind = {",": "CSV", "\t": "tab-separated"}[separator]
    try:
        rows = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected {expected}") from None
    except (OSError, ValueError) as error:  # ValueError: pandas's parser errors, bad UTF-8
        reason = first_line(error)
        raise InputError(
            f"{path}: not a readable {kind} file: {reason}; save it as {kind}, in UTF-8"
        ) from None
    if missing := [column for column in needed if column not in rows]:
        # What is no such table (a web page, another separator) may be one column of a whole line.
        found = ", ".join(rows.columns[:10])[:200]
        raise InputError(
            f"{path}: no column {', '.join(missing)}; found {found}; expected {expected}"
        )
    return rows


def cell(row: dict[str, str], column: str, *, read: Callable[[str], T | None]) -> T | None:
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
        raise ValueError(f"{text[:80]!r} is not a known {column}")
    return value
