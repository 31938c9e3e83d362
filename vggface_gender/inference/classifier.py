"""A classifier: backbone and head in one model, and what has to be known to use it.

It is one `.keras` file made of stock Keras layers: `keras.saving.load_model` reads the model, and
`load` also reads its contract, a JSON member of the same archive that Keras passes over.
"""

import dataclasses
import functools
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from vggface_gender.backbones import require_finite, with_precision
from vggface_gender.base import contract, device, files
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.data import features, records
from vggface_gender.datasets import Dataset
from vggface_gender.inference import arrays, decoding, legacy

CONTRACT = contract.NAME
FORM = contract.FORM  # 1 had heads of probabilities (see `legacy`)


@dataclass(frozen=True)
class Classifier:
    """A model from crops to answers, with its contract.

    The model takes raw RGB crops (b, h, w, 3), `uint8` or `float32` in `[0, 255]`, and gives a
    dictionary: probabilities (b, classes) for gender and race, years (b,) for age.
    """

    model: keras.Model
    tasks: dict[str, tuple[str, ...]]  # task to the names of its outputs; () for age
    size: int  # the crop's side in pixels that the network works at
    padding: float  # the crops' frame, as `dlib.get_face_chip`'s padding
    precision: str  # the dtype policy that the backbone was trained in
    about: dict = field(default_factory=dict)  # backbone and dataset, for people
    mirror: bool = False  # see `build`
    temperatures: dict[str, float] = field(default_factory=dict)  # see `calibrated`

    def predict(self, crops: np.ndarray, *, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Answers for crops.

        Args:
            crops: (n, h, w, 3) RGB in `[0, 255]`, any number of them, of one size. Where they are
                not square, their central squares are classified.
            batch_size: crops in a forward pass, at most `largest_batch`.

        Returns:
            `float32` (n, classes) probabilities for gender and race, (n,) years for age.

        Raises:
            InputError: the crops are not such (see `arrays.crops`), or an output is no number.
        """
        crops = arrays.crops(crops)
        batch_size = min(batch_size, self.largest_batch)
        parts = [
            self._predict_some(crops[start : start + batch_size])
            for start in range(0, len(crops), batch_size)
        ]
        if not parts:
            shapes = {
                task: (0, len(names)) if names else (0,) for task, names in self.tasks.items()
            }
            return {task: np.zeros(shape, np.float32) for task, shape in shapes.items()}
        joined = {task: np.concatenate([part[task] for part in parts]) for task in self.tasks}
        arrays.require_finite(joined)
        return joined

    def embed(self, crops: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """The features (n, d) `float32` that the head works on; crops are as in `predict`."""
        crops = arrays.crops(crops)
        batch_size = min(batch_size, self.largest_batch)
        model = self._with_features
        parts = [
            np.asarray(model.predict_on_batch(crops[start : start + batch_size])["features"])
            for start in range(0, len(crops), batch_size)
        ]
        width = model.output["features"].shape[1]
        return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)

    @functools.cached_property
    def _with_features(self) -> keras.Model:
        return with_features(self)

    @functools.cached_property
    def largest_batch(self) -> int:
        """How many crops the network should take at once (see `features.fitting_batch_size`)."""
        return features.fitting_batch_size(self.model)

    def parts(self) -> tuple[keras.Model, keras.Model]:
        """Backbone and head, sharing the model's weights; the head gives logits by task.

        Raises:
            InputError: it was not made by `build`.
        """
        return parts(self.model)

    def _predict_some(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        # Every new number of crops has the graph traced again, which takes a second: so only
        # powers of two are met.
        count = len(crops)
        filled = np.zeros((1 << (count - 1).bit_length(), *crops.shape[1:]), crops.dtype)
        filled[:count] = crops
        outputs = self.model.predict_on_batch(filled)
        return {task: np.asarray(output)[:count] for task, output in outputs.items()}


def build(
    backbone: keras.Model,
    head: keras.Model,
    *,
    tasks: Mapping[str, tuple[str, ...]],
    padding: float,
    precision: str,
    about: Mapping,
    mirror: bool = False,
    temperatures: Mapping[str, float] | None = None,
) -> Classifier:
    """Backbone and head as one classifier; both keep their own precision.

    Args:
        backbone: crops (b, size, size, 3) to features.
        head: features to a dictionary of logits (see `decoding.answers`).
        mirror: the answers are the means of those for a crop and for its mirror image, which a
            perceived attribute does not depend on; at twice the time.
        temperatures: see `calibrated`.
    """
    temperatures = dict(temperatures or {})
    crop, _, views = _views(backbone, head, mirror)
    model = keras.Model(crop, decoding.answers(views, temperatures), name="classifier")
    size = backbone.input_shape[1]
    return Classifier(
        model, dict(tasks), size, padding, precision, dict(about), mirror, temperatures
    )


def _views(
    backbone: keras.Model, head: keras.Model, mirror: bool
) -> tuple[keras.KerasTensor, list[keras.KerasTensor], list[dict[str, keras.KerasTensor]]]:
    """An input of crops (b, h, w, 3); for each view of them the features, and the head's output."""
    size = backbone.input_shape[1]
    crop = keras.Input((None, None, 3), name="crop")
    # Nothing is changed by resizing a crop to the size that it has.
    x = keras.layers.Resizing(size, size, dtype="float32", name="resize")(crop)
    # Of its own, uncompiled: losses and optimizer are a training's, and Keras would save them.
    head = keras.Model(head.input, head.output, name="head")
    features = [backbone(view, training=False) for view in with_mirrored(x, mirror)]
    return crop, features, [head(each) for each in features]


def with_mirrored(crops: keras.KerasTensor, mirror: bool) -> list[keras.KerasTensor]:
    """The views of crops (b, h, w, 3) that are averaged: themselves, and their mirror images."""
    return [crops, keras.ops.flip(crops, axis=2)] if mirror else [crops]


def parts(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Backbone and head of a classifier's model.

    Raises:
        InputError: it was not made by `build`.
    """
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(inner) != 2 or inner[1].name != "head":
        raise InputError("the classifier is not made of a backbone and a head of this package")
    return inner[0], inner[1]


def calibrated(classifier: Classifier, temperatures: Mapping[str, float]) -> Classifier:
    """The classifier with its logits divided by temperatures (see `decoding.answers`).

    The division is a part of the model, so whoever loads the file has it.

    Args:
        temperatures: task to number, fitted on validation (`evaluation.calibration`).
    """
    backbone, head = classifier.parts()
    return build(
        backbone,
        head,
        tasks=classifier.tasks,
        padding=classifier.padding,
        precision=classifier.precision,
        about=classifier.about,
        mirror=classifier.mirror,
        temperatures=temperatures,
    )


def scoring(classifier: Classifier) -> Classifier:
    """The classifier with logits in place of probabilities, which temperatures are fitted to.

    It has the classification tasks alone.
    """
    crop, _, views = _views(*classifier.parts(), classifier.mirror)
    logits = decoding.pooled(views)
    tasks = {task: classifier.tasks[task] for task in logits}
    return dataclasses.replace(classifier, model=keras.Model(crop, logits), tasks=tasks)


def with_features(classifier: Classifier) -> keras.Model:
    """The classifier's model with one output more: `features` (b, n), which the head works on."""
    crop, features, views = _views(*classifier.parts(), classifier.mirror)
    flat = keras.layers.Flatten(dtype="float32", name="features")(features[0])
    answers = decoding.answers(views, classifier.temperatures)
    return keras.Model(crop, {**answers, "features": flat}, name="classifier")


def classify(
    classifier: Classifier, dataset: Dataset, *, split: str, batch_size: int = 64
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """What a classifier predicts for a dataset's split, end to end, beside the truth.

    Args:
        batch_size: crops in a forward pass, at most `Classifier.largest_batch`.

    Returns:
        The labels (see `records.labels`) and, row by row, the outputs (see
        `Classifier.predict`).
    """
    truth = records.labels(dataset, split)
    batches = crops_of(classifier, dataset, split=split, batch_size=batch_size)
    answers = [classifier.predict(crops, batch_size=batch_size) for crops in batches]
    return truth, {t: np.concatenate([one[t] for one in answers]) for t in classifier.tasks}


def crops_of(
    classifier: Classifier, dataset: Dataset, *, split: str, batch_size: int
) -> Iterator[np.ndarray]:
    """A split's crops as the classifier takes them, batch by batch, with a progress bar.

    Yields:
        (b, size, size, 3) `uint8` RGB, in the order of `records.labels`.
    """
    batch_size = min(batch_size, classifier.largest_batch)
    batches = records.batches(
        dataset, split, batch_size=batch_size, size=classifier.size, padding=classifier.padding
    )
    count = dataset.count(split)
    with tqdm(total=count, desc=f"{dataset.label}, {split}", unit=" images") as bar:
        for part in batches.as_numpy_iterator():
            yield part["image"]
            bar.update(len(part["image"]))


def save(classifier: Classifier, path: str | Path) -> None:
    """Write the classifier as one `.keras` file, whole or not at all."""
    with files.whole(path) as part:
        classifier.model.save(part)
        with zipfile.ZipFile(part, "a") as archive:
            archive.writestr(CONTRACT, json.dumps(described(classifier), indent=1))


def described(classifier: Classifier) -> dict:
    """The classifier's contract (see `base.contract`)."""
    said = {f.name: getattr(classifier, f.name) for f in fields(classifier)}
    del said["model"]
    return {"form": FORM} | said


def load(path: str | Path, precision: str = "auto") -> Classifier:
    """A classifier from its file.

    Args:
        precision: the Keras dtype policy to compute in. "auto": that in which it was trained,
            where this machine has units for it; else `float32`.

    Raises:
        InputError: the file is not there, not a classifier, or has weights that are no numbers.
    """
    path = Path(path)
    said = contract.read(path)
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # what Keras, HDF5 and zlib raise over damage is of many kinds
        raise InputError(
            f"{path}: not a classifier that Keras {keras.__version__} and this package can read "
            f"({first_line(error)}); train it again, or install the Keras that saved it"
        ) from None
    require_finite(model, path)
    form = said.pop("form")
    trained_in = said["precision"]
    wanted = precision
    if precision == "auto":
        wanted = trained_in if trained_in == device.precision() else "float32"
    if wanted != trained_in:
        model = with_precision(model, wanted)
    tasks = {task: tuple(names) for task, names in said["tasks"].items()}
    classifier = Classifier(**said | {"model": model, "tasks": tasks})
    if form == FORM:
        return classifier
    backbone, head = parts(model)
    kept = {f.name: getattr(classifier, f.name) for f in dataclasses.fields(classifier)}
    del kept["model"], kept["size"]
    return build(backbone, legacy.with_logits(head), **kept)
