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


def test_a_group_of_sixty_has_numbers_and_a_legend():
    """What is drawn covers no face, and the picture itself stays as large as it was."""
    boxes = [
        (130 * x + 32, 130 * y + 42, 130 * x + 98, 130 * y + 108)
        for y in range(6)
        for x in range(10)
    ]
    photo = np.full((780, 1300, 3), 200, np.uint8)
    picture = np.asarray(draw.draw(photo, boxes, labels=["uncertain (male 61%)\n31 years"] * 60))
    assert picture.shape[1] == 1300 and picture.shape[0] > 900  # the legend is below
    for left, top, right, bottom in boxes:
        assert (picture[top + 8 : bottom - 8, left + 8 : right - 8] == 200).all()
        assert (picture[top - 15 : top, left:right] == 200).all()  # the forehead
    legend = picture[790:]
    assert not (legend == YELLOW).all(-1).any() and letters(legend) > 60 * 100


def test_a_high_picture_has_its_legend_at_the_side():
    photo = np.full((1200, 640, 3), 200, np.uint8)
    boxes = [(x, y, x + 100, y + 100) for y in range(0, 1200, 100) for x in range(0, 600, 100)]
    picture = draw.draw(photo, boxes, labels=["male 61%"] * len(boxes))
    assert picture.height == 1200 and picture.width > 800


def test_a_crop_that_is_all_face_has_its_label_below():
    photo = np.full((200, 200, 3), 100, np.uint8)
    picture = np.asarray(draw.draw(photo, [(0, 0, 200, 200)], labels=["male 61%\n20 years"]))
    assert picture.shape[0] > 640 == picture.shape[1]
    assert (picture[10:630, 10:630] == 100).all()
    assert letters(picture[640:]) > 50


def test_labels_over_a_frame_are_numbers_where_there_is_no_room():
    long, short = draw.patch("female 98%\n31 years", 20), draw.patch("1", 20)
    assert long.shape[1] > short.shape[1]
    frame = np.full((300, 400, 3), 90, np.uint8)
    free = draw.over(frame.copy(), [(150, 150, 250, 250)], patches=[[long], [short]])
    crowded = draw.over(frame.copy(), [(40, 40, 360, 290)], patches=[[long], [short]])
    assert letters(free) > 2 * letters(crowded) > 0
