"""Batches: every example once an epoch, with its own target; an order that follows from seeds."""

import cv2
import numpy as np
import pytest

from vggface_gender.data import batches, sampling
from vggface_gender.data.augmentation import Amounts
from vggface_gender.photos import crops

COUNT = 23
TARGETS = {"age": np.arange(COUNT, dtype=np.float32)[:, None]}
WEIGHTS = {"age": np.ones(COUNT, np.float32)}


def read_numbers(rows, rng):
    """Inputs that are their rows' numbers."""
    return rows.astype(np.float32)[:, None]


def epochs_of(count, seed=0, first_epoch=0, **options):
    """The rows of `count` epochs of batches of 5, read back from the inputs themselves."""
    data = batches.training_batches(
        read_numbers,
        lambda epoch: sampling.shuffled(COUNT, seed=seed, number=epoch),
        targets=TARGETS,
        weights=WEIGHTS,
        batch_size=5,
        seed=seed,
        first_epoch=first_epoch,
        **options,
    )
    steps = COUNT // 5 + (not options.get("drop_remainder", True))
    iterator = data.as_numpy_iterator()
    epochs = []
    for _ in range(count):
        rows = []
        for _ in range(steps):
            inputs, targets, weights = next(iterator)
            assert (inputs == targets["age"]).all() and (weights["age"] == 1).all()
            rows += inputs[:, 0].astype(int).tolist()
        epochs.append(rows)
    return epochs


def test_every_epoch_is_a_new_order_of_all_rows():
    epochs = epochs_of(3, drop_remainder=False)
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs == epochs_of(3, drop_remainder=False)
    assert epochs != epochs_of(3, seed=1, drop_remainder=False)


def test_an_epoch_is_the_same_however_it_was_come_to():
    assert epochs_of(1, seed=3, first_epoch=2) == epochs_of(3, seed=3)[2:]


def test_the_last_batch_is_left_out_where_it_is_not_full():
    (epoch,) = epochs_of(1)
    assert len(epoch) == len(set(epoch)) == 20


def test_validation_visits_each_example_once_in_order():
    data = batches.fixed_batches(read_numbers, targets=TARGETS, weights=WEIGHTS, batch_size=10)
    parts = list(data.as_numpy_iterator())
    assert [len(inputs) for inputs, _, _ in parts] == [10, 10, 3] and len(data) == 3
    inputs = np.concatenate([inputs for inputs, _, _ in parts])
    np.testing.assert_array_equal(inputs, TARGETS["age"])


def fives(**options):
    """Training batches of five, shuffled epoch by epoch."""
    return batches.training_batches(
        read_numbers,
        lambda epoch: sampling.shuffled(COUNT, seed=0, number=epoch),
        targets=TARGETS,
        weights=WEIGHTS,
        batch_size=5,
        seed=0,
        **options,
    )


def test_the_end_waits_for_no_thread_that_tunes():
    """TensorFlow's would sleep on after the last batch, for up to a minute."""
    endless = fives()
    fixed = batches.fixed_batches(read_numbers, targets=TARGETS, weights=WEIGHTS, batch_size=10)
    for data in (endless, fixed):
        assert data.options().autotune.enabled is False


def test_mixup_blends_inputs_targets_and_weights_alike():
    data = fives(mixup=0.4)
    inputs, targets, _ = next(data.as_numpy_iterator())
    np.testing.assert_allclose(inputs, targets["age"], rtol=1e-6)
    assert (inputs % 1 != 0).any()


def test_features_come_from_their_dataset_row_and_a_view_drawn_at_random():
    part, row = np.array([0, 0, 1, 1, 1]), np.array([2, 0, 1, 3, 0])
    arrays = [
        [np.full((4, 2), 100 * view + 10 * place) + np.arange(4)[:, None] for place in (0, 1)]
        for view in (0, 1)
    ]
    read = batches.read_features(arrays, part=part, row=row)
    examples = np.tile([4, 0, 3], 30)
    got = read(examples, np.random.default_rng(0))
    expected = np.array([10, 2, 13])[np.arange(90) % 3]
    np.testing.assert_array_equal(got[:, 0] % 100, expected)
    views = got[:, 0] // 100
    assert set(views) == {0, 1} and 25 < views.sum() < 65


@pytest.mark.parametrize("amounts", [None, Amounts()])
def test_crops_are_what_is_evaluated_or_augmented(amounts):
    pixels = [np.full((40, 40, 3), 50 * i, np.uint8) for i in range(4)]
    images = [cv2.imencode(".jpg", image)[1].tobytes() for image in pixels]
    read = batches.read_crops(images, np.ones(4), size=24, amounts=amounts)
    got = read(np.array([3, 1]), np.random.default_rng(0))
    assert got.shape == (2, 24, 24, 3) and got.dtype == np.uint8
    plain = np.stack([crops.fit(crops.decode(images[row]), 24, frame=1.0) for row in (3, 1)])
    assert (got == plain).all() == (amounts is None)
