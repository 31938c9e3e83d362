"""What is trained: a backbone and a head, new or continued from a classifier."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import keras

from vggface_gender import backbones
from vggface_gender.base import device, labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import mixes
from vggface_gender.datasets.mixes import Mix
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier
from vggface_gender.training import heads
from vggface_gender.training.config import Config


class Network(NamedTuple):
    """The two parts of a classifier, sharing nothing but the features between them."""

    backbone: keras.Model
    head: keras.Model  # see `heads`


def new(
    config: Config,
    tasks: Mapping[str, tuple[str, ...]],
    *,
    backbone: keras.Model | None = None,
) -> Network:
    """The backbone that a training names, and a new head.

    Args:
        tasks: task to label names.
        backbone: the backbone where it is loaded already, as several trainings of one command that
            leave it frozen do.
    """
    keras.utils.set_random_seed(config.seed)  # whatever was or was not found in the cache
    with device.scope(config.distribute):
        if backbone is None:
            backbone = backbones.load(
                config.backbone, precision=config.precision, layer=config.layer
            )
        return Network(backbone, _head(config, backbone, tasks))


def continued(config: Config, tasks: Mapping[str, tuple[str, ...]], *, path: Path) -> Network:
    """A classifier's backbone, and its head, or a new one where any task needs a new layer.

    A shared layer that was trained for other tasks would be thrown off by the first steps of new
    layers, so then the whole head is new.

    Args:
        tasks: task to label names.
        path: the classifier's file.
    """
    with device.scope(config.distribute):
        backbone, head = classifier.load(path, config.precision).parts()
        keras.utils.set_random_seed(config.seed)
        if config.fresh:
            head = _head(config, backbone, tasks)
        else:
            head = keras.Model(head.input, {task: head.output[task] for task in tasks}, name="head")
    return Network(backbone, head)


def joined(backbone: keras.Model, head: keras.Model, *, batch_norm: str) -> keras.Model:
    """Backbone, or the top of one, and head as one model to train.

    Args:
        batch_norm: "frozen" or "adapted": whether the backbone's batch normalization stays as it
            is, statistics, scale and shift.
    """
    if batch_norm == "frozen":
        # Not by calling the backbone with training=False: within a functional model Keras 3.15 puts
        # the outer call's argument in the place of that one.
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    inputs = keras.Input(backbone.input_shape[1:], dtype=backbone.inputs[0].dtype, name="input")
    return keras.Model(inputs, head(backbone(inputs)), name="tuned")


def learned_from(initial: Classifier) -> list[str]:
    """All that a classifier learned from, datasets and mixes, the first first."""
    dataset = initial.about.get("dataset")
    return [*initial.about.get("before", ()), *([dataset] if dataset else ())]


def seen(initial: Classifier, dataset: str) -> list[str]:
    """The datasets of a mix that a classifier learned from already."""
    known = {name for text in learned_from(initial) for name in mixes.names(text)}
    return [name for name in mixes.names(dataset) if name in known]


class Choice(NamedTuple):
    """What a continued classifier learns of a dataset."""

    tasks: dict[str, tuple[str, ...]]  # with the names that it will have
    fresh: tuple[str, ...]  # those whose layer is new
    notes: tuple[str, ...]  # a line a task, for people


def choose(
    initial: Classifier, mix: Mix, *, wanted: Sequence[str] | None = None, replace: bool = False
) -> Choice:
    """The tasks that a classifier continues with on a dataset, and which of them need a new layer.

    Args:
        wanted: the tasks; None for all of the classifier's that the dataset has labels of.
        replace: the whole head is to be new.

    Raises:
        InputError: the dataset has no labels of a wanted task, or of any.
    """
    tasks, fresh, notes = {}, [], []
    for task in wanted or initial.tasks:
        try:
            names = mix.classes(task)
        except InputError:
            if wanted:
                raise
            notes.append(f"{task}: {mix.name} has no such labels; left out")
            continue
        known = initial.tasks.get(task)
        tasks[task], note = (names, None) if known is None or replace else _mapped(names, known)
        if note is None:
            fresh.append(task)
            note = "a new head"
            if known is not None and not replace:
                note += f", since the classifier's has no name for every label: {names}"
        notes.append(f"{task}: {note}")
    if 0 < len(fresh) < len(tasks):
        notes.append("the tasks share a layer, so all of the head is new")
    if not tasks:
        raise InputError(
            f"{mix.name} has labels of none of the classifier's tasks "
            f"({', '.join(initial.tasks)}): name others"
        )
    return Choice(tasks, tuple(fresh), tuple(notes))


def _mapped(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """A dataset's labels in a classifier's names, and what is said of it; None: they can't be."""
    if names == known:
        return known, "the classifier's head is kept"
    into = labels.project(names, known)
    if None in into.values():
        return names, None
    pairs = ", ".join(f"{name} to {other}" for name, other in into.items() if name != other)
    return known, f"the classifier's head is kept; mapped: {pairs}"


def _head(
    config: Config, backbone: keras.Model, tasks: Mapping[str, tuple[str, ...]]
) -> keras.Model:
    return heads.build(
        config.head,
        backbone.output_shape[1:],
        tasks=tasks,
        age=config.age_head,
        dropout=config.dropout,
    )
