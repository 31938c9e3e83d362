"""Which files of a folder are images, and what becomes of everything else in it.

One answer for datasets, for `predict` and for whatever else takes a folder of photos.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vggface_gender.base import text
from vggface_gender.base.errors import InputError

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff"),
        *(".bmp", ".gif", ".jp2", ".ppm", ".pgm", ".heic", ".heif", ".hif"),
    )
)
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".ts"}
)
# What systems and tools leave in a folder of photos, besides hidden files: macOS's archives,
# Synology's and QNAP's thumbnails, Windows's settings and every system's waste.
TOOLS = frozenset(
    (
        *("__macosx", "@eadir", "@__thumb", "thumbs.db", "desktop.ini", "#recycle", "#snapshot"),
        *("$recycle.bin", "system volume information", "lost+found", "__pycache__"),
    )
)

# Why something in a folder is not taken.
HIDDEN = "hidden, or a tool's"
OTHER = "not named as an image"
FOLDER = "a folder, which is not entered"

FIRST = 10  # of what is not taken for one reason, those that are named

LeftOut = dict[str, dict]  # reason to {"count": n, "first": the first few names}


class Contents(NamedTuple):
    """What is in a folder."""

    images: list[str]  # their paths, by their names, folder by folder, sorted in each
    left_out: dict[str, list[Path]]  # by reason: `HIDDEN`, `OTHER`, `FOLDER`


def is_shown(name: str) -> bool:
    """Whether a file or folder is the user's, not a tool's: `.ipynb_checkpoints`, `__MACOSX`."""
    return not name.startswith(".") and name.lower() not in TOOLS


def is_image(name: str) -> bool:
    """Whether a file is taken for an image: its name ends in one of `SUFFIXES`, in any case."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def contents(folder: Path, *, deep: bool) -> Contents:
    """A folder's images, and what else is in it.

    Hidden files and folders and those of `TOOLS` are left out, with all that is in them.

    Args:
        deep: enter the folders within, also those that are links, but none twice.

    Raises:
        OSError: the folder, or one within, is not there or may not be read.
    """
    images: list[str] = []
    left_out: dict[str, list[Path]] = {}
    for path, reason in walk(str(folder), deep=deep):
        if reason is None:
            images.append(path)
        else:
            left_out.setdefault(reason, []).append(Path(path))
    return Contents(images, left_out)


def walk(
    folder: str, *, deep: bool, within: Sequence[str] = ()
) -> Iterator[tuple[str, str | None]]:
    """Every file, and every folder that is not entered, with the reason why it is not taken.

    Text and `os.scandir`: in a folder of tens of thousands of files, pathlib would take seconds.
    The reason of an image is None. See `contents`.

    Args:
        within: the real paths of the folders that lead to this one.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    inner = []
    for entry in entries:
        if not is_shown(entry.name):
            yield entry.path, HIDDEN
        elif entry.is_dir():
            inner.append(entry)
        else:
            yield entry.path, None if is_image(entry.name) else OTHER
    within = (*within, os.path.realpath(folder))
    for entry in inner:
        if deep and not (entry.is_symlink() and os.path.realpath(entry) in within):
            yield from walk(entry.path, deep=deep, within=within)
        else:
            yield entry.path, FOLDER


def enter(folder: Path, *, deep: bool, left_out: dict[str, list[Path]]) -> list[str]:
    """A folder's images; what else is in it is added to `left_out`. See `contents`."""
    return _taken(contents(folder, deep=deep), left_out)


def enter_full(
    folder: Path, *, deep: bool, left_out: dict[str, list[Path]], hint: str = ""
) -> list[str]:
    """`enter` for a folder that has to have images.

    Args:
        hint: added to what the error says is to be done.

    Raises:
        InputError: it has none.
    """
    inside = contents(folder, deep=deep)
    if not inside.images:
        only = "; ".join(describe(tally(inside.left_out)))
        raise InputError(
            f"{folder}: no images in this folder{only and f' ({only})'}; name photos or their "
            f"folder{hint}"
        )
    return _taken(inside, left_out)


def tally(left_out: Mapping[str, Iterable[Path | str]]) -> LeftOut:
    """`counted` of what is left out, by its reason."""
    return counted((str(path), reason) for reason, paths in left_out.items() for path in paths)


def counted(left_out: Iterable[tuple[str, str]]) -> LeftOut:
    """What is left out for each reason: how many, and the first few names, as JSON.

    What is hidden is counted and not named.

    Args:
        left_out: a path and the reason, one after the other.
    """
    found: LeftOut = {}
    for path, reason in left_out:
        its = found.setdefault(reason, {"count": 0, "first": []})
        its["count"] += 1
        if reason != HIDDEN and its["count"] <= FIRST:
            its["first"].append(path)
    return found


def describe(left_out: LeftOut) -> list[str]:
    """What is left out, a line a reason: "not named as an image: 2 (a.txt, b.doc)"."""
    lines = []
    for reason, found in left_out.items():
        names = text.listed(found["first"], total=found["count"]) if found["first"] else ""
        lines.append(f"{reason}: {found['count']:,}" + (names and f" ({names})"))
    return lines


def _taken(inside: Contents, left_out: dict[str, list[Path]]) -> list[str]:
    """The images; the rest is added to `left_out`."""
    for reason, others in inside.left_out.items():
        left_out.setdefault(reason, []).extend(others)
    return inside.images
