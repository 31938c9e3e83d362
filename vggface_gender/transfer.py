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

from vggface_gender import command, labels

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from vggface_gender.datasets import Dataset

PADDING = 0.25  # dlib's own chips, which dlib's network was trained on


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = command.Parser(
        prog="python -m vggface_gender.transfer", description=__doc__.splitlines()[0]
    )
    command.add_dataset_arguments(parser)
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
    group.add_argument("--epochs", type=command.positive, default=10, metavar="N", help="at most")
    group.add_argument(
        "--patience",
        type=command.positive,
        default=3,
        metavar="N",
        help="epochs without a lower validation loss after which to stop",
    )
    group.add_argument(
        "--batch",
        type=command.positive,
        metavar="N",
        help="examples a step (default: the head's own: 32 on vggface, else 128)",
    )
    group.add_argument("--rate", type=float, metavar="R", help="Adam's (default: the head's own)")
    group.add_argument(
        "--padding",
        type=float,
        default=PADDING,
        metavar="P",
        help="the crops' frame, as dlib.get_face_chip's padding",
    )
    command.add_run_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)

    from vggface_gender import device

    device.start(arguments.seed)
    import keras

    from vggface_gender import (
        backbones,
        classifier,
        datasets,
        heads,
        input_pipeline,
        runs,
        training,
    )
    from vggface_gender.evaluation import predictions, results

    precision = device.precision(arguments.precision)
    dataset = datasets.prepare(**command.dataset_arguments(arguments))
    task = arguments.task
    tasks = {task: dataset.classes(task)}
    backbone = backbones.load(arguments.backbone, precision, arguments.layer)
    recipe = heads.recipe(backbone.name)
    batch, rate = arguments.batch or recipe.batch, arguments.rate or recipe.rate
    features_of = "-".join(filter(None, [Path(arguments.backbone).stem, arguments.layer]))
    folder = runs.MODEL_FILES / (
        arguments.run or f"{dataset.label}-{task}-{features_of}-seed{arguments.seed}"
    )
    settings = {
        "command": "transfer",
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "split_seed": arguments.split_seed,
        "task": task,
        "backbone": arguments.backbone,
        "layer": arguments.layer,
        "padding": arguments.padding,
        "epochs": arguments.epochs,
        "patience": arguments.patience,
        "batch": batch,
        "rate": rate,
        "seed": arguments.seed,
        "precision": precision,
    }
    runs.begin(folder, settings, arguments.overwrite)

    cache = Path(arguments.data_dir) / "features"
    train, validation, test = (
        _examples(dataset, split, tasks, backbone, arguments.padding, cache)
        for split in ("train", "validation", "test")
    )

    keras.utils.set_random_seed(arguments.seed)  # whatever was or was not found in the cache
    head = recipe.build(backbone.output_shape[1:], tasks)
    steps = -(-len(train.rows) // batch)
    training.compile(head, tasks, recipe.optimizer(rate, steps * arguments.epochs))
    input_pipeline.log_crops(
        dataset, "train", backbone.input_shape[1], arguments.padding, folder / runs.TENSORBOARD
    )
    history = training.fit(
        head,
        batches=lambda epoch: input_pipeline.feature_batches(
            train.features, train.targets, batch, train.rows, arguments.seed, epoch
        ),
        steps=steps,
        validation=input_pipeline.feature_batches(
            validation.features, validation.targets, 256, validation.rows
        ),
        folder=folder,
        epochs=arguments.epochs,
        patience=arguments.patience,
        seed=arguments.seed,
    )
    best = history[history.is_best].iloc[0]
    print(f"best of {len(history)} epochs: {best.epoch}, validation loss {best.val_loss:.4f}\n")

    about = {"backbone": arguments.backbone, "layer": arguments.layer, "dataset": dataset.name}
    trained = classifier.build(backbone, head, tasks, arguments.padding, precision, about)
    classifier.save(trained, folder / runs.CLASSIFIER)
    outputs = head.predict(test.features, batch_size=256, verbose=0)
    table = predictions.table(test.truth.name, test.truth[list(labels.TASKS)], outputs, tasks)
    results.publish(table, dataset.label, "test", folder, folder / runs.METRICS)
    runs.end(folder)


class Examples(NamedTuple):
    """A split's features and labels, row by row."""

    features: "np.ndarray"  # (n, ...) float32, mapped from the cache
    targets: "dict[str, np.ndarray]"  # task to (n,): see `input_pipeline.targets`
    rows: "np.ndarray"  # those that have a label of every task
    truth: "pd.DataFrame"  # see `input_pipeline.labels`


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

    from vggface_gender import features, input_pipeline

    if split not in dataset.counts:
        raise command.InputError(f"{dataset.name} has too few images for a {split} split")
    truth = input_pipeline.labels(dataset, split)
    rows = np.flatnonzero(truth[list(tasks)].notna().all(axis=1))
    if not len(rows):
        raise command.InputError(
            f"{dataset.name} has no {' and '.join(tasks)} labels in its {split} split"
        )
    targets = {task: input_pipeline.targets(truth, task, names) for task, names in tasks.items()}
    return Examples(
        features.extract(dataset, split, backbone, padding, cache), targets, rows, truth
    )


if __name__ == "__main__":
    sys.exit(command.run(main))
