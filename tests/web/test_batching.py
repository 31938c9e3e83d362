"""Crops of several requests are classified together, and each gets its own answers."""

import threading

import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.web.batching import BATCH_CROPS, Batcher


def crops(*values: int, size: int = 4) -> np.ndarray:
    return np.stack([np.full((size, size, 3), value, np.uint8) for value in values])


class Held:
    """A classifier that waits before it answers, and keeps how many crops it was given."""

    def __init__(self, stub):
        self.stub, self.sizes, self.go = stub, [], threading.Event()
        self.begun = threading.Event()

    def predict(self, given, *, batch_size):
        self.sizes.append(len(given))
        self.begun.set()
        assert self.go.wait(10)
        if (given == 13).all(axis=(1, 2, 3)).any():
            raise RuntimeError("thirteen")
        return self.stub.predict(given)


@pytest.fixture
def held(stub):
    return Held(stub)


@pytest.fixture
def batcher(held):
    made = Batcher(held)
    yield made
    held.go.set()
    made.close()


def waiting_behind_another(batcher, held, *several: np.ndarray) -> list:
    """Futures of crops that were all given while the classifier was at work."""
    first = batcher.submit(crops(1))
    assert held.begun.wait(10)
    futures = [batcher.submit(each) for each in several]
    held.go.set()
    assert first.result(10)["age"].tolist() == [1]
    return futures


def test_what_gathers_meanwhile_is_one_batch_and_each_gets_its_own(batcher, held):
    given = [crops(10), crops(20, 21), crops(30), crops(40, 41, 42)]
    futures = waiting_behind_another(batcher, held, *given)
    ages = [future.result(10)["age"].tolist() for future in futures]
    assert ages == [[10], [20, 21], [30], [40, 41, 42]]
    assert held.sizes == [1, 7]


def test_a_batch_takes_in_no_more_than_it_may(batcher, held):
    futures = waiting_behind_another(batcher, held, *[crops(9)] * (2 * BATCH_CROPS + 1))
    assert all(future.result(10)["age"].tolist() == [9] for future in futures)
    assert held.sizes == [1, BATCH_CROPS, BATCH_CROPS, 1]


def test_crops_of_other_sizes_are_batches_of_their_own(batcher, held):
    futures = waiting_behind_another(batcher, held, crops(5), crops(6, size=7), crops(8))
    assert [future.result(10)["age"].tolist() for future in futures] == [[5], [6], [8]]
    assert held.sizes == [1, 2, 1]


def test_the_fault_of_one_is_not_that_of_the_others(batcher, held):
    good, bad, last = waiting_behind_another(batcher, held, crops(5), crops(13), crops(7))
    assert good.result(10)["age"].tolist() == [5] and last.result(10)["age"].tolist() == [7]
    with pytest.raises(RuntimeError, match="thirteen"):
        bad.result(10)


def test_what_is_no_crop_is_refused_before_it_waits(batcher):
    with pytest.raises(InputError, match="as if in"):
        batcher.submit(np.full((1, 4, 4, 3), 0.5, np.float32))


def test_who_no_longer_waits_is_not_answered_for(batcher, held):
    first = batcher.submit(crops(1))
    assert held.begun.wait(10)
    gone, stays = batcher.submit(crops(2)), batcher.submit(crops(3))
    assert gone.cancel()
    held.go.set()
    assert first.result(10) and stays.result(10)["age"].tolist() == [3]
    assert held.sizes == [1, 1]


def test_closing_answers_what_waits(stub):
    batcher = Batcher(stub)
    futures = [batcher.submit(crops(i)) for i in range(50)]
    batcher.close()
    assert [future.result(0)["age"][0] for future in futures] == list(range(50))
