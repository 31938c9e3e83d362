"""How much of what a prediction depends on lies in which part of an aligned face.

The parts are drawn on dlib's mean face, which crops are aligned to (`base.geometry`), so they lie
at the same places in every crop of one frame. In crops that are not aligned they mean little.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from tabulate import tabulate

from vggface_gender.base import geometry
from vggface_gender.base.geometry import Point
from vggface_gender.base.tasks import CLASSIFICATION

REGIONS = (
    *("eyes and brows", "nose", "mouth", "cheeks", "forehead", "chin and jaw"),
    "hair and background",
)
SIDE = 192  # of the plan of regions, in pixels: a part's area is known to a thousandth
MARGIN = 0.04  # around eyes, brows, nose and mouth, of the mean face's size
SHARPER = 8  # fractions of a pixel, in bits, that corners are drawn to
RESAMPLES = 2000
UNITS = {"age": "change in years"} | dict.fromkeys(CLASSIFICATION, "fall of the probability")
COLUMNS = (
    *("region", "area", "share", "share_low", "share_high", "ratio", "faces"),
    *("drop", "drop_low", "drop_high"),
)


@functools.cache
def plan(padding: float) -> np.ndarray:
    """Which region each place of a crop belongs to: (SIDE, SIDE) `uint8`, places in `REGIONS`.

    The face's outline is the jaw, and above it an arc whose top is as far above the brows as the
    chin is below the nose. Within it what is above the brows is forehead, what is below the corners
    of the mouth chin and jaw, and the rest cheeks, as far as it is not eyes, nose or mouth.

    Args:
        padding: the crops' frame, as `dlib.get_face_chip`'s padding.
    """
    brow = min(y for _, y in geometry.LEFT_BROW)
    corners = geometry.MOUTH[0][1]
    found = np.full((SIDE, SIDE), REGIONS.index("hair and background"), np.uint8)
    face = _filled([*geometry.JAW, *_forehead()], padding)
    _, rows = geometry.in_crop((0, brow), padding=padding, size=SIDE)
    _, low = geometry.in_crop((0, corners), padding=padding, size=SIDE)
    y = np.arange(SIDE)[:, None] + 0.5
    found[face] = REGIONS.index("cheeks")
    found[face & (y < rows)] = REGIONS.index("forehead")
    found[face & (y > low)] = REGIONS.index("chin and jaw")
    for name, groups in (
        ("mouth", [geometry.MOUTH]),
        ("nose", [geometry.NOSE]),
        (
            "eyes and brows",
            [
                (*geometry.LEFT_BROW, *geometry.LEFT_EYE),
                (*geometry.RIGHT_BROW, *geometry.RIGHT_EYE),
            ],
        ),
    ):
        for points in groups:
            hull = cv2.convexHull(np.array(points, np.float32))[:, 0].tolist()
            found[_filled(hull, padding, margin=MARGIN)] = REGIONS.index(name)
    found.setflags(write=False)
    return found


def covered(crops: np.ndarray, *, padding: float) -> np.ndarray:
    """Copies of crops with one region covered in each, by the crop's mean colour.

    Args:
        crops: (n, h, w, 3) `uint8`, square.
        padding: their frame.

    Returns:
        (n, len(REGIONS), h, w, 3) `uint8`.
    """
    side = crops.shape[1]
    where = cv2.resize(np.array(plan(padding)), (side, side), interpolation=cv2.INTER_NEAREST)
    copies = np.repeat(crops[:, None], len(REGIONS), axis=1)
    colours = crops.mean(axis=(1, 2)).astype(np.uint8)
    for region in range(len(REGIONS)):
        copies[:, region, where == region] = colours[:, None]
    return copies


def shares(maps: np.ndarray, *, padding: float) -> np.ndarray:
    """The share of each map that lies in each region: (n, len(REGIONS)), rows of sum 1.

    Args:
        maps: (n, rows, columns) from 0 up; one that is 0 everywhere has NaN for shares.
        padding: the crops' frame.
    """
    found = np.zeros((len(maps), len(REGIONS)))
    flat = plan(padding).ravel()
    for row, heat in zip(found, maps, strict=True):
        fine = cv2.resize(heat.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        row[:] = np.bincount(flat, np.maximum(fine, 0).ravel(), len(REGIONS))
    with np.errstate(invalid="ignore"):
        return found / found.sum(axis=1, keepdims=True)


def areas(padding: float) -> np.ndarray:
    """The share of a crop's area that each region takes, (len(REGIONS),)."""
    return np.bincount(plan(padding).ravel(), minlength=len(REGIONS)) / SIDE**2


class Interval(NamedTuple):
    """A mean, and where it may lie: NaN of no values, and without an interval of one."""

    mean: float
    low: float
    high: float


def table(
    parts: np.ndarray, drops: np.ndarray | None = None, *, padding: float, seed: int = 0
) -> pd.DataFrame:
    """What each region's part in the predictions is.

    Args:
        parts: see `shares`; faces without any are left out and not counted in `faces`.
        drops: (n, len(REGIONS)): how much the explained output falls where a region is covered.
        padding: the crops' frame.
        seed: of the bootstrap's samples of faces.

    Returns:
        A row a region that the frame shows: `area`, its share of the crop; `share`, the mean share
        of importance, with the ends of its 95% interval, by bootstrap over faces; `ratio`, share
        by area; `faces`; and `drop` with its interval, NaN without `drops`.
    """
    known = parts[np.isfinite(parts).all(axis=1)]
    found = []
    for place, (region, area) in enumerate(zip(REGIONS, areas(padding), strict=True)):
        if not area:
            continue
        share = interval(known[:, place], seed=seed)
        drop = interval(() if drops is None else drops[:, place], seed=seed)
        found.append((region, area, *share, share.mean / area, len(known), *drop))
    return pd.DataFrame(found, columns=COLUMNS)


def report(table: pd.DataFrame, *, task: str) -> str:
    """The table to read."""
    has_drops = table["drop"].notna().any()
    lines = []
    for row in table.itertuples(index=False):
        line = [
            row.region,
            f"{row.area:.1%}",
            f"{row.share:.1%} ({row.share_low:.1%} to {row.share_high:.1%})",
            f"{row.ratio:.2f}",
        ]
        if has_drops:
            line.append(f"{row.drop:.3f} ({row.drop_low:.3f} to {row.drop_high:.3f})")
        lines.append(line)
    headers = ["part of the face", "area", "share of importance", "share / area"]
    if has_drops:
        headers.append(f"if it is covered: {UNITS[task]}")
    return tabulate(lines, headers=headers, disable_numparse=True)


def interval(values: Sequence[float] | np.ndarray, *, seed: int = 0) -> Interval:
    """The mean of faces' values, with its 95% percentile interval over resampled faces.

    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993).
    """
    values = np.asarray(values, float)
    if not len(values):
        return Interval(math.nan, math.nan, math.nan)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(mean, float(low), float(high))


def _forehead() -> list[Point]:
    """The arc above the face's outline, from the right end of the jaw to the left."""
    (left, y), (right, _) = geometry.JAW[0], geometry.JAW[-1]
    brows = [y for _, y in geometry.LEFT_BROW]
    top = sum(brows) / len(brows) - (geometry.JAW[8][1] - geometry.NOSE[6][1])
    angles = np.linspace(0, math.pi, 33)[1:-1]
    middle, half = (left + right) / 2, (right - left) / 2
    return [(middle + half * math.cos(a), y - (y - top) * math.sin(a)) for a in angles]


def _filled(points: Sequence, padding: float, *, margin: float = 0.0) -> np.ndarray:
    """The places of the plan that lie in a polygon, or within a margin of it."""
    size = 1 << SHARPER
    corners = [geometry.in_crop(tuple(p), padding=padding, size=SIDE) for p in points]
    fixed = np.round((np.array(corners) - 0.5) * size).astype(np.int32)
    drawn: np.ndarray = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(drawn, [fixed], 1, shift=SHARPER)
    width = round(margin / (1 + 2 * padding) * SIDE)
    if width:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
        drawn = cv2.dilate(drawn, kernel)
    return drawn.astype(bool)
