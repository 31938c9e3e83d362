"""Pictures of one face each: which face is taken, and in what frame."""

import numpy as np
import pytest
from skimage import data

from vggface_gender.base import geometry
from vggface_gender.photos import align, crops, detect, framing, read


@pytest.fixture(scope="module")
def published(faces_dir):
    """Three of UTKFace's aligned faces, 200 pixels each."""
    return [read.read_photo(path) for path in sorted((faces_dir / "UTKFace").glob("25_*"))[:3]]


def beside(large: np.ndarray, small: np.ndarray) -> np.ndarray:
    """A picture of one face in its middle and a smaller one at its upper left corner."""
    picture = np.full((500, 500, 3), 127, np.uint8)
    picture[150:350, 150:350] = large
    picture[: len(small), : len(small)] = small
    return picture


def is_near(face: detect.Face, x: int, y: int) -> bool:
    """Whether a face's middle lies within 40 pixels of a point."""
    left, top, right, bottom = face.box
    return np.hypot((left + right) / 2 - x, (top + bottom) / 2 - y) < 40


def test_the_largest_and_most_central_face_is_taken(published):
    first, second, _ = published
    picture = beside(first, crops.fit(second, 140))
    assert len(detect.detect(picture)) == 2
    assert is_near(detect.main_face(picture), 250, 250)
    # As large, but at the edge.
    assert is_near(detect.main_face(beside(first, second)), 250, 250)


def test_a_small_face_at_the_edge_is_taken_where_there_is_no_other(published):
    picture = np.full((700, 700, 3), 127, np.uint8)
    picture[:120, :120] = crops.fit(published[0], 120)
    assert is_near(detect.main_face(picture), 60, 60)


def test_a_face_that_fills_the_picture_is_found(published):
    for picture in published:
        tight = picture[30:170, 30:170]
        assert framing.frame(tight).is_aligned


def test_the_middle_is_the_crop_that_a_network_takes(published):
    for picture in published:
        face = detect.main_face(picture)
        image, is_aligned = framing.frame(picture)
        assert is_aligned and image.shape == (framing.SIDE, framing.SIDE, 3)
        shown = (1 + 2 * geometry.PADDING) / (1 + 2 * framing.PADDING)
        ours = crops.fit(image, 240, frame=shown)
        [expected] = align.align(picture, [face], size=240)
        assert np.abs(ours.astype(int) - expected).mean() < 2


def test_turned_and_stretched_a_face_comes_back_to_its_frame(published):
    import cv2

    for picture in published:
        turn = cv2.getRotationMatrix2D((100, 100), 15, 0.9)
        turned = cv2.warpAffine(picture, turn, (220, 200), borderMode=cv2.BORDER_REPLICATE)
        there, back = (framing.frame(each).image.astype(int) for each in (picture, turned))
        middle = slice(90, 230)
        apart = np.abs(there - back)[middle, middle].mean()
        assert apart < np.abs(there - np.fliplr(there))[middle, middle].mean() / 2 + 10


def test_the_face_of_a_photo_is_cut_out():
    photo = data.astronaut()
    image, is_aligned = framing.frame(photo)
    assert is_aligned
    [face] = detect.detect(image, threshold=0.2)
    left, _, right, _ = face.box
    assert 110 < right - left < 200 and abs(left + right - framing.SIDE) < 60


@pytest.mark.parametrize("shape", [(40, 60, 3), (1, 1, 3), (90, 30, 3)])
def test_where_there_is_no_face_the_whole_picture_is_taken(shape):
    picture = np.zeros(shape, np.uint8)
    picture[:, : shape[1] // 2] = 200
    image, is_aligned = framing.frame(picture)
    assert not is_aligned and image.shape == (framing.SIDE, framing.SIDE, 3)
    shown = (1 + 2 * geometry.PADDING) / (1 + 2 * framing.PADDING)
    whole = crops.fit(picture, 60)
    assert np.abs(crops.fit(image, 60, frame=shown).astype(int) - whole).mean() < 6
