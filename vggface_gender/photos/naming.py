"""What files that are made of photos are called: by their photos' names, none like another."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from vggface_gender.base.text import cut

MAX_NAME = 255  # bytes in a file's name, on the file systems of Linux, macOS and Windows


def paths(photos: Sequence[Path], folder: Path, *, ending: str = "-faces.jpg") -> list[Path]:
    """Where what is made of each photo goes: `folder/<name>-faces.jpg`, numbered on collision.

    No two photos share a path, and no path is that of a photo. A name that would be too long for a
    file is cut short.

    Args:
        ending: of the names, with the file's suffix.
    """
    taken = {_same(photo) for photo in photos}
    base, suffix = os.path.splitext(ending)
    found = []
    for photo in photos:
        numbers = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
        candidates = (folder / _named(photo.stem, f"{base}{number}{suffix}") for number in numbers)
        path = next(path for path in candidates if _same(path) not in taken)
        taken.add(_same(path))
        found.append(path)
    return found


def _named(stem: str, ending: str) -> str:
    """A file's name of a stem and an ending, the stem cut to what a name can hold."""
    return cut(stem, MAX_NAME - len(os.fsencode(ending))) + ending


def _same(path: Path) -> str:
    """A key that two paths share if they can be one file, on systems blind to case too."""
    return str(path.resolve()).casefold()
