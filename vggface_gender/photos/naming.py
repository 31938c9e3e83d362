"""What files that are made of photos are called: by their photos' names, none like another."""

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vggface_gender.base.text import cut

MAX_NAME = 255  # bytes in a file's name, on the file systems of Linux, macOS and Windows
NUMBER = 100_000  # no photo has so many faces


def paths(
    photos: Sequence[Path],
    folder: Path,
    *,
    ending: str = "-faces.jpg",
    others: Iterable[Path] = (),
    numbered: bool = False,
) -> list[Path]:
    """Where what is made of each photo goes: `folder/<name>-faces.jpg`, numbered on collision.

    No two photos share a path, and no path is that of a photo. A name that would be too long for a
    file is cut short.

    Args:
        ending: of the names, with the file's suffix.
        others: files whose paths are not to be given, either.
        numbered: leave room for `number`: what it makes of a path is no photo's, either.
    """
    taken = set()
    for path in (*photos, *others):
        taken |= _keys(path, numbered)
    room = f"-{NUMBER}" if numbered else ""
    base, suffix = os.path.splitext(ending)
    found = []
    for photo in photos:
        numbers = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
        candidates = (
            folder / _named(photo.stem, f"{base}{number}{suffix}", room) for number in numbers
        )
        path = next(path for path in candidates if not _keys(path) & taken)
        taken |= _keys(path)
        found.append(path)
    return found


def number(path: Path, number: int) -> Path:
    """The path of one of several files that are made of a photo: with `-1` before its suffix."""
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _named(stem: str, ending: str, room: str) -> str:
    """A file's name of a stem and an ending, the stem cut to what a name can hold with `room`."""
    return cut(stem, MAX_NAME - len(os.fsencode(ending + room))) + ending


def _keys(path: Path, numbered: bool = False) -> set[str]:
    """Keys of which two paths share one if they can be one file, on systems blind to case too.

    Args:
        numbered: also the key of what `number` could have made the path of.
    """
    named = path.parent.resolve() / path.name  # a link itself, and what it leads to
    keys = {str(named).casefold(), str(path.resolve()).casefold()}
    if numbered:
        keys |= {re.sub(r"-\d+(\.[^./]*)$", r"\1", key) for key in keys}
    return keys
