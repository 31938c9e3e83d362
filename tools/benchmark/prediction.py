"""The command `predict` on one photo in a new process, against importing Keras in one."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from benchmark import faces
from benchmark.report import Row
from benchmark.timing import hushed, in_new_process, in_turns
from vggface_gender.base import console


def measure(model: Path | None, *, work: Path, repeats: int) -> list[Row]:
    """Each turn starts its processes anew: this row is about what others leave out.

    Args:
        model: the classifier's file; None has an untrained one written.
        work: a folder to write to.

    Raises:
        InputError: scikit-image, which has the photo, isn't installed.
    """
    is_untrained = model is None
    model = model or write_untrained(work / "classifier.keras")
    photo = faces.write_photo(work / "photo.png")
    splits: list[dict[str, float]] = []
    sides = (
        lambda: in_new_process(import_keras),
        lambda: splits.append(in_new_process(predict_in_parts, str(photo), str(model))),
    )
    turns = in_turns("predict", sides, repeats=repeats, warm_up=False)
    parts = {part: statistics.median(split[part] for split in splits) for part in splits[0]}
    rest = [ours - sum(split.values()) for (_, ours), split in zip(turns, splits, strict=True)]
    return [
        Row(
            name="predict",
            ours="predict on one photo of 512x512, from starting the process to its end, by "
            + ("an untrained head on dlib's network" if is_untrained else str(model)),
            reference="a process that imports Keras and TensorFlow",
            unit="s",
            goal="near 1",
            pairs=[(theirs, ours) for theirs, ours in turns],
            parts=parts | {"starting, printing, ending": statistics.median(rest)},
        )
    ]


def import_keras() -> None:
    """What every command waits for before it can use a network."""
    console.quiet()
    with console.silenced():
        import keras  # noqa: F401


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
    from vggface_gender.base import device

    device.start()
    from vggface_gender.inference import classifier, pipeline  # noqa: F401


def write_untrained(path: Path) -> Path:
    """A classifier file as `transfer` writes it, its head not trained."""
    from vggface_gender import backbones
    from vggface_gender.base import device, geometry, labels
    from vggface_gender.inference import classifier
    from vggface_gender.training import heads

    tasks, precision = {"gender": labels.GENDERS}, device.precision()
    backbone = backbones.load("dlib", precision=precision)
    made = classifier.build(
        backbone,
        heads.build("compact", backbone.output_shape[1:], tasks=tasks),
        tasks=tasks,
        padding=geometry.PADDING,
        precision=precision,
        about={},
    )
    classifier.save(made, path)
    return path
