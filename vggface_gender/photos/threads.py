"""Photos looked at in threads, while what was found in those before them is used."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """`map`, computed in threads and never more than `threads` results ahead of the reader.

    So no more photos are held in memory than there are threads, however many are to be read.

    Args:
        function: called in several threads at once.
        items: taken from as results are read; may be a generator.
        threads: how many, 1 or more.
    """
    with ThreadPoolExecutor(threads) as pool:
        results: collections.deque[Future[Result]] = collections.deque()
        for item in items:
            results.append(pool.submit(function, item))
            if len(results) > threads:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()
