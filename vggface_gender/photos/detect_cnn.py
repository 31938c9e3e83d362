"""dlib's CNN face detector, on ONNX Runtime: a photo's tiled pyramid to windows with scores.

The network (`backbones.dlib_mmod`; Davis E. King, public domain) is kept as `faces_cnn.onnx`, which
`tools/make_detector.py` makes. What stands around it follows dlib: the pyramid (see `pyramid`),
what window a score is of, and which of two that overlap is dropped (`dlib/dnn/loss.h`,
`loss_mmod_`). So boxes and scores are those of `dlib.cnn_face_detection_model_v1`, in a fraction of
the time.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vggface_gender.base import runtime
from vggface_gender.base.runtime import onnxruntime
from vggface_gender.photos import pyramid
from vggface_gender.photos.windows import Window, suppress

FILE = Path(__file__).with_name("faces_cnn.onnx")

INPUT = "planes"  # the network's: (b, 3, h, w) float32 RGB in [0, 255]

# Pixels of a photo as it is searched: the least, the most that one is enlarged to, the most.
LEAST, ENLARGED, MOST = 250_000, 1_500_000, 8_000_000
SMALL = 60_000  # pixels from which on a photo is searched at half its sides too
LONGEST = 20_000  # pixels of a side that is searched; OpenCV has none of 32,768 and more
FILLED, BORDER = 100_000, 0.25  # pixels of a photo that a face may fill, and the border around it

# The metadata of the file.
DETECTOR = "detector"  # JSON: `window`, `overlap`, `mean`, as `Detector` has them
LICENCE = "licence"

STRIDE, FIRST = 8, 14  # pixels from one window's middle to the next, and to the first
SEEN = 29  # pixels that the layers with a stride see for each of their outputs
MARGIN = 10  # outputs on each side that the padding of the layers without one reaches
STRIP = 2_000_000  # pixels of a tile that the network is given at once, to bound its memory


class Detector(NamedTuple):
    """The network and what its scores mean."""

    session: onnxruntime.InferenceSession
    window: tuple[int, int]  # width and height in pixels of what a score is of
    overlap: float  # as `suppress` takes it
    mean: tuple[float, float, float]  # RGB, what the network takes for nothing


def search(photo: np.ndarray, *, upsample: int = 1, threshold: float = 0.0) -> list[Window]:
    """The faces of a photo.

    In a pyramid, only the first level has nothing beside it; at the edges of others the network
    sees parts of other levels. So a photo is searched at its half, its quarter and so on too, which
    finds faces that the edge cuts, for a third more time; and once, small, within a border of its
    own outermost pixels, which finds a face that fills all of it.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        upsample: how many times to double the photo first; each halves the smallest face that is
            found (80 pixels at 0, 40 at 1) and takes four times as long. The size searched is kept
            above a quarter of a megapixel, so that small faces are found in small photos. A photo
            is not enlarged beyond 1.5 megapixels, or 6 with 2 doublings and 8 with more, and a
            larger one is reduced to 8: memory is bounded so, and so is time.
        threshold: scores above it are of faces; clear faces have about 1.

    Returns:
        Boxes in pixels of the photo, which may reach beyond it; the highest score first.
    """
    pixels = photo.shape[0] * photo.shape[1]
    most = min(max(ENLARGED * 4.0 ** (upsample - 1), pixels), MOST)
    scale = np.clip(2.0**upsample, (LEAST / pixels) ** 0.5, (most / pixels) ** 0.5)
    found = _scaled(photo, scale, threshold=threshold)
    while pixels * scale**2 >= 4 * SMALL:
        scale /= 2
        found += _scaled(photo, scale, threshold=threshold)
    found += filling(photo, threshold=threshold)
    found.sort(key=lambda window: window.score, reverse=True)
    boxes = np.array([window.box for window in found]).reshape(-1, 4)
    return [found[i] for i in suppress(boxes, load().overlap)]


def filling(photo: np.ndarray, *, threshold: float = 0.0) -> list[Window]:
    """The faces of at least a quarter of a photo's side, up to those that fill all of it.

    It takes a third of the time that `search` takes of a crop, and more of it of a photo.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        threshold: as `search` takes it.
    """
    scale = (FILLED / (photo.shape[0] * photo.shape[1])) ** 0.5
    return _scaled(photo, scale, threshold=threshold, border=BORDER)


def _scaled(
    photo: np.ndarray, scale: float, *, threshold: float, border: float = 0.0
) -> list[Window]:
    """`windows` of a photo at another size, in pixels of the photo.

    Args:
        border: width of a border of the photo's outermost pixels, as a share of its shorter side.
    """
    scale = min(scale, LONGEST / max(photo.shape))
    height, width = (max(1, round(side * scale)) for side in photo.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(photo, (width, height), interpolation=how)
    around = round(border * min(height, width))
    if around:
        resized = cv2.copyMakeBorder(resized, around, around, around, around, cv2.BORDER_REPLICATE)
    found = []
    for box, score in windows(resized, threshold=threshold):
        left, top, right, bottom = (round((x - around) / scale) for x in box)
        found.append(Window((left, top, right, bottom), score))
    return found


def windows(photo: np.ndarray, *, threshold: float = 0.0) -> list[Window]:
    """The faces of a photo from 80 pixels up, as `dlib.cnn_face_detection_model_v1` finds them.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        threshold: scores above it are of faces.

    Returns:
        Boxes may reach beyond the photo. The highest score is first.
    """
    detector = load()
    laid = pyramid.layout(*photo.shape[:2])
    scores = scored(detector.session, pyramid.tile(photo, laid, gap=detector.mean))
    rows, columns = np.nonzero(scores > threshold)
    order = np.argsort(-scores[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]

    middles = np.stack([columns, rows], axis=1) * STRIDE + FIRST
    half = (np.array(detector.window) - 1) / 2
    boxes = pyramid.to_photo(laid, np.concatenate([middles - half, middles + half], axis=1))
    boxes = _rounded(boxes)
    boxes[:, 2:] += 1  # dlib's include their last row and column
    return [
        Window(tuple(boxes[i].tolist()), float(scores[rows[i], columns[i]]))
        for i in suppress(boxes, detector.overlap)
    ]


def scored(session: onnxruntime.InferenceSession, tile: np.ndarray) -> np.ndarray:
    """The network's scores of a tile, computed in strips: (rows, columns) float32.

    Args:
        tile: float32 RGB, shape `(h, w, 3)`.
    """
    height, width = tile.shape[:2]
    if min(height, width) < SEEN:
        return np.zeros((0, 0), np.float32)
    rows = (height - SEEN) // STRIDE + 1
    step = max(4 * MARGIN, STRIP // (width * STRIDE))
    parts = []
    for start in range(0, rows, step):
        end = min(start + step, rows)
        # What is computed beyond the strip is cut off again: there, padding stands for the tile.
        above, below = min(start, MARGIN), min(rows - end, MARGIN)
        strip = tile[(start - above) * STRIDE : (end + below - 1) * STRIDE + SEEN]
        planes = np.empty((1, 3, *strip.shape[:2]), np.float32)
        cv2.split(strip, [*planes[0]])  # in a fraction of the time that NumPy takes
        [found] = session.run(None, {INPUT: planes})
        parts.append(found[0, 0, above : above + end - start])
    return np.concatenate(parts)


@functools.cache
def load() -> Detector:
    """The detector, from the package's own file.

    Its session may be run by several threads at once.
    """
    session = runtime.session(FILE)
    said = json.loads(session.get_modelmeta().custom_metadata_map[DETECTOR])
    return Detector(session, tuple(said["window"]), said["overlap"], tuple(said["mean"]))


def _rounded(boxes: np.ndarray) -> np.ndarray:
    """As C's `lround`: halves away from 0."""
    return (np.sign(boxes) * np.floor(np.abs(boxes) + 0.5)).astype(int)
