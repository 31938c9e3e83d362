"""Label faces by a classifier and keep those that it is sure of, to train on.

    python tools/pseudo_label.py holiday/ clip.mp4 --run utkface --balance --out pseudo
    python -m vggface_gender.multitask --dataset "UTKFace+pseudo/faces.csv*0.3" --tasks gender
    python tools/pseudo_label.py --dataset FairFace --run utkface --sweep --out swept

Writes faces.csv, a table that trainings take as a part of a mix, its crops, and summary.json. What
the classifier says of every face stands in predictions.csv. With --sweep it tells what each of
several thresholds accepts and, where true labels are at hand (a dataset's own, or --hidden), how
truly. Those score; they choose nothing.
"""

import argparse
import collections
import functools
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vggface_gender import predict
from vggface_gender.base import console, files, options, runs
from vggface_gender.base.errors import InputError
from vggface_gender.training import tuning

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vggface_gender.datasets import Dataset
    from vggface_gender.inference.classifier import Classifier
    from vggface_gender.predict import Sight

VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".ts"}
BATCH = 64
QUALITY = 95  # of the crops' JPEGs


class Face(NamedTuple):
    """A face that was found."""

    name: str  # its own: "couple.jpg#2", or in a video "clip.mp4@12.500#1"
    crop: "np.ndarray"  # (size, size, 3) uint8 RGB
    file: Path | None = None  # where it is from, if it is alone in that picture


class Seen(NamedTuple):
    """What a classifier says of n faces."""

    names: list[str]
    files: list[Path | None]
    probability: "np.ndarray"  # (n, k)
    hashes: "np.ndarray"  # (n, 4) uint64
    jpegs: dict[int, bytes]  # the accepted faces' crops by their place


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(
        prog="python tools/pseudo_label.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "photos", nargs="*", metavar="PHOTO", help="an image file, a folder of them, or a video"
    )
    parser.add_argument(
        "--run", metavar="RUN", help="as evaluate's (default: the package's own classifier)"
    )
    parser.add_argument("--task", choices=("gender", "race"), default="gender")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a folder that is not there yet"
    )
    options.add_precision_argument(parser)
    group = parser.add_argument_group("photos and videos")
    group.add_argument("--crops", action="store_true", help="they are faces cut out already")
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
        help="a .csv file with true labels of photos that show one face, to score by",
    )
    group = parser.add_argument_group("or a dataset, whose labels are taken as hidden")
    group.add_argument("--dataset", metavar="NAME", help="as evaluate's")
    group.add_argument("--split", default="train", help="train, validation or test")
    group.add_argument("--source", metavar="DIR", help="as evaluate's")
    group.add_argument("--data-dir", default="tfrecords", metavar="DIR", help="where records lie")
    group.add_argument("--split-seed", type=int, default=0, metavar="N", help="of the split")
    group = parser.add_argument_group("what is kept")
    group.add_argument(
        "--threshold",
        type=options.share,
        metavar="P",
        help="the probability from which on a label is accepted (default: 0.95; with --sweep "
        "nothing is kept unless this or --thresholds is given)",
    )
    group.add_argument(
        "--thresholds",
        nargs="+",
        type=_named_share,
        default=[],
        metavar="LABEL=P",
        help="a label's own: female=0.97 male=0.9",
    )
    group.add_argument(
        "--near",
        type=options.count,
        metavar="BITS",
        help="of faces whose hashes of 256 bits differ in no more than these the surest stays "
        "(default: 24, as in cross_evaluate)",
    )
    group.add_argument(
        "--balance",
        action="store_true",
        help="draw at random, of each label as many as the rarest has",
    )
    group.add_argument(
        "--max",
        type=options.positive,
        metavar="N",
        help="draw at most N faces at random, with --balance as many of each label",
    )
    group.add_argument("--seed", type=options.count, default=0, metavar="N", help="of the draws")
    parser.add_argument(
        "--sweep",
        nargs="*",
        type=options.share,
        metavar="P",
        help="tell of these thresholds (0.5 to 0.99 where none is given)",
    )
    arguments = parser.parse_args(argv)
    if bool(arguments.photos) == bool(arguments.dataset):
        parser.error("give photos or a --dataset, one of the two")
    if arguments.hidden and arguments.dataset:
        parser.error("--hidden goes with photos: a dataset has labels of its own")
    return arguments


def _named_share(text: str) -> tuple[str, float]:
    name, _, share = text.rpartition("=")
    try:
        return name, options.share(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not LABEL=PROBABILITY") from None


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    out, task = arguments.out, arguments.task
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} is there, and no empty folder: give another --out")
    path = runs.find(arguments.run)
    photos = predict.find_photos(arguments.photos)

    from vggface_gender.base import device

    device.start()
    from vggface_gender import datasets
    from vggface_gender.datasets import mixes
    from vggface_gender.evaluation import metrics, predictions, pseudo_labels
    from vggface_gender.inference import classifier

    trained = classifier.load(path, arguments.precision)
    if task not in trained.tasks:
        raise InputError(f"{path} does not tell {task}: {', '.join(trained.tasks)}")
    names = trained.tasks[task]
    thresholds = wanted(arguments, names)
    counts: collections.Counter = collections.Counter()
    dataset = None
    if arguments.dataset:
        dataset = datasets.prepare(
            arguments.dataset, arguments.source, arguments.data_dir, arguments.split_seed
        )
        faces = of_dataset(dataset, arguments.split, trained, counts)
        if arguments.dataset in mixes.names(trained.about.get("dataset", "")):
            print("note: the classifier was trained on this dataset, so what it says is flattered")
    else:
        faces = of_photos(photos, trained, arguments.crops, arguments.every, counts)
    seen = classify(faces, trained, task, thresholds)
    if not seen.names:
        raise InputError(
            f"no face in {counts['pictures']:,} pictures ({counts['unreadable']:,} can't be read): "
            "give others, or --crops if they are faces cut out already"
        )
    truth = true_labels(arguments, dataset, seen)
    frame = predictions.table(seen.names, truth, {task: seen.probability}, {task: names})
    print(
        f"{counts['pictures']:,} pictures, {counts['unreadable']:,} unreadable, "
        f"{counts['without a face']:,} without a face; {len(frame):,} faces\n"
    )
    summary = {
        "run": str(path),
        "classifier": runs.digest(path),
        "task": task,
        "dataset": arguments.dataset,
        "split": arguments.split if dataset else None,
        "photos": arguments.photos,
        "every": arguments.every,
        **{kind: counts[kind] for kind in ("pictures", "unreadable", "without a face")},
        "faces": len(frame),
    }
    kept, swept = None, None
    if thresholds:
        kept, chosen = choose(seen, names, thresholds, arguments)
        score = metrics.evaluate(frame.iloc[kept])[task]
        summary |= chosen | {
            "kept": {"count": len(kept), "labelled": score["count"]}
            | {key: score[key] for key in ("accuracy", "interval") if key in score}
        }
        print(f"{report(summary)}\n")
    if arguments.sweep is not None:
        swept = pseudo_labels.sweep(frame, task, sorted(arguments.sweep or pseudo_labels.SWEEP))
        print(f"{pseudo_labels.describe(swept)}\n")
    with files.whole(out) as part:
        part.mkdir()
        predictions.write(frame, part / "predictions.csv")
        if kept is not None:
            write_table(part, frame, task, kept, seen.jpegs)
        if swept is not None:
            swept.to_csv(part / "sweep.csv", index=False)
            swept.to_json(part / "sweep.json", orient="records", indent=1, double_precision=15)
        files.write_json(summary, part / "summary.json")
    print(f"{out}: {', '.join(sorted(file.name for file in out.iterdir()))}")


def wanted(arguments: argparse.Namespace, names: tuple[str, ...]) -> list[float] | None:
    """Each label's threshold; None where nothing is to be kept.

    Raises:
        InputError: a threshold is of a label that the classifier does not tell, or so few faces
            are wanted that not every label can have one.
    """
    from vggface_gender.evaluation import pseudo_labels

    own = tuning.named(arguments.thresholds, names, "--thresholds")
    if arguments.sweep is not None and arguments.threshold is None and not own:
        return None
    if arguments.balance and arguments.max and arguments.max < len(names):
        raise InputError(f"--max {arguments.max} is less than one face for each of {len(names)}")
    default = pseudo_labels.THRESHOLD if arguments.threshold is None else arguments.threshold
    return [own.get(name, default) for name in names]


def of_dataset(
    dataset: "Dataset", split: str, trained: "Classifier", counts: collections.Counter
) -> Iterator[Face]:
    """The faces of a dataset's split in the classifier's frame, counted as they are read.

    Raises:
        InputError: there is no such split.
    """
    from tqdm import tqdm

    from vggface_gender.data import records

    dataset.require(split)
    parts = records.batches(dataset, split, BATCH, trained.size, trained.padding)
    with tqdm(total=dataset.counts[split], unit=" faces", disable=None) as bar:
        for part in parts.as_numpy_iterator():
            for name, crop in zip(part["name"], part["image"], strict=True):
                counts["pictures"] += 1
                yield Face(name.decode(), crop)
                bar.update()


def of_photos(
    photos: Sequence[Path],
    trained: "Classifier",
    crops: bool,
    every: float,
    counts: collections.Counter,
) -> Iterator[Face]:
    """The faces of photos and videos, found and aligned in threads; what can't be read is told."""
    from tqdm import tqdm

    def find(photo: Path, look: "Callable[[], Sight]") -> "tuple[Path, Sight, np.ndarray | tuple]":
        from vggface_gender.photos import faces

        sight = look()
        if not sight.faces:
            return photo, sight._replace(photo=None), ()
        aligned = faces.align(sight.photo, sight.faces, trained.size, trained.padding)
        return photo, sight._replace(photo=None), aligned

    looks = ((photo, look) for photo in photos for look in looks_at(photo, crops, every))
    bar = tqdm(
        predict.ahead(lambda pair: find(*pair), looks, threads=min(os.cpu_count() or 1, 8)),
        total=None if any(map(is_video, photos)) else len(photos),
        unit=" pictures",
        disable=None,
    )
    for photo, sight, aligned in bar:
        counts["pictures"] += 1
        if sight.error:
            counts["unreadable"] += 1
            tqdm.write(f"error: {sight.error}", file=sys.stderr)
        elif not len(aligned):
            counts["without a face"] += 1
        for number, crop in enumerate(aligned, start=1):
            name = sight.name if crops else f"{sight.name}#{number}"
            yield Face(name, crop, photo if len(aligned) == 1 else None)


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by the end of its name."""
    return path.suffix.lower() in VIDEOS


def looks_at(path: Path, crops: bool, every: float) -> "Iterator[Callable[[], Sight]]":
    """What finds the faces of a photo, or of each frame of a video that is looked at."""
    if not is_video(path):
        yield functools.partial(predict.look, path, crops=crops)
        return
    try:
        for seconds, frame in frames(path, every):
            yield functools.partial(predict.see, frame, f"{path}@{seconds:.3f}", crops=crops)
    except InputError as error:
        yield functools.partial(predict.Sight, str(path), None, [], str(error))


def frames(path: Path, every: float) -> "Iterator[tuple[float, np.ndarray]]":
    """A video's frames, one every so many seconds: (seconds, uint8 RGB (h, w, 3)).

    Raises:
        InputError: there is no such file, or no frame can be read from it.
    """
    import cv2

    if not path.is_file():
        raise InputError(f"{path}: no such file; give a video")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what is wrong is told here
    video = cv2.VideoCapture(str(path))
    due = 0.0
    try:
        while video.grab():
            seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if seconds + 1e-6 < due:
                continue
            is_read, frame = video.retrieve()
            if is_read:
                yield seconds, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                due = every * ((seconds + 1e-6) // every + 1)
    finally:
        video.release()
    if not due:
        raise InputError(f"{path}: not a video that can be read here; replace the file")


def classify(
    faces: Iterator[Face], trained: "Classifier", task: str, thresholds: Sequence[float] | None
) -> Seen:
    """What a classifier says of faces; of those that pass the thresholds the crops are kept."""
    import numpy as np

    from vggface_gender.evaluation import overlap, pseudo_labels

    seen = Seen([], [], np.zeros((0, len(trained.tasks[task]))), np.zeros((0, 4), np.uint64), {})
    probabilities, hashes = [seen.probability], [seen.hashes]
    while part := list(itertools.islice(faces, BATCH)):
        crops = np.stack([face.crop for face in part])
        probabilities.append(trained.predict(crops)[task].astype(np.float64))
        hashes.append(np.stack([overlap.difference_hash(crop) for crop in crops]))
        if thresholds:
            for place in np.flatnonzero(pseudo_labels.accept(probabilities[-1], thresholds)):
                seen.jpegs[len(seen.names) + int(place)] = to_jpeg(crops[place])
        seen.names.extend(face.name for face in part)
        seen.files.extend(face.file for face in part)
    return seen._replace(probability=np.concatenate(probabilities), hashes=np.concatenate(hashes))


def to_jpeg(crop: "np.ndarray") -> bytes:
    """A crop (h, w, 3) `uint8` RGB as JPEG bytes."""
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(crop).save(encoded, "JPEG", quality=QUALITY, subsampling=0)
    return encoded.getvalue()


def true_labels(
    arguments: argparse.Namespace, dataset: "Dataset | None", seen: Seen
) -> "dict[str, Sequence]":
    """The hidden labels by task, where there are any."""
    from vggface_gender.base import labels
    from vggface_gender.data import records

    if dataset:
        truth = records.labels(dataset, arguments.split)
        return {task: truth[task] for task in labels.TASKS}
    return hidden_labels(arguments.hidden, seen.files) if arguments.hidden else {}


def hidden_labels(table: Path, files: Iterable[Path | None]) -> dict[str, list]:
    """A table's labels of files by task, None where it has none.

    Raises:
        InputError: the table can't be read, or lists none of the files.
    """
    from vggface_gender.base import labels
    from vggface_gender.datasets.table.table_dataset_builder import Builder

    known = {item.image.resolve(): item for item in Builder.labelled(table)}
    found = [file and known.get(file.resolve()) for file in files]
    if not any(found):
        raise InputError(f"{table} lists none of the photos that show one face: give their table")
    return {task: [item and getattr(item, task) for item in found] for task in labels.TASKS}


def choose(
    seen: Seen, names: Sequence[str], thresholds: Sequence[float], arguments: argparse.Namespace
) -> "tuple[np.ndarray, dict]":
    """The places of the faces that are kept; and how they were chosen, for the summary.

    Raises:
        InputError: none is accepted; or of a label none, where all are to be balanced.
    """
    from vggface_gender.evaluation import overlap, pseudo_labels

    how = {
        "near": overlap.NEAR if arguments.near is None else arguments.near,
        "balanced": arguments.balance,
        "most": arguments.max,
        "seed": arguments.seed,
    }
    steps = pseudo_labels.choose(seen.probability, thresholds, seen.hashes, **how)
    by_label = pseudo_labels.tally(seen.probability, names, steps)
    if not len(steps["accepted"]):
        raise InputError(
            f"of {len(seen.names):,} faces none reaches its label's threshold; the surest has "
            f"{seen.probability.max():.3f}: lower --threshold"
        )
    if not len(steps["kept"]):
        absent = [name for name, n in by_label.items() if n["accepted"] == n["thinned away"]]
        raise InputError(
            f"no face told {' or '.join(absent)} is left, so there is nothing to balance with: "
            "lower the label's threshold, or leave out --balance"
        )
    own = dict(zip(names, thresholds, strict=True))
    return steps["kept"], how | {"thresholds": own, "labels": by_label}


def report(summary: dict) -> str:
    """What became of each label's faces, and how true those kept are, to read."""
    from vggface_gender.evaluation import metrics

    by_label, kept = summary["labels"], summary["kept"]
    rows = [["label", "threshold", *next(iter(by_label.values()))]]
    for name, numbers in by_label.items():
        own = f"{summary['thresholds'][name]:g}"
        rows.append([name, own, *(f"{number:,}" for number in numbers.values())])
    text = metrics.aligned(rows, text_columns=range(1))
    if kept["labelled"]:
        low, high = kept["interval"]
        text += (
            f"\n\n  right: {kept['accuracy']:.1%} ({low:.1%} to {high:.1%}) of the "
            f"{kept['labelled']:,} kept whose true label is known"
        )
    return text


def write_table(
    folder: Path, frame: "pd.DataFrame", task: str, kept: "np.ndarray", jpegs: dict[int, bytes]
) -> None:
    """Write `faces.csv` and `crops/`, as a dataset's table is read."""
    import pandas as pd

    from vggface_gender.evaluation import predictions, pseudo_labels

    label, confidence = pseudo_labels.told(predictions.probabilities(frame, task)[kept])
    names = predictions.output_labels(frame, task)
    files = [f"crops/{place:06d}.jpg" for place in kept]
    (folder / "crops").mkdir()
    for file, place in zip(files, kept, strict=True):
        (folder / file).write_bytes(jpegs[place])
    table = {
        "file": files,
        task: [names[place] for place in label],
        "confidence": confidence,
        "source": frame.name.to_numpy()[kept],
        "split": "train",
    }
    pd.DataFrame(table).to_csv(folder / "faces.csv", index=False, errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(console.run(main))
