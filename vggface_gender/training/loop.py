"""The epochs of a training phase: stopping early, keeping the best weights, resuming after a kill.

Everything that the next epoch depends on is written after every epoch.
"""

import contextlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import pandas as pd
from tqdm import tqdm

from vggface_gender.base import disk, files, runs
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.training import run, selection, space, tensorboard

HISTORY = "history.csv"
SHOWN_AFTER = 5.0  # seconds of an epoch until its progress bar is shown

ADVICE = "lower the learning rate, and train again; the last whole epoch is kept"


class Diverged(InputError):
    """A loss is not finite."""


Watch = Callable[[pd.DataFrame], None]  # takes the history so far (see `fit`)


class Plateau(NamedTuple):
    """How the learning rate falls whenever validation stops improving."""

    factor: float = 0.3
    epochs: int = 2  # without anything better
    least: float = 1e-7


def fit(
    model: keras.Model,
    batches: Callable[[int], Iterable],
    *,
    steps: int,
    validation: Iterable,
    folder: Path,
    epochs: int,
    seed: int,
    phase: str,
    patience: int | None = None,
    before: pd.DataFrame | None = None,
    score: Callable[[], float] | None = None,
    agree: Callable[[dict[str, float]], Mapping[str, float]] | None = None,
    plateau: Plateau | None = None,
    extras: Callable[[], Mapping[str, float]] | None = None,
    describe: Callable[[int, int], str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    watch: Watch | None = None,
) -> pd.DataFrame:
    """Train until validation has not got better for `patience` epochs; keep the best weights.

    The same call after a kill resumes from the last whole epoch: what it gives equals an
    undisturbed training. Where the optimizer averages the weights, the averages are what is
    validated and kept.

    Args:
        model: compiled.
        batches: first epoch to an endless iterable of (inputs, targets, weights), the epochs one
            after the other, each in an order that depends on `seed` and its own number alone.
        steps: batches an epoch.
        validation: a finite iterable of the same.
        folder: the run's.
        phase: its name, in the history and in TensorBoard.
        patience: epochs; None never stops early.
        before: the history of the phases before it, which stays at the head of the file.
        score: what is to be greatest on validation, computed after every epoch; by default the
            least validation loss is best.
        agree: gives the logs of an epoch that count in place of this process's own, where several
            train together.
        extras: further numbers for the history and TensorBoard, computed after every epoch.
        describe: an epoch's and a batch's number to the examples in it, for errors.
        callbacks: further ones, called first.
        watch: takes the history after every epoch, and as a resumed training goes on.

    Returns:
        The history, a row an epoch: `phase`, `epoch` (from 1), Keras's logs, `val_score` where
        there is a score, and `is_best` (of its phase).

    Raises:
        InputError: a loss is not finite; in training the batch is named.
    """
    checkpoint = _Checkpoint(
        run.checkpoint(folder) / phase,
        folder=folder,
        phase=phase,
        epochs=epochs,
        patience=patience,
        seed=seed,
        before=before,
        plateau=plateau,
    )
    first = checkpoint.restore(model)
    if watch and first:  # what a training that was killed may not have shown
        watch(checkpoint.history())
    if not checkpoint.is_over(first):
        averaging = [keras.callbacks.SwapEMAWeights()] if model.optimizer.use_ema else []
        model.fit(
            batches(first),
            steps_per_epoch=steps,
            validation_data=validation,
            initial_epoch=first,
            epochs=epochs,
            shuffle=False,
            verbose=2,  # a line an epoch
            callbacks=[
                *callbacks,
                _FiniteLoss(describe),
                _Progress(phase, steps, epochs),
                *averaging,
                _Extras(score, extras, agree=agree),
                tensorboard.Curves(folder / runs.TENSORBOARD / phase, done=first),
                checkpoint,
                *([_Watched(watch, checkpoint)] if watch else []),
            ],
        )
    return checkpoint.finish(model)


def write_history(history: pd.DataFrame, folder: Path) -> None:
    """Write a run's history, whole or not at all."""
    with files.whole(folder / HISTORY) as part:
        history.to_csv(part, index=False)


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """The model with the averages of its weights, where its optimizer keeps them."""
    variables = model.trainable_variables
    kept = [keras.ops.copy(variable.value) for variable in variables]
    if model.optimizer.use_ema:
        model.optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


class _Extras(keras.callbacks.Callback):
    """Adds to an epoch's logs before others read them."""

    def __init__(
        self, score: Callable | None, extras: Callable | None, *, agree: Callable | None = None
    ):
        super().__init__()
        self.score = score
        self.extras = extras
        self.agree = agree

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        if self.score:
            with averaged(self.model):
                logs["val_score"] = self.score()
        if self.agree:
            logs.update(self.agree({name: float(value) for name, value in logs.items()}))
        # What the training's loss doesn't show: the epoch's last step, an average of weights,
        # an image of validation.
        for name in ("val_loss", "val_score"):
            if not math.isfinite(logs.get(name, 0)):
                raise Diverged(f"{name} is {logs[name]} after epoch {epoch + 1}: {ADVICE}")
        if self.extras:
            logs.update(self.extras())


class _Watched(keras.callbacks.Callback):
    """Shows the history, once an epoch is kept."""

    def __init__(self, watch: Watch, checkpoint: "_Checkpoint"):
        super().__init__()
        self.watch, self.checkpoint = watch, checkpoint

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        self.watch(self.checkpoint.history())


class _FiniteLoss(keras.callbacks.Callback):
    """Stops a training that has diverged."""

    def __init__(self, describe: Callable[[int, int], str] | None):
        super().__init__()
        self.describe = describe
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        if not math.isfinite(logs["loss"]):
            where = f" ({self.describe(self.epoch, batch)})" if self.describe else ""
            raise Diverged(
                f"the loss is {logs['loss']} in epoch {self.epoch + 1}, batch {batch + 1}{where}: "
                f"{ADVICE}"
            )


class _Progress(keras.callbacks.Callback):
    """Shows a bar with the time that is left, of an epoch that takes more than a few seconds."""

    def __init__(self, phase: str, steps: int, epochs: int):
        super().__init__()
        self.phase, self.steps, self.epochs = phase, steps, epochs

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.bar = tqdm(
            total=self.steps,
            desc=f"{self.phase}, epoch {epoch + 1}/{self.epochs}",
            unit=" steps",
            delay=SHOWN_AFTER,
            leave=False,
        )

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        self.bar.update()

    def on_test_begin(self, logs=None) -> None:
        self.bar.close()

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        self.bar.close()


class _Checkpoint(keras.callbacks.Callback):
    """Stops early, and writes after every epoch all that the next one depends on.

    Keras's BackupAndRestore keeps weights and optimizer, but neither the history, nor the best
    weights, nor how long EarlyStopping has waited, nor the state of dropout's random numbers.
    """

    def __init__(
        self,
        states: Path,
        *,
        folder: Path,
        phase: str,
        epochs: int,
        patience: int | None,
        seed: int,
        before: pd.DataFrame | None,
        plateau: Plateau | None,
    ):
        super().__init__()
        self.states = states
        self.folder = folder
        self.phase = phase
        self.epochs = epochs
        self.patience = math.inf if patience is None else patience
        self.seed = seed
        self.before = before
        self.plateau = plateau
        self.rows: list[dict] = []

    @property
    def _best(self) -> int:
        return min(range(len(self.rows)), key=lambda row: selection.cost(self.rows[row]))

    def is_over(self, done: int) -> bool:
        """Whether so many epochs are all, or validation has stopped getting better."""
        return done >= self.epochs or (done > 0 and done - 1 - self._best >= self.patience)

    def restore(self, model: keras.Model) -> int:
        """Put `model` where the last whole epoch left it; returns how many epochs are done."""
        states = sorted(self.states.glob("epoch-*"))
        if not states:
            return 0
        with self._reading(states[-1]):
            self.rows = json.loads((states[-1] / "history.json").read_text())
            epochs = [row["epoch"] for row in self.rows]
            if states[-1] != self._state(len(epochs)) or epochs != [*range(1, len(epochs) + 1)]:
                raise ValueError("its history is of other epochs")
            model.optimizer.build(model.trainable_variables)
            model.load_weights(states[-1] / "last.weights.h5")
        return len(self.rows)

    def finish(self, model: keras.Model) -> pd.DataFrame:
        """Put the best epoch's weights into `model`; returns the history."""
        # A kill may have come between the last epoch's weights and its row.
        write_history(self.history(), self.folder)
        state = self._state(len(self.rows))
        with self._reading(state):
            model.load_weights(state / "best.weights.h5")
        return self.history()

    def _state(self, epoch: int) -> Path:
        return self.states / f"epoch-{epoch:04d}"

    @contextlib.contextmanager
    def _reading(self, state: Path) -> Iterator[None]:
        """Where a state is read: one that is damaged is named, with what to do."""
        try:
            yield
        except Exception as error:  # what Keras and HDF5 raise over damage is of many kinds
            raise InputError(
                f"{state} is damaged ({first_line(error)}): delete {self.states.parent}, and the "
                "same command trains from the start"
            ) from None

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        # Dropout's numbers follow from the seed and the epoch, however the epoch was come to.
        for i, generator in enumerate(_seed_generators(self.model)):
            generator.state.assign([self.seed * 1000 + i, epoch])
        if self.plateau and epoch and self._waits(self.plateau.epochs):
            rate = self.model.optimizer.learning_rate
            rate.assign(max(float(rate) * self.plateau.factor, self.plateau.least))

    def _waits(self, epochs: int) -> bool:
        """Whether the last so many epochs, or a multiple of them, brought nothing better."""
        since = len(self.rows) - 1 - self._best
        return since > 0 and since % epochs == 0

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self.rows.append({"epoch": epoch + 1} | {k: float(v) for k, v in logs.items()})
        state, before = self._state(epoch + 1), self._state(epoch)
        with files.whole(state) as part:
            part.mkdir()
            self._write_weights(part, before / "best.weights.h5")
            # Not CSV: pandas 2 reads some numbers back a last digit off.
            (part / "history.json").write_text(json.dumps(self.rows))
        shutil.rmtree(before, ignore_errors=True)
        write_history(self.history(), self.folder)
        self.model.stop_training = self.is_over(epoch + 1)

    def _write_weights(self, folder: Path, best_before: Path) -> None:
        last, best = folder / "last.weights.h5", folder / "best.weights.h5"
        variables = [*self.model.variables, *self.model.optimizer.variables]
        disk.check(folder, 2 * space.of_weights(variables))
        self.model.save_weights(last)
        if self._best != len(self.rows) - 1:
            shutil.copy(best_before, best)
        elif self.model.optimizer.use_ema:
            with averaged(self.model):
                self.model.save_weights(best)
        else:
            shutil.copy(last, best)

    def history(self) -> pd.DataFrame:
        """That of all phases so far (see `fit`)."""
        history = pd.DataFrame(self.rows)
        history = history.assign(is_best=[i == self._best for i in range(len(history))])
        history.insert(0, "phase", self.phase)
        return history if self.before is None else pd.concat([self.before, history])


def _seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    return [layer.seed_generator for layer in _layers(model) if hasattr(layer, "seed_generator")]


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """A model's layers; those of a model within it from its last to its first.

    So that a head within a network drops others of its inputs than it did alone, for the same
    example in an epoch of the same number.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from reversed(list(_layers(layer)))
        else:
            yield layer
