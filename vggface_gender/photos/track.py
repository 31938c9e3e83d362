"""Faces followed from frame to frame: which of those found now are those that were found before.

Every track has a Kalman filter of constant velocity (Kalman 1960) that says where its face should
be now, and a thumbnail of its aligned crop that says what it looks like. The faces found are given
to the tracks that they are near to and look like, the best pair first. As in ByteTrack (Zhang et
al. 2022, arXiv:2110.06864) faces of a high score are given first, and those of a low one only
continue tracks that are left: blurred or turned away, they begin none.

Nothing is drawn here. `docs/photos.md` says what this was measured against.
"""

import bisect
import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from vggface_gender.photos.detect import Face

REACH, SPREAD = 1.5, 1.0  # sides of a face that it may be off, and more for each second unseen
GROWTH = 2.0  # times that a face may be larger or smaller than it should be
ALIKE, NEAR = 0.5, 0.4  # the likeness from which on a face is taken for a track's, or the overlap
LOST = 2.0  # seconds after which a track that found no face ends
GAP = 1.05  # seconds without a face over which its box is not drawn
SIDE = 16  # of the thumbnails that faces are compared by
MEMORY = 0.7  # of what a track looks like, what is kept when its face is seen again
# In sides of a face: how far a detected box is from the face, how fast faces change their speed.
NOISE, ACCELERATION, FIRST_SPEED = 0.08, 3.0, 2.0

Box = Sequence[float]  # left, top, right, bottom


class _Track:
    """One face's track: its number, and what its filter knows."""

    def __init__(self, number: int, box: Box, seconds: float, look: np.ndarray):
        self.number, self.seconds, self.seen, self.look = number, seconds, seconds, look
        self.state = np.stack([_measured(box), np.zeros(4)])  # places and speeds
        # Of place and speed, in sides of the face: the same for all four numbers.
        self.covariance = np.diag([NOISE**2, FIRST_SPEED**2])

    def predict(self, seconds: float) -> None:
        """Move on to a time."""
        step = seconds - self.seconds
        move = np.array([[1.0, step], [0.0, 1.0]])
        push = np.array([step**2 / 2, step])
        self.state = move @ self.state
        self.covariance = move @ self.covariance @ move.T
        self.covariance += ACCELERATION**2 * np.outer(push, push)
        self.seconds = seconds

    def correct(self, box: Box, look: np.ndarray) -> None:
        """Learn the box that the face has now, and what it looks like."""
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + NOISE**2)
        self.state = self.state + np.outer(gain, _measured(box) - self.state[0])
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])
        self.seen = self.seconds
        self.look = _unit(MEMORY * self.look + (1 - MEMORY) * look)

    def likeness(self, box: Box, look: np.ndarray) -> float | None:
        """How much a face is like this track's, after `predict`; None where it can't be it."""
        expected = self.state[0]
        found = _measured(box)
        side = max(expected[2], found[2], 1.0)
        away = float(np.hypot(*(found - expected)[:2])) / side
        reach = REACH + SPREAD * (self.seconds - self.seen)
        growth = max(expected[2], found[2]) / max(1.0, min(expected[2], found[2]))
        alike, shared = float(self.look @ look), overlap(_box(expected), box)
        if away > reach or growth > GROWTH or (alike < ALIKE and shared < NEAR):
            return None
        return alike - away / reach


class Tracker:
    """Follows faces: give it each frame's, in order."""

    def __init__(self) -> None:
        """Begin without a track."""
        self._tracks: list[_Track] = []
        self._count = 0

    def update(
        self,
        faces: Sequence[Face],
        looks: np.ndarray,
        *,
        seconds: float,
        threshold: float = -math.inf,
    ) -> list[int | None]:
        """The number of each face's track, from 1 up; None of a weak face that continues none.

        Args:
            faces: of one frame.
            looks: of each (see `look`): (n, d).
            seconds: the frame's time, later than that of the frame before.
            threshold: faces of a lower score are weak: they begin no track.
        """
        self._tracks = [track for track in self._tracks if seconds - track.seen <= LOST]
        for track in self._tracks:
            track.predict(seconds)
        numbers: list[int | None] = [None] * len(faces)
        strong = [face.score is None or face.score >= threshold for face in faces]
        for is_strong in (True, False):
            self._give(faces, looks, numbers, [each is is_strong for each in strong])
        for i, face in enumerate(faces):
            if strong[i] and numbers[i] is None:
                self._count += 1
                self._tracks.append(_Track(self._count, face.box, seconds, looks[i]))
                numbers[i] = self._count
        return numbers

    def _give(
        self,
        faces: Sequence[Face],
        looks: np.ndarray,
        numbers: list[int | None],
        among: Sequence[bool],
    ) -> None:
        """Give faces, of those `among`, to tracks that have none yet, the best pair first."""
        free = {track.number: track for track in self._tracks if track.number not in numbers}
        pairs = [
            (likeness, number, i)
            for number, track in free.items()
            for i, face in enumerate(faces)
            if among[i] and (likeness := track.likeness(face.box, looks[i])) is not None
        ]
        for _, number, i in sorted(pairs, reverse=True):
            if number in free and numbers[i] is None:
                free.pop(number).correct(faces[i].box, looks[i])
                numbers[i] = number


def look(crops: np.ndarray) -> np.ndarray:
    """What faces look like, to be compared: (n, d) of length 1, from crops (n, h, w, 3) `uint8`.

    The dot product of two is their correlation: brightness and contrast make no difference.
    """
    small = [cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for crop in crops]
    return _unit(np.array(small, np.float32).reshape(len(crops), SIDE * SIDE * 3), centred=True)


def _unit(vectors: np.ndarray, *, centred: bool = False) -> np.ndarray:
    """Vectors (..., d) at length 1, and first, if so wanted, with a mean of 0."""
    if centred:
        vectors = vectors - vectors.mean(axis=-1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def overlap(one: Box, other: Box) -> float:
    """The intersection of two boxes over their union, 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return float(shared / (sum(areas) - shared))


def at(
    path: Sequence[tuple[float, Box]], seconds: float
) -> tuple[float, float, float, float] | None:
    """Where a face is between the frames in which it was found: its box, moved in a straight line.

    Args:
        path: seconds and box, in order.

    Returns:
        None before the first and after the last, and where the face was out of sight for longer
        than `GAP`.
    """
    i = bisect.bisect_left(path, seconds, key=lambda each: each[0])
    if i < len(path) and path[i][0] == seconds:
        return _four(path[i][1])
    if i in (0, len(path)):
        return None
    (before, one), (after, other) = path[i - 1], path[i]
    if after - before > GAP:
        return None
    share = (seconds - before) / (after - before)
    return _four(a + share * (b - a) for a, b in zip(one, other, strict=True))


def _four(numbers: Iterable[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = numbers
    return left, top, right, bottom


def _measured(box: Box) -> np.ndarray:
    """A box as its filter sees it: the middle's x and y, width and height."""
    left, top, right, bottom = box
    return np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], float)


def _box(measured: np.ndarray) -> Box:
    """What `_measured` is of."""
    x, y, width, height = measured
    width, height = max(width, 1.0), max(height, 1.0)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
