"""Tell how a classifier's answers change as its crops are turned, framed otherwise, or made coarse.

    python tools/robustness.py --run RUN --dataset UTKFace
    python tools/robustness.py --run RUN --dataset FairFace --rotations -45 45 --resolutions 24 48

The classifier reads every crop of the split unchanged and after each change. The predictions tables
lie in the run's folder, in robustness/, and are used again by the same command; beside them it
writes the figures and a chart a task. A change in accuracy has a paired interval, since the faces
are the same, and so has the change of the gap between the genders.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, files, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vggface_gender.datasets import Dataset
    from vggface_gender.evaluation.robustness import Change
    from vggface_gender.inference.classifier import Classifier

MARGINS = (0.1, 4.0)  # least and most
AMOUNTS = {  # of each kind of change, where none are asked for
    "rotation": (-30.0, -15.0, 15.0, 30.0),
    "margin": (0.8, 0.9, 1.1, 1.25),
    "resolution": (16, 24, 32, 48, 64),
}
NOTE = """own: how much of a crop shows the record's own pixels; the rest repeats its border, so a
margin over 1 with less than all its own is not the photo's surroundings. Resolution: the face is
shown at so many pixels a side, then enlarged to the {size} that the network takes. Intervals of
changes are for the same faces, each change by itself. Labels are perceived."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(prog="python tools/robustness.py", description=__doc__.splitlines()[0])
    parser.add_argument("--run", metavar="RUN", help="as evaluate's (default: the package's own)")
    options.add_dataset_arguments(parser)
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument(
        "--count",
        type=options.positive,
        metavar="N",
        help="the split's first N faces, which is quicker (default: all; records are shuffled)",
    )
    group = parser.add_argument_group("changes", "Give an option without a number to leave it out.")
    group.add_argument(
        "--rotations",
        nargs="*",
        type=degrees,
        default=AMOUNTS["rotation"],
        metavar="D",
        help="degrees, counter-clockwise",
    )
    group.add_argument(
        "--margins",
        nargs="*",
        type=margin,
        default=AMOUNTS["margin"],
        metavar="M",
        help="a crop's side as a share of the one that the classifier was trained to read",
    )
    group.add_argument(
        "--resolutions",
        nargs="*",
        type=options.positive,
        default=AMOUNTS["resolution"],
        metavar="N",
        help="pixels a side, before the crop is enlarged again",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.set_defaults(split_seed=None)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    path = runs.find(arguments.run)

    from vggface_gender.base import device

    device.start()
    from vggface_gender import datasets
    from vggface_gender.datasets import mixes
    from vggface_gender.evaluation import robustness
    from vggface_gender.inference import classifier

    trained = classifier.load(path)
    asked = (arguments.rotations, arguments.margins, arguments.resolutions)
    changes = chosen(dict(zip(AMOUNTS, asked, strict=True)), trained.size)
    division = mixes.division(path, arguments.dataset, arguments.split_seed)
    dataset = datasets.prepare(**options.dataset_arguments(arguments) | division)
    split = arguments.split
    dataset.require(split)
    folder = place(path)
    summary = measured(path, trained, dataset, split, changes, arguments.count)
    tasks = list(summary["changes"][0]["tasks"])
    if not tasks:
        raise InputError(
            f"{dataset.name} has no label that the classifier tells: it tells "
            f"{', '.join(trained.tasks)}"
        )
    about = {"run": arguments.run or runs.DEFAULT, "dataset": dataset.label, "split": split}
    print(f"{dataset.label} {split}, {summary['count']:,} faces\n\n{robustness.report(summary)}\n")
    print(NOTE.format(size=trained.size) + "\n")
    whole = summary["count"] == dataset.counts[split]
    stem = f"robustness-{dataset.label}-{split}" + ("" if whole else f"-{summary['count']}")
    if len(changes) > 1:
        for task in tasks:
            save(robustness.figure(summary, task), folder / f"{stem}-{task}")
    for file in filter(None, (folder / f"{stem}.json", arguments.json)):
        files.write_json(about | summary, file)
        print(file)


def measured(
    path: Path,
    trained: "Classifier",
    dataset: "Dataset",
    split: str,
    changes: "Sequence[Change]",
    count: int | None = None,
) -> dict:
    """The figures of a classifier after each change; its tables are kept beside its file at `path`.

    Args:
        changes, count: as `robustness.tables` takes them.

    Returns:
        See `robustness.summarize`.
    """
    from vggface_gender.data import records
    from vggface_gender.evaluation import robustness

    since = path.stat().st_mtime
    tables = robustness.tables(trained, dataset, split, changes, place(path), since, count)
    frame = records.frame_of(dataset, trained.padding)
    return robustness.summarize(tables, changes, frame, trained.size)


def chosen(amounts: "Mapping[str, Sequence[float]]", size: int) -> "list[Change]":
    """The changes asked for, each once, after none.

    Args:
        amounts: by kind of change, as in `AMOUNTS`.
        size: the network's side in pixels.

    Raises:
        InputError: a resolution is beyond it.
    """
    from vggface_gender.evaluation.robustness import UNCHANGED, Change

    if too_fine := [number for number in amounts["resolution"] if number > size]:
        raise InputError(
            f"--resolutions {too_fine[0]}: the classifier reads {size} pixels a side; give at most "
            "so many"
        )
    changes = [Change(kind, amount) for kind, several in amounts.items() for amount in several]
    return list({one.name: one for one in (UNCHANGED, *changes)}.values())


def place(classifier: Path) -> Path:
    """The folder of a classifier's tables: beside it, its own where it is one file of several."""
    name = "robustness"
    if classifier.name != runs.CLASSIFIER:
        name += f"-{classifier.stem}"
    return runs.results_folder(classifier) / name


def save(figure, stem: Path) -> None:
    """Write a chart as PNG and as SVG, the same bytes for the same chart."""
    import matplotlib

    for suffix, about in ((".png", {}), (".svg", {"Date": None})):
        file = stem.with_name(stem.name + suffix)
        settings = {"svg.fonttype": "none", "svg.hashsalt": "robustness"}
        with files.whole(file) as part, matplotlib.rc_context(settings):
            figure.savefig(part, metadata=about)
        print(file)


def degrees(text: str) -> float:
    """An argument's type: a number from -180 to 180."""
    number = float(text)
    if not -180 <= number <= 180:
        raise argparse.ArgumentTypeError(f"{text} is not a number from -180 to 180")
    return number


def margin(text: str) -> float:
    """An argument's type: a crop's side as a share of the framed one."""
    number = float(text)
    if not (math.isfinite(number) and MARGINS[0] <= number <= MARGINS[1]):
        raise argparse.ArgumentTypeError(
            f"{text} is not a number from {MARGINS[0]:g} to {MARGINS[1]:g}"
        )
    return number


if __name__ == "__main__":
    sys.exit(console.run(main))
