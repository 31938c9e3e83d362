"""Grad-CAM: which parts of a crop a classifier's output comes from (Selvaraju et al., ICCV 2017).

The channels of a layer's map, each weighted by the mean over the map of the gradient of one output
with respect to it, added up and cut off below 0. For a classification task the output is a label's
logit, before any temperature; for age it is the years.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import MISSING
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records, targets
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation.predictions import EXACT
from vggface_gender.inference import decoding
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import align as aligning
from vggface_gender.photos import crops as photo_crops
from vggface_gender.photos import detect

BATCH_SIZE = 64
LEAST_MAP = 3  # rows and columns: dlib's last map has 2, which hardly says where
TOLERANCE = 10  # years: an age that is off by as many or more counts as wrong
RIGHT, WRONG = "right", "wrong"

Explain = Callable[..., tuple[np.ndarray, np.ndarray]]
Group = tuple[str, str, str]  # gender, race, and RIGHT or WRONG


class Explained(NamedTuple):
    """A batch of crops and what their outputs come from."""

    crops: np.ndarray  # (b, size, size, 3) uint8 RGB
    maps: np.ndarray  # (b, rows, columns) float32 from 0 up
    groups: list[Group | None]  # of each crop; None where a label is missing
    found: np.ndarray  # (b,) bool: False where a face was to be aligned and none was detected


@dataclass(frozen=True)
class Average:
    """What a group's faces have in common."""

    count: int
    face: np.ndarray  # (size, size, 3) uint8 RGB, the mean crop
    heat: np.ndarray  # (rows, columns) the mean map, each face's greatest value taken as 1


@dataclass(frozen=True)
class Summary:
    """What Grad-CAM shows of a split."""

    averages: dict[Group, Average]
    examples: dict[str, list[tuple[np.ndarray, np.ndarray]]]  # RIGHT, WRONG: crops and their maps
    count: int  # faces of the split
    undetected: int  # of these, left out because no face was detected to align
    seen: int  # left out because the classifier was trained on a copy
    ungrouped: int  # left out because a label is missing: gender, race, or the task's own


def explainer(classifier: Classifier, task: str, *, layer: str | None = None) -> Explain:
    """A function that explains crops, a batch a call, its graph compiled once.

    Args:
        task: whose output.
        layer: whose map is weighted; by default the backbone's last of at least `LEAST_MAP` rows
            and columns.

    Returns:
        A function of crops (b, size, size, 3) in `[0, 255]`, size the backbone's, and optionally of
        the labels (b,) to explain, as their places in the classifier's names; by default the
        predicted ones. It gives the maps (b, rows, columns) `float32` from 0 up, and the labels'
        places (b,), or for age the predicted years.

    Raises:
        InputError: the classifier has no such task or layer, or the layer gives no map.
    """
    backbone, head = classifier.parts()
    if task not in head.output:
        raise InputError(f"the classifier does not predict {task}: {', '.join(head.output)}")
    watched = keras.Model(backbone.input, [_layer(backbone, layer).output, backbone.output])
    output_of = keras.Model(head.input, head.output[task])
    is_classification = TASKS[task].is_classification
    signature = [
        tf.TensorSpec([None, *backbone.input_shape[1:]], tf.float32),
        tf.TensorSpec([None], tf.int64),
    ]

    def explain(crops: tf.Tensor, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(crops)  # so that everything computed from them is recorded
            maps, features = watched(crops, training=False)
            output = output_of(features, training=False)
            if is_classification:
                explained = tf.where(wanted < 0, tf.argmax(output, axis=1), wanted)
                score = tf.gather(output, explained, axis=1, batch_dims=1)
            else:
                explained = score = decoding.years(output)
        gradient = tf.cast(tape.gradient(score, maps), tf.float32)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1))
        return heat, explained

    # Traced once for batches of any size: a smaller last one is no other graph.
    traced = tf.function(explain).get_concrete_function(*signature)

    def explained(
        crops: np.ndarray, wanted: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        wanted = np.full(len(crops), MISSING) if wanted is None else np.asarray(wanted)
        maps, values = traced(tf.constant(crops, tf.float32), tf.constant(wanted, tf.int64))
        return maps.numpy(), values.numpy()

    return explained


def summarize(
    classifier: Classifier,
    dataset: Dataset,
    *,
    split: str,
    task: str,
    layer: str | None = None,
    align: bool = False,
    examples: int = 0,
    overlap: Sequence[str | None] | None = None,
) -> Summary:
    """The average face and map of every gender and race, of correct and of incorrect predictions.

    Args:
        layer: see `explainer`.
        align: detect the face in each of the dataset's images and align it first.
        examples: how many faces of correct, and how many of incorrect predictions to keep, the
            split's first.
        overlap: which faces the classifier was trained on (see `trained_on.marks`): copies are left
            out.

    Raises:
        InputError: see `explainer`; or the dataset has no labels of the task.
    """
    totals: dict[Group, _Total] = {}
    shown: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {RIGHT: [], WRONG: []}
    count = undetected = copies = ungrouped = 0
    batches = explain(classifier, dataset, split=split, task=task, layer=layer, align=align)
    for batch in batches:
        is_copy = [mark == EXACT for mark in (overlap or [])[count : count + len(batch.crops)]]
        count += len(batch.crops)
        every = zip(
            batch.crops,
            batch.maps,
            batch.groups,
            batch.found,
            is_copy or [False] * len(batch.crops),
            strict=True,
        )
        for crop, heat, group, is_found, is_seen in every:
            undetected += not is_found
            copies += is_found and is_seen
            ungrouped += is_found and not is_seen and group is None
            if group is None or is_seen:
                continue
            totals.setdefault(group, _Total(crop.shape, heat.shape)).add(crop, heat)
            if len(shown[group[-1]]) < examples:
                shown[group[-1]].append((crop, heat))
    averages = {group: total.average() for group, total in totals.items()}
    return Summary(averages, shown, count, int(undetected), int(copies), int(ungrouped))


def describe(summary: Summary) -> str:
    """How many faces are shown, and how many of the split's are not, and why."""
    reasons = [
        f"{count:,} {reason}"
        for count, reason in (
            (summary.undetected, "in which no face is detected"),
            (summary.seen, "that are copies of training images"),
            (summary.ungrouped, "without a label of gender, of race, or of what is predicted"),
        )
        if count
    ]
    shown = sum(average.count for average in summary.averages.values())
    left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
    return f"{shown:,} of {summary.count:,} faces{left_out}"


def explain(
    classifier: Classifier,
    dataset: Dataset,
    *,
    split: str,
    task: str,
    layer: str | None = None,
    align: bool = False,
) -> Iterator[Explained]:
    """A split's crops and their maps, batch by batch, with a progress bar; see `summarize`."""
    truth = records.labels(dataset, split)
    # A dataset without any labels of race, or of gender, is one group of it.
    for column in ("gender", "race"):
        if truth[column].isna().all():
            truth[column] = ""
    explained = explainer(classifier, task, layer=layer)
    is_right = _judge(classifier, dataset, truth, task)
    if align:
        batches = aligned(classifier, dataset, split=split)
    else:
        batches = _as_they_are(classifier, dataset, split)
    done = 0
    with tqdm(total=len(truth), desc=f"Grad-CAM, {task}", unit=" faces") as bar:
        for crops, found in batches:
            maps, predicted = explained(crops)
            rows = slice(done, done + len(crops))
            right, is_known = is_right(predicted, rows)
            yield Explained(crops, maps, _groups(truth[rows], right, is_known & found), found)
            done += len(crops)
            bar.update(len(crops))


class _Total:
    """The sums that a group's average is made of."""

    def __init__(self, crop: tuple[int, ...], heat: tuple[int, ...]):
        self.count = 0
        self.face = np.zeros(crop)
        self.heat = np.zeros(heat)

    def add(self, crop: np.ndarray, heat: np.ndarray) -> None:
        self.count += 1
        self.face += crop
        self.heat += heat / max(float(heat.max()), 1e-12)

    def average(self) -> Average:
        face = (self.face / self.count + 0.5).astype(np.uint8)
        return Average(self.count, face, self.heat / self.count)


def _judge(
    classifier: Classifier, dataset: Dataset, truth: pd.DataFrame, task: str
) -> Callable[[np.ndarray, slice], tuple[np.ndarray, np.ndarray]]:
    """A function of a batch's predictions and rows: which are right, and for which that is known.

    Labels are compared in the names that the classifier and the dataset share, as
    `metrics.compared` does.
    """
    taxonomy = dataset.classes(task)
    if not TASKS[task].is_classification:
        years = truth[task].to_numpy(float)

        def judge_years(predicted: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
            return np.abs(predicted - years[rows]) < TOLERANCE, np.isfinite(years[rows])

        return judge_years
    names = classifier.tasks[task]
    shared = labels.common(names, taxonomy)
    into = labels.project(names, shared)
    # A label that is not shared is never right.
    places = np.array([shared.index(into[name]) if into[name] else MISSING - 1 for name in names])
    true = targets.indices(truth, task, names=shared)

    def judge(predicted: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        return places[predicted] == true[rows], true[rows] != MISSING

    return judge


def _groups(truth: pd.DataFrame, right: np.ndarray, known: np.ndarray) -> list[Group | None]:
    return [
        (gender, race, RIGHT if is_right else WRONG)
        if is_known and None not in (gender, race)
        else None
        for gender, race, is_right, is_known in zip(
            truth.gender, truth.race, right, known, strict=True
        )
    ]


def _as_they_are(
    classifier: Classifier, dataset: Dataset, split: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of a split's crops in the classifier's frame, and `True` for each."""
    batches = records.batches(
        dataset, split, batch_size=BATCH_SIZE, size=classifier.size, padding=classifier.padding
    )
    for part in batches.as_numpy_iterator():
        yield part["image"], np.ones(len(part["image"]), bool)


def aligned(
    classifier: Classifier, dataset: Dataset, *, split: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of each image's largest face, aligned, and whether there is one (else it is black).

    The crops are (b, size, size, 3) `uint8` RGB in the classifier's frame.
    """
    size, padding = classifier.size, classifier.padding

    def look(jpeg: bytes) -> np.ndarray | None:
        photo = photo_crops.decode(jpeg)
        faces = detect.detect(photo)
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.box[2] - face.box[0])
        return aligning.align(photo, [largest], size=size, padding=padding)[0]

    black = np.zeros((size, size, 3), np.uint8)
    jpegs = records.jpegs(dataset, split)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(jpegs), BATCH_SIZE):
            seen = list(pool.map(look, jpegs[start : start + BATCH_SIZE]))
            crops = np.stack([black if crop is None else crop for crop in seen])
            yield crops, np.array([crop is not None for crop in seen])


def _layer(backbone: keras.Model, name: str | None) -> keras.layers.Layer:
    maps = [
        layer
        for layer in backbone.layers
        if isinstance(layer.output, keras.KerasTensor) and len(layer.output.shape) == 4
    ]
    if name is None:
        large = [layer for layer in maps if min(layer.output.shape[1:3]) >= LEAST_MAP]
        if not large:
            raise InputError(f"the backbone has no map of {LEAST_MAP} rows and columns to explain")
        return large[-1]
    found = next((layer for layer in maps if layer.name == name), None)
    if found is None:
        last = ", ".join(layer.name for layer in maps[-5:])
        raise InputError(f"the backbone has no layer {name} that gives a map; its last: {last}")
    return found
