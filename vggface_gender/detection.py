"""Tell how many faces detection finds, by gender, race and age: the lost ones meet no classifier.

    python tools/detection.py --datasets UTKFace FairFace --source path/to/faces

Runs the detector that `predict` uses on every record of the split. A table of each dataset is kept
and used again by the same command; every figure is computed from it.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender import predict
from vggface_gender.base import console, files, options, runs
from vggface_gender.base.errors import InputError

NOTE = """A record is a crop of one face, not a photograph. It is harder, since the frame cuts away
what the detector looks at around a face (--border puts something there); and it is easier, since
whoever cut it had found the face before: those lost then are not in the dataset. A face counts as
found if a box holds the picture's middle. Compare groups with one another, not these shares with
those of photographs. Labels are perceived."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(prog="python tools/detection.py", description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", required=True, metavar="NAME")
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="the folder that holds one for each named dataset (else $FACES_DIR)",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("tfrecords"), metavar="DIR")
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument("--split-seed", type=int, default=0, metavar="N", help="of the split")
    parser.add_argument(
        "--count",
        type=options.positive,
        metavar="N",
        help="each split's first N faces, which is quicker (default: all; records are shuffled)",
    )
    parser.add_argument(
        "--upsample",
        type=int,
        choices=range(5),
        default=1,
        help="doublings before detection, as predict's; a small picture is enlarged to half a "
        "megapixel in any case",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=predict.THRESHOLD,
        help="least score of a face, as predict's",
    )
    parser.add_argument(
        "--border",
        type=options.share,
        default=0.0,
        metavar="B",
        help="width of a border put around each record first, as a share of its side",
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
        help="where the tables go",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    from vggface_gender.base import device

    device.start()  # records are read by TensorFlow
    from vggface_gender import datasets
    from vggface_gender.evaluation import detection

    chosen = []
    for name in arguments.datasets:
        source = datasets.source_in(arguments.source, name)
        dataset = datasets.prepare(name, source, arguments.data_dir, arguments.split_seed)
        dataset.require(arguments.split)
        chosen.append(dataset)
    names = [dataset.label for dataset in chosen]
    if len(set(names)) < len(names):
        raise InputError(f"--datasets names two of one name: {', '.join(names)}")
    settings = {key: getattr(arguments, key) for key in ("upsample", "threshold", "border", "fill")}
    found = []
    for dataset in chosen:
        one = detection.measure(
            dataset, arguments.split, arguments.out, arguments.count, **settings
        )
        found.append({"dataset": dataset.label, "split": arguments.split, **settings, **one})
        print(f"\n{describe(found[-1])}\n\n{detection.report(one)}\ntable: {one['table']}")
    print(f"\n{NOTE}")
    if arguments.json:
        files.write_json({"datasets": found}, arguments.json)


def describe(found: dict) -> str:
    """What a dataset's figures are of."""
    border = f"{found['fill']} border of {found['border']:g}" if found["border"] else "no border"
    return (
        f"{found['dataset']} {found['split']}: {found['count']:,} faces; {border}, upsample "
        f"{found['upsample']}, score from {found['threshold']:g}"
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
