"""What lies in a dataset's source folder, and what the dataset says of each image."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd

from vggface_gender.base.errors import InputError, first_line
from vggface_gender.photos import folders

T = TypeVar("T")

NOT_THERE = "listed, but not there"
UNUSED = "an image that the dataset does not list"


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
    """Every image below `folder`, unlabelled, folder by folder; none where there is no such folder.

    Which files are images is said in `photos.folders`.

    Args:
        within: the dataset's own folder, to which the images' names are relative.

    Raises:
        OSError: a folder can't be read.
    """
    if not folder.is_dir():  # one that need not be there
        return
    start = len(within.parts)
    for image in folders.contents(folder, deep=True).images:
        yield Labelled("/".join(image.parts[start:]), image)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones."""
    return folders.contents(folder, deep=False).left_out.get(folders.FOLDER, [])


def problem_of(image: Path) -> str | None:
    """Why a file that a dataset lists can't be there; None if it is."""
    try:
        image.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero in its name
        return NOT_THERE
    except OSError as error:
        return f"listed, but {os.strerror(error.errno or 0).lower()}"
    return None


def unused(source: Path, listed: Iterable[Labelled]) -> folders.LeftOut:
    """What lies in a dataset's folder and is none of the images that it lists.

    Its own tables of labels are among what is not named as an image.
    """
    taken = {str(item.image) for item in listed if isinstance(item.image, Path)}
    found = folders.contents(source, deep=True)
    others = [image for image in found.images if str(image) not in taken]
    reasons = {**({UNUSED: others} if others else {}), **found.left_out}
    return folders.tally(
        {reason: [path.relative_to(source) for path in paths] for reason, paths in reasons.items()}
    )


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
