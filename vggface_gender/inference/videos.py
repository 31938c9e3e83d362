"""From a video to answers: faces found, followed, and each person answered once, of all frames.

Of a face's frames the log-probabilities are averaged, and the years, each weighted by the face's
side in pixels. So one sharp frame says more than one from afar, and many frames that agree are not
taken for many people who do: answers are not surer than frames are (`docs/photos.md` has figures).
"""

import functools
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.inference import pipeline
from vggface_gender.inference.interface import Predictor
from vggface_gender.inference.track_answers import TrackAnswer, VideoAnswer
from vggface_gender.photos import FPS, THRESHOLD, threads, track, video
from vggface_gender.photos.align import align
from vggface_gender.photos.detect import Face, Finder

WEAK = 0.5  # how far below the threshold a score may be for a face to continue its track
LEAST = 1e-6  # a probability, so that it has a logarithm

Frames = Iterable[tuple[float, np.ndarray]]  # seconds, and uint8 RGB (h, w, 3)


class _Seen(NamedTuple):
    """A frame's faces, cut out; the frame itself is given up."""

    seconds: float
    size: tuple[int, int]  # (width, height)
    faces: list[Face]
    crops: np.ndarray
    small: int


class _Person:
    """What is known of a track so far."""

    def __init__(self) -> None:
        self.path: list[tuple[float, tuple[int, int, int, int]]] = []
        self.sums: dict[str, np.ndarray] = {}
        self.weight = 0.0
        self.best: tuple[float, float, Face, np.ndarray] | None = None  # quality, seconds, …

    def see(self, seconds: float, face: Face, crop: np.ndarray) -> None:
        """Add a frame."""
        self.path.append((seconds, face.box))
        quality = weight_of(face, len(crop)) * max(0.1, 1.0 if face.score is None else face.score)
        if self.best is None or quality > self.best[0]:
            self.best = (quality, seconds, face, crop.copy())

    def answer(self, outputs: dict[str, np.ndarray], weight: float) -> None:
        """Add what a frame was answered with."""
        self.weight += weight
        for task, output in outputs.items():
            is_label = TASKS[task].is_classification
            value = np.log(np.maximum(output, LEAST)) if is_label else output
            self.sums[task] = self.sums.get(task, 0) + weight * value.astype(np.float64)

    def means(self) -> dict[str, np.ndarray]:
        """The mean answers: (classes,) probabilities or () years."""
        found = {}
        for task, total in self.sums.items():
            mean = total / self.weight
            if TASKS[task].is_classification:
                mean = np.exp(mean - mean.max())
                mean /= mean.sum()
            found[task] = mean
        return found


def looked_at(
    path: Path,
    *,
    fps: float = FPS,
    progress: Callable[[Frames, float], Frames] = lambda frames, seconds: frames,
) -> Frames:
    """A video's frames that are looked at.

    Args:
        fps: how many a second; above 0.
        progress: goes through the frames, for somebody to see; knows how many seconds they cover.

    Raises:
        InputError: see `video.frames`.
    """
    yield from progress(video.frames(path, every=1 / fps), video.about(path).seconds)


def of_frames(
    name: str,
    frames: Frames,
    *,
    load: Callable[[], Predictor],
    find: Finder,
    threshold: float = THRESHOLD,
    tasks: Collection[str] | None = None,
    extra_tasks: Collection[str] = (),
    min_confidence: float = 0.0,
    min_face: int = 0,
    content: str | None = None,
) -> VideoAnswer:
    """The answer of a video's frames, or a camera's, in memory that does not grow with them.

    Args:
        name: what the video is called.
        frames: seconds and pictures, in order; what is raised by them ends the video.
        load: gives the classifier.
        find: finds the faces in a frame, best with a threshold that is `WEAK` lower.
        threshold: the least score of a face that begins a track.
        tasks, extra_tasks, min_confidence, min_face: see `pipeline.answers`.
        content: see `VideoAnswer`.

    Raises:
        InputError: the classifier does not predict a task.
    """
    classifier = load()
    wanted = pipeline.chosen(classifier, tasks, extra_tasks=extra_tasks)
    ended: list[InputError] = []
    look = functools.partial(_look, find=find, classifier=classifier, min_face=min_face)
    count = max(1, min(os.cpu_count() or 1, pipeline.THREADS))
    tracker, people = track.Tracker(), dict[int, _Person]()
    waiting: list[tuple[_Person, Face, np.ndarray]] = []
    size, looked, small, end = None, 0, 0, 0.0

    def classify() -> None:
        outputs = classifier.predict(np.stack([crop for _, _, crop in waiting]))
        for i, (person, face, crop) in enumerate(waiting):
            each = {task: outputs[task][i] for task in wanted}
            person.answer(each, weight_of(face, len(crop)))
        waiting.clear()

    for seen in threads.ahead(look, _until_error(frames, ended), threads=count):
        size, looked, end = seen.size, looked + 1, seen.seconds
        small += seen.small
        looks = track.look(seen.crops)
        numbers = tracker.update(seen.faces, looks, seconds=seen.seconds, threshold=threshold)
        for number, face, crop in zip(numbers, seen.faces, seen.crops, strict=True):
            if number is not None:
                person = people.setdefault(number, _Person())
                person.see(seen.seconds, face, crop)
                waiting.append((person, face, crop))
        if len(waiting) >= pipeline.BATCH_FACES:
            classify()
    if waiting:
        classify()
    error = ended[0] if ended else None
    return VideoAnswer(
        video=name,
        width=size and size[0],
        height=size and size[1],
        frames=looked,
        end=end,
        tracks=[
            _track(number, person, classifier, min_confidence)
            for number, person in sorted(people.items())
        ],
        missing=error.missing if isinstance(error, video.Incomplete) else None,
        error=str(error) if error else None,
        small=small,
        content=content,
    )


def weight_of(face: Face, size: int) -> float:
    """How much a frame's answer says: the face's side in pixels, as far as a crop can show it.

    Args:
        size: of the crop.
    """
    left, top, right, bottom = face.box
    return float(max(1, min(right - left, bottom - top, size)))


def _track(
    number: int, person: _Person, classifier: Predictor, min_confidence: float
) -> TrackAnswer:
    assert person.best is not None
    _, best, face, crop = person.best
    tasks = pipeline.of_outputs(person.means(), classifier.tasks, min_confidence=min_confidence)
    return TrackAnswer(
        track=number,
        start=person.path[0][0],
        end=person.path[-1][0],
        frames=len(person.path),
        best=best,
        face=pipeline.of_face(face, tasks, crop=crop),
        path=tuple(person.path),
    )


def _look(
    frame: tuple[float, np.ndarray], *, find: Finder, classifier: Predictor, min_face: int
) -> _Seen:
    """A frame's faces."""
    seconds, photo = frame
    found = pipeline.large_enough(find(photo), min_face)
    crops = align(photo, found.faces, size=classifier.size, padding=classifier.padding)
    return _Seen(seconds, (photo.shape[1], photo.shape[0]), found.faces, crops, found.small)


def _until_error(frames: Frames, ended: list[InputError]) -> Iterator[tuple[float, np.ndarray]]:
    """The frames as far as they can be read; why they end goes to `ended`."""
    try:
        yield from frames
    except InputError as error:
        ended.append(error)
