"""Faces followed: through crossings, gaps and zooms, by where they are and what they look like."""

import numpy as np
import pytest

from vggface_gender.photos import track
from vggface_gender.photos.detect import Face

RNG = np.random.default_rng(5)
LOOKS = track.look(RNG.integers(0, 256, (4, 32, 32, 3), np.uint8))


def face(x: float, y: float, side: float = 100.0, score: float | None = 1.0) -> Face:
    box = tuple(round(v) for v in (x - side / 2, y - side / 2, x + side / 2, y + side / 2))
    return Face(box, score, None)


def follow(frames, **options) -> list[list[int | None]]:
    """The numbers in each frame, of frames at five a second: lists of (person, face)."""
    tracker = track.Tracker()
    return [
        tracker.update(
            [each for _, each in frame],
            LOOKS[[person for person, _ in frame]].reshape(-1, LOOKS.shape[1]),
            seconds=i / 5,
            **options,
        )
        for i, frame in enumerate(frames)
    ]


def test_two_who_cross_keep_their_numbers():
    frames = []
    for i in range(20):
        people = [(0, face(100 + 40 * i, 200)), (1, face(860 - 40 * i, 210))]
        if 9 <= i <= 10:  # one is before the other
            people = people[1:]
        frames.append(people if i % 2 else people[::-1])
    for frame, numbers in zip(frames, follow(frames), strict=True):
        assert numbers == [(2, 1)[person] for person, _ in frame]


def test_a_zoom_and_a_jump_are_followed_and_a_stranger_is_not():
    zoom = [[(0, face(300 + 30 * i, 200, 60 * 1.15**i))] for i in range(10)]
    assert {number for numbers in follow(zoom) for number in numbers} == {1}
    assert follow([[(0, face(300, 200))], [(0, face(410, 200))]]) == [[1], [1]]  # no overlap
    assert follow([[(0, face(300, 200))], [(1, face(410, 200))]]) == [[1], [2]]  # and unlike


@pytest.mark.parametrize("gap, expected", [(5, 1), (15, 2)])
def test_who_is_away_for_long_is_somebody_new(gap, expected):
    frames = [[(0, face(300, 200))], *[[]] * gap, [(0, face(300, 200))]]
    assert follow(frames)[-1] == [expected]


def test_weak_faces_continue_a_track_and_begin_none():
    weak = face(305, 200, score=-0.2)
    frames = [[(0, face(300, 200))], [(0, weak)], [(1, face(700, 200, score=-0.1)), (0, weak)]]
    assert follow(frames, threshold=0.2) == [[1], [1], [None, 1]]
    assert follow([[(0, face(9, 9, score=None))]], threshold=0.2) == [[1]]  # a crop has no score


def test_light_does_not_change_what_a_face_looks_like():
    crop = RNG.integers(50, 150, (1, 40, 40, 3), np.uint8)
    alike = track.look(crop) @ track.look((crop * 1.4 + 20).astype(np.uint8)).T
    assert alike.item() > 0.99
    assert np.linalg.norm(LOOKS, axis=1) == pytest.approx(1)
    assert abs(LOOKS[0] @ LOOKS[1]) < 0.3


def test_boxes_between_frames():
    path = [(0.0, (0, 0, 10, 10)), (0.2, (10, 20, 20, 40)), (5.0, (0, 0, 1, 1))]
    assert track.at(path, 0.1) == pytest.approx((5, 10, 15, 25))
    assert track.at(path, 0.2) == (10, 20, 20, 40)
    assert track.at(path, 2.0) is None  # out of sight for seconds
    assert track.at(path, -0.1) is None and track.at(path, 5.1) is None
