"""What the training commands share: losses, the epochs, and their resumption."""

import contextlib
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras
import pandas as pd

from vggface_gender.base import files, runs
from vggface_gender.base.errors import InputError


def compile(
    model: keras.Model, tasks: Mapping[str, tuple[str, ...]], optimizer: keras.Optimizer
) -> None:
    """Give the model each task's loss: cross-entropy, or for age the absolute error in years."""
    is_age = {task: task == "age" for task in tasks}
    model.compile(
        optimizer,
        loss={t: "mae" if age else "sparse_categorical_crossentropy" for t, age in is_age.items()},
        metrics={t: [] if age else ["accuracy"] for t, age in is_age.items()},
        jit_compile=False,  # XLA is slower on processors
    )


def fit(
    model: keras.Model,
    batches: Callable[[int], object],
    steps: int,
    validation: object,
    folder: Path,
    epochs: int,
    patience: int,
    seed: int,
    callbacks: list[keras.callbacks.Callback] = (),
    phase: str = "",
    before: pd.DataFrame | None = None,
    score: Callable[[], float] | None = None,
    plateau: tuple[float, int, float] | None = None,
    extras: Callable[[], Mapping[str, float]] | None = None,
    describe: Callable[[int, int], str] | None = None,
) -> pd.DataFrame:
    """Train until validation has not got better for `patience` epochs; keep the best weights.

    After every epoch all that the next one depends on is written to `folder`, and the same call
    after a kill goes on from there: what it gives equals an undisturbed training. Where the
    optimizer averages the weights, the averages are what is validated and kept.

    Args:
        model: compiled.
        batches: first epoch to an endless iterable of (features, targets), the epochs one after
            the other, each in an order that depends on `seed` and its own number alone.
        steps: batches an epoch.
        validation: a finite iterable of (features, targets).
        phase: where a training has several, this one's name.
        before: the history of the phases before it, which stays at the head of the file.
        score: what is to be greatest on validation, asked after every epoch; by default the least
            validation loss is best.
        plateau: (factor, epochs, least): multiply the learning rate by the factor whenever
            validation has not got better for so many epochs, down to the least.
        extras: further numbers for the history and TensorBoard, asked after every epoch.
        describe: an epoch's and a batch's number to the examples in it, for errors.

    Returns:
        The history, a row an epoch: `epoch` (from 1), Keras's logs, `phase` where there is one,
        `val_score` where there is a score, and `is_best` (of its phase).

    Raises:
        InputError: the loss is not finite; the batch is named.
    """
    checkpoint = _Checkpoint(
        folder, patience, seed, phase, before, score is not None, plateau, describe
    )
    first = checkpoint.restore(model)
    if not checkpoint.is_over(epochs):
        if model.optimizer.use_ema:
            callbacks = [*callbacks, keras.callbacks.SwapEMAWeights()]
        model.fit(
            batches(first),
            steps_per_epoch=steps,
            validation_data=validation,
            initial_epoch=first,
            epochs=epochs,
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[
                *callbacks,
                _Extras(score, extras),
                keras.callbacks.TensorBoard(folder / runs.TENSORBOARD / phase, histogram_freq=1),
                checkpoint,
            ],
        )
    return checkpoint.finish(model)


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

    def __init__(self, score: Callable | None, extras: Callable | None):
        super().__init__()
        self.score = score
        self.extras = extras

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        if self.score:
            with averaged(self.model):
                logs["val_score"] = self.score()
        if self.extras:
            logs.update(self.extras())


class _Checkpoint(keras.callbacks.Callback):
    """Stops early, and writes after every epoch all that the next one depends on.

    Keras's BackupAndRestore keeps weights and optimizer, but neither the history, nor the best
    weights, nor how long EarlyStopping has waited, nor the state of dropout's random numbers.
    """

    def __init__(
        self,
        folder: Path,
        patience: int,
        seed: int,
        phase: str = "",
        before: pd.DataFrame | None = None,
        scored: bool = False,
        plateau: tuple[float, int, float] | None = None,
        describe: Callable[[int, int], str] | None = None,
    ):
        super().__init__()
        self.folder = folder
        self.states = runs.checkpoint(folder) / phase
        self.patience = patience
        self.seed = seed
        self.phase = phase
        self.before = before
        self.scored = scored
        self.plateau = plateau
        self.describe = describe
        self.rows: list[dict] = []
        self.epoch = 0

    def _cost(self, row: int) -> float:
        return -self.rows[row]["val_score"] if self.scored else self.rows[row]["val_loss"]

    @property
    def _best(self) -> int:
        return min(range(len(self.rows)), key=self._cost)

    def is_over(self, epochs: int) -> bool:
        """Whether the epochs are done or validation has stopped getting better."""
        done = len(self.rows)
        return done >= epochs or (done > 0 and done - 1 - self._best >= self.patience)

    def restore(self, model: keras.Model) -> int:
        """Put `model` where the last whole epoch left it; returns how many epochs are done."""
        states = sorted(self.states.glob("epoch-*"))
        if not states:
            return 0
        self.rows = json.loads((states[-1] / "history.json").read_text())
        model.optimizer.build(model.trainable_variables)
        model.load_weights(states[-1] / "last.weights.h5")
        return len(self.rows)

    def finish(self, model: keras.Model) -> pd.DataFrame:
        """Put the best epoch's weights into `model`; returns the history."""
        model.load_weights(self.states / f"epoch-{len(self.rows):04d}" / "best.weights.h5")
        return self._history()

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.epoch = epoch
        # Dropout's numbers follow from the seed and the epoch, however the epoch was come to.
        for i, generator in enumerate(_seed_generators(self.model)):
            generator.state.assign([self.seed * 1000 + i, epoch])
        if self.plateau and epoch and self._waits(self.plateau[1]):
            factor, _, least = self.plateau
            rate = self.model.optimizer.learning_rate
            rate.assign(max(float(rate) * factor, least))

    def _waits(self, epochs: int) -> bool:
        """Whether the last so many epochs, or a multiple of them, brought nothing better."""
        since = len(self.rows) - 1 - self._best
        return since > 0 and since % epochs == 0

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        if not math.isfinite(logs["loss"]):
            where = f" ({self.describe(self.epoch, batch)})" if self.describe else ""
            raise InputError(
                f"the loss is {logs['loss']} in epoch {self.epoch + 1}, batch {batch + 1}{where}: "
                "lower --rate, and train again; the last whole epoch is kept"
            )

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self.rows.append({"epoch": epoch + 1} | {k: float(v) for k, v in logs.items()})
        state, before = (self.states / f"epoch-{number:04d}" for number in (epoch + 1, epoch))
        with files.whole(state) as part:
            part.mkdir()
            self.model.save_weights(part / "last.weights.h5")
            if self._best != epoch:
                shutil.copy(before / "best.weights.h5", part / "best.weights.h5")
            elif self.model.optimizer.use_ema:
                with averaged(self.model):
                    self.model.save_weights(part / "best.weights.h5")
            else:
                shutil.copy(part / "last.weights.h5", part / "best.weights.h5")
            # Not CSV: pandas 2 reads some numbers back a last digit off.
            (part / "history.json").write_text(json.dumps(self.rows))
        shutil.rmtree(before, ignore_errors=True)
        with files.whole(self.folder / "history.csv") as part:
            self._history().to_csv(part, index=False)
        if self.is_over(epoch + 2):
            self.model.stop_training = True

    def _history(self) -> pd.DataFrame:
        history = pd.DataFrame(self.rows)
        history = history.assign(is_best=[i == self._best for i in range(len(history))])
        if self.phase:
            history.insert(0, "phase", self.phase)
        return history if self.before is None else pd.concat([self.before, history])


def _seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    layers = model._flatten_layers(include_self=False)
    return [layer.seed_generator for layer in layers if hasattr(layer, "seed_generator")]
