"""Count the faces that detection misses, by gender, race and age: no classifier sees those.

    vggface-gender detection --datasets UTKFace FairFace --source path/to/faces
    vggface-gender detection --datasets FairFace --detector cnn hog --border 0 0.25

Runs the detectors that `predict` uses on every record of the split. A table of each dataset,
detector and border is kept and used again for the same records and settings; every figure is
computed from it.
"""

import argparse
import itertools
import sys
from pathlib import Path

from vggface_gender.base import console, files, options, runs
from vggface_gender.datasets import catalogue

NOTE = """A record is a crop of one face, not a photograph. It is harder, since the frame cuts away
what the detector looks at around a face (--border puts something there); and it is easier, since
whoever cut it had found the face before: those missed then are not in the dataset. A face counts as
found if a box holds the picture's middle. Compare groups with one another, not these rates with
those of photographs. Labels are perceived."""


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    from vggface_gender.photos import THRESHOLD

    parser = options.Parser("detection", __doc__, extra="train")
    options.add_datasets_arguments(parser, catalogue.NAMED, align=False)
    options.add_split_argument(parser)
    parser.add_argument(
        "--count",
        type=options.positive,
        metavar="N",
        help="each split's first N faces, which is quicker (default: all; records are shuffled)",
    )
    parser.add_argument(
        "--detector",
        nargs="+",
        choices=("auto", "cnn", "hog"),
        default=["auto"],
        help="what finds the faces; several are compared",
    )
    parser.add_argument(
        "--upsample",
        type=int,
        choices=range(5),
        default=1,
        help="doublings of the picture before detection: more find smaller faces, and take "
        "longer; small pictures are enlarged in any case",
    )
    parser.add_argument(
        "--threshold",
        type=options.score,
        default=THRESHOLD,
        help="least detection score of a face: a higher one leaves more missed faces",
    )
    parser.add_argument(
        "--border",
        nargs="+",
        type=options.share,
        default=[0.0],
        metavar="B",
        help="width of a border put around each record first, as a share of its side; several are "
        "compared",
    )
    parser.add_argument(
        "--fill",
        choices=("replicate", "black"),
        default="replicate",
        help="what the border is: the record's outermost pixels repeated, or black",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=runs.MODEL_FILES / "detection",
        metavar="DIR",
        help="the folder that the tables go into",
    )
    options.add_json_argument(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Detect faces in each dataset's records, print the reports and write the figures."""
    arguments = parser().parse_args(argv)
    called = catalogue.labels(arguments.datasets)

    from vggface_gender import datasets

    datasets.check_each(arguments.datasets, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()  # records are read by TensorFlow
    from vggface_gender.evaluation import detection

    chosen = [
        datasets.prepare(
            name,
            datasets.source_in(arguments.source, name),
            data_dir=arguments.data_dir,
            seed=arguments.split_seed,
            keep_going=arguments.keep_going,
            align="never",
        )
        for name in arguments.datasets
    ]
    for dataset in chosen:
        dataset.require(arguments.split)
    found = []
    for dataset, detector, border in itertools.product(
        chosen, dict.fromkeys(arguments.detector), dict.fromkeys(arguments.border)
    ):
        settings = {
            "detector": detector,
            "upsample": arguments.upsample,
            "threshold": arguments.threshold,
            "border": border,
            "fill": arguments.fill,
        }
        one = detection.measure(
            dataset,
            split=arguments.split,
            folder=arguments.out,
            count=arguments.count,
            **settings,
        )
        found.append({"dataset": called[dataset.name], "split": arguments.split} | settings | one)
        print(f"\n{describe(found[-1])}\n\n{detection.report(one)}\ntable: {one['table']}")
    if len(found) > 1:
        print(f"\n{detection.compared(found)}")
    print(f"\n{NOTE}")
    if arguments.json:
        files.write_json({"datasets": found}, arguments.json)


def describe(found: dict) -> str:
    """What a dataset's figures are of."""
    border = f"{found['fill']} border of {found['border']:g}" if found["border"] else "no border"
    return (
        f"{found['dataset']} {found['split']}: {found['count']:,} faces; detector "
        f"{found['detector']}, {border}, upsample {found['upsample']}, detection score from "
        f"{found['threshold']:g}"
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
