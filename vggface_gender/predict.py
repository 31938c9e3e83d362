"""Command: photos to people. Detects the faces, aligns, classifies and draws them.

    python -m vggface_gender.predict holiday.jpg portraits/ --json

Prints a line a face (or a JSON object a photo) in the order given, and writes a drawn copy of each
photo that has a face. A photo without a face is an answer. One that can't be read is named on
standard error and the others are still done; the exit status is 2 if none could be read.
"""

import collections
import functools
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vggface_gender.base import console, files, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from vggface_gender.inference.classifier import Classifier, Sampled
    from vggface_gender.photos.faces import Face

# Photos wait for each other until so many faces are there to classify, or so many pixels are held.
BATCH_FACES = 32
BATCH_PIXELS = 64_000_000

# dlib's own threshold is 0; what scores little more is more often a badge than a face.
THRESHOLD = 0.2

DRAWN_SIDE = 640  # the longer side, in pixels, that a drawn copy has at least
COLOUR = "#ffd400"  # one for all: boxes are not coloured by what is said of people


class Sight(NamedTuple):
    """A photo after detection and before classification."""

    name: str  # the photo's path as the user gave it
    photo: "np.ndarray | None"  # (h, w, 3) uint8 RGB; None if it could not be read
    faces: "list[Face]"
    error: str | None = None  # why it could not be read


def see(
    photo: "np.ndarray",
    name: str,
    upsample: int = 1,
    threshold: float = THRESHOLD,
    crops: bool = False,
) -> Sight:
    """Find a photo's faces. Needs no TensorFlow.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        name: what to call the photo in its answer.
        upsample, threshold: as `faces.detect` takes them.
        crops: the photo is one face's crop already; nothing is detected.
    """
    from vggface_gender.photos import faces

    found = [faces.whole(photo)] if crops else faces.detect(photo, upsample, threshold)
    return Sight(name, photo, found)


def look(path: Path, upsample: int = 1, threshold: float = THRESHOLD, crops: bool = False) -> Sight:
    """Read a photo and `see` it; the sight of one that can't be read has an error and no faces."""
    from vggface_gender.photos import faces

    try:
        photo = faces.read_photo(path)
    except InputError as error:
        return Sight(str(path), None, [], str(error))
    return see(photo, str(path), upsample, threshold, crops)


def classify(
    sights: Sequence[Sight],
    classifier: "Classifier",
    race: bool = False,
    sample: "Callable[[np.ndarray], Sampled] | None" = None,
) -> list[dict]:
    """What the classifier says of every face of the photos, in one batch.

    Args:
        race: whether to tell the perceived race too.
        sample: answers with dropout left on in place of the classifier's (`classifier.sampler`).

    Returns:
        For each face, photo after photo, its `box` (left, top, right, bottom), `score` (None if it
        was not detected) and, by task, `label`, `probability` and `probabilities`, or `years`; of
        samples also the mean answer's `entropy` in nats, or the answers' `deviation` in years.
    """
    import numpy as np

    from vggface_gender.photos import faces

    crops = [
        faces.align(sight.photo, sight.faces, classifier.size, classifier.padding)
        for sight in sights
        if sight.faces
    ]
    if sample:
        outputs, doubts = sample(np.concatenate(crops))
    else:
        outputs, doubts = classifier.predict(np.concatenate(crops)), None
    people = []
    for i, face in enumerate(face for sight in sights for face in sight.faces):
        person = {
            "box": list(face.box),
            "score": None if face.score is None else round(face.score, 4),
        }
        for task, names in classifier.tasks.items():
            if task == "age":
                person[task] = {"years": round(float(outputs[task][i]), 1)}
                if doubts:
                    person[task]["deviation"] = round(float(doubts[task][i]), 1)
            elif task != "race" or race:
                person[task] = _chances(names, outputs[task][i])
                if doubts:
                    person[task]["entropy"] = round(float(doubts[task][i]), 4)
        people.append(person)
    return people


def answer(sight: Sight, people: list[dict]) -> dict:
    """The JSON object for a photo and what `classify` said of its faces."""
    answered = {"photo": sight.name}
    if sight.photo is None:
        answered |= {"status": "unreadable", "error": sight.error, "width": None, "height": None}
    else:
        height, width = sight.photo.shape[:2]
        answered |= {"status": "ok" if people else "no face", "width": width, "height": height}
    return answered | {"faces": people}


def predict(
    sights: Iterable[Sight],
    load: "Callable[[], Classifier]",
    race: bool = False,
    samples: int | None = None,
) -> Iterator[tuple[Sight, dict]]:
    """Each photo with its answer, in order; faces of several photos are classified together.

    Args:
        load: gives the classifier; called only if there is a face.
        race: as `classify` takes it.
        samples: answer with the mean of so many answers with dropout left on.
    """

    @functools.cache
    def sample() -> "Callable[[np.ndarray], Sampled] | None":
        if not samples:
            return None
        from vggface_gender.inference import classifier

        return classifier.sampler(load(), samples)

    for batch in _batches(sights):
        seen = any(sight.faces for sight in batch)
        people = iter(classify(batch, load(), race, sample()) if seen else ())
        for sight in batch:
            yield sight, answer(sight, list(itertools.islice(people, len(sight.faces))))


def read(
    photo: "np.ndarray",
    name: str,
    classifier: "Classifier",
    race: bool = False,
    upsample: int = 1,
    threshold: float = THRESHOLD,
    crops: bool = False,
) -> dict:
    """The JSON object for one photo in memory; the arguments are those of `see` and `classify`."""
    sight = see(photo, name, upsample, threshold, crops)
    return answer(sight, classify([sight], classifier, race) if sight.faces else [])


def words(person: dict) -> list[str]:
    """What `classify` said of a face, a phrase a task: `["male 98%", "31 years"]`."""
    return [
        f"{said['years']:.0f} years"
        if "years" in said
        else f"{said['label']} {_percent(said['probability'])}"
        for said in person.values()
        if isinstance(said, dict)
    ]


def _percent(probability: float) -> str:
    """Never a certainty: no more than 99%."""
    return f"{min(round(100 * probability), 99)}%"


def draw(photo: "np.ndarray", people: list[dict]) -> "Image.Image":
    """A copy of the photo with every face's box and, beside it, what is said of it.

    Small photos are enlarged for the text to be legible. A label stands above its box, or
    where around it less of other labels and faces is covered, and never reaches out of the picture.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        people: as `classify` returns them.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(photo)
    scale = max(1.0, DRAWN_SIDE / max(picture.size))
    picture = picture.resize([max(1, round(side * scale)) for side in picture.size])
    side = max(picture.size)
    pen = ImageDraw.Draw(picture)
    boxes = [[round(x * scale) for x in person["box"]] for person in people]
    for box in boxes:
        pen.rectangle(box, outline=COLOUR, width=max(2, side // 250))

    covered = list(boxes)
    for box, person in zip(boxes, people, strict=True):
        text = "\n".join(words(person))
        size = min(max((box[2] - box[0]) / 5, side / 100, 12), side / 30)
        font = ImageFont.load_default(size)
        too_wide = pen.textbbox((0, 0), text, font)[2] / (0.9 * picture.width)
        if too_wide > 1:
            font = ImageFont.load_default(size / too_wide)
        label = _place(pen.textbbox((0, 0), text, font), font.size / 4, box, covered, picture.size)
        covered.append(label)
        pen.rectangle(label, fill=COLOUR)
        middle = ((label[0] + label[2]) / 2, (label[1] + label[3]) / 2)
        pen.text(middle, text, "black", font, anchor="mm", align="center")
    return picture


def find_photos(paths: Iterable[str]) -> list[Path]:
    """The files named, and in place of each folder the images in it, sorted by name.

    Raises:
        InputError: a folder has no images.
    """
    from vggface_gender.photos.faces import SUFFIXES

    photos = []
    for path in map(Path, paths):
        if not path.is_dir():
            photos.append(path)
            continue
        inside = sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not inside:
            raise InputError(f"{path}: no images in this folder; name photos or their folder")
        photos += inside
    return photos


def drawing_paths(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Where each photo's drawn copy goes: `folder/<name>-faces.jpg`, numbered where names collide.

    No two photos share a path, and no path is that of a photo.
    """
    taken = {_same(photo) for photo in photos}
    paths = []
    for photo in photos:
        numbers = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
        candidates = (folder / f"{photo.stem}-faces{number}.jpg" for number in numbers)
        path = next(path for path in candidates if _same(path) not in taken)
        taken.add(_same(path))
        paths.append(path)
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"{args.out}: not a folder; give --out a folder for drawn copies")

    from tqdm import tqdm

    path = runs.find(args.run)
    photos = find_photos(args.photos)
    drawings = drawing_paths(photos, args.out)
    look_at = functools.partial(
        look, upsample=args.upsample, threshold=args.threshold, crops=args.crops
    )
    load = functools.cache(functools.partial(_load, path, args.race))
    sights = ahead(look_at, photos, threads=min(len(photos), os.cpu_count() or 1, 8))
    answers = predict(sights, load, args.race, args.dropout)
    # A bar only for people (None: not where standard error is a file), and only where they wait.
    bar = tqdm(answers, total=len(photos), unit="photo", disable=len(photos) < 10 or None)
    unreadable = 0
    for drawing, (sight, answered) in zip(drawings, bar, strict=True):
        if sight.error:
            unreadable += 1
            tqdm.write(f"error: {sight.error}", file=sys.stderr)
        elif sight.faces and not args.no_draw:
            with files.whole(drawing) as part:
                draw(sight.photo, answered["faces"]).save(part, quality=90)
        for line in [json.dumps(answered)] if args.json else _lines(answered):
            tqdm.write(line)
            sys.stdout.flush()
    return 2 if unreadable == len(photos) else 0


def _parser() -> options.Parser:
    parser = options.Parser(
        prog="python -m vggface_gender.predict",
        description="Tell how the people in photos are perceived: gender, age and, if asked, race.",
        epilog="A box is (left, top, right, bottom) in pixels of the upright photo. Labels say how "
        "the model's training data would have the face perceived, not who the person is.",
    )
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="an image file, or a folder of them"
    )
    parser.add_argument(
        "--run",
        help="a training's name, its folder or a .keras file (default: the classifier that comes "
        "with the package)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a photo")
    parser.add_argument("--race", action="store_true", help="tell the perceived race too")
    parser.add_argument(
        "--dropout",
        type=options.positive,
        metavar="N",
        help="answer with the mean of N answers with dropout left on; --json tells how unsure",
    )
    parser.add_argument(
        "--out", type=Path, default="model_files/predictions", help="folder for the drawn copies"
    )
    parser.add_argument("--no-draw", action="store_true", help="write no drawn copies")
    parser.add_argument("--crops", action="store_true", help="the photos are faces cut out already")
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
        help="least detection score of a face: above 0 fewer and surer ones",
    )
    return parser


def _load(path: Path, race: bool) -> "Classifier":
    """The classifier in a file.

    Raises:
        InputError: there is none, or it can't tell race and should.
    """
    from vggface_gender.base import device

    device.start()
    from vggface_gender.inference import classifier

    # In float32 a photo's answer is the same on every machine, and one photo is answered soonest.
    loaded = classifier.load(path, precision="float32")
    if race and "race" not in loaded.tasks:
        raise InputError(f"{path}: not trained to tell race; leave out --race")
    return loaded


def ahead(function: Callable, items: Iterable, threads: int) -> Iterator:
    """`map`, computed in threads and never more than `threads` results ahead of the reader."""
    with ThreadPoolExecutor(threads) as pool:
        results = collections.deque()
        for item in items:
            results.append(pool.submit(function, item))
            if len(results) > threads:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()


def _batches(sights: Iterable[Sight]) -> Iterator[list[Sight]]:
    batch, count, pixels = [], 0, 0
    for sight in sights:
        batch.append(sight)
        count += len(sight.faces)
        pixels += 0 if sight.photo is None else sight.photo.size // 3
        if count >= BATCH_FACES or pixels >= BATCH_PIXELS:
            yield batch
            batch, count, pixels = [], 0, 0
    if batch:
        yield batch


def _chances(names: Sequence[str], probabilities: "np.ndarray") -> dict:
    rounded = [round(float(probability), 4) for probability in probabilities]
    best = int(probabilities.argmax())
    return {
        "label": names[best],
        "probability": rounded[best],
        "probabilities": dict(zip(names, rounded, strict=True)),
    }


def _lines(answered: dict) -> list[str]:
    """An answer for people to read, a line a face; none for an error, which is told elsewhere."""
    if answered["status"] == "no face":
        return [f"{answered['photo']}: no face found"]
    return [
        f"{answered['photo']}: {', '.join(words(person))} at ({', '.join(map(str, person['box']))})"
        for person in answered["faces"]
    ]


def _place(
    text: Sequence[float],
    margin: float,
    box: Sequence[int],
    covered: Sequence[Sequence[float]],
    size: tuple[int, int],
) -> tuple[float, float, float, float]:
    """A label's rectangle: of the places around a face's box, the one that covers least.

    Args:
        text: the text's own bounding box; margin is left around it.
        box, covered: the face's box, and what should be left free (left, top, right, bottom).
        size: of the picture (width, height), which the rectangle is kept inside of.
    """
    width, height = text[2] - text[0] + 2 * margin, text[3] - text[1] + 2 * margin
    left, top, right, bottom = box
    places = []
    for x, y in ((left, top - height), (left, bottom), (right, top), (left - width, top)):
        x, y = max(0, min(x, size[0] - 1 - width)), max(0, min(y, size[1] - 1 - height))
        places.append((x, y, x + width, y + height))
    return min(places, key=lambda place: sum(_overlap(place, other) for other in covered))


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """The area that two rectangles share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)


def _same(path: Path) -> str:
    """A key that two paths share if they can be one file, on systems blind to case too."""
    return str(path.resolve()).casefold()


if __name__ == "__main__":
    sys.exit(console.run(main))
