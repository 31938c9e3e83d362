"""Aligned crops against dlib's own and against a warp computed from the mean face."""

import functools

import dlib
import numpy as np
import pytest
from skimage.transform import estimate_transform, warp

from vggface_gender.photos import detect, read
from vggface_gender.photos.align import align


@pytest.fixture(scope="module")
def seen(faces_dir):
    """A photo's pixels and its faces, by its name."""

    @functools.cache
    def read_and_detect(name):
        photo = read.read_photo(faces_dir / "photos" / name)
        return photo, detect.detect(photo)

    return read_and_detect


def difference(one, other) -> int:
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other).max()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "padding"), [(150, 0.25), (224, 0.4), (64, 0.0)])
def test_align_is_dlibs_face_chip(seen, size, padding):
    photo, found = seen("couple.jpg")
    predictor = detect.landmark_predictor()
    expected = []
    for face in found:
        left, top, right, bottom = face.box
        shape = predictor(photo, dlib.rectangle(left, top, right - 1, bottom - 1))
        expected.append(dlib.get_face_chip(photo, shape, size=size, padding=padding))
    crops = align(photo, found, size=size, padding=padding)
    assert crops.dtype == np.uint8 and difference(crops, np.stack(expected)) == 0


def test_align_puts_landmarks_where_dlibs_mean_face_has_them(seen):
    # The mean face's five points in the unit square, from dlib's image_transforms/interpolation.h.
    mean_face = np.array(
        [
            (0.8595674595992, 0.2134981538014),
            (0.6460604764104, 0.2289674387677),
            (0.1205750620789, 0.2137274526848),
            (0.3340850613712, 0.2290642403242),
            (0.4901123135679, 0.6277975316475),
        ]
    )
    photo, [face] = seen("obama.jpg")
    size, padding = 500, 0.25  # larger than in the photo, so that nothing is averaged
    places = (mean_face + padding) / (1 + 2 * padding) * size
    turn = estimate_transform("similarity", places, face.landmarks)
    expected = warp(photo, turn, output_shape=(size, size), order=1, preserve_range=True)
    [crop] = align(photo, [face], size=size, padding=padding)
    assert np.abs(crop - expected).mean() < 4
    [narrower] = align(photo, [face], size=size, padding=padding - 0.01)  # the bound is not lax
    assert np.abs(narrower - expected).mean() > 6


def test_a_photo_that_is_a_crop_is_its_central_square(faces_dir):
    path = next((faces_dir / "UTKFace").glob("*.jpg"))
    photo = read.read_photo(path)
    [crop] = align(photo, [detect.whole(photo)], size=200)
    assert difference(crop, photo) == 0

    wide = np.zeros((50, 170, 3), np.uint8)
    wide[:, 60:110] = 255
    [crop] = align(wide, [detect.whole(wide)], size=25)
    assert crop.shape == (25, 25, 3) and crop.min() == 255


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (40, 30)])
def test_no_faces_give_no_crops(size):
    crops = align(np.zeros((*size, 3), np.uint8), [])
    assert crops.shape == (0, 150, 150, 3) and crops.dtype == np.uint8
