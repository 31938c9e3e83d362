"""The epochs: early stopping, the best weights, resumption to the last digit, what is logged."""

import errno
import shutil

import event_files
import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.data import batches, sampling
from vggface_gender.training import heads, loop, losses, run, tensorboard

TASKS = {"gender": ("female", "male")}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 2, 2, 4)).astype(np.float32)
# Learnable, but a quarter of the labels is noise: the head will overfit, and validation will show.
Y = np.where(RNG.random(400) < 0.25, RNG.integers(0, 2, 400), X[:, 0, 0, 0] > 0)
KNOWN, HELD_OUT = slice(0, 300), slice(300, 400)


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


def data(rows, target=None):
    """A reader of inputs, and their targets and weights."""
    x = X[rows]
    targets = np.eye(2, dtype=np.float32)[Y[rows].astype(int)] if target is None else target
    return lambda chosen, rng: x[chosen], {
        "targets": {"gender": targets},
        "weights": {"gender": np.ones(len(x), np.float32)},
    }


def fit(folder, epochs=8, patience=3, seed=0, rate=0.02, callbacks=(), target=None, **options):
    keras.utils.set_random_seed(seed)
    head = heads.build("compact", X.shape[1:], tasks=TASKS)
    losses.compile(head, keras.optimizers.Adam(rate), weights={})
    read, known = data(KNOWN, target)
    validate, held_out = data(HELD_OUT)
    history = loop.fit(
        head,
        lambda epoch: batches.training_batches(
            read,
            lambda number: sampling.shuffled(300, seed=seed, number=number),
            batch_size=32,
            seed=seed,
            first_epoch=epoch,
            drop_remainder=False,
            **known,
        ),
        steps=10,
        validation=batches.fixed_batches(validate, batch_size=64, **held_out),
        folder=folder,
        epochs=epochs,
        patience=patience,
        seed=seed,
        phase="head",
        callbacks=list(callbacks),
        **options,
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
    target = np.eye(2)[Y[HELD_OUT].astype(int)]
    loss = head.evaluate(X[HELD_OUT], {"gender": target}, verbose=0)[0]
    assert loss == pytest.approx(history.val_loss[best], abs=1e-5)
    assert loss < history.val_loss.iloc[-1]
    written = pd.read_csv(tmp_path / "history.csv")
    pd.testing.assert_frame_equal(history, written, rtol=1e-14)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights and the history of a training of 8 epochs."""
    head, history = fit(tmp_path_factory.mktemp("undisturbed"), patience=8)
    return weights(head), history


@pytest.mark.parametrize(
    ("epoch", "step"),
    [(0, 3), *(pytest.param(*at, marks=pytest.mark.slow) for at in ((2, 9), (5, 0)))],
)
def test_after_a_kill_the_same_call_gives_what_an_undisturbed_one_does(
    tmp_path, undisturbed, epoch, step
):
    with pytest.raises(Killed):
        fit(tmp_path, patience=8, callbacks=[KillAt(epoch, step)])
    resumed, history = fit(tmp_path, patience=8)
    end, expected = undisturbed
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
    np.testing.assert_array_equal(weights(resumed), end)


@pytest.mark.slow
def test_a_kill_between_the_last_epochs_weights_and_its_history_loses_no_row(tmp_path):
    _, history = fit(tmp_path, epochs=2)
    written = (tmp_path / "history.csv").read_bytes()
    history[:1].to_csv(tmp_path / "history.csv", index=False)
    fit(tmp_path, epochs=2)
    assert (tmp_path / "history.csv").read_bytes() == written


@pytest.mark.parametrize("name", ["history.json", "last.weights.h5", "best.weights.h5"])
@pytest.mark.parametrize("content", [b"", b"[]", b"half", None])
def test_a_damaged_checkpoint_is_one_line(once_trained, name, content):
    [state] = (run.checkpoint(once_trained) / "head").iterdir()
    if content is None:
        (state / name).unlink()
    else:
        (state / name).write_bytes(content)
    with pytest.raises(InputError, match=r"epoch-0001 is damaged .*delete .*checkpoint, and") as it:
        fit(once_trained, epochs=1)
    assert "\n" not in str(it.value)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once")
    fit(folder, epochs=1)
    return folder


@pytest.fixture
def once_trained(trained_once, tmp_path):
    """A folder of its own, in which one epoch is trained."""
    return shutil.copytree(trained_once, tmp_path / "run")


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_whole_epoch_and_names_the_place(once_trained, full_disk):
    folder = full_disk / "run"
    shutil.copytree(once_trained, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.h5")}
    (full_disk / "filler").write_bytes(bytes(shutil.disk_usage(full_disk).free - 100_000))
    with pytest.raises(OSError, match="No space left on device") as caught:
        fit(folder, epochs=2)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename.startswith(str(folder))
    assert {path: path.read_bytes() for path in folder.rglob("*.h5")} == before
    (full_disk / "filler").unlink()
    assert len(fit(folder, epochs=2)[1]) == 2


@pytest.mark.slow
def test_a_kill_after_the_last_epoch_trains_no_more(tmp_path):
    first, history = fit(tmp_path, epochs=3)
    again, same = fit(tmp_path, epochs=3)
    pd.testing.assert_frame_equal(history, same)
    np.testing.assert_array_equal(weights(first), weights(again))


@pytest.mark.slow
def test_one_seed_gives_one_result_and_another_another(tmp_path, undisturbed):
    same, other = (fit(tmp_path / str(seed), patience=8, seed=seed)[0] for seed in (0, 1))
    np.testing.assert_array_equal(weights(same), undisturbed[0])
    assert (weights(other) != undisturbed[0]).any()


@pytest.mark.slow
def test_a_validation_loss_that_is_not_finite_stops_and_nothing_of_the_epoch_is_kept(tmp_path):
    with pytest.raises(InputError, match=r"val_score is nan after epoch 2: lower the learning"):
        scores = iter([0.5, np.nan])
        fit(tmp_path, epochs=3, score=lambda: next(scores))
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1

    class Overflow(keras.callbacks.Callback):
        """What an epoch's last step may do: its own loss was that of the weights before it."""

        def on_train_batch_end(self, batch, logs=None):
            if batch == 9:
                self.model.set_weights([w * np.nan for w in self.model.get_weights()])

    with pytest.raises(InputError, match="val_loss is nan after epoch 1"):
        fit(tmp_path / "other", epochs=1, callbacks=[Overflow()])


def test_a_loss_that_is_not_finite_stops_and_says_where(tmp_path):
    nothing = np.full((300, 2), np.nan, np.float32)
    with pytest.raises(InputError, match=r"loss is nan in epoch 1, batch 1 \(batch 0\): lower"):
        fit(tmp_path, target=nothing, describe=lambda epoch, batch: f"batch {batch}")


@pytest.mark.slow
def test_without_patience_all_epochs_are_trained(tmp_path):
    scores = iter([5, 4, 3, 2, 1, 0])
    _, history = fit(tmp_path, epochs=6, patience=None, score=lambda: next(scores))
    assert len(history) == 6 and history.is_best[0]


@pytest.mark.slow
def test_a_score_chooses_the_epoch_where_there_is_one(tmp_path):
    scores = iter([0.1, 0.5, 0.3, 0.2])
    _, history = fit(tmp_path, epochs=4, patience=None, score=lambda: next(scores))
    assert history.val_score.tolist() == [0.1, 0.5, 0.3, 0.2]
    assert history.is_best.tolist() == [False, True, False, False]


@pytest.mark.slow
def test_the_learning_rate_falls_where_validation_stops_improving(tmp_path):
    scores = iter([3, 2, 1, 0, -1, -2])
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                seen.append(float(self.model.optimizer.learning_rate))

    plateau = loop.Plateau(factor=0.1, epochs=2, least=1e-4)
    fit(
        tmp_path,
        epochs=6,
        patience=None,
        score=lambda: next(scores),
        plateau=plateau,
        callbacks=[Watch()],
    )
    np.testing.assert_allclose(seen, [0.02, 0.02, 0.02, 2e-3, 2e-3, 2e-4], rtol=1e-5)


@pytest.mark.slow
def test_a_long_epoch_has_a_bar_with_the_time_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "SHOWN_AFTER", 0)
    fit(tmp_path, epochs=1)
    bar = capsys.readouterr().err
    assert "head, epoch 1/1" in bar and "/10 [" in bar and " steps" in bar


def curves(folder):
    """The numbers that TensorBoard reads of a phase, as the history has them."""
    logs = folder / runs.TENSORBOARD / "head"
    found = {}
    for part, prefix in (("train", ""), ("validation", "val_")):
        for tag, values in event_files.read(logs / part).items():
            if tag.startswith("epoch_"):
                found[tag.replace("epoch_", prefix, 1)] = values
    return found


def are_the_historys(found, history):
    logged = history.drop(columns=["phase", "epoch", "is_best"])
    assert set(found) == set(logged)
    for name, values in found.items():
        assert [step for step, _ in values] == history.epoch.tolist()
        np.testing.assert_allclose([value for _, value in values], logged[name], rtol=1e-6)


def test_curves_are_the_historys_however_often_a_training_was_killed(tmp_path, monkeypatch):
    with pytest.raises(Killed):  # in an epoch
        fit(tmp_path, patience=8, epochs=4, callbacks=[KillAt(1, 5)])

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):  # before it was kept
        patched.setattr(loop._Checkpoint, "on_epoch_end", kill)
        fit(tmp_path, patience=8, epochs=4)
    shown = []
    _, history = fit(tmp_path, patience=8, epochs=4, watch=lambda it: shown.append(len(it)))
    are_the_historys(curves(tmp_path), history)
    assert shown == [1, 2, 3, 4]
    kernels = event_files.read(tmp_path / runs.TENSORBOARD / "head" / "train")["gender/kernel"]
    assert [step for step, _ in kernels] == [1, 2, 3, 4]


def test_histograms_are_written_without_many_copies_of_the_weights(tmp_path):
    """Keras's own take several times a weight's size; these, a sample of it."""
    import resource

    x = keras.Input((2000,))
    model = keras.Model(x, keras.layers.Dense(20_000, name="wide")(x))  # 160 MB
    shown = tensorboard.Curves(tmp_path)
    shown.set_model(model)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shown.on_epoch_end(0)
    shown.on_train_end()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 400
    [(step, kernel)] = event_files.read(tmp_path / "train")["wide/kernel"]
    assert step == 1 and 9000 < kernel[:, 2].sum() <= tensorboard.MOST_VALUES
