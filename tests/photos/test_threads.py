"""Results in order, and no more of them ahead of the reader than there are threads."""

import time

import pytest

from vggface_gender.photos import threads


def test_the_order_and_the_bound_are_kept():
    started = []

    def work(i):
        started.append(i)
        time.sleep(0.02 * (i % 3 == 0))
        return i

    for done, i in enumerate(threads.ahead(work, range(20), threads=3)):
        assert i == done
        assert len(started) <= done + 1 + 3
    assert sorted(started) == list(range(20))


def test_an_error_comes_where_its_result_would():
    results = threads.ahead(lambda i: 1 // i, [1, 1, 0, 1], threads=2)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
