"""Photos looked at in threads, while what was found in those before them is used."""

import collections
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

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


class Background(Generic[Result]):
    """What a function gives, computed once, in a thread of its own while others go on."""

    def __init__(self, function: Callable[[], Result]):
        self._function = function
        self._future: Future[Result] = Future()
        self._lock = threading.Lock()
        self._has_begun = False

    def begin(self) -> None:
        """Start the computation, unless it has been."""
        with self._lock:
            if self._has_begun:
                return
            self._has_begun = True
        # No daemon: Python waits for it at its end, where native code that still runs would abort.
        threading.Thread(target=self._compute).start()

    def result(self) -> Result:
        """What the function gave, once it has; or raise what it raised."""
        self.begin()
        return self._future.result()

    def _compute(self) -> None:
        try:
            self._future.set_result(self._function())
        except BaseException as error:  # raised again where the result is wanted
            self._future.set_exception(error)
