"""Very many small things held in little memory, and put in order there."""

import heapq
import itertools
import pickle
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

TOGETHER = 1024  # things that are compressed as one
SORTED = 8192  # things that are sorted at once
MERGED = 64  # things of each of these that are unpacked at once


class Packed(Collection[T]):
    """Things in a row, pickled and compressed: a listed image takes 30 bytes, not a thousand.

    They are added at the end, and read from the first on.
    """

    def __init__(self, items: Iterable[T] = (), *, together: int = TOGETHER):
        """Take things.

        Args:
            together: how many are compressed, and later unpacked, as one.
        """
        self._together = together
        self._packed: list[bytes] = []
        self._last: list[T] = []  # fewer than are compressed as one
        for item in items:
            self.append(item)

    def append(self, item: T) -> None:
        """Add one."""
        self._last.append(item)
        if len(self._last) == self._together:
            self._packed.append(zlib.compress(pickle.dumps(self._last), level=1))
            self._last = []

    def __len__(self) -> int:
        return len(self._packed) * self._together + len(self._last)

    def __iter__(self) -> Iterator[T]:
        for some in self._packed:
            yield from pickle.loads(zlib.decompress(some))
        yield from self._last

    def __contains__(self, item: object) -> bool:
        return any(each == item for each in self)


def in_order(items: Iterable[T]) -> Iterator[T]:
    """What `sorted` gives, in little memory: some are sorted at a time, then these are merged."""
    waiting = iter(items)
    runs = []
    while some := sorted(itertools.islice(waiting, SORTED)):  # type: ignore[type-var]
        runs.append(Packed(some, together=MERGED))
    return heapq.merge(*runs)  # type: ignore[type-var]
