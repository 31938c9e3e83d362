"""Faces in photos by both detectors, against people's counts, dlib and resized photos."""

import functools
import threading

import cv2
import dlib
import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.photos import detect, detect_hog, read

BOTH = pytest.mark.parametrize("detector", ["cnn", "hog"])

# The clearly visible faces of each photo, counted by people.
COUNTS = {
    "biden.jpg": 1,
    "obama.jpg": 1,
    "rgba_32bit.png": 1,
    "rose_leslie.jpg": 1,
    "couple.jpg": 2,
    "kit_with_rose.jpg": 2,
    "two_people.jpg": 2,
    "obama_and_biden.jpg": 2,
}


@pytest.fixture(scope="module")
def photos_dir(faces_dir):
    return faces_dir / "photos"


@pytest.fixture(scope="module")
def seen(photos_dir):
    """A photo's pixels and its faces, by its name and the detector's."""

    @functools.cache
    def read_and_detect(name, detector="auto"):
        photo = read.read_photo(photos_dir / name)
        return photo, detect.detect(photo, detector=detector)

    return read_and_detect


def overlap(one, other) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


@BOTH
@pytest.mark.parametrize("name", COUNTS)
def test_every_clear_face_is_found(seen, name, detector):
    _, found = seen(name, detector)
    if name == "obama_and_biden.jpg":  # a small, partly hidden child may be found or not
        found = [face for face in found if face.box[1] < 1000]
    assert len(found) == COUNTS[name]
    assert [face.box[0] for face in found] == sorted(face.box[0] for face in found)
    for face in found:
        left, top, right, bottom = face.box
        assert face.score >= 0 and all(isinstance(x, int) for x in face.box)
        assert face.landmarks.shape == (5, 2)
        beyond = (right - left) // 10  # the network's window may end above the nose
        assert np.all(face.landmarks > (left - beyond, top - beyond))
        assert np.all(face.landmarks < (right + beyond, bottom + beyond))
        left_eye, right_eye = face.landmarks[2:4].mean(0), face.landmarks[:2].mean(0)
        nose = face.landmarks[4]
        assert left_eye[0] < nose[0] < right_eye[0] and nose[1] > max(left_eye[1], right_eye[1])


@pytest.mark.parametrize(("detector", "count"), [("cnn", 6), ("hog", 4)])
def test_crowd_and_face_at_the_edge(seen, detector, count):
    photo, found = seen("selfie_many_people.jpg", detector)
    assert len(found) >= count
    assert found[0].box[0] == 0  # its rectangle reaches beyond the photo; the box does not
    clearer = detect.detect(photo, detector=detector, threshold=1.0)
    assert 0 < len(clearer) < len(found) and min(face.score for face in clearer) >= 1


def test_boxes_agree_with_dlib_on_the_plain_photo(seen):
    detector = dlib.get_frontal_face_detector()
    for name in ("obama.jpg", "kit_with_rose.jpg"):
        photo, found = seen(name, "hog")
        expected = sorted(
            (r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in detector(photo, 1)
        )
        boxes = [face.box for face in found]
        assert all(overlap(*pair) > 0.6 for pair in zip(boxes, expected, strict=True))


@BOTH
@pytest.mark.parametrize("name", ["couple.jpg", "obama.jpg", "two_people.jpg"])
def test_small_faces_in_small_photos_are_found(seen, name, detector):
    photo, found = seen(name, detector)
    scale = 28 / max(face.box[2] - face.box[0] for face in found)
    size = [round(side * scale) for side in photo.shape[1::-1]]
    small = detect.detect(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), detector=detector)
    for face, expected in zip(small, found, strict=True):  # a level is 5/6 of the one before
        assert overlap(face.box, [scale * x for x in expected.box]) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("detector", "larger"), [("cnn", 3), ("hog", 5)])
def test_faces_of_a_large_photo_are_where_they_are(seen, detector, larger):
    photo, [expected] = seen("obama.jpg", detector)
    large = cv2.resize(photo, None, fx=larger, fy=larger, interpolation=cv2.INTER_CUBIC)
    found = detect.detect(large, detector=detector)
    face = max(found, key=lambda face: face.score)
    assert overlap(face.box, [larger * x for x in expected.box]) > 0.6
    assert np.abs(face.landmarks / larger - expected.landmarks).max() < 6


@BOTH
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (40, 30), (300, 400)])
def test_photo_without_a_face(size, detector):
    assert detect.detect(np.full((*size, 3), 127, np.uint8), detector=detector) == []


@pytest.mark.slow
@BOTH
def test_threads_do_not_disturb_each_other(photos_dir, detector):
    find = functools.partial(detect.detect, detector=detector, upsample=0)
    names = ["kit_with_rose.jpg", "rose_leslie.jpg", "selfie_many_people.jpg"]
    photos = [read.read_photo(photos_dir / name) for name in names]
    alone = [[face.box for face in find(photo)] for photo in photos]
    together = [[] for _ in photos]

    def work(i):
        together[i] += [[face.box for face in find(photos[i])] for _ in range(4)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [[boxes] * 4 for boxes in alone]


def test_a_photo_that_is_a_crop_is_its_central_square():
    wide = np.zeros((50, 170, 3), np.uint8)
    assert detect.whole(wide) == ((60, 0, 110, 50), None, None)


# From files and memory


@pytest.mark.slow
def test_in_file_is_in_photo_of_what_was_read(photos_dir, seen):
    photo, found = seen("kit_with_rose.jpg")
    path = photos_dir / "kit_with_rose.jpg"
    detected = detect.in_file(path, threshold=0.0)
    assert (detected.name, detected.error) == (str(path), None)
    assert np.array_equal(detected.photo, photo)
    assert [face.box for face in detected.faces] == [face.box for face in found]
    assert detect.in_photo(photo, "upload", threshold=10.0).faces == []


def test_what_can_not_be_read_has_an_error_and_no_faces(tmp_path):
    detected = detect.in_file(tmp_path / "missing.jpg")
    assert detected.photo is None and detected.faces == []
    assert detected.error.startswith(f"{tmp_path / 'missing.jpg'}: ")


@pytest.mark.parametrize("detector", ["auto", "none"])
def test_only_photos_in_uint8_rgb_are_taken(detector):
    for photo in (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8)):
        with pytest.raises(ValueError, match="uint8 RGB"):
            detect.in_photo(photo, "upload", detector=detector)


def test_crops_are_not_searched_for_faces(seen):
    photo, _ = seen("kit_with_rose.jpg")
    [face] = detect.in_photo(photo, "crop", detector="none").faces
    assert face == detect.whole(photo)


@pytest.mark.slow
def test_the_stored_detector_is_dlibs_own(faces_dir, tmp_path):
    """Its boxes and scores are, to the last bit."""
    own = dlib.get_frontal_face_detector()
    for path in sorted((faces_dir / "photos").iterdir())[:3]:
        if path.suffix in (".jpg", ".png"):
            photo = read.read_photo(path)[::2, ::2].copy()
            boxes, scores, _ = own.run(photo, 1, 0.0)
            got_boxes, got_scores, _ = detect_hog.frontal_detector().run(photo, 1, 0.0)
            assert len(boxes) and list(boxes) == list(got_boxes) and scores == got_scores


def test_a_dlib_that_cannot_read_the_stored_detector_makes_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(detect_hog, "FILE", tmp_path / "none.svm")
    assert detect_hog.frontal_detector.__wrapped__().num_detectors == 5


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), -float("inf"), -1.1, 11])
def test_a_threshold_that_is_none_is_refused(threshold):
    with pytest.raises(InputError, match="give a number from -1 to 10"):
        detect.finder("hog", threshold=threshold)


def test_weaker_faces_are_found_on_request(monkeypatch):
    assert detect.finder("hog", threshold=-1, weaker=0.5).keywords["threshold"] == -1.5
