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


def test_what_runs_in_the_background_runs_once_and_raises_where_it_is_wanted():
    calls = []
    work = threads.Background(lambda: calls.append(1) or time.sleep(0.05) or len(calls))
    work.begin()
    work.begin()
    assert [work.result(), work.result()] == [1, 1] and calls == [1]
    failing = threads.Background(lambda: 1 // 0)
    failing.begin()
    with pytest.raises(ZeroDivisionError):
        failing.result()
