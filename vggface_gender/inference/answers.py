"""Answers: what a classifier predicts of the faces in photos, as objects, as JSON and as text.

Needs neither Keras nor TensorFlow until there is a face to classify.
"""

import functools
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vggface_gender.base import text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.photos import THRESHOLD, detect, threads
from vggface_gender.photos.align import align
from vggface_gender.photos.detect import Detected

if TYPE_CHECKING:
    from vggface_gender.inference.classifier import Classifier
    from vggface_gender.inference.dropout import Sampled

    Sampler = Callable[[np.ndarray], Sampled]

# Tasks that are answered only for who wants them.
ON_REQUEST = frozenset({"race"})

# Photos wait for each other until so many faces are there to classify, or so many pixels are held.
BATCH_FACES = 32
BATCH_PIXELS = 64_000_000
THREADS = 8  # at most, to detect faces in

# What is published of a number: no more than there is to it.
PROBABILITY_DIGITS, SCORE_DIGITS, YEARS_DIGITS = 4, 4, 1


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label of a face with the probabilities of all."""

    probabilities: dict[str, float]  # label to [0, 1]; they add up to 1
    entropy: float | None = None  # of sampled answers the mean's, in nats; 0 to log(labels)

    @property
    def label(self) -> str:
        """The most probable label; of equals the first."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Of the label: the classifier's confidence."""
        return self.probabilities[self.label]

    def to_dict(self) -> dict:
        """The published form."""
        rounded = {
            name: round(probability, PROBABILITY_DIGITS)
            for name, probability in self.probabilities.items()
        }
        published = {
            "label": self.label,
            "probability": rounded[self.label],
            "probabilities": rounded,
        }
        if self.entropy is not None:
            published["entropy"] = round(self.entropy, PROBABILITY_DIGITS)
        return published

    def describe(self) -> str:
        """A phrase, "male 98%"; never a certainty: no more than 99%."""
        percent = min(round(100 * round(self.probability, PROBABILITY_DIGITS)), 99)
        return f"{self.label} {percent}%"


@dataclass(frozen=True, kw_only=True)
class Years:
    """An age."""

    years: float
    deviation: float | None = None  # the standard deviation of sampled answers, in years

    def to_dict(self) -> dict:
        """The published form."""
        published = {"years": round(self.years, YEARS_DIGITS)}
        if self.deviation is not None:
            published["deviation"] = round(self.deviation, YEARS_DIGITS)
        return published

    def describe(self) -> str:
        """A phrase, "31 years"."""
        return f"{round(self.years, YEARS_DIGITS):.0f} years"


@dataclass(frozen=True, kw_only=True)
class FaceAnswer:
    """A face of a photo and what is predicted of it."""

    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels of the upright photo
    score: float | None  # the detector's (see `detect.Face`); None if it was not detected
    tasks: dict[str, Label | Years]  # by the task's name

    def to_dict(self) -> dict:
        """The published form."""
        score = None if self.score is None else round(self.score, SCORE_DIGITS)
        answers = {task: answer.to_dict() for task, answer in self.tasks.items()}
        return {"box": list(self.box), "score": score, **answers}

    def describe(self) -> list[str]:
        """A phrase a task: `["male 98%", "31 years"]`."""
        return [answer.describe() for answer in self.tasks.values()]


@dataclass(frozen=True, kw_only=True)
class PhotoAnswer:
    """A photo and its faces."""

    photo: str  # what the photo is called: its path as the user gave it
    width: int | None  # of the upright photo in pixels; None if it could not be read
    height: int | None
    faces: list[FaceAnswer]  # from left to right
    error: str | None = None  # why it could not be read, in one line

    @property
    def status(self) -> str:
        """`ok`, `no face` or `unreadable`."""
        if self.error is not None:
            return "unreadable"
        return "ok" if self.faces else "no face"

    def to_dict(self) -> dict:
        """The published form of `predict --json`, its keys in their order."""
        published: dict = {"photo": self.photo, "status": self.status}
        if self.error is not None:
            published["error"] = self.error
        published |= {"width": self.width, "height": self.height}
        return published | {"faces": [face.to_dict() for face in self.faces]}

    def to_json(self) -> str:
        """The published form as one line of JSON."""
        return json.dumps(self.to_dict())

    def describe(self) -> list[str]:
        """Lines to read, one a face; none for a photo that could not be read."""
        photo = text.printable(self.photo)
        if self.status == "no face":
            return [f"{photo}: no face found"]
        return [
            f"{photo}: {', '.join(face.describe())} at ({', '.join(map(str, face.box))})"
            for face in self.faces
        ]


def of_files(
    paths: Sequence[Path],
    classifier: Path,
    *,
    extra_tasks: Collection[str] = (),
    samples: int | None = None,
    upsample: int = 1,
    threshold: float = THRESHOLD,
    crops: bool = False,
) -> Iterator[tuple[Detected, PhotoAnswer]]:
    """Each photo with its answer, in order: read, detected in threads, aligned and classified.

    Args:
        paths: image files; what can't be read has an answer that says why.
        classifier: its file, which is read only if there is a face.
        extra_tasks: those of `ON_REQUEST` to answer too.
        samples: answer with the mean of so many answers with dropout left on.
        upsample, threshold, crops: as `detect.in_photo` takes them.

    Raises:
        InputError: the file is not a classifier, does not predict an extra task, or has no dropout
            to leave on.
    """
    found = threads.ahead(
        lambda path: detect.in_file(path, upsample=upsample, threshold=threshold, crops=crops),
        paths,
        threads=max(1, min(len(paths), os.cpu_count() or 1, THREADS)),
    )
    load = functools.cache(functools.partial(_load, classifier, extra_tasks))
    return of_photos(found, load, extra_tasks=extra_tasks, samples=samples)


def of_photos(
    photos: Iterable[Detected],
    load: "Callable[[], Classifier]",
    *,
    extra_tasks: Collection[str] = (),
    samples: int | None = None,
) -> Iterator[tuple[Detected, PhotoAnswer]]:
    """Each photo with its answer, in order; faces of several photos are classified together.

    Args:
        photos: as detected; no more are taken ahead than one batch of faces needs.
        load: gives the classifier, the same at every call; called only if there is a face.
        extra_tasks, samples: as `of_files` takes them.
    """

    @functools.cache
    def sample() -> "Sampler | None":
        if not samples:
            return None
        from vggface_gender.inference import dropout

        return dropout.sampler(load(), samples=samples)

    for batch in _batches(photos):
        faces: Iterator[FaceAnswer] = iter(())
        if any(detected.faces for detected in batch):
            faces = iter(classify(batch, load(), extra_tasks=extra_tasks, sample=sample()))
        for detected in batch:
            yield detected, _answer(detected, itertools.islice(faces, len(detected.faces)))


def of_photo(
    photo: np.ndarray,
    name: str,
    *,
    classifier: "Classifier",
    extra_tasks: Collection[str] = (),
    upsample: int = 1,
    threshold: float = THRESHOLD,
    crops: bool = False,
) -> PhotoAnswer:
    """The answer for one photo in memory.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        name: what to call the photo in its answer.
        extra_tasks: as `of_files` takes them.
        upsample, threshold, crops: as `detect.in_photo` takes them.
    """
    detected = detect.in_photo(photo, name, upsample=upsample, threshold=threshold, crops=crops)
    [(_, answer)] = of_photos([detected], lambda: classifier, extra_tasks=extra_tasks)
    return answer


def classify(
    photos: Sequence[Detected],
    classifier: "Classifier",
    *,
    extra_tasks: Collection[str] = (),
    sample: "Sampler | None" = None,
) -> list[FaceAnswer]:
    """The answer for every face of the photos, photo after photo, in one batch.

    Args:
        photos: at least one of them has a face.
        extra_tasks: as `of_files` takes them.
        sample: answers with dropout left on in place of the classifier's.
    """
    crops = np.concatenate(
        [
            align(photo.photo, photo.faces, size=classifier.size, padding=classifier.padding)
            for photo in photos
            if photo.photo is not None and photo.faces
        ]
    )
    outputs, uncertainties = sample(crops) if sample else (classifier.predict(crops), None)
    wanted = [task for task in classifier.tasks if task not in ON_REQUEST or task in extra_tasks]
    answers = []
    for i, face in enumerate(face for photo in photos for face in photo.faces):
        by_task: dict[str, Label | Years] = {}
        for task in wanted:
            uncertainty = float(uncertainties[task][i]) if uncertainties else None
            if TASKS[task].is_classification:
                each = zip(classifier.tasks[task], map(float, outputs[task][i]), strict=True)
                by_task[task] = Label(probabilities=dict(each), entropy=uncertainty)
            else:
                by_task[task] = Years(years=float(outputs[task][i]), deviation=uncertainty)
        answers.append(FaceAnswer(box=face.box, score=face.score, tasks=by_task))
    return answers


def _answer(detected: Detected, faces: Iterable[FaceAnswer]) -> PhotoAnswer:
    """The answer of a photo and those of its faces."""
    if detected.photo is None:
        return PhotoAnswer(
            photo=detected.name, width=None, height=None, faces=[], error=detected.error
        )
    height, width = detected.photo.shape[:2]
    return PhotoAnswer(photo=detected.name, width=width, height=height, faces=list(faces))


def _load(path: Path, extra_tasks: Collection[str]) -> "Classifier":
    """The classifier in a file.

    Raises:
        InputError: there is none, or it does not predict an extra task.
    """
    from vggface_gender.base import device

    device.start()
    from vggface_gender.inference import classifier

    # In float32 a photo's answer is the same on every machine, and one photo is answered soonest.
    loaded = classifier.load(path, precision="float32")
    for task in extra_tasks:
        if task not in loaded.tasks:
            raise InputError(
                f"{path}: not trained to predict {task}, only {', '.join(loaded.tasks)}; leave "
                f"{task} out, or give another classifier"
            )
    return loaded


def _batches(photos: Iterable[Detected]) -> Iterator[list[Detected]]:
    """Photos in order, in lists of as many as are classified together."""
    batch: list[Detected] = []
    count, pixels = 0, 0
    for detected in photos:
        batch.append(detected)
        count += len(detected.faces)
        pixels += 0 if detected.photo is None else detected.photo.size // 3
        if count >= BATCH_FACES or pixels >= BATCH_PIXELS:
            yield batch
            batch, count, pixels = [], 0, 0
    if batch:
        yield batch
