"""Room on the disk: named before work is begun."""

import pytest

from vggface_gender.base import disk
from vggface_gender.base.errors import InputError


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (35_400_000, "35 MB"),
        (1_250_000_000, "1.2 GB"),
        (50_000_000_000, "50 GB"),
    ],
)
def test_sizes_to_read(count, text):
    assert disk.size(count) == text


def test_what_has_no_room_is_refused_with_both_sizes(full_disk):
    disk.require(full_disk / "not" / "there", 1_900_000, what="records")
    with pytest.raises(InputError, match=r"there: records need 3\.0 MB and 2\.[01] MB are free"):
        disk.require(full_disk / "not" / "there", 3_000_000, what="records")
    assert not list(full_disk.iterdir())


def test_room_is_looked_for_and_left(full_disk):
    disk.check(full_disk, 1_900_000)
    disk.check(full_disk, 0)
    with pytest.raises(OSError, match=f"No space left on device: '{full_disk}'"):
        disk.check(full_disk, 3_000_000)
    assert not list(full_disk.iterdir())
    disk.check(full_disk, 1_900_000)
