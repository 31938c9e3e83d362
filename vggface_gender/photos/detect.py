"""Faces in photos: a detector, and the landmarks that a face is aligned by.

There are two detectors, both Davis King's of dlib: a convolutional network (`detect_cnn`), and
histograms of oriented gradients (`detect_hog`), which takes a third of the time and misses who does
not look at the camera. dlib's five-point shape predictor (Kazemi and Sullivan 2014), which was made
for both, gives the landmarks: the corners of both eyes and the base of the nose.
"""

import functools
import importlib.util
import numbers
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import dlib
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.base.numbers import SCORES
from vggface_gender.photos import (
    AUTO,
    DETECTORS,
    MAX_UPSAMPLE,
    THRESHOLD,
    detect_cnn,
    detect_hog,
    read,
)
from vggface_gender.photos.crops import square
from vggface_gender.photos.windows import Window

SEARCHES = {"cnn": detect_cnn.search, "hog": detect_hog.search}


class Face(NamedTuple):
    """A face, in pixels of the photo as `read.read_photo` returns it (upright).

    One that was not detected, because the photo is a crop already, has neither score nor landmarks.
    """

    box: tuple[int, int, int, int]  # left, top, right, bottom: photo[top:bottom, left:right]
    score: (
        float | None
    )  # the detector's margin: 0 is its usual threshold, clear faces have 1 or more
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


def detect(
    photo: np.ndarray, *, detector: str = "auto", upsample: int = 1, threshold: float = 0.0
) -> list[Face]:
    """The faces of a photo, from left to right.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        detector: "cnn", "hog", or "auto" for the one that finds more.
        upsample: how many times to double the photo first: see the detectors' `search`.
        threshold: the least score of a face; below 0 more faces are found, and more that are none.

    Returns:
        Faces with boxes clipped to the photo. Landmarks are located in the photo at its own size.
    """
    photo = np.ascontiguousarray(photo)
    windows = SEARCHES[chosen(detector)](photo, upsample=upsample, threshold=threshold)
    return sorted(_in_photo(photo, windows), key=lambda face: face.box)


def _in_photo(photo: np.ndarray, windows: Iterable[Window]) -> list[Face]:
    """The faces that windows hold, their boxes clipped to the photo."""
    height, width = photo.shape[:2]
    faces = []
    for box, score in windows:
        left, top, right, bottom = box
        clipped = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        faces.append(Face(clipped, score, landmarks(photo, box)))
    return faces


def main_face(
    photo: np.ndarray,
    *,
    detector: str = "auto",
    upsample: int = 1,
    threshold: float = THRESHOLD,
) -> Face:
    """The one face that a picture shows: of several the largest and most central.

    That is the one with the most pixels in its box, less twice its squared distance from the
    picture's middle, as D. Sandberg's facenet chooses one.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        detector, upsample, threshold: as `detect` takes them.

    Returns:
        What `whole` gives where none is found.
    """
    photo = np.ascontiguousarray(photo)
    windows = []
    if chosen(detector) == "cnn":  # most crops need no more than this, at a third of the time
        windows = detect_cnn.filling(photo, threshold=threshold)
    if windows:
        faces = _in_photo(photo, windows)
    else:
        faces = detect(photo, detector=detector, upsample=upsample, threshold=threshold)
    if not faces:
        return whole(photo)
    height, width = photo.shape[:2]

    def prominence(face: Face) -> float:
        left, top, right, bottom = face.box
        across, down = (left + right - width) / 2, (top + bottom - height) / 2
        return (right - left) * (bottom - top) - 2 * (across**2 + down**2)

    return max(faces, key=prominence)


def chosen(detector: str) -> str:
    """Which detector one of `DETECTORS` stands for."""
    return AUTO if detector == "auto" else detector


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
    detector: str = "auto", *, upsample: int = 1, threshold: float = THRESHOLD, weaker: float = 0.0
) -> Finder:
    """The function that finds faces in a photo.

    Args:
        detector: one of `DETECTORS`: see `detect`; "none" takes each photo for one face's crop (see
            `whole`).
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
    return functools.partial(
        detect, detector=detector, upsample=upsample, threshold=threshold - weaker
    )


def in_photo(
    photo: np.ndarray,
    name: str,
    *,
    detector: str = "auto",
    upsample: int = 1,
    threshold: float = THRESHOLD,
) -> Detected:
    """A photo in memory and the faces in it.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        name: what to call the photo in its answer.
        detector, upsample, threshold: as `finder` takes them.

    Raises:
        InputError: one of these is none.
        ValueError: the array is no such photo; one in `[0, 1]` would be answered with nonsense.
    """
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(
            f"{name}: {photo.dtype} of shape {photo.shape}; give uint8 RGB in [0, 255], (h, w, 3)"
        )
    find = finder(detector, upsample=upsample, threshold=threshold)
    return Detected(name, photo, find(photo))


def in_file(
    path: Path, *, detector: str = "auto", upsample: int = 1, threshold: float = THRESHOLD
) -> Detected:
    """The photo in a file and the faces in it; what can't be read has an error and no faces.

    Args:
        path: an image file, which is also the photo's name.
        detector, upsample, threshold: as `finder` takes them.
    """
    try:
        photo = read.read_photo(path)
    except InputError as error:
        return Detected(str(path), None, [], str(error))
    return in_photo(photo, str(path), detector=detector, upsample=upsample, threshold=threshold)


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
