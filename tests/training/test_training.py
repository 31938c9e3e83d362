"""Training: early stopping, the best weights, resumption to the last digit, and the run folder."""

import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.data import records
from vggface_gender.training import heads, loop

TASKS = {"gender": ("female", "male")}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 2, 2, 4)).astype(np.float32)
# Learnable, but a quarter of the labels is noise: the head will overfit, and validation will show.
Y = np.where(RNG.random(400) < 0.25, RNG.integers(0, 2, 400), X[:, 0, 0, 0] > 0).astype(np.int32)


class Killed(BaseException):
    pass


class KillAt(keras.callbacks.Callback):
    """Stops the training as a kill would: in the middle of an epoch."""

    def __init__(self, epoch, step):
        super().__init__()
        self.at, self.epoch = (epoch, step), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Killed


def fit(folder, epochs=8, patience=3, seed=0, rate=0.02, callbacks=()):
    keras.utils.set_random_seed(seed)
    head = heads.compact(X.shape[1:], TASKS)
    loop.compile(head, TASKS, keras.optimizers.Adam(rate))
    targets = {"gender": Y}
    history = loop.fit(
        head,
        lambda epoch: records.feature_batches(X, targets, 32, np.arange(300), seed, epoch),
        steps=10,
        validation=records.feature_batches(X, targets, 64, np.arange(300, 400)),
        folder=folder,
        epochs=epochs,
        patience=patience,
        seed=seed,
        callbacks=list(callbacks),
    )
    return head, history


def weights(head):
    return np.concatenate([np.ravel(w) for w in head.get_weights()])


def test_the_best_epochs_weights_are_kept_and_training_stops_after_patience(tmp_path):
    head, history = fit(tmp_path, epochs=40, patience=3)
    assert len(history) < 40
    best = history.val_loss.idxmin()
    assert history.is_best.tolist() == [i == best for i in range(len(history))]
    assert len(history) - 1 - best == 3
    loss = head.evaluate(X[300:], {"gender": Y[300:]}, verbose=0)[0]
    assert loss == pytest.approx(history.val_loss[best], abs=1e-5)
    assert loss < history.val_loss.iloc[-1]
    written = pd.read_csv(tmp_path / "history.csv")
    pd.testing.assert_frame_equal(history, written, rtol=1e-14)


@pytest.mark.parametrize(("epoch", "step"), [(0, 3), (2, 9), (5, 0)])
def test_after_a_kill_the_same_call_gives_what_an_undisturbed_one_does(tmp_path, epoch, step):
    undisturbed, expected = fit(tmp_path / "a", patience=8)
    with pytest.raises(Killed):
        fit(tmp_path / "b", patience=8, callbacks=[KillAt(epoch, step)])
    resumed, history = fit(tmp_path / "b", patience=8)
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
    np.testing.assert_array_equal(weights(resumed), weights(undisturbed))


def test_a_kill_after_the_last_epoch_trains_no_more(tmp_path):
    first, history = fit(tmp_path, epochs=3)
    again, same = fit(tmp_path, epochs=3)
    pd.testing.assert_frame_equal(history, same)
    np.testing.assert_array_equal(weights(first), weights(again))


def test_one_seed_gives_one_result_and_another_another(tmp_path):
    one, other = (fit(tmp_path / name)[0] for name in "ab")
    third, _ = fit(tmp_path / "c", seed=1)
    np.testing.assert_array_equal(weights(one), weights(other))
    assert (weights(one) != weights(third)).any()


def test_a_loss_that_is_not_finite_stops_and_says_what_to_do(tmp_path):
    keras.utils.set_random_seed(0)
    head = heads.compact(X.shape[1:], {"age": ()})
    loop.compile(head, {"age": ()}, keras.optimizers.Adam(1e-3))
    targets = {"age": np.full(400, np.nan, np.float32)}
    data = records.feature_batches(X, targets, 32, np.arange(300), 0)
    with pytest.raises(InputError, match="loss is nan in epoch 1, batch 1"):
        loop.fit(head, lambda _: data, 10, data.take(2), tmp_path, 2, 3, 0)
