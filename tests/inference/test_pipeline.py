"""Photos that wait for each other to be classified together."""

import pytest

from vggface_gender.inference import pipeline
from vggface_gender.photos.detect import Detected, Face

CROP, FOUND = Face((0, 0, 9, 9), None, None), Face((0, 0, 9, 9), 1.0, None)


def sizes(*faces, error=None) -> tuple[list[int], list[int]]:
    """The sizes of the batches of photos with these faces, and how many were taken for each."""
    taken = []

    def photos():
        for i, each in enumerate(faces):
            taken.append(i)
            yield Detected(str(i), None, each, error)

    found, needed, names = [], [], []
    for batch in pipeline._batches(photos()):
        found.append(len(batch))
        needed.append(len(taken))
        names += [photo.name for photo in batch]
    assert names == [str(i) for i in range(len(faces))]
    return found, needed


def test_photos_without_faces_wait_for_nobody():
    assert sizes(*[[]] * 5) == ([1] * 5, [1, 2, 3, 4, 5])
    assert sizes([], [FOUND], [], []) == ([1, 3], [1, 4])


@pytest.mark.parametrize(
    "photo, expected",
    [([CROP], [64, 64, 22]), ([FOUND], [16] * 9 + [6]), ([FOUND] * 5, [13] * 11 + [7])],
)
def test_no_more_wait_than_are_worth_it(photo, expected):
    assert sizes(*[photo] * 150)[0] == expected


def test_photos_that_were_searched_in_vain_count():
    assert sizes([FOUND], *[[]] * 40)[0] == [16, *[1] * 25]
