"""Show how predictions change as crops are rotated, reframed or of low resolution.

    vggface-gender robustness --run RUN --dataset UTKFace
    vggface-gender robustness --run RUN --dataset FairFace --rotations -45 45 --resolutions 24 48

The classifier reads every crop of the split unchanged and after each perturbation. The predictions
tables lie in the run's folder, in robustness/, and are used again by the same command; beside them
it writes the figures and a chart for each task. A change in accuracy has a paired interval, since
the faces are the same, and so has the change of the gap between the genders.
"""

import argparse
import math
import sys

from vggface_gender.base import console, contract, files, options, runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue

MARGINS = (0.1, 4.0)  # least and most
NOTE = """own: how much of a crop shows the record's own pixels. The rest repeats its border, so a
margin over 1 with less than 100% does not show the photo's surroundings. Resolution: the face is
shown at so many pixels a side, then enlarged to the {size} that the network takes. Intervals of
changes are for the same faces, for one perturbation at a time. Labels are perceived."""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("robustness", __doc__, extra="train")
    options.add_run_argument(parser)
    options.add_dataset_arguments(parser, catalogue.NAMED, split_seed=None)
    options.add_split_argument(parser)
    parser.add_argument(
        "--count",
        type=options.positive,
        metavar="N",
        help="read the split's first N faces only, which is quicker; records are in random order "
        "(default: all)",
    )
    group = parser.add_argument_group(
        "perturbations", "Give an option without a number to leave its kind out."
    )
    group.add_argument(
        "--rotations",
        nargs="*",
        type=options.argument(degrees),
        metavar="D",
        help="degrees, counter-clockwise (default: -30 -15 15 30)",
    )
    group.add_argument(
        "--margins",
        nargs="*",
        type=options.argument(margin),
        metavar="M",
        help="a crop's side as a share of the one that the classifier was trained to read "
        "(default: 0.8 0.9 1.1 1.25)",
    )
    group.add_argument(
        "--resolutions",
        nargs="*",
        type=options.positive,
        metavar="N",
        help="pixels a side that the crop is reduced to before it is enlarged again (default: 16 "
        "24 32 48 64)",
    )
    options.add_json_argument(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    path = runs.find(arguments.run)
    contract.read(path)

    from vggface_gender import datasets

    datasets.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import (
        held_out,
        perturbations,
        provenance,
        robustness,
        robustness_figure,
        trained_on,
        unseen,
    )
    from vggface_gender.inference import classifier

    trained = classifier.load(path)
    wanted = {
        "rotation": arguments.rotations,
        "margin": arguments.margins,
        "resolution": arguments.resolutions,
    }
    amounts = {
        kind: perturbations.AMOUNTS[kind] if each is None else each for kind, each in wanted.items()
    }
    perturbed = perturbations.chosen(amounts, size=trained.size)
    dataset = held_out.prepare(path, **options.dataset_arguments(arguments))
    split = arguments.split
    dataset.require(split)
    summary = robustness.measure(
        path, trained, dataset=dataset, split=split, perturbed=perturbed, count=arguments.count
    )
    tasks = list(summary["changes"][0]["tasks"])
    if not tasks:
        raise InputError(
            f"{dataset.name} has no labels that the classifier predicts: {', '.join(trained.tasks)}"
        )
    overlap = (summary["overlap"] or {}) | trained_on.about(path, dataset, split=split)
    seen = "".join(f"\n  {line}" for line in unseen.describe(overlap))
    print(
        f"{dataset.label} {split}, {summary['count']:,} faces{seen}\n\n"
        f"{robustness.report(summary)}\n"
    )
    print(NOTE.format(size=trained.size) + "\n")
    count = arguments.count
    part = "" if count is None or count >= dataset.count(split) else f"-{count}"
    made_by = provenance.made_by(path, dataset, split=split, count=count)
    name = f"robustness-{{}}-{split}{part}.json"
    figures = provenance.place(robustness.folder(path), name, dataset=dataset, made_by=made_by)
    if len(perturbed) > 1:
        for task in tasks:
            title = f"{task}: {dataset.label} {split}, {summary['count']:,} faces"
            chart = robustness_figure.figure(summary, task, title=title)
            for file in robustness_figure.save(chart, figures.with_name(f"{figures.stem}-{task}")):
                print(file)
    about = {"run": arguments.run or runs.DEFAULT, "dataset": dataset.label, "split": split}
    for file in filter(None, (figures, arguments.json)):
        files.write_json(about | summary, file)
        print(file)
    provenance.sign(figures, made_by)


def degrees(text: str) -> float:
    """A number from -180 to 180."""
    number = float(text)
    if not -180 <= number <= 180:
        raise ValueError(f"{text} is not a number from -180 to 180")
    return number


def margin(text: str) -> float:
    """A crop's side as a share of the framed one, from `MARGINS`."""
    number = float(text)
    if not (math.isfinite(number) and MARGINS[0] <= number <= MARGINS[1]):
        raise ValueError(f"{text} is not a number from {MARGINS[0]:g} to {MARGINS[1]:g}")
    return number


if __name__ == "__main__":
    sys.exit(console.run(main))
