"""dlib's CNN face detector, on ONNX Runtime: a photo's tiled pyramid to windows with scores.

The network (`backbones.dlib_mmod`; Davis E. King, public domain) is kept as `faces_cnn.onnx`, which
`tools/make_detector.py` makes. What stands around it follows dlib: the pyramid (see `pyramid`),
what window a score is of, and which of two that overlap is dropped (`dlib/dnn/loss.h`,
`loss_mmod_`; `dlib/image_processing/box_overlap_testing.h`). So boxes and scores are those of
`dlib.cnn_face_detection_model_v1`, in a fraction of the time.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vggface_gender.base.runtime import onnxruntime
from vggface_gender.photos import pyramid

FILE = Path(__file__).with_name("faces_cnn.onnx")

INPUT = "planes"  # the network's: (b, 3, h, w) float32 RGB in [0, 255]

# The metadata of the file.
DETECTOR = "detector"  # JSON: `window`, `overlap`, `mean`, as `Detector` has them
LICENCE = "licence"

STRIDE, FIRST = 8, 14  # pixels from one window's middle to the next, and to the first
SEEN = 29  # pixels that the layers with a stride see for each of their outputs
MARGIN = 10  # outputs on each side that the padding of the layers without one reaches
STRIP = 2_000_000  # pixels of a tile that the network is given at once, to bound its memory


class Window(NamedTuple):
    """Where a face is."""

    box: tuple[int, int, int, int]  # left, top, right, bottom, the last two outside of it
    score: float


class Detector(NamedTuple):
    """The network and what its scores mean."""

    session: onnxruntime.InferenceSession
    window: tuple[int, int]  # width and height in pixels of what a score is of
    overlap: float  # as `suppress` takes it
    mean: tuple[float, float, float]  # RGB, what the network takes for nothing


def windows(photo: np.ndarray, *, threshold: float = 0.0) -> list[Window]:
    """The faces of a photo, of 80 pixels and more, the highest score first.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        threshold: scores above it are of faces.

    Returns:
        Boxes as dlib gives them: they may reach beyond the photo.
    """
    detector = load()
    laid = pyramid.layout(*photo.shape[:2])
    tile = pyramid.tile(photo, laid, gap=detector.mean)
    scores = score(detector.session, tile)
    rows, columns = np.nonzero(scores > threshold)
    found = scores[rows, columns]
    order = np.argsort(-found, kind="stable")
    rows, columns, found = rows[order], columns[order], found[order]

    middles = np.stack([columns, rows], axis=1) * STRIDE + FIRST
    half = (np.array(detector.window) - 1) / 2
    boxes = pyramid.to_photo(laid, np.concatenate([middles - half, middles + half], axis=1))
    boxes = _rounded(boxes)
    return [
        Window((left, top, right + 1, bottom + 1), float(found[i]))
        for i in suppress(boxes, detector.overlap)
        for left, top, right, bottom in [boxes[i].tolist()]
    ]


def score(session: onnxruntime.InferenceSession, tile: np.ndarray) -> np.ndarray:
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


def suppress(boxes: np.ndarray, overlap: float) -> list[int]:
    """Which boxes stay: those that overlap none of the better ones that do.

    Args:
        boxes: (n, 4) int, left, top, right, bottom, all inside; the best first.
        overlap: the largest share that the intersection of two may have of the smallest box around
            both. dlib takes that box for their union.
    """
    left, top, right, bottom = boxes.T
    kept = []
    waiting = np.arange(len(boxes))
    while len(waiting):
        one, waiting = waiting[0], waiting[1:]
        kept.append(int(one))
        width = np.minimum(right[one], right[waiting]) - np.maximum(left[one], left[waiting]) + 1
        height = np.minimum(bottom[one], bottom[waiting]) - np.maximum(top[one], top[waiting]) + 1
        inner = np.maximum(width, 0) * np.maximum(height, 0)
        across = np.maximum(right[one], right[waiting]) - np.minimum(left[one], left[waiting]) + 1
        down = np.maximum(bottom[one], bottom[waiting]) - np.minimum(top[one], top[waiting]) + 1
        waiting = waiting[inner <= overlap * (across * down)]
    return kept


@functools.cache
def load() -> Detector:
    """The detector, from the package's own file.

    Its session may be run by several threads at once.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    session = onnxruntime.InferenceSession(FILE, options, providers=["CPUExecutionProvider"])
    said = json.loads(session.get_modelmeta().custom_metadata_map[DETECTOR])
    return Detector(session, tuple(said["window"]), said["overlap"], tuple(said["mean"]))


def _rounded(boxes: np.ndarray) -> np.ndarray:
    """As C's `lround`: halves away from 0."""
    return (np.sign(boxes) * np.floor(np.abs(boxes) + 0.5)).astype(int)
