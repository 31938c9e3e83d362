"""What a training leaves: the calibrated classifier, its predictions on test, their metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vggface_gender.base import labels, runs
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import features, records
from vggface_gender.data.features import Wanted
from vggface_gender.datasets import Dataset, splits
from vggface_gender.datasets.mixes import Mix
from vggface_gender.evaluation import (
    calibration,
    metrics,
    overlap,
    predictions,
    provenance,
    results,
    trained_on,
)
from vggface_gender.evaluation.trained_on import Learned
from vggface_gender.inference import classifier, decoding
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import prints
from vggface_gender.training.config import Config
from vggface_gender.training.examples import Examples
from vggface_gender.training.network import Network

BATCH_SIZE = 256  # features that go through the head at once


def publish(
    network: Network,
    config: Config,
    *,
    known: Examples,
    init: Path | None = None,
    teachers: Sequence[Path] = (),
    tasks: Mapping[str, tuple[str, ...]],
    folder: Path,
    cache: Path,
) -> dict:
    """Write the calibrated classifier and what it reaches on each dataset's test split.

    Args:
        network: trained.
        known: the examples that it was trained on.
        init: the file of the classifier that it continues.
        teachers: the files of those that it learned from.
        tasks: task to label names.
        folder: the run's.
        cache: where features are kept.

    Returns:
        The first dataset's metrics; they are written last, since they say that the run is finished.
    """
    mix = known.mix
    trained = _calibrated(network, config, mix, tasks, cache)
    path = folder / runs.CLASSIFIER
    classifier.save(trained, path)
    learned = _learned(known)
    for before in filter(None, (init, *teachers)):
        learned = trained_on.continued(learned, before)
    trained_on.write(learned, path)
    figures = {}
    paths = metrics_paths(mix, folder)
    for dataset in reversed(_tested(mix)):
        for split in _published(config):
            truth, outputs = _predicted(trained, network, config, dataset, split, cache)
            table = predictions.table(
                truth.name,
                truth[list(labels.TASKS)],
                outputs=outputs,
                tasks=tasks,
                overlap=trained_on.marks(path, dataset, split=split),
            )
            made_by = provenance.made_by(path, dataset, split=split)
            if split == "test":
                figures = results.publish(
                    table,
                    dataset=dataset,
                    split=split,
                    folder=folder,
                    metrics_path=paths[dataset.label],
                    made_by=made_by,
                    learned_from=trained_on.about(path, dataset, split=split),
                )
                print(metrics.report(figures))
            else:
                where = predictions.place(
                    folder, dataset, split=split, made_by=made_by, table=table
                )
                predictions.write(table, where, made_by=made_by)
    return figures


def metrics_paths(mix: Mix, folder: Path) -> dict[str, Path]:
    """Where a run's metrics on each dataset's test split lie, by the dataset's label."""
    first, *others = (dataset.label for dataset in _tested(mix))
    return {first: folder / runs.METRICS} | {
        label: folder / f"metrics-{label}-test.json" for label in others
    }


def wanted(config: Config, mix: Mix) -> list[Wanted]:
    """The cached features that `publish` reads."""
    if not _is_of_features(config):
        return []
    return [Wanted(dataset, split) for dataset in _tested(mix) for split in _published(config)]


def _tested(mix: Mix) -> list[Dataset]:
    return [part.dataset for part in mix.parts if "test" in part.dataset.counts]


def _published(config: Config) -> tuple[str, ...]:
    """The splits whose predictions are kept: of folds, whose results are a table of all, all."""
    return splits.SPLITS if config.fold else ("test",)


def _learned(known: Examples) -> Learned:
    """What the images that were trained on, and those that chose the epoch, are recognized by."""
    parts, chosen = [], [prints.NONE.digests]
    for place, part in enumerate(known.mix.parts):
        rows = known.row[known.part == place]
        parts.append(overlap.of_split(part.dataset, known.split, rows=rows))
        if "validation" in part.dataset.counts:
            chosen.append(overlap.of_split(part.dataset, "validation").digests)
    return Learned(prints.joined(parts), np.concatenate(chosen))


def _calibrated(
    network: Network,
    config: Config,
    mix: Mix,
    tasks: Mapping[str, tuple[str, ...]],
    cache: Path,
) -> Classifier:
    """The network as a classifier, its temperatures fitted on every validation split together."""
    kept = ("backbone", "layer", "dataset", "align", "unfreeze", "before", "teachers")
    about = {key: value for key in kept if (value := getattr(config, key)) not in (None, ())}
    trained = classifier.build(
        network.backbone,
        network.head,
        tasks=tasks,
        padding=config.padding,
        precision=config.precision,
        about=about,
        mirror=config.mirror,
    )
    scored = [task for task in tasks if TASKS[task].is_classification]
    if not scored:
        return trained
    parts = [
        _scored(trained, network, config, part.dataset, "validation", cache)
        for part in mix.parts
        if "validation" in part.dataset.counts
    ]
    truth = pd.concat([truth for truth, _ in parts], ignore_index=True)
    logits = {task: np.concatenate([outputs[task] for _, outputs in parts]) for task in scored}
    return classifier.calibrated(trained, calibration.temperatures(truth, logits, tasks=tasks))


def _predicted(
    trained: Classifier,
    network: Network,
    config: Config,
    dataset: Dataset,
    split: str,
    cache: Path,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """What `classifier.classify` gives, from cached features where the backbone is as it was."""
    if not _is_of_features(config):
        return classifier.classify(trained, dataset, split=split)
    truth, outputs = _scored(trained, network, config, dataset, split, cache)
    answers = decoding.answers([outputs], trained.temperatures)
    return truth, {task: np.asarray(answer) for task, answer in answers.items()}


def _scored(
    trained: Classifier,
    network: Network,
    config: Config,
    dataset: Dataset,
    split: str,
    cache: Path,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The labels of a split and the head's outputs."""
    if not _is_of_features(config):
        return classifier.classify(classifier.scoring(trained), dataset, split=split)
    inputs = features.extract(
        dataset, split, backbone=network.backbone, padding=config.padding, directory=cache
    )
    # Not `head.predict`, which takes an array, so all features at once.
    starts = range(0, len(inputs), BATCH_SIZE)
    parts = [network.head.predict_on_batch(inputs[at : at + BATCH_SIZE]) for at in starts]
    outputs = {task: np.concatenate([part[task] for part in parts]) for task in parts[0]}
    return records.labels(dataset, split), outputs


def _is_of_features(config: Config) -> bool:
    """Whether the classifier is the head alone on features that are cached."""
    return config.unfreeze == "none" and not config.mirror
