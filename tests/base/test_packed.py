"""Things held packed come back as they were, and in order as by `sorted`; in little memory."""

import collections
import os
import random
import subprocess
import sys
import tracemalloc

import pytest

from vggface_gender.base import memory
from vggface_gender.base.packed import SORTED, Packed, in_order


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_what_is_packed_comes_back_as_often_as_it_is_read(count):
    items = [(f"{i}.jpg", None, i / 3) for i in range(count)]
    packed = Packed(items, together=8)
    assert len(packed) == count
    assert list(packed) == list(packed) == items
    packed.append("last")
    assert list(packed) == [*items, "last"]
    assert "last" in packed and "first" not in packed


@pytest.mark.parametrize("count", [0, 5, SORTED, 2 * SORTED + 1])
def test_order_is_that_of_sorted(count):
    rng = random.Random(0)
    rows = [["train", rng.randrange(100), f"caf\udce9{rng.randrange(count)}"] for _ in range(count)]
    assert list(in_order(iter(rows))) == sorted(rows)


def test_many_are_held_and_ordered_in_little_memory():
    count = 100_000
    tracemalloc.start()
    try:
        names = (f"images/{i * 7919 % count:06d}.jpg" for i in range(count))
        packed = Packed((name, "female", i % 90) for i, name in enumerate(names))
        [last] = collections.deque(in_order(packed), maxlen=1)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last[0] == f"images/{count - 1:06d}.jpg"
    assert most < 100 * count  # a list of these is 200 bytes each, and sorted another


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
@pytest.mark.parametrize(("set_to", "expected"), [(None, str(os.cpu_count())), ("7", "7")])
def test_arenas_are_as_many_as_cores_unless_it_is_said(set_to, expected):
    environment = {key: value for key, value in os.environ.items() if key != memory.VARIABLE}
    environment |= {memory.VARIABLE: set_to} if set_to else {}
    script = (
        "import os; from vggface_gender.base import memory; memory.few_arenas(); "
        "print(os.environ[memory.VARIABLE])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == expected
