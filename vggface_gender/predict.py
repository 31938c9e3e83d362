"""Predict how the people in photos are perceived: gender, age and, on request, race.

    vggface-gender predict holiday.jpg portraits/ --json
    vggface-gender predict couple.jpg --run UTKFace-multitask --race --mc-dropout 30

Detects the faces, aligns and classifies them. Prints a line a face (or a JSON object a photo) in
the order given, and writes a drawn copy of each photo that has a face. A photo without a face is an
answer. One that can't be read is named on standard error and the others are still done.

A folder stands for the images in it, by their names' endings; folders within it are not entered.
What in it is left out is counted on standard error.

Exit status: 0 if every photo was answered, 1 if some could not be read, 2 if none could or the
command could not begin.

A box is (left, top, right, bottom) in pixels of the upright photo. Labels say how the annotators of
the training data would have perceived the face, not who the person is.
"""

import argparse
import functools
import sys
from pathlib import Path

from vggface_gender.base import console, files, options, runs, text
from vggface_gender.base.errors import InputError

DRAWING_QUALITY = 90  # of the drawn copies' JPEGs
FEW = 10  # photos that are done before a progress bar would help


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    from vggface_gender.photos import THRESHOLD

    parser = options.Parser("predict", __doc__)
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="an image file, or a folder of them (those within it are not entered)",
    )
    options.add_run_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a photo")
    parser.add_argument("--race", action="store_true", help="predict the perceived race too")
    parser.add_argument(
        "--mc-dropout",
        "--dropout",
        type=options.positive,
        metavar="N",
        help="answer with the mean of N predictions with dropout left on (Monte-Carlo dropout); "
        "with --json each has its uncertainty: entropy in nats, for age a deviation in years",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=runs.MODEL_FILES / "predictions",
        metavar="DIR",
        help="folder for the drawn copies",
    )
    parser.add_argument("--no-draw", action="store_true", help="write no drawn copies")
    parser.add_argument(
        "--crops",
        action="store_true",
        help="each photo is one face cut out already: detect nothing, take its central square",
    )
    parser.add_argument(
        "--upsample",
        type=int,
        choices=range(5),
        default=1,
        help="doublings of the photo before detection: more find smaller faces, and take longer",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        metavar="SCORE",
        help="least detection score of a face: a higher one leaves fewer false detections and "
        "more missed faces",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Answer photos; the exit status is 0 only if all of them could be read."""
    arguments = parser().parse_args(argv)
    if arguments.out.exists() and not arguments.out.is_dir():
        raise InputError(f"{arguments.out}: not a folder; give --out a folder for drawn copies")
    path = runs.find(arguments.run, onnx=True)

    from tqdm import tqdm

    from vggface_gender.inference import backends, pipeline
    from vggface_gender.photos import detect, draw, folders, inputs, read

    photos, left_out = read.find_photos(arguments.photos)
    for line in folders.describe(left_out):
        print(f"left out: {line}", file=sys.stderr)
    backend = "keras" if arguments.mc_dropout else "auto"  # only Keras can leave dropout on
    answered = pipeline.answers(
        map(inputs.file, photos),
        functools.cache(functools.partial(backends.load, path, backend=backend)),
        find=detect.finder(
            "none" if arguments.crops else "hog",
            upsample=arguments.upsample,
            threshold=arguments.threshold,
        ),
        extra_tasks=("race",) if arguments.race else (),
        samples=arguments.mc_dropout,
    )
    # A bar only for people (None: not where standard error is a file), and only where they wait.
    bar = tqdm(answered, total=len(photos), unit="photo", disable=len(photos) < FEW or None)
    unreadable = 0
    for place, answer in zip(draw.drawing_paths(photos, arguments.out), bar, strict=True):
        if answer.error:
            unreadable += 1
            tqdm.write(f"error: {text.printable(answer.error)}", file=sys.stderr)
        elif answer.faces and not arguments.no_draw:
            with files.whole(place) as part:
                answer.draw().save(part, quality=DRAWING_QUALITY)
        for line in [answer.to_json()] if arguments.json else answer.describe():
            tqdm.write(line)
            sys.stdout.flush()
    if unreadable and len(photos) > 1:
        print(f"error: {unreadable:,} of {len(photos):,} photos can't be read", file=sys.stderr)
    return 0 if not unreadable else 1 if unreadable < len(photos) else 2


if __name__ == "__main__":
    sys.exit(console.run(main))
