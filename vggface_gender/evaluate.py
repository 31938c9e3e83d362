"""Test a run's classifier on a dataset's split, also one that it never saw.

    vggface-gender evaluate --run RUN --dataset FairFace --split test
    vggface-gender evaluate --dataset UTKFace

Writes the predictions table and the metrics computed from it into the run's folder; for the default
classifier, which is the package's, into model_files/default-evaluation. A dataset that the run was
trained on is divided as it was then, unless --split-seed says otherwise: its test split is unseen.
Faces that the run was trained on all the same are recognized by their content, under whatever name:
copies are counted and left out of the figures; near-duplicates are counted, and the figures without
them given, too.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender.base import console, contract, options, runs
from vggface_gender.datasets import catalogue


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = options.Parser("evaluate", __doc__, extra="train")
    options.add_run_argument(parser)
    options.add_dataset_arguments(parser, catalogue.NAMED, split_seed=None)
    options.add_split_argument(parser)
    options.add_batch_size_argument(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the folder that the table and the metrics go into (default: the run's folder; the "
        "default classifier's is model_files/default-evaluation)",
    )
    parser.add_argument(
        "--mc-dropout",
        "--dropout",
        type=options.positive,
        metavar="N",
        help="predict the mean of N predictions with dropout left on (Monte-Carlo dropout), and "
        "write each one's uncertainty; the files get -dropoutN in their names",
    )
    options.add_precision_argument(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Predict a split, write the table, the metrics and the uncertainty, and print them."""
    arguments = parser().parse_args(argv)
    path = runs.find(arguments.run)
    contract.read(path)

    from vggface_gender import datasets

    datasets.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import (
        card,
        held_out,
        metrics,
        predictions,
        provenance,
        results,
        testing,
        trained_on,
        uncertainty,
    )
    from vggface_gender.inference import classifier

    trained = classifier.load(path, arguments.precision)
    dataset = held_out.prepare(path, **options.dataset_arguments(arguments))
    split, samples = arguments.split, arguments.mc_dropout
    dataset.require(split)
    made_by = provenance.made_by(
        path,
        dataset,
        split=split,
        mc_dropout=samples,
        precision=None if arguments.precision == "auto" else arguments.precision,
    )
    table, uncertainties = testing.test(
        path,
        trained,
        dataset=dataset,
        split=split,
        batch_size=arguments.batch_size,
        samples=samples,
    )
    if samples:
        split = f"{split}-dropout{samples}"
    folder = arguments.out or runs.results_folder(path)
    place = predictions.place(folder, dataset, split=split, made_by=made_by, table=table)
    named = place.stem.removeprefix("predictions-")
    metrics_path = folder / f"metrics-{named}.json"
    figures = results.publish(
        table,
        dataset=dataset,
        split=split,
        folder=folder,
        metrics_path=metrics_path,
        made_by=made_by,
        learned_from=trained_on.about(path, dataset, split=arguments.split),
    )
    print(metrics.report(figures))
    if uncertainties is not None:
        beside = folder / f"uncertainty-{named}.csv"
        uncertainty.write(table, uncertainties, path=beside)
        print(uncertainty.report(uncertainty.figures(table, uncertainties)))
        print(f"uncertainty: {beside}")
    print(f"predictions: {place}\nmetrics: {metrics_path}")
    if (page := folder / card.CARD).is_file():
        print(f"card: {page}")


if __name__ == "__main__":
    sys.exit(console.run(main))
