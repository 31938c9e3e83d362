"""`predict`: one photo in a new process, against importing TensorFlow; many against limits."""

import functools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from benchmark import faces
from benchmark.report import Row
from benchmark.timing import exhaust, hushed, in_new_process, in_turns
from vggface_gender.base import console
from vggface_gender.inference import backends, pipeline
from vggface_gender.photos import detect, inputs, read, threads


def measure(model: Path, *, work: Path, repeats: int) -> list[Row]:
    """Each turn starts its processes anew: this row is about what others leave out.

    Args:
        model: the classifier's file.
        work: a folder to write to.

    Raises:
        InputError: scikit-image, which has the photo, isn't installed.
    """
    photo = faces.write_photo(work / "photo.png")
    splits: list[dict[str, float]] = []
    sides = (
        lambda: in_new_process(import_tensorflow),
        lambda: splits.append(in_new_process(predict_in_parts, str(photo), str(model))),
    )
    turns = in_turns("predict", sides, repeats=repeats, warm_up=False)
    parts = {part: statistics.median(split[part] for split in splits) for part in splits[0]}
    rest = [ours - sum(split.values()) for (_, ours), split in zip(turns, splits, strict=True)]
    return [
        Row(
            name="predict",
            ours="predict on one photo of 512x512, from starting the process to its end, by "
            f"{model}",
            reference="a process that imports TensorFlow",
            unit="s",
            goal="at most 0.3",
            pairs=[(theirs, ours) for theirs, ours in turns],
            parts=parts | {"starting, printing, ending": statistics.median(rest)},
        )
    ]


def measure_crops(paths: Sequence[Path], model: Path, *, repeats: int) -> list[Row]:
    """Crops from files to answers, against the network's own speed on crops in memory."""
    classifier = backends.load(model)
    crops = faces.crops(paths, classifier.size)
    find = detect.finder("none")

    def answer() -> None:
        pictures = map(inputs.file, paths)
        exhaust(pipeline.answers(pictures, lambda: classifier, find=find))

    turns = in_turns("answers", (lambda: classifier.predict(crops), answer), repeats=repeats)
    return [
        Row(
            name="answers",
            ours="crops from files to answers",
            reference="the network on the same crops in memory, batches of 64",
            unit="crops/s",
            goal="at least 0.8",
            pairs=[(len(paths) / limit, len(paths) / ours) for limit, ours in turns],
        )
    ]


def measure_photos(model: Path, *, work: Path, count: int, repeats: int) -> list[Row]:
    """Photos of a megapixel from files to answers, against detection alone in as many threads."""
    classifier = backends.load(model)
    photo = read.read_photo(faces.write_photo(work / "photo.png"))
    # Nine portraits in the place of one, so that there is something to classify.
    sheet = Image.fromarray(np.tile(photo, (3, 3, 1))).resize((1024, 1024))
    paths = []
    for i in range(count):
        paths.append(work / f"sheet-{i}.jpg")
        sheet.rotate(i % 7 - 3).save(paths[-1], quality=90)
    find = detect.finder()
    threads_ = os.cpu_count() or 1

    def detect_alone() -> None:
        pictures = map(inputs.file, paths)
        found = functools.partial(pipeline.detected, find=find)
        exhaust(threads.ahead(found, pictures, threads=threads_))

    def answer() -> None:
        exhaust(pipeline.answers(map(inputs.file, paths), lambda: classifier, find=find))

    turns = in_turns("photos", (detect_alone, answer), repeats=repeats)
    return [
        Row(
            name="photos",
            ours="photos of 1 megapixel with nine faces, from files to answers",
            reference="reading and detection alone, in as many threads",
            unit="photos/s",
            goal="at least 0.8",
            pairs=[(count / limit, count / ours) for limit, ours in turns],
        )
    ]


def import_tensorflow() -> None:
    """What every command that trains waits for."""
    console.quiet()
    with console.silenced():
        import tensorflow  # noqa: F401


def predict_in_parts(photo: str, model: str) -> dict[str, float]:
    """Run the command `predict` on a photo in this process.

    Returns:
        Seconds for importing what it needs, loading the classifier ("weights"), reading the photo
        and finding its faces ("detection", dlib's own models included), and "classification".
    """
    seconds: dict[str, float] = {}

    def timed(part: str, function: Callable) -> Callable:
        def call(*arguments, **named):
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds[part] = time.perf_counter() - start

        return call

    timed("imports", _import_all)()
    from vggface_gender import predict
    from vggface_gender.inference import backends, pipeline

    with (
        mock.patch.object(backends, "load", timed("weights", backends.load)),
        mock.patch.object(pipeline, "detected", timed("detection", pipeline.detected)),
        mock.patch.object(pipeline, "classify", timed("classification", pipeline.classify)),
        hushed(),
    ):
        predict.main([photo, "--run", model, "--json", "--no-draw"])
    return seconds


def _import_all() -> None:
    from vggface_gender.inference import onnx_classifier, pipeline  # noqa: F401
