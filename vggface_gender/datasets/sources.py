"""What lies in a dataset's source folder, and what the dataset says of each image."""

import array
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from vggface_gender.photos import folders

NOT_THERE = "listed, but not there"
UNUSED = "an image that the dataset does not list"


class Unread(NamedTuple):
    """A label that is not understood, so missing."""

    task: str
    text: str  # what stands there
    where: str  # "line 7", or "fold_0_data.txt, line 7" of a dataset of several tables
    refusal: str  # what is said of it, and what is allowed


class Labelled(NamedTuple):
    """One image of a dataset and what the dataset says of it; None where it says nothing."""

    name: str  # unique in the dataset and stable: a relative path, never an absolute one
    image: str | bytes  # a file's path, the URL of one elsewhere, or what is in it
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
    """Every image below `folder`, unlabelled, folder by folder; none where there is no such folder.

    Which files are images is said in `photos.folders`.

    Args:
        within: the dataset's own folder, to which the images' names are relative.

    Raises:
        OSError: a folder can't be read.
    """
    if not folder.is_dir():  # one that need not be there
        return
    for path, reason in folders.walk(str(folder), deep=True):
        if reason is None:
            yield Labelled(
                os.path.relpath(path, within).replace(os.sep, "/"), os.path.normpath(path)
            )


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


def stat_of(image: str) -> os.stat_result | None:
    """A listed file's size and times; None of one that is not there, or can't be, or a URL."""
    try:
        return os.stat(image)
    except (OSError, ValueError):
        return None


def unused(source: Path, listed: Iterable[Labelled]) -> folders.LeftOut:
    """What lies in a dataset's folder and is none of the images that it lists.

    Its own tables of labels are among what is not named as an image.
    """
    import numpy as np  # here: what is there of a dataset is looked up without it

    # Hashes of 8 bytes, since paths of all would take much memory.
    images = (item.image for item in listed)
    hashes = array.array("q", (hash(it) for it in images if isinstance(it, str)))
    taken = np.unique(np.array(hashes))

    def is_taken(path: str) -> bool:
        place = np.searchsorted(taken, its := hash(os.path.normpath(path)))
        return bool(place < len(taken) and taken[place] == its)

    found = folders.walk(str(source), deep=True)
    left_out = folders.counted(
        (os.path.relpath(path, source), reason or UNUSED)
        for path, reason in found
        if reason or not is_taken(path)
    )
    return {reason: left_out[reason] for reason in sorted(left_out, key=lambda it: it != UNUSED)}
