"""Photos from files: whatever format they have, as people see them."""

import contextlib
import functools
import re
import stat
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageOps

from vggface_gender.base.errors import InputError
from vggface_gender.base.text import printable
from vggface_gender.photos import folders, heic
from vggface_gender.photos.folders import VIDEO_SUFFIXES

# Only formats of photographs: Pillow would also run Ghostscript on what looks like PostScript.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
AVIF_BRANDS = (b"avif", b"avis")

MAX_PIXELS = 128_000_000  # a phone's 108 megapixels, 0.4 GB as uint8 RGB


class Found(NamedTuple):
    """The photos that paths stand for, and what is left out of the folders among them."""

    photos: list[Path]
    left_out: folders.LeftOut


def find_photos(paths: Iterable[str | Path]) -> Found:
    """The files named, and in place of each folder the images in it, sorted by name.

    Which files those are is said in `folders`. Folders within a folder are not entered.

    Raises:
        InputError: a folder has no images.
        OSError: a folder may not be read.
    """
    photos: list[Path] = []
    left_out: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            photos.append(path)
            continue
        photos += map(Path, folders.enter_full(path, deep=False, left_out=left_out))
    return Found(photos, folders.tally(left_out))


def read_photo(path: str | Path) -> np.ndarray:
    """The photo in a file as people see it: uint8 RGB `[0, 255]`, shape `(h, w, 3)`.

    The EXIF orientation is applied, transparency is laid over white, 16-bit grey is scaled to 8
    bits, CMYK is converted without its colour profile, and an animation gives its first frame.
    HEIC is read where the package pi-heif is installed.

    Raises:
        InputError: there is no such file, it is a pipe or a device, or `decode` can't read it.
    """
    try:
        # A pipe would be waited for without end.
        mode = Path(path).stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(f"{path}: not a regular file; give an image file")
        with open(path, "rb") as file:
            return decode(file, str(path))
    except InputError:
        raise
    except FileNotFoundError as error:
        why = _not_there(str(path)) or f"{error.strerror}; give an image file"
        raise InputError(f"{path}: {why}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give an image file") from None
    except ValueError as error:  # of what can be no path: a NUL in it
        raise InputError(f"{printable(str(path))}: {error}; give an image file") from None


def decode(file: BinaryIO, name: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The photo in an open file, as `read_photo` returns it.

    Args:
        file: seekable; read from its start, wherever it stands.
        name: what to call the file in an error.
        max_pixels: more are refused before any is decoded.

    Raises:
        InputError: the file is closed or not seekable, empty, no image, damaged, truncated, larger
            than `max_pixels`, or holds pixels that have no agreed range (32-bit).
    """
    try:
        file.seek(0)
        head = file.read(64)
        file.seek(0)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: {_reason(error)}; give a file that can be read") from None
    if not head:
        raise InputError(f"{name}: the file is empty; give an image file")
    try:
        if heic.is_heic(head):
            file = heic.decode(file.read(), max_pixels=max_pixels)
        with warnings.catch_warnings():
            # Damaged metadata is of no concern here, and for the size we have a limit of our own.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_formats()) as image:
                if image.width * image.height > max_pixels:
                    raise Image.DecompressionBombError
                image.load()
                with contextlib.suppress(Exception):  # damaged EXIF: see `orientation`
                    ImageOps.exif_transpose(image, in_place=True)
                return np.array(_rgb(image))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{name}: {_unidentified(head, Path(name).suffix.lower())}") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"{name}: more than {max_pixels / 10**6:.4g} megapixels; make it smaller"
        ) from None
    except Exception as error:  # Pillow's decoders raise anything, from struct.error to SyntaxError
        raise InputError(
            f"{name}: damaged or incomplete ({_reason(error)}); replace the file"
        ) from None


def of_image(image: Image.Image, name: str) -> np.ndarray:
    """The photo in one of Pillow's images, as `read_photo` returns it; the image is left as it is.

    Raises:
        InputError: see `decode`; it has no pixels, or is closed.
    """
    if not image.width * image.height:
        raise InputError(f"{name}: of {image.width} x {image.height} pixels; give an image of some")
    if is_too_large(image):
        raise InputError(f"{name}: more than {MAX_PIXELS // 10**6} megapixels; make it smaller")
    try:
        upright = image.copy()  # which loads it
        upright.format = image.format
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(upright, in_place=True)
        return np.array(_rgb(upright))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Exception as error:  # as in `decode`
        raise InputError(f"{name}: can't be read ({_reason(error)}); give another") from None


def is_too_large(image: Image.Image) -> bool:
    """Whether an opened image has more than `MAX_PIXELS`; nothing is decoded."""
    return image.width * image.height > MAX_PIXELS


def orientation(image: Image.Image) -> int:
    """How an image's EXIF says that it is to be turned: 2 to 8, or 1 for not at all.

    Metadata can be damaged in as many ways as pixels can; what can't be read there says nothing.
    """
    with contextlib.suppress(Exception):
        stated = image.getexif().get(ExifTags.Base.Orientation, 1)
        return stated if stated in range(2, 9) else 1
    return 1


def _reason(error: Exception) -> str:
    """What an error says, in a line."""
    return " ".join(str(error).split()) or type(error).__name__


@functools.cache
def _formats() -> tuple[str, ...]:
    """Of `FORMATS`, those that the Pillow here reads."""
    Image.init()
    return tuple(format for format in FORMATS if format in Image.OPEN)


def _not_there(path: str) -> str | None:
    """What to do about a path of no file that was meant as something else; None for any other."""
    if path == "-":
        return "standard input is not read; save the photo to a file and give that"
    if re.match(r"[a-z][a-z0-9+.-]*:/", path, re.IGNORECASE):  # as a Path, // is one /
        return "a URL, and nothing is downloaded; download the photo and give the file"
    if re.search(r"[*?\[]", path):
        return "no file matches; give photos or their folder"
    return None


def _unidentified(head: bytes, suffix: str) -> str:
    """What a file is that no decoder here takes for its own, and what to do about it.

    Args:
        head: the file's first bytes.
        suffix: of its name, in lower case.
    """
    is_boxed = head[4:8] == b"ftyp"  # ISO/IEC 14496-12: HEIF, MP4, QuickTime
    is_avi, is_matroska = head[8:12] == b"AVI ", head[:4] == b"\x1aE\xdf\xa3"
    is_movie = is_boxed and head[8:12] not in AVIF_BRANDS
    if is_avi or is_matroska or is_movie or suffix in VIDEO_SUFFIXES:
        return (
            "a video, not a photo; save its frames as images, for instance by "
            "`ffmpeg -i VIDEO -vf fps=1 frame-%04d.jpg`"
        )
    return f"not an image that can be read here; give one of {', '.join(_formats())}"


def _rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as 8-bit RGB.

    Raises:
        InputError: 32-bit pixels, which have no agreed range.
    """
    if image.mode.startswith(("I", "F")):
        # Pillow's own conversion clips at 255. Its mode I holds 32-bit TIFFs, but 16-bit PGMs too.
        grey = np.asarray(image)
        if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
            raise InputError("32-bit pixels have no agreed range; save it with 8 or 16 bits")
        grey = (grey.astype(np.uint32) * 255 + 32767) // 65535
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")  # the only conversion that Pillow has of it
        # What hides under transparent pixels is arbitrary; viewers and pages show white there.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for Adobe's inverted kind
    return image.convert("RGB")
