"""Where a detector has found something, and which of several that overlap stays."""

from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """What a detector takes for a face."""

    box: tuple[int, int, int, int]  # left, top, right, bottom, the last two outside of it
    score: float  # its margin: 0 is the detector's usual threshold


def suppress(boxes: np.ndarray, overlap: float) -> list[int]:
    """The places of the boxes that stay: those that overlap none of the better ones that do.

    Args:
        boxes: (n, 4) int, left, top, right, bottom, the last two outside; the best first.
        overlap: the largest share that the intersection of two may have of the smallest box around
            both, which dlib takes for their union
            (`dlib/image_processing/box_overlap_testing.h`).
    """
    left, top, right, bottom = boxes.T
    kept = []
    waiting = np.arange(len(boxes))
    while len(waiting):
        one, waiting = waiting[0], waiting[1:]
        kept.append(int(one))
        width = np.minimum(right[one], right[waiting]) - np.maximum(left[one], left[waiting])
        height = np.minimum(bottom[one], bottom[waiting]) - np.maximum(top[one], top[waiting])
        inner = np.maximum(width, 0) * np.maximum(height, 0)
        across = np.maximum(right[one], right[waiting]) - np.minimum(left[one], left[waiting])
        down = np.maximum(bottom[one], bottom[waiting]) - np.minimum(top[one], top[waiting])
        waiting = waiting[inner <= overlap * (across * down)]
    return kept
