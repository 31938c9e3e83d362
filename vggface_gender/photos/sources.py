"""What is named on a command line, found: photos, folders, patterns, URLs, videos, cameras.

Nothing is opened here but folders. A name is what is there under it, if anything is; only then it
may be a pattern, a URL, a camera's number or `-`.
"""

import contextlib
import glob
import hashlib
import io
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggface_gender.base import files, remote
from vggface_gender.base.errors import InputError
from vggface_gender.photos import folders, inputs, read, video
from vggface_gender.photos.inputs import Picture

PHOTO, VIDEO, CAMERA = "photo", "video", "camera"
STDIN = "-"
MAX_BYTES = 1 << 30  # of a picture from standard input


class Source(NamedTuple):
    """A photo, a video or a camera."""

    name: str  # its path as given; STDIN; a camera's number
    kind: str  # PHOTO, VIDEO or CAMERA


class Found(NamedTuple):
    """The sources that names stand for, and what is left out of folders and patterns."""

    sources: list[Source]
    left_out: folders.LeftOut


def find(names: Iterable[str], *, recursive: bool = False) -> Found:
    """The sources that names stand for, in their order.

    - A file is a video if its name ends as one's, else a photo.
    - A folder stands for the images in it, sorted by name (see `folders`).
    - A pattern with `*`, `?` or `[`, where no such file exists, stands for the images, videos and,
      if `recursive`, folders that match; `**` stands for any folders between.
    - A `file:` URL is a path. Any other URL is a file, a folder or a pattern elsewhere, such as
      `s3://bucket/*.jpg` (see `base.remote`).
    - `-` is one picture's bytes on standard input.
    - A number of at most nine digits, where no such file exists, is a camera.

    Args:
        recursive: enter the folders within folders.

    Raises:
        InputError: a folder or pattern has no images, a URL is none or of another machine, or
            standard input is named twice.
        OSError: a folder may not be read.
    """
    sources: list[Source] = []
    left_out: dict[str, list[Path]] = {}
    for name in names:
        path = _path_of_url(name) or name
        if name == STDIN and not os.path.lexists(name):
            if any(source.name == STDIN for source in sources):
                raise InputError("standard input (-) can be read only once; name it once")
            sources.append(Source(STDIN, PHOTO))
        elif remote.is_url(name):
            sources += _elsewhere(name, recursive, left_out)
        elif os.path.isdir(path):
            hint = "" if recursive else ", or give --recursive"
            images = folders.enter_full(Path(path), deep=recursive, left_out=left_out, hint=hint)
            sources += [Source(image, PHOTO) for image in images]
        elif not os.path.lexists(path) and re.search(r"[*?\[]", path):
            sources += _matching(path, recursive, left_out)
        elif not os.path.lexists(path) and re.fullmatch("[0-9]{1,9}", path):
            sources.append(Source(path, CAMERA))
        else:
            sources.append(_file(path))
    return Found(sources, folders.tally(left_out))


def picture(source: Source) -> Picture:
    """The picture that is read from a photo's source."""
    if source.name == STDIN:
        return from_stdin()
    return inputs.url(source.name) if remote.is_url(source.name) else inputs.file(source.name)


def hashed(source: Source) -> Picture:
    """`picture` with the hash of its content; None of what can't be read."""
    if source.name == STDIN:
        return from_stdin()
    if remote.is_url(source.name):
        return picture(source)
    return picture(source)._replace(content=content(source.name))


def from_stdin() -> Picture:
    """The picture whose bytes are on standard input, all of which are read."""
    try:
        held = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{STDIN}: standard input: {error.strerror}; give a file") from None

    def decode() -> np.ndarray:
        if sys.stdin is None:
            raise InputError(f"{STDIN}: standard input is closed; give a file")
        if len(held) > MAX_BYTES:
            raise InputError(f"{STDIN}: more than {MAX_BYTES >> 20:,} MB on standard input")
        return read.decode(io.BytesIO(held), STDIN)

    return Picture(STDIN, decode, files.digest_of(held))


def state(sources: Iterable[Source]) -> str:
    """A hash of names, and of their files' sizes and times: have they changed since?"""
    made = hashlib.blake2b(digest_size=16)
    for source in sources:
        row: list = [source.name]
        with contextlib.suppress(OSError, ValueError):  # it is elsewhere, or gone
            stat = os.stat(source.name)
            row += [stat.st_size, stat.st_mtime_ns]
        made.update(json.dumps(row).encode())
    return made.hexdigest()


def content(path: str | os.PathLike) -> str | None:
    """The hash of a file's content; None where it is no regular file, or can't be read."""
    try:
        return files.digest(path) if os.path.isfile(path) else None
    except OSError:
        return None


def _file(path: str | Path) -> Source:
    return Source(str(path), VIDEO if video.is_video(Path(path)) else PHOTO)


def _matching(pattern: str, recursive: bool, left_out: dict[str, list[Path]]) -> list[Source]:
    """What a pattern matches; what is neither an image nor a video is added to `left_out`."""
    sources: list[Source] = []
    for match in sorted(glob.glob(pattern, recursive=True)):
        path = Path(match)
        if not folders.is_shown(path.name):
            left_out.setdefault(folders.HIDDEN, []).append(path)
        elif path.is_dir():
            if recursive:
                images = folders.enter(path, deep=True, left_out=left_out)
                sources += [Source(image, PHOTO) for image in images]
            elif "**" not in pattern:  # which matches the folders on its way, too
                left_out.setdefault(folders.FOLDER, []).append(path)
        elif folders.is_image(match) or video.is_video(path):
            sources.append(_file(path))
        else:
            left_out.setdefault(folders.OTHER, []).append(path)
    if not sources:
        raise InputError(f"{pattern}: no file matches; give photos or their folder")
    return list(dict.fromkeys(sources))


def _elsewhere(url: str, recursive: bool, left_out: dict[str, list[Path]]) -> list[Source]:
    """The photos that a URL stands for; what is none is added to `left_out`."""
    found = remote.find(url, deep=recursive)
    if found == [url]:
        return [Source(url, PHOTO)]
    for each in found:
        if not folders.is_image(each):
            left_out.setdefault(folders.OTHER, []).append(Path(each))
    images = [Source(each, PHOTO) for each in found if folders.is_image(each)]
    if not images:
        raise InputError(f"{url}: no images there; name photos or their folder")
    return images


def _path_of_url(name: str) -> str | None:
    """The path that a `file:` URL names; None for what is none.

    Raises:
        InputError: the file is on another machine, or it is no URL.
    """
    if not name.lower().startswith("file:") or os.path.lexists(name):
        return None
    try:
        url = urllib.parse.urlsplit(name)
    except ValueError:
        url = None
    if url is None or "%00" in url.path:
        raise InputError(f"{name}: not the URL of a file; give the file's path")
    if url.netloc not in ("", "localhost"):
        raise InputError(f"{name}: a file on another machine; copy it here and give its path")
    return urllib.parse.unquote(url.path, errors="surrogateescape")
