"""Which of a dataset's images can be used: each is read and decoded once."""

import contextlib
import hashlib
import io
import itertools
import os
import tempfile
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from vggface_gender.base import parts, remote
from vggface_gender.base.packed import Packed
from vggface_gender.base.parts import HERE, Engine, Tick
from vggface_gender.datasets.sources import Labelled
from vggface_gender.photos import crops, read

LEAST_IMAGES = 1024  # in a part


class Checked(NamedTuple):
    """An image that can be used."""

    item: Labelled
    digest: str  # of the file's content
    size: tuple[int, int]  # width and height in pixels, upright
    is_plain: bool  # an upright JPEG in RGB or grey, whose bytes are copied as they are


Found = tuple[str, tuple[int, int], bool]  # a `Checked` but for its item


def check(
    listed: Collection[Labelled], *, engine: Engine = HERE, folder: Path | None = None
) -> tuple[Packed[Checked], dict[str, str]]:
    """The images that can be used, and why the others can't, by name.

    Args:
        engine: does the parts of the work.
        folder: for the parts; None for one of its own.
    """
    with contextlib.ExitStack() as stack:
        folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        wanted = parts.divided(listed, folder, least=LEAST_IMAGES, make=_check)
        engine.run(wanted, "checking images")
        looked = itertools.chain.from_iterable(parts.read(part.path) for part in wanted)
        good: Packed[Checked] = Packed()
        skipped = {}
        for item, found in zip(listed, looked, strict=True):
            if isinstance(found, str):
                skipped[item.name] = found
            else:
                good.append(Checked(item, *found))
    return good, skipped


def _check(path: Path, tick: Tick, *, listed: Path) -> None:
    """Check the images that are listed in a file, and write what is found to another."""
    looked: list[Found | str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged metadata is of no concern, and the rest is said
        for item in parts.read(listed):
            looked.append(_look_at(item))
            tick(1)
    parts.write(looked, path)


def content(image: str | bytes) -> bytes:
    """An image's file as it is.

    Raises:
        OSError: it can't be read.
        ValueError: it can't be read from elsewhere, or it is a pipe or a device, which would be
            waited for without end.
    """
    if isinstance(image, bytes):
        return image
    if remote.is_url(image):
        return remote.read(image)
    if not os.path.isfile(image):
        raise ValueError("not a regular file")
    return Path(image).read_bytes()


def encoded(image: Checked) -> bytes:
    """What a record holds of an image: a plain one's own bytes, else `reencoded` ones."""
    own = content(image.item.image)
    return own if image.is_plain else reencoded(own)


def pixels(image: Checked) -> np.ndarray:
    """What `predict` reads of an image's file: (h, w, 3) `uint8` RGB, upright."""
    own = content(image.item.image)
    return crops.decode(own) if image.is_plain else read.decode(io.BytesIO(own), "image")


def reencoded(image: bytes) -> bytes:
    """An image file of any format, decoded, turned upright and encoded without loss, as PNG.

    So a record has the pixels that `read.read_photo` gives of the file, to the last bit.
    """
    file = io.BytesIO()
    pixels = read.decode(io.BytesIO(image), "image")
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)  # 6 takes 3 times as long for 10%
    return file.getvalue()


def _look_at(item: Labelled) -> Found | str:
    """What an image is found to be, or why it can't be used."""
    if item.problem:
        return item.problem
    if item.name.encode(errors="replace").decode() != item.name:
        return "its name is not UTF-8; rename it"
    try:
        file = content(item.image)
        if not file:
            return "zero bytes"
        size = _plain_size(file)
        is_plain = size is not None
        if size is None:
            height, width, _ = read.decode(io.BytesIO(file), "image").shape
            size = width, height
    except Exception as error:  # Pillow raises whatever its many decoders do
        reason = getattr(error, "strerror", None) or str(error)  # of files, without their path
        return " ".join(reason.split()).removeprefix("image: ") or repr(error)
    digest = hashlib.blake2b(file, digest_size=16).hexdigest()
    return digest, size, is_plain


def _plain_size(file: bytes) -> tuple[int, int] | None:
    """Width and height of an upright JPEG in RGB or grey; None for any other file.

    Every other file is `read.decode`'s to read or to refuse.

    Raises:
        OSError: it is such a JPEG, but damaged.
    """
    try:
        image = Image.open(io.BytesIO(file), formats=["JPEG"])
    except (Image.UnidentifiedImageError, Image.DecompressionBombError):
        return None
    with image:
        # A JPEG that holds several pictures has another format. Of CMYK, programs disagree on
        # which end is ink: it is decoded here, once.
        is_plain = image.format == "JPEG" and image.mode in ("RGB", "L")
        if not is_plain or read.orientation(image) != 1 or read.is_too_large(image):
            return None
        size = image.size
        # As photos are read; all of the coefficients, but an eighth of the pixels.
        image.draft(None, (1, 1))
        image.load()
        return size if crops.is_decodable(file) else None
