"""Test a run's classifier on a dataset's split, also one that it never saw.

    python -m vggface_gender.evaluate --run RUN --dataset FairFace --split test
    python -m vggface_gender.evaluate --dataset UTKFace

Writes the predictions table and the metrics computed from it into the run's folder; for the default
classifier, which is the package's, into model_files/default-evaluation. A dataset that the run was
trained on is divided as it was then, unless --split-seed says otherwise: its test split is unseen.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender.base import console, labels, options, runs


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(
        prog="python -m vggface_gender.evaluate", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="a run's name under model_files, its folder, or a .keras file (default: the "
        "classifier that comes with the package)",
    )
    options.add_dataset_arguments(parser)
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument(
        "--batch", type=options.positive, default=64, metavar="N", help="crops a forward pass"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the table and the metrics go (default: the run's folder; the default "
        "classifier's to model_files/default-evaluation)",
    )
    parser.add_argument(
        "--dropout",
        type=options.positive,
        metavar="N",
        help="answer with the mean of N answers with dropout left on, and tell how far to trust "
        "their entropy; the files get -dropoutN in their names",
    )
    options.add_precision_argument(parser)
    parser.set_defaults(split_seed=None)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    path = runs.find(arguments.run)

    from vggface_gender.base import device

    device.start()
    from vggface_gender import datasets
    from vggface_gender.datasets import mixes
    from vggface_gender.evaluation import predictions, results
    from vggface_gender.inference import classifier

    trained = classifier.load(path, arguments.precision)
    division = mixes.division(path, arguments.dataset, arguments.split_seed)
    dataset = datasets.prepare(**options.dataset_arguments(arguments) | division)
    split = arguments.split
    dataset.require(split)
    folder = arguments.out or runs.results_folder(path)
    if arguments.dropout:
        truth, sampled = classifier.classify_sampled(
            trained, dataset, split, arguments.dropout, batch=arguments.batch
        )
        outputs, split = sampled.means, f"{split}-dropout{arguments.dropout}"
    else:
        truth, outputs = classifier.classify(trained, dataset, split, arguments.batch)
    table = predictions.table(truth.name, truth[list(labels.TASKS)], outputs, trained.tasks)
    results.publish(
        table, dataset.label, split, folder, folder / f"metrics-{dataset.label}-{split}.json"
    )
    if arguments.dropout:
        doubts = folder / f"doubts-{dataset.label}-{split}.csv"
        results.publish_doubts(table, sampled.doubts, doubts)


if __name__ == "__main__":
    sys.exit(console.run(main))
