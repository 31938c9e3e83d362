"""What the training commands share: losses, the epochs, and their resumption."""

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import pandas as pd

from vggface_gender import command, runs
from vggface_gender.command import InputError


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
) -> pd.DataFrame:
    """Train until the validation loss has not fallen for `patience` epochs; keep the best weights.

    After every epoch all that the next one depends on is written to `folder`, and the same call
    after a kill goes on from there: what it gives equals an undisturbed training.

    Args:
        model: compiled.
        batches: first epoch to an endless iterable of (features, targets), the epochs one after
            the other, each in an order that depends on `seed` and its own number alone.
        steps: batches an epoch.
        validation: a finite iterable of (features, targets).

    Returns:
        The history, a row an epoch: `epoch` (from 1), Keras's logs, and `is_best`.
    """
    checkpoint = _Checkpoint(folder, patience, seed)
    first = checkpoint.restore(model)
    if not checkpoint.is_over(epochs):
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
                keras.callbacks.TensorBoard(folder / runs.TENSORBOARD, histogram_freq=1),
                checkpoint,
            ],
        )
    return checkpoint.finish(model)


class _Checkpoint(keras.callbacks.Callback):
    """Stops early, and writes after every epoch all that the next one depends on.

    Keras's BackupAndRestore keeps weights and optimizer, but neither the history, nor the best
    weights, nor how long EarlyStopping has waited, nor the state of dropout's random numbers.
    """

    def __init__(self, folder: Path, patience: int, seed: int):
        super().__init__()
        self.folder = folder
        self.patience = patience
        self.seed = seed
        self.rows: list[dict] = []

    @property
    def _best(self) -> int:
        return min(range(len(self.rows)), key=lambda i: self.rows[i]["val_loss"])

    def is_over(self, epochs: int) -> bool:
        """Whether the epochs are done or validation has stopped getting better."""
        done = len(self.rows)
        return done >= epochs or (done > 0 and done - 1 - self._best >= self.patience)

    def restore(self, model: keras.Model) -> int:
        """Put `model` where the last whole epoch left it; returns how many epochs are done."""
        states = sorted(runs.checkpoint(self.folder).glob("epoch-*"))
        if not states:
            return 0
        self.rows = json.loads((states[-1] / "history.json").read_text())
        model.optimizer.build(model.trainable_variables)
        model.load_weights(states[-1] / "last.weights.h5")
        return len(self.rows)

    def finish(self, model: keras.Model) -> pd.DataFrame:
        """Put the best epoch's weights into `model`; returns the history."""
        state = runs.checkpoint(self.folder) / f"epoch-{len(self.rows):04d}"
        model.load_weights(state / "best.weights.h5")
        return self._history()

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        # Dropout's numbers follow from the seed and the epoch, however the epoch was come to.
        for i, generator in enumerate(_seed_generators(self.model)):
            generator.state.assign([self.seed * 1000 + i, epoch])

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        if not math.isfinite(logs["loss"]):
            raise InputError(
                f"the loss is {logs['loss']} in epoch {epoch + 1}: lower --rate, and train again"
            )
        self.rows.append({"epoch": epoch + 1} | {k: float(v) for k, v in logs.items()})
        state = runs.checkpoint(self.folder) / f"epoch-{epoch + 1:04d}"
        before = runs.checkpoint(self.folder) / f"epoch-{epoch:04d}"
        with command.whole(state) as part:
            part.mkdir()
            self.model.save_weights(part / "last.weights.h5")
            if self._best == epoch:
                shutil.copy(part / "last.weights.h5", part / "best.weights.h5")
            else:
                shutil.copy(before / "best.weights.h5", part / "best.weights.h5")
            # Not CSV: pandas 2 reads some numbers back a last digit off.
            (part / "history.json").write_text(json.dumps(self.rows))
        shutil.rmtree(before, ignore_errors=True)
        with command.whole(self.folder / "history.csv") as part:
            self._history().to_csv(part, index=False)
        if self.is_over(epoch + 2):
            self.model.stop_training = True

    def _history(self) -> pd.DataFrame:
        history = pd.DataFrame(self.rows)
        return history.assign(is_best=[i == self._best for i in range(len(history))])


def _seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    layers = model._flatten_layers(include_self=False)
    return [layer.seed_generator for layer in layers if hasattr(layer, "seed_generator")]
