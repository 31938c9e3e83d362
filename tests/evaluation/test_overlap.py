"""Test images that stand among the training images are found, changed a little or not at all."""

import cv2
import numpy as np
import pytest

from vggface_gender.evaluation import overlap
from vggface_gender.photos import crops, prints


def jpeg(image, quality=95):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def pictures(count, seed):
    rng = np.random.default_rng(seed)
    return [
        cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (200, 200)) for _ in range(count)
    ]


def test_the_same_bytes_and_changed_pictures_are_found_at_their_places():
    train = pictures(40, 0)
    resized = cv2.resize(train[7], (150, 150))
    darker = cv2.convertScaleAbs(train[8], alpha=0.8)
    test = [jpeg(train[5]), jpeg(resized, 60), jpeg(darker), *map(jpeg, pictures(5, 1))]
    found = overlap.find(overlap.prints(test), overlap.prints([jpeg(each) for each in train]))
    assert found.exact.tolist() == [True] + [False] * 7
    assert found.near.tolist() == [True] * 3 + [False] * 5
    assert found.nearest[:3].tolist() == [5, 7, 8]
    assert found.bits[0] == 0 and (found.bits[3:] > 60).all()


def test_a_hash_is_the_signs_of_256_differences():
    image = pictures(1, 3)[0]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA)
    signs = [small[row, i + 1] > small[row, i] for row in range(16) for i in range(16)]
    bits = np.unpackbits(prints.difference_hash(image).view(np.uint8))
    assert bits.tolist() == signs


def test_nothing_among_nothing():
    found = overlap.find(overlap.prints([jpeg(pictures(1, 0)[0])]), overlap.prints([]))
    assert not found.near.any() and not found.exact.any()
    assert len(overlap.find(overlap.prints([]), overlap.prints([])).near) == 0


def test_recompressed_real_faces_are_found_and_other_people_are_not(faces_dir):
    paths = sorted((faces_dir / "FairFace" / "train").iterdir())[:300]
    train = [path.read_bytes() for path in paths]
    again = [jpeg(crops.decode(each)[..., ::-1], 50) for each in train[:100]]
    held_out = [path.read_bytes() for path in sorted((faces_dir / "UTKFace").iterdir())[::80]]
    found = overlap.find(overlap.prints(again + held_out), overlap.prints(train))
    assert found.near[:100].mean() == pytest.approx(1)
    assert found.nearest[:100].tolist() == list(range(100))
    assert not found.near[100:].any()
