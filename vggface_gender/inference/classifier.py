"""A classifier: backbone and head in one model, and what has to be known to use it.

It is one `.keras` file made of stock Keras layers: `keras.saving.load_model` reads the model, and
`load` also reads its contract, a JSON member of the same archive that Keras passes over.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from vggface_gender.backbones import with_precision
from vggface_gender.base import device, files
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.data import records
from vggface_gender.datasets import Dataset

CONTRACT = "classifier.json"
# Biases and the first layers' kernels: with dlib's network 7% of all numbers, and 70% of what
# rounding every one of them would change in the answers.
SMALL = 100_000


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

    def predict(self, crops: np.ndarray, batch: int = 64) -> dict[str, np.ndarray]:
        """Answers for crops.

        Args:
            crops: (n, h, w, 3) RGB in `[0, 255]`, any number of them, of one size.

        Returns:
            `float32` (n, classes) probabilities for gender and race, (n,) years for age.
        """
        parts = [
            self._predict_some(crops[start : start + batch])
            for start in range(0, len(crops), batch)
        ]
        if not parts:
            shapes = {
                task: (0, len(names)) if names else (0,) for task, names in self.tasks.items()
            }
            return {task: np.zeros(shape, np.float32) for task, shape in shapes.items()}
        return {task: np.concatenate([part[task] for part in parts]) for task in self.tasks}

    def parts(self) -> tuple[keras.Model, keras.Model]:
        """Backbone and head, sharing the model's weights.

        Raises:
            InputError: it was not made by `build`.
        """
        inner = [layer for layer in self.model.layers if isinstance(layer, keras.Model)]
        if len(inner) != 2 or inner[1].name != "head":
            raise InputError("the classifier is not made of a backbone and a head of this package")
        return inner[0], inner[1]

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
    tasks: Mapping[str, tuple[str, ...]],
    padding: float,
    precision: str,
    about: Mapping,
    mirror: bool = False,
) -> Classifier:
    """Backbone and head as one classifier; both keep their own precision.

    Args:
        mirror: the answers are the means of those for a crop and for its mirror image, which a
            perceived attribute does not depend on; at twice the time.
    """
    size = backbone.input_shape[1]
    crop = keras.Input((None, None, 3), name="crop")
    # Nothing is changed by resizing a crop to the size that it has.
    x = keras.layers.Resizing(size, size, dtype="float32", name="resize")(crop)
    # Of its own, uncompiled: losses and optimizer are a training's, and Keras would save them.
    head = keras.Model(head.input, head.output, name=head.name)
    outputs = head(backbone(x, training=False))
    if mirror:
        others = head(backbone(keras.ops.flip(x, axis=2), training=False))
        outputs = {task: (output + others[task]) / 2 for task, output in outputs.items()}
    model = keras.Model(crop, outputs, name="classifier")
    return Classifier(model, dict(tasks), size, padding, precision, dict(about), mirror)


def calibrated(classifier: Classifier, temperatures: Mapping[str, float]) -> Classifier:
    """The classifier with the probabilities that it would give with all scores divided by these.

    The division is a part of the model, so whoever loads the file has it. No answer changes, only
    how sure it is (Guo et al. 2017, arXiv:1706.04599).

    Args:
        temperatures: task to number, fitted on validation (`evaluation.calibration`).
    """
    outputs = _tempered(classifier.model.output, temperatures)
    model = keras.Model(classifier.model.input, outputs, name="classifier")
    return dataclasses.replace(classifier, model=model, temperatures=dict(temperatures))


def _tempered(outputs: Mapping, temperatures: Mapping[str, float]) -> dict:
    return dict(outputs) | {
        task: keras.ops.softmax(
            keras.ops.log(outputs[task] + np.finfo(np.float32).tiny) / temperature
        )
        for task, temperature in temperatures.items()
    }


class Sampled(NamedTuple):
    """What a classifier answers with parts of its head dropped at random, many times."""

    means: dict[str, np.ndarray]  # as `Classifier.predict` gives them
    doubts: dict[str, np.ndarray]  # (n,) entropy of the mean in nats; of age the deviation in years


def sampler(classifier: Classifier, samples: int, seed: int = 0) -> Callable[[np.ndarray], Sampled]:
    """A function that answers with dropout left on, as in training: Monte-Carlo dropout.

    The mean of such answers stands for the mean over networks that fit the training data as well
    (Gal and Ghahramani, ICML 2016), and its entropy for how little these agree or know. Only the
    head drops anything, so a crop passes the backbone once.

    Args:
        samples: answers to take the mean of.
        seed: of what is dropped; the same calls in the same order give the same.

    Returns:
        A function of crops (n, h, w, 3), at most a batch of them.

    Raises:
        InputError: the head drops nothing.
    """
    backbone, head = classifier.parts()
    if not any(getattr(layer, "rate", 0) for layer in head.layers):
        raise InputError("the classifier's head has no dropout, so every answer would be the same")
    noisy = keras.models.clone_model(head)
    noisy.set_weights(head.get_weights())
    for layer in noisy.layers:  # called as in training, but for what normalizes a batch
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    crop = keras.Input((None, None, 3))
    x = keras.layers.Resizing(classifier.size, classifier.size, dtype="float32")(crop)
    sides = [x, keras.ops.flip(x, axis=2)] if classifier.mirror else [x]
    trunk = keras.Model(crop, [backbone(side, training=False) for side in sides])
    features = [keras.Input(backbone.output_shape[1:]) for _ in sides]
    answers = [noisy(one) for one in features]
    outputs = {task: sum(one[task] for one in answers) / len(answers) for task in classifier.tasks}
    top = keras.Model(features, _tempered(outputs, classifier.temperatures))
    dropouts = [layer for layer in noisy.layers if isinstance(layer, keras.layers.Dropout)]
    for place, layer in enumerate(dropouts):
        layer.seed_generator.state.assign([seed, place])

    def sample(crops: np.ndarray) -> Sampled:
        seen = trunk.predict_on_batch(crops)
        seen = seen if isinstance(seen, list) else [seen]
        drawn = [top(seen, training=True) for _ in range(samples)]
        means, doubts = {}, {}
        for task, names in classifier.tasks.items():
            each = np.stack([np.asarray(one[task], np.float64) for one in drawn])
            means[task] = each.mean(axis=0)
            surprise = -np.log(np.maximum(means[task], np.finfo(np.float32).tiny))
            doubts[task] = (means[task] * surprise).sum(-1) if names else each.std(axis=0)
        return Sampled(means, doubts)

    return sample


def classify(
    classifier: Classifier, dataset: Dataset, split: str, batch: int = 64
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """What a classifier says of a dataset's split, end to end, beside the truth.

    Args:
        batch: crops a forward pass.

    Returns:
        The labels (see `records.labels`) and, row by row, the outputs (see
        `Classifier.predict`).
    """
    truth = records.labels(dataset, split)
    parts = [
        classifier.predict(crops, batch) for crops in _crops(classifier, dataset, split, batch)
    ]
    return truth, {t: np.concatenate([part[t] for part in parts]) for t in classifier.tasks}


def classify_sampled(
    classifier: Classifier,
    dataset: Dataset,
    split: str,
    samples: int,
    seed: int = 0,
    batch: int = 64,
) -> tuple[pd.DataFrame, Sampled]:
    """The same with dropout left on (see `sampler`): the labels, and what was sampled."""
    truth, sample = records.labels(dataset, split), sampler(classifier, samples, seed)
    parts = [sample(crops) for crops in _crops(classifier, dataset, split, batch)]
    joined = (
        {task: np.concatenate([one[task] for one in several]) for task in classifier.tasks}
        for several in zip(*parts, strict=True)
    )
    return truth, Sampled(*joined)


def _crops(
    classifier: Classifier, dataset: Dataset, split: str, batch: int
) -> Iterator[np.ndarray]:
    """A split's crops as the classifier wants them, batch by batch, with a progress bar."""
    batches = records.batches(dataset, split, batch, classifier.size, classifier.padding)
    count = dataset.counts[split]
    with tqdm(total=count, desc=f"{dataset.label}, {split}", unit=" images") as bar:
        for part in batches.as_numpy_iterator():
            yield part["image"]
            bar.update(len(part["image"]))


def save(classifier: Classifier, path: str | Path, half: bool = False) -> None:
    """Write the classifier as one `.keras` file, whole or not at all.

    Args:
        half: keep the large weights as `float16`, all compressed, and nothing of a training (its
            losses, its optimizer), in less than half the room. Whoever loads the file, Keras alone
            or `load`, has `float32` variables of the rounded values. Rounding moves a number by at
            most 2^-11 of the largest in its array; an array that `float16` can't hold so closely
            stays as it is, and so do those of under `SMALL` numbers. A probability moves by less
            than 1e-3 (dlib's network: a test).
    """
    contract = {f.name: getattr(classifier, f.name) for f in fields(classifier)}
    del contract["model"]
    with files.whole(path) as part:
        classifier.model.save(part)
        if half:
            _halve(part)
        with zipfile.ZipFile(part, "a") as archive:
            archive.writestr(CONTRACT, json.dumps(contract, indent=1))


def _halve(path: Path) -> None:
    """Rewrite a `.keras` file as `save` says of `half`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    for layer in config["config"]["layers"]:
        layer.pop("compile_config", None)
    members["config.json"] = json.dumps(config).encode()
    members["model.weights.h5"] = _rounded(members["model.weights.h5"])
    # The archive's compression is better than HDF5's own, which goes array by array.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _rounded(weights: bytes) -> bytes:
    """Keras's HDF5 file of weights with `float16` for `float32`, and without optimizers' states."""
    rounded = io.BytesIO()
    with h5py.File(io.BytesIO(weights)) as source, h5py.File(rounded, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if "optimizer" in name.split("/"):
                return
            if isinstance(item, h5py.Group):
                target.create_group(name)
            else:
                values = item[()]
                target[name] = _in_half(values) if values.dtype == np.float32 else values
            target[name].attrs.update(item.attrs)

        source.visititems(copy)
    return rounded.getvalue()


def _in_half(values: np.ndarray) -> np.ndarray:
    """The array in `float16`; as it is if small, or if its largest number is not within range."""
    if values.size < SMALL:
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    off = np.abs(half.astype(np.float32) - values).max()
    return half if off <= np.abs(values).max() * 2**-11 else values  # NaN: as it is


def load(path: str | Path, precision: str = "auto") -> Classifier:
    """A classifier from its file.

    Args:
        precision: the Keras dtype policy to compute in. "auto": that in which it was trained,
            where this machine has units for it; else `float32`.

    Raises:
        InputError: the file is not there, or not a classifier.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; train a classifier first, or give another --run")
    try:
        with zipfile.ZipFile(path) as archive:
            contract = json.loads(archive.read(CONTRACT))
        model = keras.saving.load_model(path, compile=False)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(
            f"{path}: not a classifier that Keras {keras.__version__} and this package can read "
            f"({first_line(error)}); train it again, or install the Keras that saved it"
        ) from None
    trained_in = contract["precision"]
    wanted = precision
    if precision == "auto":
        wanted = trained_in if trained_in == device.precision() else "float32"
    if wanted != trained_in:
        model = with_precision(model, wanted)
    tasks = {task: tuple(names) for task, names in contract["tasks"].items()}
    return Classifier(**contract | {"model": model, "tasks": tasks})
