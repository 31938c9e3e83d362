"""What people hand over as photos, each with a name and a way to its pixels.

Paths, bytes, open files, Pillow's images and arrays come to one form here, by one rule each; what
has no agreed meaning is refused, never guessed.
"""

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vggface_gender.base import files, remote
from vggface_gender.base.errors import InputError
from vggface_gender.photos import read

EXPECTED = "give uint8 RGB in [0, 255], of shape (h, w, 3)"


class Picture(NamedTuple):
    """A picture that can be read."""

    name: str  # what it is called: its path as the user gave it
    read: Callable[[], np.ndarray]  # uint8 RGB (h, w, 3); raises an InputError
    content: str | None = None  # the hash of its file's content, where somebody wants to know


def file(path: str | Path) -> Picture:
    """The picture in a file."""
    return Picture(str(path), functools.partial(read.read_photo, path))


def url(name: str) -> Picture:
    """The picture in a file elsewhere, which is fetched here, once; with its content's hash."""
    try:
        content = remote.read(name)
    except InputError as error:
        return Picture(name, functools.partial(_refuse, error))
    return Picture(name, functools.partial(_of_bytes, content, name), files.digest_of(content))


def _refuse(error: InputError) -> np.ndarray:
    raise error


def picture(given: Any, name: str | None = None) -> Picture:
    """A picture in any form that people have it in.

    Args:
        given: a path; a file's content as bytes; an open binary file, read from its start; a Pillow
            image; or an array, `uint8` RGB `[0, 255]` (h, w, 3), or grey (h, w) or (h, w, 1).
        name: what to call it; by default its path, else what it is.

    Raises:
        InputError: it is none of these; an array of floats, whose range would be a guess, among
            them.
    """
    if isinstance(given, str | os.PathLike):
        return file(os.fspath(given))._replace(name=name or os.fspath(given))
    if isinstance(given, bytes | bytearray | memoryview):
        called = name or "bytes"
        return Picture(called, functools.partial(_of_bytes, given, called))
    if isinstance(given, Image.Image):
        name = name or getattr(given, "filename", "") or "image"
        return Picture(name, functools.partial(read.of_image, given, name))
    if hasattr(given, "read") and hasattr(given, "seek"):
        name = name or _name_of(given)
        return Picture(name, functools.partial(read.decode, given, name))
    if isinstance(given, np.ndarray) or hasattr(given, "__array__"):
        name = name or "array"
        photo = of_array(np.asarray(given), name)
        return Picture(name, lambda: photo)
    raise InputError(
        f"{type(given).__name__} is no photo: give a path, bytes, an open file, a Pillow image, or "
        "an array"
    )


def of_array(given: np.ndarray, name: str) -> np.ndarray:
    """An array as a photo: `uint8` RGB (h, w, 3), grey repeated in all three channels.

    Raises:
        InputError: it is of another form.
    """
    if given.ndim == 3 and given.shape[2] == 1:
        given = given[:, :, 0]
    if given.dtype != np.uint8 or 0 in given.shape or given.ndim not in (2, 3):
        raise InputError(f"{name}: {given.dtype} of shape {given.shape}; {EXPECTED}")
    if given.ndim == 2:
        return np.repeat(given[:, :, None], 3, axis=2)
    if given.shape[2] != 3:
        raise InputError(f"{name}: {given.shape[2]} channels; {EXPECTED}")
    return given


def _of_bytes(given: bytes | bytearray | memoryview, name: str) -> np.ndarray:
    try:
        content = bytes(given)  # of a view with gaps too
    except ValueError as error:
        raise InputError(f"{name}: {error}; give a file's content") from None
    return read.decode(io.BytesIO(content), name)


def _name_of(given: Any) -> str:
    name = getattr(given, "name", None)
    return str(Path(name)) if isinstance(name, str) else "file"
