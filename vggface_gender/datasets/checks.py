"""Which of a dataset's images can be used: each is read and decoded once."""

import hashlib
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from vggface_gender.datasets.sources import Labelled
from vggface_gender.photos import crops, read

END_OF_IMAGE = b"\xff\xd9"  # a JPEG's last marker; its compressed data can't hold these bytes
ORIENTATION = 0x0112  # in EXIF; 1 is upright


class Checked(NamedTuple):
    """An image that can be used."""

    item: Labelled
    digest: str  # of the file's content
    size: tuple[int, int]  # width and height in pixels, upright
    is_plain: bool  # an upright JPEG in RGB or grey, whose bytes are copied as they are


def check(listed: list[Labelled]) -> tuple[list[Checked], dict[str, str]]:
    """The images that can be used, and why the others can't, by name."""
    good, skipped = [], {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged metadata is of no concern, and the rest is said
        for item in tqdm(listed, desc="checking images", unit="", leave=False, mininterval=1):
            found = _look_at(item)
            if isinstance(found, Checked):
                good.append(found)
            else:
                skipped[item.name] = found
    return good, skipped


def content(image: Path | bytes) -> bytes:
    """An image's file as it is.

    Raises:
        OSError: it can't be read.
        ValueError: it is a pipe or a device, which would be waited for without end.
    """
    if isinstance(image, bytes):
        return image
    if not image.is_file():
        raise ValueError("not a regular file")
    return image.read_bytes()


def jpeg(image: Checked) -> bytes:
    """What a record holds of an image: its own bytes, or those of its upright RGB as JPEG."""
    own = content(image.item.image)
    return own if image.is_plain else reencoded(own)


def reencoded(image: bytes) -> bytes:
    """An image file of any format, decoded, turned upright and encoded as JPEG."""
    return crops.to_jpeg(read.decode(io.BytesIO(image), "image"))


def _look_at(item: Labelled) -> Checked | str:
    """What an image is found to be, or why it can't be used."""
    if item.problem:
        return item.problem
    if item.name.encode(errors="replace").decode() != item.name:
        return "its name is not UTF-8"
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
        return " ".join(str(error).split()).removeprefix("image: ") or repr(error)
    digest = hashlib.blake2b(file, digest_size=16).hexdigest()
    return Checked(item, digest, size, is_plain)


def _plain_size(file: bytes) -> tuple[int, int] | None:
    """Width and height of an upright JPEG in RGB or grey; None for any other file.

    Raises:
        OSError: it is such a JPEG, but damaged.
    """
    try:
        image = Image.open(io.BytesIO(file), formats=["JPEG"])
    except Image.UnidentifiedImageError:
        return None
    with image:
        is_upright = image.getexif().get(ORIENTATION, 1) == 1
        # A JPEG that holds several pictures has another format. Of CMYK, programs disagree on
        # which end is ink: it is decoded here, once.
        if image.format != "JPEG" or not is_upright or image.mode not in ("RGB", "L"):
            return None
        if not _decodes(file):
            image.load()
        return image.size


def _decodes(jpeg: bytes) -> bool:
    """Whether a JPEG is surely whole; Pillow, which is slower, has to look at the others.

    OpenCV reads all of the coefficients but computes an eighth of the pixels. It forgives a file
    that ends early, which has no end marker among its last bytes.
    """
    if END_OF_IMAGE not in jpeg[-1024:]:
        return False
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_COLOR_8) is not None
