"""Train a head on a frozen backbone's features; test it; write a run.

    python -m vggface_gender.transfer --dataset UTKFace --source path/to/UTKFace
    python -m vggface_gender.transfer --dataset FairFace --task race
    python -m vggface_gender.transfer --dataset GenderDataset --backbone vggface

Records and features are made once and found again. Validation chooses the epoch; the test split is
read once, at the end.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vggface_gender.base import console, labels, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    import numpy as np
    import pandas as pd

    from vggface_gender.datasets import Dataset


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(
        prog="python -m vggface_gender.transfer", description=__doc__.splitlines()[0]
    )
    options.add_dataset_arguments(parser)
    group = parser.add_argument_group("training")
    group.add_argument("--task", choices=labels.TASKS, default="gender", help="what to learn")
    group.add_argument(
        "--backbone", default="dlib", metavar="NAME", help="dlib, vggface, or a .keras file"
    )
    group.add_argument(
        "--layer",
        metavar="NAME",
        help="the backbone's layer whose output the features are, such as dlib's embedding "
        "(default: dlib's map, else the last)",
    )
    group.add_argument("--epochs", type=options.positive, default=10, metavar="N", help="at most")
    group.add_argument(
        "--patience",
        type=options.positive,
        default=3,
        metavar="N",
        help="epochs without a lower validation loss after which to stop",
    )
    group.add_argument(
        "--batch",
        type=options.positive,
        metavar="N",
        help="examples a step (default: the head's own: 32 on vggface, else 128)",
    )
    group.add_argument(
        "--rate", type=options.positive_real, metavar="R", help="Adam's (default: the head's own)"
    )
    options.add_padding_argument(group)
    options.add_run_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)

    from vggface_gender.base import device

    device.start(arguments.seed)
    from vggface_gender import backbones, datasets
    from vggface_gender.evaluation import results
    from vggface_gender.training import heads

    precision = device.precision(arguments.precision)
    each = runs.trainings(
        arguments.seed, arguments.repeats, arguments.split_seed, folds=arguments.folds
    )
    prepared = {
        fold: datasets.prepare(**options.dataset_arguments(arguments), fold=fold)
        for fold in dict.fromkeys(training.fold for training in each.values())
    }
    backbone = backbones.load(arguments.backbone, precision, arguments.layer)
    recipe = heads.recipe(backbone.name)
    settings = {
        "command": "transfer",
        "task": arguments.task,
        "backbone": arguments.backbone,
        "layer": arguments.layer,
        "padding": arguments.padding,
        "epochs": arguments.epochs,
        "patience": arguments.patience,
        "batch": arguments.batch or recipe.batch,
        "rate": arguments.rate or recipe.rate,
        "precision": precision,
    }
    all_settings = {
        place: settings
        | {
            "dataset": prepared[training.fold].name,
            "fingerprint": prepared[training.fold].fingerprint,
            "counts": prepared[training.fold].counts,
        }
        | training.settings
        for place, training in each.items()
    }
    name = arguments.run or _name(arguments, next(iter(prepared.values())).label, runs.label(each))
    folder = runs.MODEL_FILES / name
    for place, its in all_settings.items():
        runs.begin(folder / place, its, arguments.overwrite)

    cache = Path(arguments.data_dir) / "features"
    for fold, dataset in prepared.items():
        tasks = {arguments.task: dataset.classes(arguments.task)}
        splits = [
            _examples(dataset, split, tasks, backbone, arguments.padding, cache)
            for split in ("train", "validation", "test")
        ]
        for place, training in each.items():
            if training.fold == fold:
                train(folder / place, all_settings[place], dataset, splits, tasks, backbone)
    if len(each) > 1:
        results.publish_summary(folder, [folder / place for place in each])


def train(
    folder: Path,
    settings: dict,
    dataset: "Dataset",
    splits: "Sequence[Examples]",
    tasks: dict[str, tuple[str, ...]],
    backbone: "keras.Model",
) -> None:
    """Train a head, test it, and write the run.

    Args:
        folder: the run's, begun.
        settings: those of `main`.
        splits: train, validation and test.
    """
    import keras

    from vggface_gender.data import records
    from vggface_gender.evaluation import calibration, predictions, results
    from vggface_gender.inference import classifier
    from vggface_gender.training import heads, loop

    known, validation, test = splits
    batch, epochs, seed = settings["batch"], settings["epochs"], settings["seed"]
    recipe = heads.recipe(backbone.name)
    steps = -(-len(known.rows) // batch)
    keras.utils.set_random_seed(seed)  # whatever was or was not found in the cache
    head = recipe.build(backbone.output_shape[1:], tasks)
    loop.compile(head, tasks, recipe.optimizer(settings["rate"], steps * epochs))
    padding = settings["padding"]
    records.log_sheet(dataset, "train", backbone.input_shape[1], padding, folder / runs.TENSORBOARD)
    history = loop.fit(
        head,
        batches=lambda epoch: records.feature_batches(
            known.features, known.targets, batch, known.rows, seed, epoch
        ),
        steps=steps,
        validation=records.feature_batches(
            validation.features, validation.targets, 256, validation.rows
        ),
        folder=folder,
        epochs=epochs,
        patience=settings["patience"],
        seed=seed,
    )
    best = history[history.is_best].iloc[0]
    print(f"best of {len(history)} epochs: {best.epoch}, validation loss {best.val_loss:.4f}\n")

    about = {key: settings[key] for key in ("backbone", "layer", "dataset")}
    trained = classifier.build(backbone, head, tasks, padding, settings["precision"], about)

    def predicted(part: Examples, temperatures: dict[str, float]) -> "pd.DataFrame":
        outputs = head.predict(part.features, batch_size=256, verbose=0)
        for task, temperature in temperatures.items():
            outputs[task] = calibration.tempered(outputs[task], temperature)
        return predictions.table(part.truth.name, part.truth[list(labels.TASKS)], outputs, tasks)

    temperatures = calibration.temperatures(predicted(validation, {}), tasks)
    trained = classifier.calibrated(trained, temperatures)
    classifier.save(trained, folder / runs.CLASSIFIER)

    if "fold" in settings:  # whose table of results has all three splits
        for split, part in (("train", known), ("validation", validation)):
            path = folder / f"predictions-{dataset.label}-{split}.csv"
            predictions.write(predicted(part, temperatures), path)
    table = predicted(test, temperatures)
    results.publish(table, dataset.label, "test", folder, folder / runs.METRICS)
    runs.end(folder)


def _name(arguments: argparse.Namespace, dataset: str, trainings: str) -> str:
    """A run's name where the user gives none."""
    parts = [dataset, arguments.task, Path(arguments.backbone).stem, arguments.layer]
    return "-".join(filter(None, [*parts, trainings]))


class Examples(NamedTuple):
    """A split's features and labels, row by row."""

    features: "np.ndarray"  # (n, ...) float32, mapped from the cache
    targets: "dict[str, np.ndarray]"  # task to (n,): see `records.targets`
    rows: "np.ndarray"  # those that have a label of every task
    truth: "pd.DataFrame"  # see `records.labels`


def _examples(
    dataset: "Dataset",
    split: str,
    tasks: dict[str, tuple[str, ...]],
    backbone: "keras.Model",
    padding: float,
    cache: Path,
) -> Examples:
    """A split's examples; its features are extracted if they are not cached.

    Raises:
        InputError: the split is empty, or has no labels of the tasks.
    """
    import numpy as np

    from vggface_gender.data import features, records

    if split not in dataset.counts:
        raise InputError(f"{dataset.name} has too few images for a {split} split")
    truth = records.labels(dataset, split)
    rows = np.flatnonzero(truth[list(tasks)].notna().all(axis=1))
    if not len(rows):
        raise InputError(f"{dataset.name} has no {' and '.join(tasks)} labels in its {split} split")
    targets = {task: records.targets(truth, task, names) for task, names in tasks.items()}
    return Examples(
        features.extract(dataset, split, backbone, padding, cache), targets, rows, truth
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
