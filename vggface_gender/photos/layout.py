"""Where labels stand beside boxes, so that they cover neither faces nor one another."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom
Size = tuple[float, float]  # width, height


class Placed(NamedTuple):
    """Labels beside their boxes."""

    labels: list[Rectangle]
    covered: float  # the area of faces and labels that they cover: 0 where there was room for all


def beside(boxes: Sequence[Rectangle], extents: Sequence[Size], *, size: Size) -> Placed:
    """A place for each label: of those around its box, the first that covers nothing.

    Where each covers something, the one that covers least. Labels stay inside the picture.

    Args:
        boxes: of the faces.
        extents: of each label, with its margin.
        size: of the picture.
    """
    covered = np.array(boxes, float).reshape(-1, 4)
    covered[:, :2] = np.maximum(covered[:, :2], 0)  # what is cut off can't be covered
    placed: dict[int, Rectangle] = {}
    total = 0.0
    # The lowest faces first: what stands above their boxes is chosen before the crowd grows.
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i][3], reverse=True):
        best, least = None, np.inf
        for place in _around(boxes[i], extents[i], size):
            area = float(_overlaps(place, covered).sum())
            if area < least:
                best, least = place, area
            if area == 0:
                break
        assert best is not None
        placed[i] = best
        total += least
        covered = np.vstack([covered, best])
    return Placed([placed[i] for i in range(len(boxes))], total)


def columns(extents: Sequence[Size], width: float) -> list[tuple[float, float]]:
    """Where the lines of a legend stand, in columns of equal width, each filled to its bottom.

    Args:
        extents: of each line, with its margin.
        width: that there is for all columns.

    Returns:
        The left upper corner of each.
    """
    widest = max(extent[0] for extent in extents)
    high = max(extent[1] for extent in extents)
    count = max(1, min(len(extents), int(width // widest)))
    rows = -(-len(extents) // count)
    return [((i // rows) * widest, (i % rows) * high) for i in range(len(extents))]


def _around(box: Rectangle, extent: Size, size: Size) -> Iterator[Rectangle]:
    """The places around a box, the better ones first, moved inside the picture."""
    left, top, right, bottom = box
    width, height = extent
    middle_x, middle_y = (left + right - width) / 2, (top + bottom - height) / 2
    corners = [
        *((x, top - height) for x in (left, right - width, middle_x)),
        *((x, bottom) for x in (left, right - width, middle_x)),
        *((right, y) for y in (top, bottom - height, middle_y)),
        *((left - width, y) for y in (top, bottom - height, middle_y)),
        *((x, y) for y in (top - height, bottom) for x in (right, left - width)),
    ]
    for x, y in corners:
        x = max(0.0, min(x, size[0] - 1 - width))
        y = max(0.0, min(y, size[1] - 1 - height))
        yield x, y, x + width, y + height


def _overlaps(one: Rectangle, others: np.ndarray) -> np.ndarray:
    """The area that a rectangle shares with each of others: (n, 4) to (n,).

    What touches shares nothing: a label may stand on the very line of a box.
    """
    width = np.minimum(one[2], others[:, 2]) - np.maximum(one[0], others[:, 0])
    height = np.minimum(one[3], others[:, 3]) - np.maximum(one[1], others[:, 1])
    return np.maximum(0, width) * np.maximum(0, height)
