"""Faces that have no labels: found in photos, videos or a dataset, and classified."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import pseudo_labels
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import align, crops, detect, prints, threads, video
from vggface_gender.photos.detect import Detected

BATCH = 64
MOST_THREADS = 8


class Face(NamedTuple):
    """A face that was found."""

    name: str  # its own: "couple.jpg#2", or in a video "clip.mp4@12.500#1"
    crop: np.ndarray  # (size, size, 3) uint8 RGB
    file: Path | None = None  # where it is from, if it is alone in that picture


class Picture(NamedTuple):
    """A photo, a frame of a video, or a record of a dataset."""

    faces: Sequence[Face]
    error: str | None = None  # why it can't be read


class Seen(NamedTuple):
    """What a classifier predicts for the n faces of many pictures."""

    names: list[str]
    files: list[Path | None]
    probability: np.ndarray  # (n, k)
    hashes: np.ndarray  # (n, 4) uint64
    jpegs: dict[int, bytes]  # the accepted faces' crops by their place
    counts: dict[str, int]  # of "pictures", those "unreadable" and those "without a face"

    def describe(self) -> str:
        """How many pictures there were, and how many faces in them, to read."""
        counted = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        return f"{counted}; {len(self.names):,} faces"


def of_dataset(dataset: Dataset, split: str, *, size: int, padding: float) -> Iterator[Picture]:
    """The faces of a dataset's split.

    Args:
        size: of the crops in pixels.
        padding: of the crops (see `records.batches`).

    Raises:
        InputError: there is no such split.
    """
    dataset.require(split)
    parts = records.batches(dataset, split, batch_size=BATCH, size=size, padding=padding)
    with (
        records.reading(dataset),
        tqdm(total=dataset.count(split), unit=" faces", disable=None) as bar,
    ):
        for part in parts.as_numpy_iterator():
            for name, crop in zip(part["name"], part["image"], strict=True):
                yield Picture([Face(name.decode(), crop)])
                bar.update()


def of_photos(
    photos: Sequence[Path], *, size: int, padding: float, every: float, detector: str = "auto"
) -> Iterator[Picture]:
    """The faces of photos and of videos' frames, detected and aligned in threads.

    Args:
        size: of the crops in pixels.
        padding: of the crops (see `align.align`).
        every: seconds from one frame of a video to the next.
        detector: as `detect.finder` takes it.
    """

    def find(pair: tuple[Path, Callable[[], Detected]]) -> Picture:
        photo, look = pair
        detected = look()
        if detected.photo is None or not detected.faces:
            return Picture([], detected.error)
        aligned = align.align(detected.photo, detected.faces, size=size, padding=padding)
        names = [
            detected.name if detector == "none" else f"{detected.name}#{number}"
            for number in range(1, len(aligned) + 1)
        ]
        file = photo if len(aligned) == 1 else None
        return Picture([Face(name, crop, file) for name, crop in zip(names, aligned, strict=True)])

    looks = ((photo, look) for photo in photos for look in _looks_at(photo, detector, every))
    workers = min(os.cpu_count() or 1, MOST_THREADS)
    has_video = any(map(video.is_video, photos))
    yield from tqdm(
        threads.ahead(find, looks, threads=workers),
        total=None if has_video else len(photos),
        unit=" pictures",
        disable=None,
    )


def classify(
    pictures: Iterable[Picture],
    classifier: Classifier,
    *,
    task: str,
    thresholds: Sequence[float] | None,
    warn: Callable[[str], None],
) -> Seen:
    """What a classifier predicts for the faces of pictures.

    Args:
        thresholds: of each label; of the faces that reach them the crops are kept. None for none.
        warn: called with what is wrong with a picture that can't be read.
    """
    counts = dict.fromkeys(("pictures", "unreadable", "without a face"), 0)
    names: list[str] = []
    files: list[Path | None] = []
    jpegs: dict[int, bytes] = {}
    probabilities = [np.zeros((0, len(classifier.tasks[task])))]
    hashes = [np.zeros((0, 4), np.uint64)]

    def predict(faces: Sequence[Face]) -> None:
        batch = np.stack([face.crop for face in faces])
        probability = classifier.predict(batch)[task].astype(np.float64)
        probabilities.append(probability)
        hashes.append(np.stack([prints.difference_hash(crop) for crop in batch]))
        if thresholds is not None:
            for place in np.flatnonzero(pseudo_labels.accept(probability, thresholds)):
                jpegs[len(names) + int(place)] = crops.to_jpeg(batch[place])
        names.extend(face.name for face in faces)
        files.extend(face.file for face in faces)

    waiting: list[Face] = []
    for picture in pictures:
        counts["pictures"] += 1
        if picture.error:
            counts["unreadable"] += 1
            warn(picture.error)
        elif not picture.faces:
            counts["without a face"] += 1
        waiting += picture.faces
        while len(waiting) >= BATCH:
            predict(waiting[:BATCH])
            del waiting[:BATCH]
    if waiting:
        predict(waiting)
    return Seen(names, files, np.concatenate(probabilities), np.concatenate(hashes), jpegs, counts)


def hidden_labels(table: Path, files: Iterable[Path | None]) -> dict[str, list]:
    """A table's labels of files by task, None where it has none.

    Raises:
        InputError: the table can't be read, or lists none of the files.
    """
    from vggface_gender.datasets.table.table_dataset_builder import Builder

    # A table names files: only archives hold images as bytes.
    known = {Path(str(item.image)).resolve(): item for item in Builder.labelled(table)}
    found = [file and known.get(file.resolve()) for file in files]
    if not any(found):
        raise InputError(f"{table} lists none of the photos that show one face: give their table")
    return {task: [item and getattr(item, task) for item in found] for task in TASKS}


def _looks_at(path: Path, detector: str, every: float) -> Iterator[Callable[[], Detected]]:
    """What finds the faces of a photo, or of each frame of a video that is looked at."""
    if not video.is_video(path):
        yield functools.partial(detect.in_file, path, detector=detector)
        return
    try:
        for seconds, frame in video.frames(path, every=every):
            name = f"{path}@{seconds:.3f}"
            yield functools.partial(detect.in_photo, frame, name, detector=detector)
    except InputError as error:
        yield functools.partial(Detected, str(path), None, [], str(error))
