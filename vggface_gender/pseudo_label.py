"""Label faces with a classifier and keep the confident ones, to train on.

    vggface-gender pseudo_label holiday/ clip.mp4 --run utkface --balance --out pseudo
    vggface-gender multitask --dataset "UTKFace+pseudo/faces.csv*0.3" --tasks gender
    vggface-gender pseudo_label --dataset FairFace --run utkface --sweep --out swept

Writes faces.csv, a table that trainings take as a part of a mix, its crops, and summary.json; what
is predicted for every face is in predictions.csv. With --sweep it compares several thresholds: what
each accepts and, where true labels are known (a dataset's own, or --hidden), how accurately. True
labels score; they choose nothing.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import (
    console,
    contract,
    files,
    locks,
    numbers,
    options,
    runs,
    state,
    text,
)
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION, TASKS
from vggface_gender.datasets import catalogue

if TYPE_CHECKING:
    from vggface_gender.evaluation.pseudo_label_faces import Seen
    from vggface_gender.inference.classifier import Classifier


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = options.Parser("pseudo_label", __doc__, extra="train")
    parser.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        help="an image file, a folder of them (those within it are not entered), or a video",
    )
    options.add_run_argument(parser)
    parser.add_argument(
        "--task", choices=CLASSIFICATION, default="gender", help="the attribute to label"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new or empty folder to write to"
    )
    options.add_precision_argument(parser)
    _add_photo_arguments(parser.add_argument_group("photos and videos"))
    options.add_dataset_arguments(
        parser,
        catalogue.NAMED,
        title="or a dataset, whose labels only score",
        split_seed=None,
        required=False,
    )
    options.add_split_argument(parser, default="train")
    _add_choice_arguments(parser.add_argument_group("what is kept"))
    parser.add_argument(
        "--sweep",
        nargs="*",
        type=options.share,
        metavar="P",
        help="compare these thresholds (0.5 to 0.99 where none is given)",
    )
    return parser


def _add_photo_arguments(group: argparse._ArgumentGroup) -> None:
    options.add_detector_argument(group)
    group.add_argument(
        "--every",
        type=options.positive_real,
        default=1.0,
        metavar="S",
        help="seconds from one frame of a video that is looked at to the next",
    )
    group.add_argument(
        "--hidden",
        type=Path,
        metavar="TABLE",
        help="a .csv file with true labels of photos that show one face, to score with",
    )


def _add_choice_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--threshold",
        type=options.share,
        metavar="P",
        help="the least probability of a label that is accepted (default: 0.95; with --sweep "
        "nothing is kept unless this or --thresholds is given)",
    )
    group.add_argument(
        "--thresholds",
        nargs="+",
        type=_named_share,
        default=[],
        metavar="LABEL=P",
        help="a threshold for each label, such as female=0.97 male=0.9",
    )
    group.add_argument(
        "--near",
        type=options.count,
        metavar="BITS",
        help="of near-duplicates, faces whose hashes of 256 bits differ in at most so many, only "
        "the most confident is kept (default: 24, as in cross_evaluate)",
    )
    group.add_argument(
        "--balance",
        action="store_true",
        help="keep, of each label, as many faces drawn at random as the rarest has",
    )
    group.add_argument(
        "--max",
        type=options.positive,
        metavar="N",
        help="keep at most N faces, drawn at random; with --balance as many of each label",
    )
    group.add_argument(
        "--seed", type=options.seed, default=0, metavar="N", help="the random seed of the draws"
    )


def main(argv: list[str] | None = None) -> int:
    """Find or read the faces, classify them, choose, score, write; 1 if any can't be read."""
    arguments = _parse(argv)
    path = runs.find(arguments.run)
    contract.read(path)
    with locks.held(arguments.out, wait=False):
        return _label(arguments, path)


def _label(arguments: argparse.Namespace, path: Path) -> int:
    """What the command does, with the classifier at `path`; its exit status."""
    asked = _asked(arguments, path)
    _check_is_free(arguments.out, asked)

    from vggface_gender import datasets
    from vggface_gender.photos import detect, folders, read

    detect.finder(arguments.detector)
    photos, left_out = read.find_photos(arguments.photos)
    for line in folders.describe(left_out):
        print(f"left out: {line}", file=sys.stderr)
    if arguments.dataset:
        datasets.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import (
        overlap,
        predictions,
        pseudo_label_results,
        pseudo_label_sweep,
        unseen,
    )
    from vggface_gender.inference import classifier

    out, task = arguments.out, arguments.task
    trained = classifier.load(path, arguments.precision)
    if task not in trained.tasks:
        raise InputError(f"{path} was not trained to predict {task}: {', '.join(trained.tasks)}")
    names = trained.tasks[task]
    thresholds = _thresholds(arguments, names)
    seen, truth, marks = _classified(arguments, photos, path, trained, thresholds)
    print(f"{seen.describe()}\n")
    frame = predictions.table(
        seen.names, truth, outputs={task: seen.probability}, tasks={task: names}, overlap=marks
    )
    counts = unseen.overlap(frame)
    if counts:
        print("\n".join(unseen.describe(counts)) + "\n")
    summary = _source(arguments, path) | {"left_out": left_out} | seen.counts
    summary |= {"faces": len(frame), "overlap": counts, "asked": asked}
    kept, swept = None, None
    if thresholds is not None:
        kept, figures = pseudo_label_results.keep(
            frame,
            task,
            thresholds=thresholds,
            hashes=seen.hashes,
            near=overlap.NEAR if arguments.near is None else arguments.near,
            balanced=arguments.balance,
            most=arguments.max,
            seed=arguments.seed,
        )
        summary |= figures
        print(f"{pseudo_label_results.describe(figures)}\n")
    if arguments.sweep is not None:
        swept = pseudo_label_sweep.sweep(
            frame, task, thresholds=sorted(arguments.sweep or pseudo_label_sweep.SWEEP)
        )
        print(f"{pseudo_label_sweep.describe(swept)}\n")
    pseudo_label_results.write(
        out, frame, task=task, summary=summary, kept=kept, jpegs=seen.jpegs, swept=swept
    )
    print(f"{out}: {', '.join(sorted(file.name for file in out.iterdir()))}")
    return 1 if seen.counts["unreadable"] else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, where they go together."""
    made = parser()
    arguments = made.parse_args(argv)
    if bool(arguments.photos) == bool(arguments.dataset):
        made.error("give photos or a --dataset, one of the two")
    if arguments.hidden and arguments.dataset:
        made.error("--hidden goes with photos: a dataset has labels of its own")
    return arguments


def _asked(arguments: argparse.Namespace, path: Path) -> dict:
    """What distinguishes one command from another: its options and the classifier's content."""
    given = {name: value for name, value in vars(arguments).items() if name not in ("out", "run")}
    return json.loads(json.dumps(given | {"classifier": files.digest(path)}, default=str))


def _check_is_free(out: Path, asked: dict) -> None:
    """Refuse a folder that holds anything but what the same command wrote.

    That is made anew: a kill can come when everything is written and nothing is said yet.

    Raises:
        InputError: something else is in the folder.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    with contextlib.suppress(InputError):
        if state.read(out / "summary.json", {"asked": dict})["asked"] == asked:
            return
    raise InputError(f"{out} is there, and no empty folder: give another --out")


def _classified(
    arguments: argparse.Namespace,
    photos: list[Path],
    path: Path,
    trained: "Classifier",
    thresholds: list[float] | None,
) -> "tuple[Seen, dict, list[str | None] | None]":
    """What is predicted for the faces of the photos or the dataset; their true labels by task; of a
    dataset's, which ones the classifier was trained on (see `trained_on.marks`).

    Raises:
        InputError: there is no face.
    """
    from tqdm import tqdm

    from vggface_gender.data import records
    from vggface_gender.datasets import mixes
    from vggface_gender.evaluation import held_out, pseudo_label_faces, trained_on

    size, padding, dataset = trained.size, trained.padding, None
    if arguments.dataset:
        dataset = held_out.prepare(path, **options.dataset_arguments(arguments))
        if arguments.dataset in mixes.names(trained.about.get("dataset", "")):
            print("note: the classifier was trained on this dataset; its accuracy here is too high")
        pictures = pseudo_label_faces.of_dataset(
            dataset, arguments.split, size=size, padding=padding
        )
    else:
        pictures = pseudo_label_faces.of_photos(
            photos, size=size, padding=padding, detector=arguments.detector, every=arguments.every
        )
    seen = pseudo_label_faces.classify(
        pictures,
        trained,
        task=arguments.task,
        thresholds=thresholds,
        warn=lambda error: tqdm.write(f"error: {text.printable(error)}", file=sys.stderr),
    )
    if not seen.names:
        raise InputError(
            f"no face in {seen.counts['pictures']:,} pictures ({seen.counts['unreadable']:,} can't "
            "be read): give others, or --crops if they are faces cut out already"
        )
    if dataset:
        truth = dict(records.labels(dataset, arguments.split)[list(TASKS)])
        return seen, truth, trained_on.marks(path, dataset, split=arguments.split)
    if arguments.hidden:
        return seen, pseudo_label_faces.hidden_labels(arguments.hidden, seen.files), None
    return seen, {}, None


def _source(arguments: argparse.Namespace, path: Path) -> dict:
    """What the faces are from and what classified them, for the summary."""
    return {
        "run": str(path),
        "classifier": files.digest(path),
        "task": arguments.task,
        "dataset": arguments.dataset,
        "split": arguments.split if arguments.dataset else None,
        "photos": arguments.photos,
        "every": arguments.every,
    }


def _thresholds(arguments: argparse.Namespace, names: tuple[str, ...]) -> list[float] | None:
    """Each label's threshold; None where nothing is to be kept.

    Raises:
        InputError: a threshold is of a label that the classifier does not predict, or so few faces
            are wanted that not every label can have one.
    """
    from vggface_gender.evaluation import pseudo_labels

    own = dict(arguments.thresholds)
    if unknown := [name for name in own if name not in names]:
        raise InputError(f"--thresholds {unknown[0]}: give any of {', '.join(names)}")
    if arguments.sweep is not None and arguments.threshold is None and not own:
        return None
    if arguments.balance and arguments.max and arguments.max < len(names):
        raise InputError(f"--max {arguments.max} is less than one face for each of {len(names)}")
    default = pseudo_labels.THRESHOLD if arguments.threshold is None else arguments.threshold
    return [own.get(name, default) for name in names]


def _named_share(text: str) -> tuple[str, float]:
    name, _, share = text.rpartition("=")
    try:
        return name, numbers.share(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not LABEL=PROBABILITY") from None


if __name__ == "__main__":
    sys.exit(console.run(main))
