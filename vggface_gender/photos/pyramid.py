"""dlib's tiled image pyramid: a photo at ever smaller sizes, side by side in one picture.

A detector of one size runs over it once and finds faces of every size. Sizes, places and pixels are
dlib's to the last rounding (`dlib/image_transforms/image_pyramid.h`: `create_tiled_pyramid`,
`pyramid_down<6>`; `interpolation.h`: `resize_image`), since what the detector sees of a face near a
level's edge is what lies beside it in the tile.
"""

import itertools
import math
from typing import NamedTuple

import cv2
import numpy as np

DOWN = 6  # each level has 5/6 of the sides of the one before
BETWEEN, AROUND = 10, 11  # pixels that are left between levels, and around all of them
LEAST_HEIGHT = 5  # of a level


class Level(NamedTuple):
    """Where a level lies in the tile."""

    left: int
    top: int
    width: int
    height: int


class Layout(NamedTuple):
    """A tile, before it is filled."""

    levels: list[Level]  # the photo itself first
    width: int
    height: int


def layout(height: int, width: int) -> Layout:
    """How a photo's pyramid is laid out: downwards, then up again at the right where there is room.

    The smallest levels, for which there is no room any more, are left out.

    Args:
        height, width: of the photo, 1 or more.
    """
    sides = [(width, height)]
    while True:
        width, height = (math.floor((DOWN - 1) / DOWN * side) for side in sides[-1])
        if not width or height < LEAST_HEIGHT:
            break
        sides.append((width, height))
    across, first = sides[0]
    total = sum(height + BETWEEN for _, height in sides) - 2 * BETWEEN

    # Down to where half of all lies below the photo and the next level fits beside the last.
    down, last = 0, 0
    for width, height in sides:
        if width <= across - last - BETWEEN and 2 * (down - first) >= total - first:
            break
        down += height + BETWEEN
        last = width
    down -= BETWEEN

    levels: list[Level] = []
    y = AROUND
    while y < down + AROUND and len(levels) < len(sides):
        levels.append(Level(AROUND, y, *sides[len(levels)]))
        y += levels[-1].height + BETWEEN
    y -= BETWEEN
    while len(levels) < len(sides):
        width, height = sides[len(levels)]
        level = Level(AROUND + across - width, y - height, width, height)
        if _touch(level, levels[0]):
            break
        levels.append(level)
        y -= height + BETWEEN
    return Layout(levels, across + 2 * AROUND, down + 2 * AROUND)


def tile(photo: np.ndarray, laid: Layout, *, gap: tuple[float, float, float]) -> np.ndarray:
    """A photo's pyramid.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        laid: what `layout` gives for its sides.
        gap: the colour of what lies between levels.

    Returns:
        float32 RGB in `[0, 255]`, shape `(laid.height, laid.width, 3)`.
    """
    filled = np.empty((laid.height, laid.width, 3), np.float32)
    filled[:] = np.array(gap, np.float32)
    views = [
        filled[level.top : level.top + level.height, level.left : level.left + level.width]
        for level in laid.levels
    ]
    views[0][:] = photo
    for larger, smaller in itertools.pairwise(views):
        smaller[:] = resize(larger, smaller.shape[:2])
    return filled


def resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image at a smaller size: corner pixels stay corners, others are interpolated bilinearly.

    Args:
        image: float32, shape `(h, w, channels)`.
        shape: height and width.
    """
    height, width = shape
    rows = np.arange(height) * ((image.shape[0] - 1) / max(height - 1, 1))
    columns = _columns(image.shape[1], width)
    # OpenCV 5 interpolates in float32; older ones round places to 1/32 of a pixel.
    return cv2.remap(
        image,
        np.tile(columns.astype(np.float32), (height, 1)),
        np.repeat(rows.astype(np.float32)[:, None], width, axis=1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _columns(width: int, to: int) -> np.ndarray:
    """Where each of `to` columns lies in an image of `width`: (to,) float64.

    dlib adds up steps in float32, four columns at a time, up to the last few. In a photo of 4000
    pixels its rounding moves columns by a tenth of a pixel.
    """
    step = (width - 1) / max(to - 1, 1)
    exact = np.arange(to) * step
    steps = np.full((1 + to // 4, 4), 4 * step, np.float32)
    steps[0] = (np.arange(4) - 4) * step
    added = np.cumsum(steps, axis=0, dtype=np.float32)[1:]
    added = added[np.floor(added[:, 3]) + 1 < width].ravel()
    return np.concatenate([added, exact[len(added) :]])


def to_photo(laid: Layout, boxes: np.ndarray) -> np.ndarray:
    """Boxes in the tile as boxes in the photo: (n, 4) left, top, right, bottom, float64.

    Each belongs to the level that its middle is in, or next to.
    """
    levels = np.array(laid.levels, float)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    first, last = levels[:, :2], levels[:, :2] + levels[:, 2:] - 1
    away = np.maximum(0, np.maximum(first - middles[:, None], middles[:, None] - last))
    number = (away**2).sum(-1).argmin(-1)
    found = boxes - np.tile(first[number], 2)
    up = DOWN / (DOWN - 1)
    for level in range(1, len(levels)):
        deeper = number >= level
        found[deeper] = found[deeper] * up + 0.3
    return found


def _touch(one: Level, other: Level) -> bool:
    """Whether two levels share a pixel."""
    return max(one.left, other.left) < min(one.left + one.width, other.left + other.width) and max(
        one.top, other.top
    ) < min(one.top + one.height, other.top + other.height)
