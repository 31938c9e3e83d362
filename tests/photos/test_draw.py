"""Drawn copies: labels whole, inside the picture and apart; names that do not collide."""

from pathlib import Path

import numpy as np
import pytest

from vggface_gender.photos import draw, naming

LABEL = "female 98%\nSoutheast Asian 50%\n31 years"
YELLOW = np.array([0xFF, 0xD4, 0x00])


def letters(picture: np.ndarray) -> int:
    """How many pixels are black."""
    return (picture.sum(-1) < 150).sum()


@pytest.mark.parametrize("width, height", [(60, 80), (640, 480), (300, 3000), (5000, 400)])
def test_labels_are_whole_and_inside_at_any_size(width, height):
    """In each corner, a face's label takes the room that it takes in the middle of the picture."""
    side = min(width, height) // 4
    corners = [(x, y) for x in (0, width - side) for y in (0, height - side)]
    middle = (width // 2 - side // 2, height // 2 - side // 2)
    photo = np.full((height, width, 3), 200, np.uint8)

    def drawn(x, y):
        return np.asarray(draw.draw(photo, [(x, y, x + side, y + side)], labels=[LABEL]))

    def inked(x, y):
        picture = drawn(x, y)
        assert max(picture.shape) >= 640
        assert picture.shape[0] / picture.shape[1] == pytest.approx(height / width, rel=0.02)
        scale = picture.shape[1] / width
        box = [round(v * scale) for v in (x, y)]
        assert np.array_equal(picture[box[1] + 1, box[0] + 1], YELLOW)
        return letters(picture)

    edges = drawn(*middle)[:, [0, -1]]
    assert not (edges == YELLOW).all((1, 2)).any()  # no label from one edge to the other
    expected = inked(*middle)
    assert expected > 100
    for corner in corners:
        assert inked(*corner) == pytest.approx(expected, rel=0.1)


def test_labels_of_neighbours_are_apart():
    photo = np.full((800, 1200, 3), 200, np.uint8)
    boxes = [(x, 300, x + 100, 400) for x in (300, 420, 540)]
    alone = sum(letters(np.asarray(draw.draw(photo, [box], labels=[LABEL]))) for box in boxes)
    together = letters(np.asarray(draw.draw(photo, boxes, labels=[LABEL] * 3)))
    assert together == pytest.approx(alone, rel=0.05)


def test_names_collide_neither_with_photos_nor_with_each_other(tmp_path):
    photos = [tmp_path / name for name in ("x.jpg", "one/x.jpg", "two/X.jpeg", "x-faces.jpg")]
    names = [path.name for path in naming.paths(photos, tmp_path)]
    assert names == ["x-faces-2.jpg", "x-faces-3.jpg", "X-faces-4.jpg", "x-faces-faces.jpg"]


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_a_long_name_is_cut_to_what_a_file_can_have(tmp_path, letter):
    stem = letter * (250 // len(letter.encode()))
    photos = [Path(f"{folder}/{stem}.jpg") for folder in "ab"]
    paths = naming.paths(photos, tmp_path)
    assert len(set(paths)) == 2
    for path in paths:
        path.touch()
        assert path.name.startswith(letter * 50) and path.suffix == ".jpg"
