"""What lies in a dataset's source folder, and what the dataset says of each image."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vggface_gender.photos.read import SUFFIXES

NOT_THERE = "listed, but not there"


class Unread(NamedTuple):
    """A label that is not understood, so missing."""

    task: str
    text: str  # what stands there
    where: str  # "line 7", or "fold_0_data.txt, line 7" of a dataset of several tables
    refusal: str  # what is said of it, and what is allowed


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
    unread: tuple[Unread, ...] = ()

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
