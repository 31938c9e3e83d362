"""Places of labels: beside their boxes, inside the picture, over neither faces nor one another."""

import itertools

import numpy as np
import pytest

from vggface_gender.photos import layout
from vggface_gender.photos.track import overlap


def grid(count: int, *, step: int, side: int) -> list[tuple[float, float, float, float]]:
    rows = range(-(-count // 10))
    corners = [(step * x + 20.0, step * y + 40.0) for y in rows for x in range(10)]
    return [(x, y, x + side, y + side) for x, y in corners[:count]]


@pytest.mark.parametrize("count", [1, 10, 60])
def test_where_there_is_room_nothing_is_covered(count):
    boxes, size = grid(count, step=120, side=60), (1240, 800)
    placed = layout.beside(boxes, [(70.0, 30.0)] * count, size=size)
    assert placed.covered == 0
    for one, other in itertools.combinations([*boxes, *placed.labels], 2):
        assert overlap(one, other) == 0
    for left, top, right, bottom in placed.labels:
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]


def test_where_there_is_none_what_is_covered_is_said():
    boxes = grid(60, step=62, side=60)
    assert layout.beside(boxes, [(70.0, 30.0)] * 60, size=(640, 420)).covered > 0
    assert layout.beside([(0, 0, 99, 99)], [(50.0, 20.0)], size=(100, 100)).covered > 0


def test_the_lines_of_a_legend_do_not_touch():
    rng = np.random.default_rng(0)
    extents = [(float(width), 20.0) for width in rng.integers(50, 200, 61)]
    corners = layout.columns(extents, 1000.0)
    assert len(set(corners)) == 61 and max(x for x, _ in corners) + 200 <= 1000
    lines = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, extents, strict=True)]
    assert all(overlap(one, other) == 0 for one, other in itertools.combinations(lines, 2))
