"""A training: the head on cached features; then, if asked, the backbone on augmented crops; a run.

Phase "head" trains the head alone on the frozen backbone's features, which are computed once. Phase
"backbone" continues with the backbone trained from a named layer on. What lies before that layer
may be computed once too, for a number of augmented views of every crop: every epoch then trains the
rest alone, on that many pictures of a face in place of endless ones.

Validation chooses the epoch and fits the temperatures; the test split is read once, at the end.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vggface_gender.base import device, files, locks, runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.hosts import Lost
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import features, records, sampling
from vggface_gender.datasets import mixes, splits
from vggface_gender.datasets.mixes import Mix
from vggface_gender.evaluation import board, card, few_examples, results
from vggface_gender.training import (
    classes,
    distillation,
    learning_rates,
    loop,
    multihost,
    phases,
    publishing,
    run,
    selection,
    space,
    tensorboard,
    tracking,
)
from vggface_gender.training.config import Config
from vggface_gender.training.examples import Examples, examples
from vggface_gender.training.network import Network
from vggface_gender.training.tracking import Tracked


class Plan(NamedTuple):
    """What a command makes of a dataset."""

    tasks: dict[str, tuple[str, ...]]  # with their label names
    settings: Mapping[str, Any]  # of `Config`, all but what `plan` fills in
    network: Callable[[Config], Network]  # makes what is trained
    init: Path | None = None  # the file of the classifier that it continues
    teachers: tuple[Path, ...] = ()  # the files of the classifiers that it learns from


class Training(NamedTuple):
    """One of the trainings of a command."""

    config: Config
    mix: Mix
    tasks: dict[str, tuple[str, ...]]
    network: Callable[[Config], Network]
    init: Path | None
    teachers: tuple[Path, ...]


def plan(
    each: Mapping[str, run.Training],
    *,
    data: Mapping[str, Any],
    configure: Callable[[Mix], Plan],
) -> dict[str, Training]:
    """The trainings of a command, every dataset prepared once for each of its splits.

    Args:
        each: see `run.trainings`.
        data: the dataset, as arguments of `mixes.prepare`; but for how it is split.
        configure: what is made of it.

    Raises:
        InputError: a split is missing, there are fewer images than a batch takes, or all have one
            label of a task.
    """
    planned: dict[tuple, tuple[Mix, Plan, dict]] = {}
    trainings = {}
    for place, one in each.items():
        split = one.split_seed, one.fold
        if split not in planned:
            mix = mixes.prepare(**{**data, "seed": one.split_seed, "fold": one.fold})
            its = configure(mix)
            _check_size(mix, its.settings)
            distillation.check(its.teachers, mix, tasks=its.tasks)
            planned[split] = mix, its, _labels(mix, its.tasks)
        mix, its, labels = planned[split]
        config = Config(
            **its.settings,
            **one._asdict(),
            tasks=tuple(its.tasks),
            dataset=mix.name,
            align=data.get("align", "never"),
            fingerprint=mix.fingerprint,
            counts=dict(mix.counts),
            labels=labels,
            teachers=distillation.about(its.teachers),
        )
        trainings[place] = Training(config, mix, its.tasks, its.network, its.init, its.teachers)
    return trainings


def _labels(mix: Mix, tasks: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, int]]:
    """The training examples of each label; those with few are printed.

    Raises:
        InputError: a task has one label alone.
    """
    found = classes.counts(mix, tasks)
    classes.check(mix.name, found)
    for task, few in few_examples.few(found).items():
        print(f"{task}: {few_examples.describe(few)}")
    return found


def _check_size(mix: Mix, settings: Mapping[str, Any]) -> None:
    """Refuse what is too small, before anything is written.

    Raises:
        InputError: a split is missing, or there are fewer images than a batch takes.
    """
    if missing := [split for split in splits.SPLITS if split not in mix.counts]:
        raise InputError(f"{mix.name} has too few images for a {missing[0]} split")
    for part in mix.parts:
        if lacking := [split for split in splits.SPLITS if split not in part.dataset.counts]:
            print(f"{part.dataset.name} has no {' and no '.join(lacking)} split")
    count, batch_size = mix.counts["train"], settings.get("batch_size", 1)
    if batch_size < (hosts := device.hosts().count):
        raise InputError(
            f"a batch of {batch_size} can't be shared by {hosts} hosts: give a --batch-size of at "
            f"least {hosts}, which is that of all together"
        )
    if settings.get("drop_remainder") and count < batch_size:
        raise InputError(
            f"{mix.name} has {count} images to train on, fewer than a batch of {batch_size}: give "
            f"a --batch-size of at most {count}"
        )


def train_all(
    trainings: Mapping[str, Training],
    folder: Path,
    *,
    cache: Path,
    overwrite: bool = False,
    track: str | None = None,
) -> None:
    """Train each, each in a folder of its own, and write the spread of several.

    What each reaches is printed as it is done. Of several hosts (`device.hosts`) host 0 writes, and
    the others take part in the training.

    Args:
        trainings: by the folder of each within the run's; "" for a single one.
        folder: the run's.
        cache: where features are kept.
        overwrite: replace a run of other settings.
        track: what keeps the experiment, too (see `tracking.connected`).

    Raises:
        InputError: a folder holds something else, or another process trains this run; what is to
            keep the experiment can't be reached; see `train`.
    """
    hosts = device.hosts()
    multihost.agree({place: training.config.settings() for place, training in trainings.items()})
    if hosts.index:
        for place in hosts.first(None):
            settings = trainings[place].config.settings()
            with multihost.folder(folder / place, settings) as own:
                fit(trainings[place], own, cache=cache, tested=True)
        hosts.first(None)  # until the run is written
        return
    with locks.held(folder, wait=False):
        tracker = tracking.connected(track, runs.MODEL_FILES)
        # Of several that were not all finished, those that were need not be trained again.
        is_resumed = len(trainings) > 1 and not (folder / results.SUMMARY).exists()
        finished = {
            place
            for place, training in trainings.items()
            if is_resumed and run.is_finished(folder / place, training.config.settings())
        }
        for place in trainings.keys() - finished:
            settings = trainings[place].config.settings()
            run.begin(folder / place, settings, overwrite=overwrite)
        hosts.first([place for place in trainings if place not in finished])
        with tracking.grouped(tracker, folder, several=len(trainings) > 1) as group:
            for place, training in trainings.items():
                if place in finished:
                    files.sweep(folder / place)  # what a kill at its very end left
                    print(f"{folder / place} is finished already")
                    continue
                settings = training.config.settings()
                with tracking.tracked(group, folder / place, settings=settings) as tracked:
                    train(training, folder / place, cache=cache, tracked=tracked)
                print(f"run: {folder / place}")
            if len(trainings) > 1:
                summary = results.summary(folder, [folder / place for place in trainings])
                spread = results.describe_summary(summary)
                print(f"\n{spread}\nsummary: {folder / results.SUMMARY}")
                group.keep(results.means(summary), [folder / results.SUMMARY])
    with contextlib.suppress(Lost):  # the run is written, whoever is gone
        hosts.first(None)


def train(training: Training, folder: Path, *, cache: Path, tracked: Tracked) -> None:
    """Train, test on each dataset's test split, and write the run.

    Args:
        folder: the run's, begun.
        cache: where features are kept.
        tracked: takes the history as it grows, and in the end the figures.

    Raises:
        InputError: see `fit`.
    """
    with multihost.folder(folder, training.config.settings()):
        fitted = fit(training, folder, cache=cache, tested=True, watch=tracked.show)
    publishing.publish(
        fitted.network,
        fitted.config,
        known=fitted.known,
        init=training.init,
        teachers=training.teachers,
        tasks=training.tasks,
        folder=folder,
        cache=cache,
    )
    figures: dict[str, float] = {}
    by_group: dict[str, float] = {}
    if fitted.history is not None:
        reached = validated(fitted.history, training.tasks)
        figures = {f"validation/{name}": value for name, value in reached.items()}
    tested = publishing.metrics_paths(training.mix, folder)
    for label, path in tested.items():
        called = "test" if path.name == runs.METRICS else f"test on {label}"
        figures |= board.scalars(runs.figures(path), called=called)
        by_group |= board.by_group(runs.figures(path), called=called)
    log_hparams(training, figures, folder=folder)
    tracked.keep(figures | by_group, [*tested.values(), *_small(folder)])
    run.end(folder)


def validated(history: pd.DataFrame, tasks: Collection[str]) -> dict[str, float]:
    """What the epoch that is kept validates: `loss`, a `score` that chose it, every task's figures.

    Args:
        history: of all phases.
        tasks: that were learned.
    """
    reached = selection.best(history)
    found = {}
    for name in history:
        if name.startswith("val_") and pd.notna(reached[name]):
            figure = name.removeprefix("val_")
            # Of a single task Keras leaves the task's name out.
            if len(tasks) == 1 and figure not in ("loss", "score"):
                figure = f"{next(iter(tasks))}_{figure}"
            found[figure] = float(reached[name])
    return found


def log_hparams(training: Training, figures: Mapping[str, float], *, folder: Path) -> None:
    """Write what TensorBoard compares runs by: settings, the loss, and every task's score.

    Its page shows the first five figures by name; all of them are elsewhere.
    """
    named = ("loss", "score", *(f"{task}_{TASKS[task].score}" for task in training.tasks))
    scores = {name: value for name, value in figures.items() if name.rpartition("/")[2] in named}
    logs = folder / runs.TENSORBOARD / "hparams"
    settings = training.config.settings()
    tensorboard.log_hparams(settings, scores, folder=logs, name=run.name(folder))


def _small(folder: Path) -> list[Path]:
    """What of a run takes little room: all but its classifier, its predictions and hashes."""
    names = ("config.json", loop.HISTORY, card.CARD)
    return [folder / name for name in names if (folder / name).is_file()]


class Fitted(NamedTuple):
    """A network that was trained, before it is tested."""

    network: Network
    config: Config  # what was trained of it: of the head alone, "none" of the backbone
    known: Examples  # that it was trained on
    history: pd.DataFrame | None  # of all phases (see `loop.fit`); None where nothing was trained


def fit(
    training: Training,
    folder: Path,
    *,
    cache: Path,
    tested: bool = False,
    watch: loop.Watch | None = None,
) -> Fitted:
    """Train, and keep what validates best; no test split is read.

    Args:
        folder: the run's, begun.
        cache: where features are kept.
        tested: whether the test splits' features will be wanted, too, so need room.
        watch: takes the history after every epoch.

    Raises:
        InputError: a split has no labels of a task; fewer images than a batch takes have labels;
            the loss is not finite; the disk has no room for the checkpoints.
    """
    config, mix = training.config, training.mix
    network, known, held_out = _begun(training)
    space.require(folder, config, **network._asdict())
    logs = folder / runs.TENSORBOARD
    first = records.batches(
        mix.parts[0].dataset,
        "train",
        batch_size=32,
        size=network.backbone.input_shape[1],
        padding=config.padding,
    )
    tensorboard.log_images(
        next(iter(first))["image"].numpy(), "crops, train", folder=logs / "crops"
    )

    given: dict[str, Any] = {
        "known": known,
        "held_out": held_out,
        "draw": _draws(config, known),
        "folder": folder,
        "cache": cache,
        "watch": watch,
    }
    history = None
    if config.head_epochs:
        wanted = [*known.wanted(), *held_out.wanted()]
        if tested:
            wanted.append(publishing.wanted(config, mix))
        features.reserve(
            itertools.chain(*wanted),
            backbone=network.backbone,
            padding=config.padding,
            directory=cache,
        )
        history = phases.train_head(config, network, **given)
    if config.unfreeze != "none":
        history = phases.train_backbone(config, network, history=history, **given)
    kept = run.keep(folder, history)
    if kept != "backbone":  # the classifier is the head on the backbone as it was
        config = dataclasses.replace(config, unfreeze="none", views=0)
    return Fitted(network, config, known, history)


def find_learning_rate(training: Training, folder: Path, *, cache: Path) -> pd.DataFrame:
    """Try learning rates in the phase that is trained last, after the head where there are two.

    Args:
        folder: where `learning_rates.csv` and `learning_rates.png` are written.
        cache: where features are kept.

    Returns:
        See `learning_rates.range_test`.

    Raises:
        InputError: see `fit`.
    """
    config = training.config
    network, known, held_out = _begun(training)
    given: dict[str, Any] = {
        "known": known,
        "held_out": held_out,
        "draw": _draws(config, known),
        "cache": cache,
    }
    if config.head_epochs and config.unfreeze != "none":
        with files.aside(folder) as aside:
            phases.train_head(config, network, folder=aside, **given)
    curve = phases.range_test(config, network, **given)
    learning_rates.write(curve, folder)
    return curve


def _begun(training: Training) -> tuple[Network, Examples, Examples]:
    """A network to train, what it is trained on, and what it is validated on."""
    config, mix, tasks = training.config, training.mix, training.tasks
    known, held_out = (
        examples(mix, split, tasks=tasks, group_loss=config.group_loss)
        for split in ("train", "validation")
    )
    if config.drop_remainder and len(known) < config.batch_size:
        raise InputError(
            f"{mix.name} has {len(known)} images with labels to train on, fewer than a batch of "
            f"{config.batch_size}: lower the batch size"
        )
    network = training.network(config)
    phases.require_layer(config, network.backbone)
    known = distillation.taught(known, training.teachers, tasks=tasks, share=config.teacher_share)
    return network, known, held_out


def _draws(config: Config, known: Examples) -> np.ndarray | None:
    """How often each example is drawn; what that does to the counts is printed."""
    if config.balance is None:
        return None
    by, copies = sampling.parse_balance(config.balance)
    draw = sampling.factors(known.truth, by, copies=copies)
    print(f"{sampling.describe(known.truth, draw, by=by, draws=len(known))}\n")
    return draw
