"""A training that several hosts share: each computes a part of every batch.

Each host runs the same training, `fit` and callbacks and all, on a model of its own. What differs
from a training on one host is in this file: a step's outputs are gathered from all hosts, so the
loss and the metrics are the whole batch's, by the same code; gradients are added up before they are
clipped and applied, so every host takes the same step; and host 0 decides and keeps the run.

Keras 3.15 can't `fit` a model that is made under `MultiWorkerMirroredStrategy`: it averages what a
step logs over an axis that these numbers don't have. And its optimizers clip each host's gradients
before they add them up. So here the strategy only gathers and adds up, within a step that is
Keras's otherwise.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from vggface_gender.base import device, files
from vggface_gender.base.errors import InputError
from vggface_gender.base.hosts import Lost
from vggface_gender.base.text import shortened
from vggface_gender.training import run
from vggface_gender.training.config import flattened

LONGEST = 60  # characters of a setting that differs


def share_steps(model: keras.Model) -> None:
    """Have a compiled model's training steps shared by the hosts; of a single host nothing changes.

    Batch normalization that is trained sees the whole batch. Dropout is each host's own.

    Args:
        model: its optimizer and its losses are built. What it is given in training is this host's
            part of each batch, which may be empty.
    """
    if device.hosts().count == 1:
        return
    for layer in _layers(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            layer.synchronized = True
    model.train_function = _train_function(model)  # which `fit` takes where there is one


def _train_function(model: keras.Model) -> Callable[[Iterator], Mapping]:
    """What takes this host's part of the next batch, and a step with all: logs of the whole batch.

    As Keras's, but for what is gathered and added up.
    """
    import tensorflow as tf

    mean_loss = next(metric for metric in model.metrics if metric.name == "loss")
    hosts, strategy = device.hosts(), device.strategy()

    def gradients(x, y, weights):
        with tf.GradientTape() as tape:
            outputs, y, weights = _gathered((model(x, training=True), y, weights))
            # That of the whole batch, on every host. Here Keras divides it by the number of hosts:
            # the gradient of what is gathered is their sum.
            loss = model.compute_loss(x, y, outputs, weights, training=True)
            scaled = model.optimizer.scale_loss(loss)
        variables = model.trainable_variables
        found = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, tape.gradient(scaled, variables)
        )
        found = [tf.ensure_shape(one, its.shape) for one, its in zip(found, variables, strict=True)]
        return found, loss * hosts.count, y, outputs, weights

    @tf.function(autograph=False)
    def step(data):
        found, loss, y, outputs, weights = strategy.run(gradients, args=data)
        model.optimizer.apply(found, model.trainable_variables)
        mean_loss.update_state(loss, sample_weight=tf.shape(next(iter(outputs.values())))[0])
        return model.compute_metrics(None, y, outputs, sample_weight=weights)

    return _or_lost(lambda batches: step(next(batches)))


def _gathered(values: Any) -> Any:
    """What all hosts have of some values, one host's rows after the other's.

    They go as one table: each gathering costs a round of messages, or several.

    Args:
        values: a structure of `float32` tensors (b, k) or (b,), of as many rows each.
    """
    import tensorflow as tf

    flat = tf.nest.flatten(values)
    columns = [tf.expand_dims(one, 1) if len(one.shape) == 1 else one for one in flat]
    widths = [column.shape[1] for column in columns]
    table = tf.concat(columns, axis=1)
    table = tf.distribute.get_replica_context().all_gather(table, axis=0)
    columns = tf.split(tf.ensure_shape(table, (None, sum(widths))), widths, axis=1)
    whole = [
        tf.squeeze(column, 1) if len(one.shape) == 1 else column
        for one, column in zip(flat, columns, strict=True)
    ]
    return tf.nest.pack_sequence_as(values, whole)


class FromFirst(keras.callbacks.Callback):
    """Begins every epoch with host 0's weights on all hosts.

    Other processors round otherwise, so that the same steps may come to differ in the last digits.
    """

    def on_train_begin(self, logs=None) -> None:
        """Make what copies them."""
        import tensorflow as tf

        variables = [*self.model.variables, *self.model.optimizer.variables]
        values = [one.value for one in variables if "float" in one.dtype]
        hosts, strategy = device.hosts(), device.strategy()

        def sent():
            sums = [tf.zeros_like(one) if hosts.index else tf.identity(one) for one in values]
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, sums)

        @tf.function(autograph=False)
        def copy():
            for value, firsts in zip(values, strategy.run(sent), strict=True):
                value.assign(firsts)

        self.copy = _or_lost(copy)

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        """Copy them."""
        self.copy()


def callbacks() -> list[keras.callbacks.Callback]:
    """What a training on several hosts calls besides."""
    return [FromFirst()] if device.hosts().count > 1 else []


def agree(settings: Mapping[str, Mapping]) -> None:
    """Refuse hosts that were started with other settings, or have other data.

    Args:
        settings: of the command's trainings, by their folders; data is in them as a fingerprint.

    Raises:
        InputError: it names a setting that differs.
    """
    everyones = device.hosts().gather(json.loads(json.dumps(settings)))
    first, *others = ({place: flattened(its) for place, its in each.items()} for each in everyones)
    for number, each in enumerate(others, start=1):
        for place, name in [(place, name) for place, its in first.items() for name in its]:
            its = each.get(place, {}).get(name)
            if its != (expected := first[place][name]):
                raise InputError(
                    f"host {number} has other settings or other data than host 0 ({name}: "
                    f"{shortened(str(its), LONGEST)}, not {shortened(str(expected), LONGEST)}): "
                    "give the same options and the same data on every host"
                )


@contextlib.contextmanager
def folder(place: Path, settings: Mapping) -> Iterator[Path]:
    """Where this host writes a training: host 0 the run's folder, another one that is thrown away.

    The other begins with what host 0 resumes from, so `place` has to be the same folder on both;
    where nothing is resumed it need not be.

    Args:
        place: the training's folder, which host 0 has begun.
        settings: as `run.begin` takes them.

    Raises:
        InputError: this or another host doesn't see the checkpoint that host 0 resumes from; or a
            host was lost meanwhile, and the line says from where the training will go on.
    """
    if device.hosts().count == 1:
        yield place
        return
    with contextlib.ExitStack() as stack:
        own = _copied(place, settings, stack)
        try:
            yield own
        except Lost as lost:
            raise InputError(f"{lost}, and {_from_where(place, own)}") from None


def _copied(place: Path, settings: Mapping, stack: contextlib.ExitStack) -> Path:
    """This host's folder, once all hosts have theirs."""
    hosts = device.hosts()
    seen = hosts.gather(run.epochs_kept(place))
    for number, its in enumerate(seen):
        if its != seen[0]:
            raise InputError(
                f"host {number} does not see the checkpoint in {place} that host 0 resumes from: "
                "model_files has to be one folder that all hosts share; or --overwrite the run"
            )
    if hosts.index:
        # A folder of our own there, since what killed ones left in it is swept.
        temporary = Path(tempfile.gettempdir(), f"vggface-gender-{os.getuid()}")
        own = stack.enter_context(files.aside(temporary))
        run.begin(own, settings)
        if seen[0]:
            shutil.copytree(run.checkpoint(place), run.checkpoint(own))
    else:
        own = place
    hosts.gather(None)  # until all have copied, host 0 may not go on
    return own


def _from_where(place: Path, own: Path) -> str:
    """From where a training will go on; the run's folder may be on another machine."""
    kept = run.epochs_kept(place) or run.epochs_kept(own)
    if not kept:
        return "it begins from the start, since no epoch was finished"
    phase, _, epoch = kept[-1].partition("/epoch-")
    return f"it goes on from the checkpoint of epoch {int(epoch)} of phase {phase}"


def _or_lost(function: Callable) -> Callable:
    """The function, whose failure is `Lost` where a host is gone."""

    def called(*args: Any) -> Any:
        import tensorflow as tf

        try:
            return function(*args)
        except tf.errors.OpError:
            if lost := device.hosts().lost():
                raise lost from None
            raise

    return called


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
