"""From pictures to answers: read and detected in threads, aligned, classified in batches.

The classifier, and what it needs, loads while the first photo is searched for faces.
"""

import functools
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.inference.answers import FaceAnswer, Label, PhotoAnswer, Years
from vggface_gender.inference.interface import Predictor
from vggface_gender.photos import threads
from vggface_gender.photos.align import align
from vggface_gender.photos.detect import Detected, Face, Finder
from vggface_gender.photos.inputs import Picture

if TYPE_CHECKING:
    from vggface_gender.inference.dropout import Sampled

    Sampler = Callable[[np.ndarray], Sampled]

# Tasks that are answered only for who wants them.
ON_REQUEST = frozenset({"race"})

# Photos wait for each other until so many faces are there to classify, so many pixels are held, or
# so many photos were searched: who waits for answers, or kills the command, loses no more.
BATCH_FACES = 64
BATCH_PIXELS = 64_000_000
BATCH_SEARCHED = 16  # photos, each of which took a while to search for faces
THREADS = 8  # at most, to detect faces in
AHEAD = 2 * BATCH_FACES  # photos whose faces are cut out while others are classified


def answers(
    pictures: Iterable[Picture],
    load: Callable[[], Predictor],
    *,
    find: Finder,
    tasks: Collection[str] | None = None,
    extra_tasks: Collection[str] = (),
    samples: int | None = None,
    min_confidence: float = 0.0,
    min_face: int = 0,
    keep_images: bool = True,
) -> Iterator[PhotoAnswer]:
    """The answer for each picture, in order.

    Args:
        pictures: taken as they are needed, so that no more are held than are worked on; one that
            can't be read has an answer that says why.
        load: gives the classifier; called once, while the first photo that can be read is searched
            for faces. What it raises is raised only if there is a face.
        find: finds the faces; called in several threads at once.
        tasks: those to answer; None for all but those of `ON_REQUEST`.
        extra_tasks: to be answered too.
        samples: answer with the mean of so many answers with dropout left on (on Keras alone).
        min_confidence: the probability below which an answer has no label.
        min_face: faces whose box is lower or narrower than so many pixels are left out, and
            counted.
        keep_images: answers hold their photos, to be drawn on. If not, photos are given up as soon
            as their faces are cut out, so that more of them are looked at ahead of the
            classifier, which is loaded even if there is no face.

    Raises:
        InputError: the classifier does not predict a task, or has no dropout to leave on.
    """
    loaded = threads.Background(load)

    def find_meanwhile(photo: np.ndarray) -> list[Face]:
        loaded.begin()  # the first face will want it
        return find(photo)

    look = functools.partial(detected, find=find_meanwhile, min_face=min_face)
    if not keep_images:
        look = functools.partial(_cut, look, load=loaded.result)
    count = max(1, min(os.cpu_count() or 1, THREADS))
    found = threads.ahead(
        look, pictures, threads=count, depth=count if keep_images else max(count, AHEAD)
    )
    return of_detected(
        found,
        loaded.result,
        tasks=tasks,
        extra_tasks=extra_tasks,
        samples=samples,
        min_confidence=min_confidence,
    )


def detected(picture: Picture, *, find: Finder, min_face: int = 0) -> Detected:
    """A picture and the faces in it; what can't be read has an error and no faces.

    Args:
        min_face: see `answers`.
    """
    try:
        photo = picture.read()
    except InputError as error:
        return Detected(picture.name, None, [], str(error), content=picture.content)
    faces, small = large_enough(find(photo), min_face)
    return Detected(picture.name, photo, faces, small=small, content=picture.content)


class Large(NamedTuple):
    """The faces that are large enough, and how many are not."""

    faces: list[Face]
    small: int


def large_enough(found: list[Face], min_face: int) -> Large:
    """The faces whose box is at least `min_face` pixels wide and high."""
    faces = [
        face
        for face in found
        if min(face.box[2] - face.box[0], face.box[3] - face.box[1]) >= min_face
    ]
    return Large(faces, len(found) - len(faces))


def _cut(
    look: Callable[[Picture], Detected], picture: Picture, load: Callable[[], Predictor]
) -> Detected:
    """What a look at a picture gives, with the faces' crops in place of the photo."""
    found = look(picture)
    if found.photo is None:
        return found
    height, width = found.photo.shape[:2]
    crops = _crops(found, load()) if found.faces else None
    return found._replace(photo=None, size=(width, height), crops=crops)


def _crops(photo: Detected, classifier: Predictor) -> np.ndarray:
    """The crops of a photo's faces, in the frame that a classifier takes."""
    if photo.crops is not None or photo.photo is None:
        size = classifier.size
        return np.zeros((0, size, size, 3), np.uint8) if photo.crops is None else photo.crops
    return align(photo.photo, photo.faces, size=classifier.size, padding=classifier.padding)


def of_detected(
    photos: Iterable[Detected],
    load: Callable[[], Predictor],
    *,
    tasks: Collection[str] | None = None,
    extra_tasks: Collection[str] = (),
    samples: int | None = None,
    min_confidence: float = 0.0,
) -> Iterator[PhotoAnswer]:
    """`answers` for photos whose faces are found; faces of several are classified together."""

    @functools.cache
    def sample() -> "Sampler | None":
        if not samples:
            return None
        from vggface_gender.inference import classifier, dropout

        trained = load()
        if not isinstance(trained, classifier.Classifier):
            raise InputError("an ONNX file has no dropout to leave on: name the run")
        return dropout.sampler(trained, samples=samples)

    for batch in _batches(photos):
        faces: Iterator[FaceAnswer] = iter(())
        if any(photo.faces for photo in batch):
            faces = iter(
                classify(
                    batch,
                    load(),
                    tasks=tasks,
                    extra_tasks=extra_tasks,
                    sample=sample(),
                    min_confidence=min_confidence,
                )
            )
        for photo in batch:
            yield _answer(photo, list(itertools.islice(faces, len(photo.faces))))


def classify(
    photos: Sequence[Detected],
    classifier: Predictor,
    *,
    tasks: Collection[str] | None = None,
    extra_tasks: Collection[str] = (),
    sample: "Sampler | None" = None,
    min_confidence: float = 0.0,
) -> list[FaceAnswer]:
    """The answer for every face of the photos, photo after photo, in one batch.

    Args:
        photos: at least one of them has a face.
        tasks, extra_tasks, min_confidence: as `answers` takes them.
        sample: answers with dropout left on in place of the classifier's.
    """
    wanted = chosen(classifier, tasks, extra_tasks=extra_tasks)
    crops = np.concatenate([_crops(photo, classifier) for photo in photos if photo.faces])
    outputs, uncertainties = {}, None
    if wanted:  # who asks for nothing wants the crops alone
        outputs, uncertainties = sample(crops) if sample else (classifier.predict(crops), None)
    return face_answers(
        [face for photo in photos for face in photo.faces],
        crops,
        outputs=outputs,
        uncertainties=uncertainties,
        tasks={task: classifier.tasks[task] for task in wanted},
        min_confidence=min_confidence,
    )


def face_answers(
    faces: Sequence[Face],
    crops: np.ndarray,
    *,
    outputs: Mapping[str, np.ndarray],
    tasks: Mapping[str, tuple[str, ...]],
    uncertainties: Mapping[str, np.ndarray] | None = None,
    min_confidence: float = 0.0,
) -> list[FaceAnswer]:
    """Faces with what was predicted of them.

    Args:
        crops: (n, h, w, 3), one a face.
        outputs: as `Predictor.predict` returns them, a row a face.
        tasks: those to answer, in their order, with the names of their labels.
        uncertainties: (n,) by task, where the outputs are means of several.
        min_confidence: the probability below which an answer has no label.
    """
    answered = []
    for i, face in enumerate(faces):
        by_task = of_outputs(
            {task: outputs[task][i] for task in tasks},
            tasks,
            uncertainties={task: float(each[i]) for task, each in (uncertainties or {}).items()},
            min_confidence=min_confidence,
        )
        answered.append(of_face(face, by_task, crop=crops[i]))
    return answered


def of_face(face: Face, tasks: dict[str, Label | Years], *, crop: np.ndarray) -> FaceAnswer:
    """A face with its answers and the crop that they are of."""
    points = None
    if face.landmarks is not None:
        points = tuple((int(x), int(y)) for x, y in face.landmarks)
    return FaceAnswer(box=face.box, score=face.score, tasks=tasks, landmarks=points, crop=crop)


def of_outputs(
    outputs: Mapping[str, np.ndarray],
    tasks: Mapping[str, tuple[str, ...]],
    *,
    uncertainties: Mapping[str, float] = MappingProxyType({}),
    min_confidence: float = 0.0,
) -> dict[str, Label | Years]:
    """The answers of one face.

    Args:
        outputs: by task, (classes,) probabilities or () years.
        tasks: the names of each task's labels.
        uncertainties: of sampled answers, by task.
        min_confidence: see `answers`.
    """
    by_task: dict[str, Label | Years] = {}
    for task, output in outputs.items():
        if TASKS[task].is_classification:
            by_task[task] = Label(
                probabilities=dict(zip(tasks[task], map(float, output), strict=True)),
                entropy=uncertainties.get(task),
                min_confidence=min_confidence,
            )
        else:
            by_task[task] = Years(years=float(output), deviation=uncertainties.get(task))
    return by_task


def chosen(
    classifier: Predictor, tasks: Collection[str] | None, *, extra_tasks: Collection[str] = ()
) -> list[str]:
    """The tasks to answer, in the classifier's order.

    Args:
        tasks, extra_tasks: as `answers` takes them.

    Raises:
        InputError: the classifier does not predict one.
    """
    if tasks is None:
        tasks = [task for task in classifier.tasks if task not in ON_REQUEST]
    wanted = {*tasks, *extra_tasks}
    for task in sorted(wanted - classifier.tasks.keys()):
        raise InputError(
            f"the classifier does not predict {task}, only {', '.join(classifier.tasks)}; leave "
            f"{task} out, or give another classifier"
        )
    return [task for task in classifier.tasks if task in wanted]


def _answer(photo: Detected, faces: list[FaceAnswer]) -> PhotoAnswer:
    """The answer of a photo and those of its faces."""
    width, height = photo.size or (None, None)
    if photo.photo is not None:
        height, width = photo.photo.shape[:2]
    return PhotoAnswer(
        photo=photo.name,
        width=width,
        height=height,
        faces=faces,
        error=photo.error,
        small=photo.small,
        content=photo.content,
        image=photo.photo,
    )


def _batches(photos: Iterable[Detected]) -> Iterator[list[Detected]]:
    """Photos in order, in lists of as many as are classified together.

    One without a face waits only for those before it.
    """
    batch: list[Detected] = []
    count, pixels, searched = 0, 0, 0
    for photo in photos:
        if not photo.faces and not batch:
            yield [photo]
            continue
        batch.append(photo)
        # Neither what can't be read nor what is one face's crop already.
        searched += photo.error is None and all(face.score is not None for face in photo.faces)
        count += len(photo.faces)
        pixels += 0 if photo.photo is None else photo.photo.size // 3
        if (
            max(count, len(batch)) >= BATCH_FACES
            or pixels >= BATCH_PIXELS
            or searched >= BATCH_SEARCHED
        ):
            yield batch
            batch, count, pixels, searched = [], 0, 0, 0
    if batch:
        yield batch
