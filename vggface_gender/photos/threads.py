"""Photos looked at in threads, while what was found in those before them is used."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    depth: int | None = None,
) -> Iterator[Result]:
    """`map`, computed in threads and never more than `depth` results ahead of the reader.

    So no more photos are held in memory than that, however many are to be read.

    Args:
        function: called in several threads at once.
        items: taken from as results are read; may be a generator.
        threads: how many, 1 or more.
        depth: by default as many as there are threads; more where results are small, so that the
            threads have work while the reader is busy with many at once.
    """
    depth = threads if depth is None else depth
    pool = ThreadPoolExecutor(threads)
    try:
        results: collections.deque[Future[Result]] = collections.deque()
        for item in items:
            results.append(pool.submit(function, item))
            if len(results) > depth:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()
    finally:  # whoever stops early waits for what is being computed, not for all that is queued
        pool.shutdown(cancel_futures=True)
