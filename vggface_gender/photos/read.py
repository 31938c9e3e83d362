"""Photos from files: whatever format they have, as people see them."""

import contextlib
import functools
import stat
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageOps

from vggface_gender.base.errors import InputError

# Only formats of photographs: Pillow would also run Ghostscript on what looks like PostScript.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff"),
    *(".bmp", ".gif", ".jp2", ".ppm", ".pgm", ".heic", ".heif", ".hif"),
)
# The brands of HEIF files coded in HEVC, which stand at bytes 8 to 12 (ISO/IEC 23008-12, annex B).
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

MAX_PIXELS = 128_000_000  # a phone's 108 megapixels, 0.4 GB as uint8 RGB


def find_photos(paths: Iterable[str | Path]) -> list[Path]:
    """The files named, and in place of each folder the images in it, sorted by name.

    In a folder, an image is a file whose name ends in one of `SUFFIXES`, capitals or not, and does
    not begin with a point. Folders within it are not entered.

    Raises:
        InputError: a folder has no images.
    """
    photos = []
    for path in map(Path, paths):
        if not path.is_dir():
            photos.append(path)
            continue
        inside = sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not inside:
            raise InputError(f"{path}: no images in this folder; name photos or their folder")
        photos += inside
    return photos


def read_photo(path: str | Path) -> np.ndarray:
    """The photo in a file as people see it: uint8 RGB `[0, 255]`, shape `(h, w, 3)`.

    The EXIF orientation is applied, transparency is laid over white, 16-bit grey is scaled to 8
    bits, CMYK is converted without its colour profile, and an animation gives its first frame.
    HEIC is read where the package pillow-heif is installed.

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
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give an image file") from None


def decode(file: BinaryIO, name: str) -> np.ndarray:
    """The photo in an open file, as `read_photo` returns it.

    Args:
        file: seekable; read from its start, wherever it stands.
        name: what to call the file in an error.

    Raises:
        InputError: the file is empty, no image, damaged, truncated, larger than `MAX_PIXELS`, or
            holds pixels that have no agreed range (32-bit).
    """
    file.seek(0)
    head = file.read(12)
    if not head:
        raise InputError(f"{name}: the file is empty; give an image file")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            # Damaged metadata is of no concern here, and for the size we have a limit of our own.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_formats()) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                image.load()
                _apply_orientation(image)
                return np.array(_rgb(image))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{name}: {_unidentified(head)}") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"{name}: more than {MAX_PIXELS // 10**6} megapixels; make it smaller"
        ) from None
    except Exception as error:  # Pillow's decoders raise anything, from struct.error to SyntaxError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: damaged or incomplete ({reason}); replace the file") from None


@functools.cache
def _formats() -> tuple[str, ...]:
    """The formats that can be read here: HEIC is among them only with a package of its own."""
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def _unidentified(head: bytes) -> str:
    """What a file is that no decoder here takes for its own, and what to do about it.

    Args:
        head: the file's first 12 bytes.
    """
    is_boxed = head[4:8] == b"ftyp"  # ISO/IEC 14496-12: HEIF, MP4, QuickTime
    is_heic = is_boxed and head[8:12] in HEIC_BRANDS
    if is_heic and "HEIF" not in _formats():
        return "a HEIC photo; pip install pillow-heif, or save it as JPEG"
    is_avi, is_matroska = head[8:12] == b"AVI ", head[:4] == b"\x1aE\xdf\xa3"
    if is_avi or is_matroska or (is_boxed and not is_heic):
        return "a video, not a photo; save a frame of it as an image"
    return f"not an image that can be read here; give one of {', '.join(_formats())}"


def _apply_orientation(image: Image.Image) -> None:
    """Rotate or flip a loaded image in place as its EXIF says, if its EXIF can be read at all."""
    with contextlib.suppress(Exception):  # a damaged header shows in as many ways as damaged pixels
        ImageOps.exif_transpose(image, in_place=True)


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
        # What hides under transparent pixels is arbitrary; viewers and pages show white there.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for Adobe's inverted kind
    return image.convert("RGB")
