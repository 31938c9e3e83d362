"""Locks: one writer at a time, whatever became of the one before."""

import multiprocessing
import os
import signal
import threading

import pytest

from vggface_gender.base import locks
from vggface_gender.base.errors import InputError


@pytest.fixture
def elsewhere(tmp_path):
    """A function that has another process hold a thing's lock, and gives the process."""
    context = multiprocessing.get_context("fork")
    started = []

    def hold(thing):
        taken = context.Event()

        def main():
            with locks.held(thing):
                taken.set()
                signal.pause()

        process = context.Process(target=main)
        process.start()
        started.append(process)
        assert taken.wait(10)
        return process

    yield hold
    for process in started:
        process.kill()
        process.join()


def test_a_second_writer_is_refused_in_one_line_that_names_the_first(tmp_path, elsewhere):
    other = elsewhere(tmp_path / "run")
    with pytest.raises(InputError, match=f"run is being written by process {other.pid}: wait"):
        locks.held(tmp_path / "run", wait=False).__enter__()
    with locks.held(tmp_path / "another run", wait=False):
        pass


def test_a_second_writer_waits_and_says_for_whom(tmp_path, elsewhere):
    other, said = elsewhere(tmp_path / "run"), []
    threading.Timer(0.1, other.kill).start()
    with locks.held(tmp_path / "run", say=said.append):
        other.join(10)
        assert other.exitcode == -signal.SIGKILL
    assert said == [
        f"{tmp_path / 'run'} is being written by process {other.pid}: waiting until it is done"
    ]


def test_a_killed_writers_lock_is_swept_and_a_living_ones_is_not(tmp_path, elsewhere):
    left, lock = elsewhere(tmp_path / "done"), tmp_path / ".done.lock"
    locks.sweep(tmp_path / "done")
    assert lock.exists()
    left.kill()
    left.join(10)
    locks.sweep(tmp_path / "done")
    assert not lock.exists()
    locks.sweep(tmp_path / "done")  # nothing there


def test_what_a_killed_writer_left_keeps_nobody_out(tmp_path, elsewhere):
    other = elsewhere(tmp_path / "run")
    other.kill()
    other.join()
    assert os.listdir(tmp_path) == [".run.lock"]
    with locks.held(tmp_path / "run", wait=False):
        pass
    assert not os.listdir(tmp_path)


def test_many_writers_take_turns(tmp_path):
    context = multiprocessing.get_context("fork")
    counter = tmp_path / "counter"
    counter.write_text("0")

    def main():
        for _ in range(20):
            with locks.held(counter, say=lambda line: None):
                counter.write_text(str(int(counter.read_text()) + 1))

    processes = [context.Process(target=main) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.read_text() == "80"
    assert os.listdir(tmp_path) == ["counter"]


def test_where_nothing_may_be_written_the_block_goes_ahead(tmp_path, unwritable):
    with (
        unwritable(tmp_path),
        locks.held(tmp_path / "run", wait=False),
        locks.held(tmp_path / "run", wait=False),
    ):
        assert not os.listdir(tmp_path)


def test_a_lock_of_the_longest_name(tmp_path):
    with locks.held(tmp_path / ("é" * 127), wait=False):
        assert len(os.listdir(tmp_path)) == 1
