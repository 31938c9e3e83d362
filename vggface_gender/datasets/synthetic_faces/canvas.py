"""The canvas that a person is painted on, and noise to paint with.

Lengths are in pupil distances: see `drawing`.
"""

import cv2
import numpy as np

# The square leaves room around the crop's frame for the head to rotate.
CORNER = np.array([-1.8, -1.4])  # x and y of its top left
SIDE = 3.6

_SUBPIXEL_BITS = 4  # of the polygons' corners


class Canvas:
    """A transparent square that outlines are painted on.

    `rgba` is float32 of shape (4, side, side), planes first since NumPy is slow over a last axis of
    four; alpha is in [0, 1]. `unit` is the number of pixels in a pupil distance.
    """

    def __init__(self, unit: float):
        self.unit = unit
        self.side = round(SIDE * unit)
        self.rgba = np.zeros((4, self.side, self.side), np.float32)
        steps = np.arange(self.side, dtype=np.float32) / unit
        self.x, self.y = (np.float32(corner) + steps for corner in CORNER)  # (side,) each

    def mask(self, outline: np.ndarray, *more: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Coverage of closed outlines (n, 2), float32 (side, side) in [0, 1], edges blurred."""
        return self._coverage((outline, *more), blur, np.zeros(2, int), np.full(2, self.side))

    def paint(
        self,
        colour: np.ndarray | tuple[float, float, float],
        outline: np.ndarray,
        *more: np.ndarray,
        opacity: float = 1.0,
        blur: float = 0.0,
        within: np.ndarray | None = None,
    ) -> None:
        """Blend a colour, (3,) or (3, side, side), into closed outlines (n, 2) that do not overlap.

        `blur` is the edge's standard deviation in pupil distances; `within` a mask that clips.
        """
        corners = np.concatenate((outline, *more))
        margin = 3 * blur + 2 / self.unit  # beyond it the blurred edge is nothing
        low, high = self._window(corners.min(0) - margin, corners.max(0) + margin)
        if opacity <= 0 or (low >= high).any():
            return
        coverage = np.float32(opacity) * self._coverage((outline, *more), blur, low, high)
        if within is not None:
            coverage *= within[low[1] : high[1], low[0] : high[0]]
        self._blend(colour, coverage, low, high)

    def tint(
        self,
        colour: np.ndarray,
        centre: tuple[float, float],
        width: float,
        height: float,
        opacity: float,
    ) -> None:
        """Blend a colour (3,) around a point; `width` and `height` are a Gaussian's deviations."""
        reach = 3 * np.array([width, height])
        low, high = self._window(centre - reach, centre + reach)
        x, y = self.x[low[0] : high[0]], self.y[low[1] : high[1]]
        along_x = np.exp(-(((x - centre[0]) / width) ** 2) / 2)
        along_y = np.exp(-(((y - centre[1]) / height) ** 2) / 2)
        self._blend(colour, np.float32(opacity) * np.outer(along_y, along_x), low, high)

    def _window(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first pixel (x, y) and the one past the last of a box of the canvas, cut to it."""
        box = (np.array([low, high]) - CORNER) * self.unit
        first, last = np.clip(box, 0, self.side)
        return np.floor(first).astype(int), np.ceil(last).astype(int)

    def _coverage(
        self, outlines: tuple[np.ndarray, ...], blur: float, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        """The mask's window from pixel (x, y) `low` to before `high`."""
        scale = 2**_SUBPIXEL_BITS
        polygons = [
            np.round(((outline - CORNER) * self.unit - low) * scale).astype(np.int32)
            for outline in outlines
        ]
        coverage = np.zeros((high - low)[::-1], np.uint8)
        cv2.fillPoly(coverage, polygons, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        coverage = coverage / np.float32(255)
        return cv2.GaussianBlur(coverage, (0, 0), blur * self.unit) if blur else coverage

    def _blend(
        self,
        colour: np.ndarray | tuple[float, float, float],
        coverage: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> None:
        window = ..., slice(low[1], high[1]), slice(low[0], high[0])
        colour = np.asarray(colour, np.float32)
        colour = colour[window] if colour.ndim == 3 else colour[:, None, None]
        rgb, alpha = self.rgba[:3][window], self.rgba[3][window]
        rgb += coverage * (colour - rgb)
        alpha += coverage * (1 - alpha)


def cloud(rng: np.random.Generator, cells: int, *, side: int) -> np.ndarray:
    """Smooth noise of unit variance a cell, float32 (side, side)."""
    noise = rng.standard_normal((cells, cells), np.float32)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
