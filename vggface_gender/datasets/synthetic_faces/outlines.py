"""Outlines and lines of a face's parts: (n, 2) points, x and y in pupil distances."""

import functools
import math

import numpy as np

from vggface_gender.datasets.synthetic_faces.appearance import Face


def head(face: Face) -> np.ndarray:
    """The head's, from the crown to the chin."""
    wide, jaw, chin = face.cheek_width, face.jaw_width, face.chin
    half = [
        (0, -1.75),
        (0.75 * wide, -1.6),
        (wide, -0.9),
        (1.04 * wide, -0.1),
        (wide, 0.5),
        (1.04 * jaw, 0.62 * chin),
        (0.72 * jaw, 0.9 * chin),
        (0.3 * jaw, 1.02 * chin),
        (0, 1.02 * chin),
    ]
    return symmetric(half)


def symmetric(half: list[tuple[float, float]]) -> np.ndarray:
    """A smooth closed outline from its right half, which starts and ends in the middle."""
    right = np.array(half, float)
    return _smooth(np.concatenate([right, right[::-1] * (-1, 1)]))


def pair(outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline and its mirror image."""
    return outline, outline * (-1, 1)


def curve(controls: list[tuple[float, float]]) -> np.ndarray:
    """Sixteen points along the Bézier curve of some control points."""
    return _bernstein(len(controls) - 1) @ np.array(controls, float)


@functools.cache
def _bernstein(degree: int) -> np.ndarray:
    """Bernstein's polynomials at sixteen places from 0 to 1, (16, degree + 1)."""
    t = np.linspace(0, 1, 16)[:, None]
    k = np.arange(degree + 1)
    binomial = np.array([math.comb(degree, i) for i in k])
    return binomial * t**k * (1 - t) ** (degree - k)


def ellipse(centre: tuple[float, float], width: float, *, height: float) -> np.ndarray:
    """An ellipse with the given half axes."""
    turn = np.linspace(0, 2 * math.pi, 32, endpoint=False)
    return np.stack([centre[0] + width * np.cos(turn), centre[1] + height * np.sin(turn)], 1)


def ribbon(line: np.ndarray, width: float, *, pointed: bool = True) -> np.ndarray:
    """The outline of a brush stroke along a line (n, 2), with pointed or with blunt ends."""
    along = np.gradient(line, axis=0)
    across = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True)
    thickness = np.sin(np.linspace(0, math.pi, len(line)))[:, None] if pointed else 1
    offset = width / 2 * thickness * across
    return np.concatenate([line + offset, (line - offset)[::-1]])


def _smooth(outline: np.ndarray) -> np.ndarray:
    """A closed outline with its corners cut three times (Chaikin 1974)."""
    for _ in range(3):
        after = np.roll(outline, -1, axis=0)
        cuts = np.stack([0.75 * outline + 0.25 * after, 0.25 * outline + 0.75 * after], 1)
        outline = cuts.reshape(-1, 2)
    return outline
