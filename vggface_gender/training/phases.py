"""The two phases of a training: the head alone, then the network from one of its layers on."""

import collections
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from vggface_gender import backbones
from vggface_gender.base import device, runs
from vggface_gender.data import batches, features, sampling
from vggface_gender.training import (
    heads,
    learning_rates,
    loop,
    losses,
    multihost,
    optimizers,
    selection,
    tensorboard,
)
from vggface_gender.training import network as networks
from vggface_gender.training.config import Config
from vggface_gender.training.examples import Examples
from vggface_gender.training.network import Network

VALIDATION_BATCH = {"head": 256, "backbone": 64}
_APART = 10_000  # the seeds of two hosts' dropout, so that they leave out other units


def require_layer(config: Config, backbone: keras.Model) -> None:
    """Refuse a second phase that can't begin where it is to, before the first is trained.

    Raises:
        InputError: no such layer, or with views, the backbone can't be cut before it.
    """
    if config.unfreeze in ("all", "none"):
        return
    begin = backbones.split if config.views else backbones.freeze_before
    begin(backbone, config.unfreeze)


def train_head(
    config: Config,
    network: Network,
    *,
    known: Examples,
    held_out: Examples,
    draw: np.ndarray | None,
    folder: Path,
    cache: Path,
    watch: loop.Watch | None = None,
) -> pd.DataFrame:
    """Train the head on the frozen backbone's features; the best epoch's weights are kept in it.

    Args:
        known, held_out: of train and of validation.
        draw: how often each example is drawn (see `sampling.epoch`); None for all alike.
        folder: the run's.
        cache: where features are kept.
        watch: takes the history after every epoch.

    Returns:
        The history (see `loop.fit`).
    """
    read, validate = _head_features(config, network, known=known, held_out=held_out, cache=cache)
    with device.scope(config.distribute):
        compile(
            network.head,
            config,
            steps=_steps(config, known) * _passes(config, known) * config.head_epochs,
            learning_rate=config.head_learning_rate,
            schedule=config.head_schedule,
        )
    if _passes(config, known) > 1:
        rng = np.random.default_rng(config.seed)
        parts = np.array_split(
            np.arange(len(known)), math.ceil(len(known) / VALIDATION_BATCH["head"])
        )
        heads.begin_normalization(network.head, (read(rows, rng) for rows in parts))
    return _fit(
        config,
        network.head,
        "head",
        known=known,
        held_out=held_out,
        read=read,
        validate=validate,
        draw=draw,
        folder=folder,
        epochs=config.head_epochs,
        patience=config.head_patience,
        watch=watch,
    )


def train_backbone(
    config: Config,
    network: Network,
    *,
    known: Examples,
    held_out: Examples,
    draw: np.ndarray | None,
    folder: Path,
    cache: Path,
    history: pd.DataFrame | None,
    watch: loop.Watch | None = None,
) -> pd.DataFrame:
    """Train the network from one of the backbone's layers on; the best weights are kept in it.

    Where every epoch validates worse than the head alone did, the network is left as it began. A
    classifier that is continued without a phase of the head is trained on in any case; that it
    validated better is printed.

    Args:
        known, held_out, draw, folder, cache, watch: see `train_head`.
        history: of the phase before.

    Returns:
        The history of both (see `loop.fit`); `is_best` is false in all of this phase's rows where
        nothing of it is kept.
    """
    began = [] if history is None else [part.get_weights() for part in network]
    top, read, validate = _unfrozen(config, network, known=known, held_out=held_out, cache=cache)
    if top is network.backbone:
        rows = sampling.epoch(draw, len(known), seed=config.seed, number=0)[:32]
        crops = read(rows, np.random.default_rng(config.seed))
        logs = folder / runs.TENSORBOARD / "augmented"
        tensorboard.log_images(crops, "crops as trained on", folder=logs)
    is_plateau = config.schedule == "plateau"
    with device.scope(config.distribute):
        model = networks.joined(top, network.head, batch_norm=config.batch_norm)
        compile(
            model,
            config,
            steps=_steps(config, known) * _passes(config, known) * config.epochs,
            learning_rate=config.learning_rate,
            schedule="constant" if is_plateau else config.schedule,
            multipliers=multipliers(config, network.backbone),
        )
    history = _fit(
        config,
        model,
        "backbone",
        known=known,
        held_out=held_out,
        read=read,
        validate=validate,
        draw=draw,
        folder=folder,
        epochs=config.epochs,
        patience=config.patience,
        plateau=loop.Plateau() if is_plateau else None,
        before=history,
        watch=watch,
    )
    if not history[history.phase == "backbone"].is_best.any():
        for part, weights in zip(network, began, strict=True):
            part.set_weights(weights)
    return history


def range_test(
    config: Config,
    network: Network,
    *,
    known: Examples,
    held_out: Examples,
    draw: np.ndarray | None,
    cache: Path,
) -> pd.DataFrame:
    """The losses of the last phase's first steps, each at a greater learning rate.

    The network is no longer of use afterwards.

    Args:
        known, held_out, draw, cache: see `train_head`.

    Returns:
        See `learning_rates.range_test`; the rates are those of `Config.learning_rate`.
    """
    its: dict[str, Any] = {"known": known, "held_out": held_out, "cache": cache}
    config = dataclasses.replace(config, ema=0.0)
    rates, scale = learning_rates.RATES, 1.0
    options: dict[str, Any] = {
        "steps": len(rates),
        "learning_rate": rates[0],
        "schedule": "constant",
    }
    if config.unfreeze == "none":
        scale = config.head_learning_rate / config.learning_rate
        model, (read, _) = network.head, _head_features(config, network, **its)
    else:
        top, read, _ = _unfrozen(config, network, **its)
        model = networks.joined(top, network.head, batch_norm=config.batch_norm)
        options["multipliers"] = multipliers(config, network.backbone)
    compile(model, config, **options)
    return learning_rates.range_test(
        model,
        _training_batches(config, read, known=known, draw=draw)(0),
        rates=rates,
        scale=scale,
    )


def _head_features(
    config: Config, network: Network, *, known: Examples, held_out: Examples, cache: Path
) -> tuple[batches.Reader, batches.Reader]:
    """Readers of what the head alone is trained on and validated on."""
    return tuple(  # type: ignore[return-value]
        part.features(network.backbone, padding=config.padding, cache=cache)
        for part in (known, held_out)
    )


def _unfrozen(
    config: Config, network: Network, *, known: Examples, held_out: Examples, cache: Path
) -> tuple[keras.Model, batches.Reader, batches.Reader]:
    """What of the backbone is trained with the head, frozen before the layer that is named.

    Returns:
        The backbone, with readers of crops to train on and to validate on; or, with views, the part
        of it that is trained, with readers of what the part before gives.
    """
    backbone = network.backbone
    first = None if config.unfreeze == "all" else config.unfreeze
    backbones.freeze_before(backbone, first)
    if config.views and first is not None:
        trunk, top = backbones.split(backbone, first)
        wanted = [*known.wanted(config.views), *held_out.wanted()]
        kept: dict[str, Any] = {"padding": config.padding, "dtype": "float16"}
        augmented: dict[str, Any] = {"amounts": config.amounts, **kept}
        features.reserve(itertools.chain(*wanted), backbone=trunk, directory=cache, **augmented)
        read = known.features(trunk, cache=cache, views=config.views, **augmented)
        return top, read, held_out.features(trunk, cache=cache, **kept)
    size = backbone.input_shape[1]
    read = known.crops(size, padding=config.padding, amounts=config.amounts)
    return backbone, read, held_out.crops(size, padding=config.padding, amounts=None)


def compile(
    model: keras.Model,
    config: Config,
    *,
    steps: int,
    learning_rate: float,
    schedule: str,
    multipliers: Mapping[str, float] | None = None,
) -> None:
    """Give a model the optimizer and the losses of a phase.

    Args:
        steps: of the whole phase.
        learning_rate, schedule: the phase's (see `optimizers.adamw`).
        multipliers: of the learning rate by layer.
    """
    # By default the weights' average reaches back over a tenth of the steps: an average over much
    # of a short training would keep what was unlearnt.
    ema = max(0.0, min(0.998, 1 - 10 / steps)) if config.ema is None else config.ema
    optimizer = optimizers.adamw(
        learning_rate,
        steps,
        multipliers=multipliers or {},
        warmup=config.warmup,
        weight_decay=config.weight_decay,
        clip=config.clip,
        ema=ema,
        schedule=schedule,
    )
    losses.compile(
        model, optimizer, weights=config.loss_weights, label_smoothing=config.label_smoothing
    )
    multihost.share_steps(model)


def multipliers(config: Config, backbone: keras.Model) -> dict[str, float]:
    """Shares of the learning rate by layer, as `optimizers.DepthAdamW` takes them."""
    shares = config.multipliers
    whole = shares.get("backbone", 1.0)
    by_layer = {
        f"{name}/": whole * config.layer_decay**behind
        for name, behind in convolutions_behind(backbone).items()
    }
    by_layer["shared/"] = shares.get("shared", 1.0)
    return by_layer | {task: shares.get(task, 1.0) for task in config.tasks}


def convolutions_behind(backbone: keras.Model) -> dict[str, int]:
    """Of every layer with weights: how many with a kernel, or the like, lie behind it.

    A normalization counts with the layer before it. Of networks side by side each counts its own.
    """
    names = [layer.name for layer in backbone.layers if layer.weights]
    behind, counts = {}, collections.Counter[str]()
    for name in reversed(names):
        network = name.partition(".")[0] if "." in name else ""
        behind[name] = counts[network]
        counts[network] += any(len(each.shape) > 1 for each in backbone.get_layer(name).weights)
    return {name: behind[name] for name in names}


def _fit(
    config: Config,
    model: keras.Model,
    phase: str,
    *,
    known: Examples,
    held_out: Examples,
    read: batches.Reader,
    validate: batches.Reader,
    draw: np.ndarray | None,
    folder: Path,
    before: pd.DataFrame | None = None,
    **options,
) -> pd.DataFrame:
    """Fit a compiled model on what `read` gives; `options` are those of `loop.fit`.

    A phase "backbone" whose best epoch validates worse than the phase before has no epoch that
    `is_best` in the history: the weights are for the caller to put back.
    """
    each, passes = _steps(config, known), _passes(config, known)

    def describe(epoch: int, place: int) -> str:
        number, place = divmod(epoch * each * passes + place, each)
        rows = _order(config, number, count=len(known), draw=draw)
        rows = rows[place * config.batch_size :][: config.batch_size]
        return f"{known.truth.name.iloc[rows[0]]} and {len(rows) - 1} others"

    validation = batches.fixed_batches(
        validate,
        targets=held_out.targets,
        weights=held_out.weights,
        batch_size=device.even(
            VALIDATION_BATCH[phase], count=len(held_out), distribute=config.distribute
        ),
    )
    score = selection.scorer(config.select, model, validation=validation, held_out=held_out)
    start = None
    if phase == "backbone":
        start = (
            selection.validated(model, validation, score=score)
            if before is None
            else selection.best(before).to_dict()
        )
    if passes > 1:
        print(
            f"{phase}: {len(known):,} images are {each} step{'s' * (each > 1)} of "
            f"{config.batch_size}: an epoch passes over them {passes} times"
        )
    hosts = device.hosts()
    history = loop.fit(
        model,
        _training_batches(config, read, known=known, draw=draw),
        steps=each * passes,
        validation=validation,
        folder=folder,
        seed=config.seed + _APART * hosts.index,
        phase=phase,
        before=before,
        score=score,
        agree=hosts.first if hosts.count > 1 else None,
        callbacks=multihost.callbacks(),
        extras=lambda: _learning_rates(model.optimizer, config),
        describe=describe,
        **options,
    )
    done = history[history.phase == phase]
    best = selection.best(done)
    said = (
        f"{phase}: best of {len(done)} epochs: {best.epoch}, validation {selection.reached(best)}"
    )
    if start is None or selection.cost(best) <= selection.cost(start):
        print(f"{said}\n")
        return history
    said += f", worse than the {selection.reached(start)} of"
    if before is None:
        print(f"{said} the classifier that it began with\n")
        return history
    print(f"{said} the head alone, which is kept\n")
    history.loc[history.phase == phase, "is_best"] = False
    loop.write_history(history, folder)
    return history


def _training_batches(
    config: Config, read: batches.Reader, *, known: Examples, draw: np.ndarray | None
) -> Callable[[int], Iterable]:
    """What gives an epoch's batches and those after it, as `loop.fit` takes it."""
    passes = _passes(config, known)
    hosts = device.hosts()

    def training_batches(first: int) -> Iterable:
        return batches.training_batches(
            read,
            lambda epoch: _order(config, epoch, count=len(known), draw=draw),
            targets=known.targets,
            weights=known.weights,
            batch_size=config.batch_size,
            seed=config.seed,
            first_epoch=first * passes,
            mixup=config.mixup,
            drop_remainder=config.drop_remainder,
            share=(hosts.index, hosts.count),
        )

    return training_batches


def _order(config: Config, epoch: int, *, count: int, draw: np.ndarray | None) -> np.ndarray:
    """The examples of an epoch, in its order."""
    if config.order == "shuffled":
        return sampling.shuffled(count, seed=config.seed, number=epoch)
    return sampling.epoch(draw, count, seed=config.seed, number=epoch)


def _steps(config: Config, known: Examples) -> int:
    """Batches of a pass over the examples."""
    whole, rest = divmod(len(known), config.batch_size)
    return whole + (rest > 0 and not config.drop_remainder)


def _passes(config: Config, known: Examples) -> int:
    """Passes over the examples in an epoch."""
    return math.ceil(config.least_steps / _steps(config, known))


def _learning_rates(optimizer: keras.Optimizer, config: Config) -> dict[str, float]:
    """The learning rates by depth as they are now, for the history and TensorBoard."""
    base = float(optimizer.learning_rate)
    shares = config.multipliers if getattr(optimizer, "multipliers", None) else {}
    by_part = {f"learning_rate_{part}": base * share for part, share in shares.items()}
    return {"learning_rate": base} | by_part
