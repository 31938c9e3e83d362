"""Test a run's classifier on a dataset's split, also one that it never saw.

    python -m vggface_gender.evaluate --run RUN --dataset FairFace --split test

Writes the predictions table and the metrics computed from it into the run's folder.
"""

import argparse
import sys

from vggface_gender import command, labels, runs


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = command.Parser(
        prog="python -m vggface_gender.evaluate", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--run", metavar="RUN", help="a run's name under model_files, its folder, or a .keras file"
    )
    command.add_dataset_arguments(parser)
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument(
        "--batch", type=command.positive, default=64, metavar="N", help="crops a forward pass"
    )
    command.add_precision_argument(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    path = runs.find(arguments.run)

    from vggface_gender import device

    device.start()
    import numpy as np
    from tqdm import tqdm

    from vggface_gender import classifier, datasets, input_pipeline
    from vggface_gender.evaluation import predictions, results

    trained = classifier.load(path, arguments.precision)
    dataset = datasets.prepare(**command.dataset_arguments(arguments))
    split = arguments.split
    if split not in dataset.counts:
        raise command.InputError(
            f"{dataset.name} has no split {split}: give --split {' or '.join(dataset.counts)}"
        )
    truth = input_pipeline.labels(dataset, split)
    parts = []
    with tqdm(total=len(truth), desc=f"{dataset.label}, {split}", unit=" images") as bar:
        for part in input_pipeline.batches(
            dataset, split, arguments.batch, trained.size, trained.padding
        ).as_numpy_iterator():
            parts.append(trained.predict(part["image"]))
            bar.update(len(part["image"]))
    outputs = {task: np.concatenate([part[task] for part in parts]) for task in trained.tasks}
    table = predictions.table(truth.name, truth[list(labels.TASKS)], outputs, trained.tasks)
    folder = path.parent
    results.publish(
        table, dataset.label, split, folder, folder / f"metrics-{dataset.label}-{split}.json"
    )


if __name__ == "__main__":
    sys.exit(command.run(main))
