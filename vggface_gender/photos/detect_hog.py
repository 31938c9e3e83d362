"""dlib's frontal detector: histograms of oriented gradients under a sliding window.

Dalal and Triggs 2005, trained by King's max-margin object detection (arXiv:1502.00046):
`dlib.get_frontal_face_detector`. It finds faces that look at the camera.
"""

import copy
import functools
from pathlib import Path
from typing import Any

import dlib
import numpy as np
from PIL import Image

from vggface_gender.photos.windows import Window

FILE = Path(__file__).with_name("frontal_face.svm")  # the detector, as dlib stores it

# The detector's window is 80 pixels wide and it searches ten megapixels a second: in a photo
# resized by `scale` it finds faces from 80/scale pixels up.
MIN_SEARCHED, MAX_SEARCHED = 500_000, 16_000_000


def search(photo: np.ndarray, *, upsample: int = 1, threshold: float = 0.0) -> list[Window]:
    """The faces of a photo.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        upsample: how many times to double the photo first; each halves the smallest face that is
            found (80 pixels at 0, 40 at 1) and takes four times as long. The size searched is kept
            between half a megapixel, so that small faces are found in small photos, and 16
            megapixels, so that large photos take seconds and not minutes.
        threshold: the least score; clear faces have 1 to 3.

    Returns:
        Boxes in pixels of the photo, which may reach beyond it.
    """
    height, width = photo.shape[:2]
    pixels = height * width
    scale = np.clip(2.0**upsample, (MIN_SEARCHED / pixels) ** 0.5, (MAX_SEARCHED / pixels) ** 0.5)
    searched_size = (max(1, round(width * scale)), max(1, round(height * scale)))
    searched = np.array(Image.fromarray(photo).resize(searched_size, Image.Resampling.BILINEAR))
    # dlib runs without the interpreter's lock but a detector holds its own working state: threads
    # that share one crash. A copy takes 2 ms, a new one 600.
    boxes, scores, _ = copy.copy(frontal_detector()).run(searched, 0, threshold)
    found = []
    for box, score in zip(boxes, scores, strict=True):
        # dlib's rectangles include their last row and column.
        left, right = (round(x / scale) for x in (box.left(), box.right() + 1))
        top, bottom = (round(y / scale) for y in (box.top(), box.bottom() + 1))
        found.append(Window((left, top, right, bottom), score))
    return found


@functools.cache
def frontal_detector() -> Any:
    """dlib's frontal detector.

    It is read from a file of 155 kB, in 2 ms: `dlib.get_frontal_face_detector`, which takes 600,
    wrote it by its `save`, and gives the detector to a dlib that can't read that.
    """
    try:
        return dlib.fhog_object_detector(str(FILE))
    except RuntimeError:
        return dlib.get_frontal_face_detector()
