"""The CNN detector against dlib's own, and the file that it is kept in."""

import functools
import subprocess
import sys
import threading

import cv2
import dlib
import numpy as np
import pytest

from vggface_gender.photos import detect_cnn, pyramid, read
from vggface_gender.photos.windows import suppress
from vggface_gender.weights import dlib_mmod


@functools.cache
def by_dlib():
    return dlib.cnn_face_detection_model_v1(str(dlib_mmod.find()))


def assert_same(photo: np.ndarray) -> int:
    """Boxes to a pixel and scores to 1e-3; how many there are."""
    expected = sorted(by_dlib()(photo, 0), key=lambda found: -found.confidence)
    found = detect_cnn.windows(photo)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        rect = theirs.rect
        box = (rect.left(), rect.top(), rect.right() + 1, rect.bottom() + 1)
        assert np.abs(np.subtract(ours.box, box)).max() <= 1
        assert ours.score == pytest.approx(theirs.confidence, abs=1e-3)
    return len(found)


def shrunk(photo: np.ndarray, pixels: float) -> np.ndarray:
    scale = min(1.0, (pixels / (photo.shape[0] * photo.shape[1])) ** 0.5)
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def photos(faces_dir) -> list:
    return [
        path for path in sorted((faces_dir / "photos").iterdir()) if path.suffix in (".jpg", ".png")
    ]


@pytest.mark.parametrize(
    ("name", "count"),
    [("obama.jpg", 1), ("rose_leslie.jpg", 1), ("selfie_many_people.jpg", 3)],
)
def test_equals_dlib_on_small_photos(faces_dir, name, count):
    assert assert_same(shrunk(read.read_photo(faces_dir / "photos" / name), 1e5)) >= count


@pytest.mark.slow  # dlib takes 5 to 12 seconds a photo
def test_equals_dlib_on_photos(faces_dir):
    for path in photos(faces_dir):
        assert assert_same(read.read_photo(path)) >= 1


@pytest.mark.parametrize("count", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_equals_dlib_on_crops(faces_dir, count):
    paths = sorted((faces_dir / "UTKFace").glob("*.jpg"))
    found = [assert_same(read.read_photo(path)) for path in paths[:: len(paths) // count][:count]]
    assert np.mean(found) > 0.8


@pytest.mark.parametrize("shape", [(90, 700), (700, 90), (37, 41), (161, 161)])
def test_equals_dlib_in_any_shape(faces_dir, shape):
    photo = read.read_photo(faces_dir / "photos" / "obama.jpg")[100:500, 250:700]
    assert_same(cv2.resize(photo, shape[::-1], interpolation=cv2.INTER_AREA))


def test_strips_score_as_the_whole_does(faces_dir, monkeypatch):
    photo = shrunk(read.read_photo(faces_dir / "photos" / "couple.jpg"), 2e5)
    tile = pyramid.tile(photo, pyramid.layout(*photo.shape[:2]), gap=(1, 2, 3))
    session = detect_cnn.load().session
    whole = detect_cnn.scored(session, tile)
    monkeypatch.setattr(detect_cnn, "STRIP", 1)
    np.testing.assert_allclose(detect_cnn.scored(session, tile), whole, rtol=0, atol=1e-5)
    assert len(whole) > 4 * 4 * detect_cnn.MARGIN // 2  # several strips


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (200, 300), (300, 200), (1, 4000), (4000, 1)])
def test_levels_lie_in_the_tile_and_apart(size):
    laid = pyramid.layout(*size)
    covered = np.zeros((laid.height, laid.width), int)
    for level in laid.levels:
        covered[level.top : level.top + level.height, level.left : level.left + level.width] += 1
        assert level.left + level.width <= laid.width - pyramid.AROUND
        assert level.top + level.height <= laid.height - pyramid.AROUND
    assert covered.max() == 1
    assert covered.sum() == sum(level.width * level.height for level in laid.levels)
    assert laid.levels[0][2:] == size[::-1]


def test_a_box_in_the_tile_is_where_its_pixels_are_from():
    photo = np.zeros((300, 400, 3), np.uint8)
    photo[100:160, 220:290] = 255
    laid = pyramid.layout(*photo.shape[:2])
    tile = pyramid.tile(photo, laid, gap=(0, 0, 0))[:, :, 0] > 127
    for level in laid.levels[:8]:
        there = tile[level.top : level.top + level.height, level.left : level.left + level.width]
        rows, columns = np.nonzero(there)
        box = [columns.min(), rows.min(), columns.max(), rows.max()]
        moved = np.add(box, [level.left, level.top, level.left, level.top])
        [found] = pyramid.to_photo(laid, moved[None].astype(float))
        scale = photo.shape[1] / level.width
        np.testing.assert_allclose(found, [220, 100, 289, 159], atol=1.5 * scale + 1)


def test_of_boxes_that_overlap_the_best_stays():
    boxes = np.array([[0, 0, 80, 80], [8, 0, 88, 80], [70, 70, 150, 150], [0, 0, 48, 48]])
    assert suppress(boxes, 0.35) == [0, 2]  # the last shares 0.36 with the first
    assert suppress(boxes, 0.37) == [0, 2, 3]
    assert suppress(boxes[:0], 0.338) == []


def test_a_face_that_fills_the_picture_is_found(faces_dir):
    photo = read.read_photo(faces_dir / "photos" / "obama.jpg")
    face = photo[150:400, 360:610]
    [found] = detect_cnn.search(face, threshold=0.2)
    left, top, right, bottom = found.box
    assert left < 60 and top < 60 and right > 190 and bottom > 190


def test_sides_that_opencv_can_not_take_are_searched():
    assert detect_cnn.search(np.zeros((4, 60_000, 3), np.uint8), upsample=0) == []


def test_threads_share_the_detector(faces_dir):
    photos_ = [
        shrunk(read.read_photo(faces_dir / "photos" / name), 1e5)
        for name in ("obama.jpg", "rose_leslie.jpg", "selfie_many_people.jpg")
    ]
    alone = [detect_cnn.windows(photo) for photo in photos_]
    together: list[list] = [[] for _ in photos_]

    def work(i: int) -> None:
        together[i] += [detect_cnn.windows(photos_[i]) for _ in range(4)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(photos_))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(found) >= 1 for found in alone)
    for found, expected in zip(together, alone, strict=True):
        assert [[each.box for each in run] for run in found] == [
            [each.box for each in expected]
        ] * 4


ALONE = """
import sys
import numpy as np
from vggface_gender.photos import detect
assert detect.detect(np.zeros((80, 80, 3), np.uint8), detector="cnn") == []
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"tensorflow", "keras", "onnx"}, loaded
"""


def test_it_needs_no_tensorflow():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
