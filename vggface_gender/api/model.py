"""A classifier with the face detector before it: photos in, answers out.

>>> import vggface_gender as vg
>>> model = vg.load()
>>> result = model.predict("docs/images/astronaut.jpg")
>>> result.faces[0].gender.label
'female'
"""

import numbers
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vggface_gender.base import extras, runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.text import shortened
from vggface_gender.inference import backends, pipeline, videos
from vggface_gender.inference.answers import PhotoAnswer
from vggface_gender.inference.interface import Predictor
from vggface_gender.inference.track_answers import VideoAnswer
from vggface_gender.photos import FPS, THRESHOLD, detect, inputs, read
from vggface_gender.photos.inputs import Picture


@dataclass(frozen=True)
class Model:
    """What `load` gives: a classifier, and how faces are found for it."""

    classifier: Predictor
    path: Path  # of the classifier's file

    @property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        """What it can predict: task to the names of its labels; () for age."""
        return self.classifier.tasks

    def predict(
        self,
        photos: Any,
        *,
        tasks: Collection[str] | None = None,
        min_confidence: float = 0.0,
        detector: str = "auto",
        upsample: int = 1,
        threshold: float = THRESHOLD,
    ) -> Any:
        """The faces of a photo, or of several, and what is predicted of them.

        Args:
            photos: a path, a file's content as bytes, an open file, a Pillow image, or an array
                `uint8` RGB `[0, 255]` (h, w, 3); a list of these; a folder, which stands for the
                images in it; or a batch of crops (n, h, w, 3), each one face cut out already.
            tasks: those to answer; by default all but race, which is answered only where it is
                named.
            min_confidence: the probability below which a face's `label` is None.
            detector: "cnn", "hog", "auto" for the one that finds more, or "none" where each photo
                is one face cut out already.
            upsample: doublings of the photo before detection: more find smaller faces, and take
                longer.
            threshold: the least detection score of a face, from -1 to 10.

        Returns:
            A `PhotoAnswer`; of a list, a folder or a batch, a list of them, in which a photo that
            can't be read has the status `unreadable` and an `error`.

        Raises:
            InputError: the one photo can't be read, `photos` is none of these, an option is not
                what it can be, or the classifier does not predict one of `tasks`.
        """
        pictures = _pictures(photos)
        answered = self._answers(
            pictures,
            tasks=tasks,
            min_confidence=min_confidence,
            find=_finder(photos, detector, upsample, threshold),
        )
        if isinstance(pictures, list):
            return list(answered)
        [answer] = answered
        if answer.error:
            raise InputError(answer.error)
        return answer

    def stream(
        self,
        photos: Iterable[Any],
        *,
        tasks: Collection[str] | None = None,
        min_confidence: float = 0.0,
        detector: str = "auto",
        upsample: int = 1,
        threshold: float = THRESHOLD,
    ) -> Iterator[PhotoAnswer]:
        """`predict` of any number of photos, one after the other, in memory that does not grow.

        Args:
            photos: what `predict` takes one of; taken as they are needed.
            tasks, min_confidence, detector, upsample, threshold: see `predict`.

        Raises:
            InputError: `photos` is one photo, or an option is refused; at once. One photo that
                can't be read is an answer, as in a list.
        """
        if _is_one(photos):
            raise InputError(f"{type(photos).__name__}, and stream takes several: give a list")
        return self._answers(
            map(inputs.picture, photos),
            tasks=tasks,
            min_confidence=min_confidence,
            find=detect.finder(detector, upsample=upsample, threshold=threshold),
        )

    def video(
        self,
        path: str | os.PathLike,
        *,
        fps: float = FPS,
        tasks: Collection[str] | None = None,
        min_confidence: float = 0.0,
        detector: str = "auto",
        upsample: int = 1,
        threshold: float = THRESHOLD,
        min_face: int = 0,
    ) -> VideoAnswer:
        """The people in a video, followed, each with one answer of all frames.

        Args:
            path: a video's file.
            fps: frames looked at a second; above 0.
            tasks, min_confidence, detector, upsample, threshold: see `predict`.
            min_face: faces whose box is narrower or lower than so many pixels are left out.

        Returns:
            Of a video that ends before its stated end what there is of it, with the status
            `incomplete` and an `error`.

        Raises:
            InputError: the video can't be read, `fps` is not above 0, or the classifier does not
                predict one of `tasks`.
        """
        if not fps > 0:
            raise InputError(f"fps is {fps}: give a number above 0")
        answer = videos.of_frames(
            os.fspath(path),
            videos.looked_at(Path(path), fps=fps),
            load=lambda: self.classifier,
            find=detect.finder(
                detector, upsample=upsample, threshold=threshold, weaker=videos.WEAK
            ),
            threshold=threshold,
            tasks=_named(tasks),
            min_confidence=_confidence(min_confidence),
            min_face=min_face,
        )
        if answer.status == "unreadable":
            raise InputError(answer.error or "")
        return answer

    def embed(
        self,
        photos: Any,
        *,
        detector: str = "auto",
        upsample: int = 1,
        threshold: float = THRESHOLD,
    ) -> np.ndarray:
        """The features of every face that `predict` finds, photo after photo: (faces, d) `float32`.

        They are what the classifier's head works on, flattened.
        """
        answers = self.predict(
            photos, tasks=(), detector=detector, upsample=upsample, threshold=threshold
        )
        several = answers if isinstance(answers, list) else [answers]
        size = self.classifier.size
        crops = [face.crop for answer in several for face in answer.faces]
        return self.classifier.embed(
            np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)
        )

    def evaluate(
        self,
        dataset: str | os.PathLike,
        source: str | os.PathLike | None = None,
        *,
        split: str = "test",
        data_dir: str | os.PathLike = "tfrecords",
    ) -> dict[str, Any]:
        """Test the classifier on a dataset's split, as `vggface-gender evaluate` does; on Keras.

        Faces that the classifier was trained on are left out, as far as that is known.

        Args:
            dataset: a named one, a folder of class folders, or a table.
            source: where a named dataset's own files lie, if its records are not written yet.
            data_dir: the records' folder.

        Returns:
            By task the figures of `metrics.json`, with intervals and by group.

        Raises:
            InputError: the dataset is not there, or TensorFlow is not installed.
        """
        if module := extras.missing("train"):
            raise InputError(extras.absence(module))
        from vggface_gender.base import device as machine

        machine.start()
        from vggface_gender.evaluation import held_out, metrics, testing
        from vggface_gender.inference import classifier

        path = self.path.with_suffix(".keras")
        trained = classifier.load(path, precision="float32")
        records = held_out.prepare(
            path,
            os.fspath(dataset),
            source=None if source is None else os.fspath(source),
            data_dir=Path(data_dir),
        )
        return metrics.of_unseen(testing.test(path, trained, dataset=records, split=split).table)

    def _answers(
        self,
        pictures: Iterable[Picture] | Picture,
        *,
        tasks: Collection[str] | None,
        min_confidence: float,
        find: detect.Finder,
    ) -> Iterator[PhotoAnswer]:
        tasks = _named(tasks)
        pipeline.chosen(self.classifier, tasks)  # refused before a photo is read
        return pipeline.answers(
            [pictures] if isinstance(pictures, Picture) else pictures,
            lambda: self.classifier,
            find=find,
            tasks=tasks,
            min_confidence=_confidence(min_confidence),
        )


def load(
    run: str | os.PathLike | None = None, *, device: str = "auto", backend: str = "auto"
) -> Model:
    """A classifier, ready for photos.

    Args:
        run: a run's name under `model_files`, its folder, or a `.onnx` or `.keras` file; by default
            the classifier that comes with the package.
        device: what ONNX Runtime computes on: "cpu", "cuda", "coreml", or "auto" for the fastest
            that is there.
        backend: "onnx" or "keras"; "auto" takes ONNX Runtime where there is an exported file.

    Raises:
        InputError: there is no such run, its file is not a classifier, or what it needs is not
            installed.
    """
    path = runs.find(None if run is None else os.fspath(run), onnx=True)
    return Model(backends.load(path, device=device, backend=backend), path)


def _pictures(photos: Any) -> Picture | list[Picture]:
    """One photo as a picture, several as a list of them."""
    if isinstance(photos, str | os.PathLike) and os.path.isdir(photos):
        return [inputs.file(path) for path in read.find_photos([os.fspath(photos)]).photos]
    if isinstance(photos, np.ndarray) and photos.ndim == 4:
        return [inputs.picture(crop, f"crop {i}") for i, crop in enumerate(photos)]
    if isinstance(photos, list | tuple):
        return [inputs.picture(photo) for photo in photos]
    return inputs.picture(photos)


def _is_one(photos: Any) -> bool:
    """Whether this is one photo, or no iterable: what would be taken apart, or can't be."""
    if isinstance(photos, np.ndarray):
        return photos.ndim in (0, 2, 3)
    one = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    return isinstance(photos, one) or hasattr(photos, "read") or not isinstance(photos, Iterable)


def _named(tasks: Any) -> Collection[str] | None:
    """Tasks as a collection of names; one name alone is one.

    Raises:
        InputError: they are no such thing.
    """
    if tasks is None:
        return None
    if isinstance(tasks, str):
        return (tasks,)
    if not isinstance(tasks, Collection) or not all(isinstance(task, str) for task in tasks):
        raise InputError(f"tasks is {shortened(repr(tasks))}: give a list of their names")
    return tasks


def _confidence(given: Any) -> float:
    """A least probability.

    Raises:
        InputError: it is no number in [0, 1].
    """
    is_number = isinstance(given, numbers.Real) and not isinstance(given, bool)
    if not is_number or not 0 <= float(given) <= 1:
        raise InputError(f"min_confidence is {shortened(repr(given))}: give a number, 0 to 1")
    return float(given)


def _finder(photos: Any, detector: str, upsample: int, threshold: float) -> detect.Finder:
    is_batch = isinstance(photos, np.ndarray) and photos.ndim == 4
    return detect.finder("none" if is_batch else detector, upsample=upsample, threshold=threshold)
