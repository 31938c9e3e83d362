"""What a classifier's predictions on a split depend on: maps, their averages by group, regions.

The maps are those of a method, one of `METHODS`: Grad-CAM, occlusion or RISE.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from vggface_gender.backbones import onnx_network
from vggface_gender.base import labels
from vggface_gender.base.labels import MISSING
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records, targets
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import black_box, face_regions, gradcam
from vggface_gender.evaluation.gradcam import Explain
from vggface_gender.evaluation.predictions import EXACT
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import align as aligning
from vggface_gender.photos import crops as photo_crops
from vggface_gender.photos import detect

GRADCAM, OCCLUSION, RISE = METHODS = ("gradcam", "occlusion", "rise")
NAMES = {GRADCAM: "Grad-CAM", OCCLUSION: "occlusion", RISE: "RISE"}
# How many faces are explained where nobody says: a map takes 1 pass, 65 or 513.
COUNTS = {GRADCAM: None, OCCLUSION: 300, RISE: 60}
BATCH_SIZE = 64
FEW = 10  # faces, below which an average says little and is marked
TOLERANCE = 10  # years: an age that is off by as many or more counts as wrong
RIGHT, WRONG = "right", "wrong"

Group = tuple[str, str, str]  # gender, race, and RIGHT or WRONG


class Explained(NamedTuple):
    """A batch of crops and what their outputs come from."""

    rows: np.ndarray  # (b,) int, their places in the split
    crops: np.ndarray  # (b, size, size, 3) uint8 RGB
    maps: np.ndarray  # (b, rows, columns) float32 from 0 up
    groups: list[Group | None]  # of each crop; None where a label is missing
    found: np.ndarray  # (b,) bool: False where a face was to be aligned and none was detected
    true: list[str]  # the labels to read
    predicted: list[str]
    drops: np.ndarray | None = None  # (b, regions), of occlusion: see `face_regions.table`


@dataclass(frozen=True)
class Average:
    """What a group's faces have in common."""

    count: int
    face: np.ndarray  # (size, size, 3) uint8 RGB, the mean crop
    heat: np.ndarray  # (rows, columns) the mean map, each face's greatest value taken as 1


class Example(NamedTuple):
    """A face, its map, and what it was taken for."""

    crop: np.ndarray  # (size, size, 3) uint8 RGB
    heat: np.ndarray  # (rows, columns)
    true: str
    predicted: str


@dataclass(frozen=True)
class Summary:
    """What a method shows of a split."""

    averages: dict[Group, Average]
    examples: dict[str, list[Example]]  # of RIGHT and of WRONG predictions
    count: int  # faces of the split, or of its sample
    undetected: int  # of these, left out because no face was detected to align
    seen: int  # left out because the classifier was trained on a copy
    ungrouped: int  # left out because a label is missing: gender, race, or the task's own
    face: np.ndarray | None  # (size, size, 3) uint8 RGB, the mean crop of all that are not left out
    shares: np.ndarray  # (n, regions) of every face that the classifier did not learn from
    drops: np.ndarray | None  # the same of what covering a region takes from the output


def usual(classifier: Classifier) -> str:
    """The method where nobody says: Grad-CAM, or occlusion of a network that has no gradients."""
    backbone, _ = classifier.parts()
    return OCCLUSION if onnx_network.is_one(backbone) else GRADCAM


def explainer(
    classifier: Classifier, task: str, *, method: str = GRADCAM, layer: str | None = None
) -> Explain:
    """A function that explains crops: see `gradcam.explainer` and `black_box`.

    Args:
        method: one of `METHODS`.
        layer: of Grad-CAM.

    Raises:
        InputError: see there.
    """
    if method == OCCLUSION:
        return black_box.occluded(classifier, task)
    if method == RISE:
        return black_box.rise(classifier, task)
    return gradcam.explainer(classifier, task, layer=layer)


def summarize(
    classifier: Classifier,
    dataset: Dataset,
    *,
    split: str,
    task: str,
    method: str = GRADCAM,
    layer: str | None = None,
    align: bool = False,
    examples: int = 0,
    count: int | None = None,
    overlap: Sequence[str | None] | None = None,
) -> Summary:
    """The average face and map of every gender and race, of correct and of incorrect predictions.

    Args:
        method, layer: see `explainer`.
        align: detect the face in each of the dataset's images and align it first.
        examples: how many faces of correct, and how many of incorrect predictions to keep, the
            split's first.
        count: explain a random sample of so many faces; None for all.
        overlap: which faces the classifier was trained on (see `trained_on.marks`): copies are left
            out.

    Raises:
        InputError: see `explainer`; or the dataset has no labels of the task.
    """
    totals: dict[Group, _Total] = {}
    every: _Total | None = None
    shown: dict[str, list[Example]] = {RIGHT: [], WRONG: []}
    faces = undetected = copies = ungrouped = 0
    shares: list[np.ndarray] = []
    drops: list[np.ndarray] = []
    batches = explain(
        classifier,
        dataset,
        split=split,
        task=task,
        method=method,
        layer=layer,
        align=align,
        count=count,
    )
    for batch in batches:
        is_copy = np.array([overlap is not None and overlap[row] == EXACT for row in batch.rows])
        taken = batch.found & ~is_copy
        faces += len(batch.rows)
        undetected += int(np.sum(~batch.found))
        copies += int(np.sum(batch.found & is_copy))
        shares.append(face_regions.shares(batch.maps[taken], padding=classifier.padding))
        if batch.drops is not None:
            drops.append(batch.drops[taken])
        for place in np.flatnonzero(taken):
            crop, heat, group = batch.crops[place], batch.maps[place], batch.groups[place]
            every = every or _Total(crop.shape, heat.shape)
            every.add(crop, heat)
            if group is None:
                ungrouped += 1
                continue
            totals.setdefault(group, _Total(crop.shape, heat.shape)).add(crop, heat)
            if len(shown[group[-1]]) < examples:
                example = Example(crop, heat, batch.true[place], batch.predicted[place])
                shown[group[-1]].append(example)
    return Summary(
        averages={group: total.average() for group, total in totals.items()},
        examples=shown,
        count=faces,
        undetected=undetected,
        seen=copies,
        ungrouped=ungrouped,
        face=every.average().face if every else None,
        shares=np.concatenate(shares or [np.zeros((0, len(face_regions.REGIONS)))]),
        drops=np.concatenate(drops) if drops else None,
    )


def describe(summary: Summary) -> str:
    """How many faces are shown, and how many are not, and why."""
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
    method: str = GRADCAM,
    layer: str | None = None,
    align: bool = False,
    count: int | None = None,
    seed: int = 0,
) -> Iterator[Explained]:
    """A split's crops and their maps, batch by batch, with a progress bar; see `summarize`.

    Args:
        seed: of the sample of `count` faces.
    """
    truth = records.labels(dataset, split)
    # A dataset without any labels of race, or of gender, is one group of it.
    for column in ("gender", "race"):
        if truth[column].isna().all():
            truth[column] = ""
    explained = explainer(classifier, task, method=method, layer=layer)
    is_right = _judge(classifier, dataset, truth, task)
    rows = np.arange(len(truth))
    if count is not None and count < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
    every = aligned if align else _as_they_are
    with tqdm(total=len(rows), desc=f"{NAMES[method]}, {task}", unit=" faces") as bar:
        for part, crops, found in every(classifier, dataset, split=split, rows=rows):
            maps, predicted = explained(crops)
            right, is_known = is_right(predicted, part)
            drops = None
            if method == OCCLUSION:
                drops = region_drops(classifier, crops, task=task, places=predicted)
            yield Explained(
                part,
                crops,
                maps,
                _groups(truth.iloc[part], right, is_known & found),
                found,
                [_said(label, task) for label in truth[task].iloc[part]],
                [
                    classifier.tasks[task][place] if classifier.tasks[task] else _said(place, task)
                    for place in predicted
                ],
                drops,
            )
            bar.update(len(crops))


def region_drops(
    classifier: Classifier, crops: np.ndarray, *, task: str, places: np.ndarray
) -> np.ndarray:
    """How far an output falls where each region of the face is covered: (b, regions).

    Of age it is how far the years move, up or down.

    Args:
        crops: (b, size, size, 3) `uint8`, aligned.
        places: of the labels whose probability it is; of age not looked at.
    """
    outputs_of = black_box.outputs(classifier, task)
    copies = face_regions.covered(crops, padding=classifier.padding)
    whole, parts = outputs_of(crops), outputs_of(copies.reshape(-1, *crops.shape[1:]))
    if not TASKS[task].is_classification:
        return np.abs(whole[:, None] - parts.reshape(len(crops), -1))
    each = np.arange(len(crops))
    parts = parts.reshape(len(crops), -1, whole.shape[1])
    return whole[each, places][:, None] - parts[each, :, places]


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


def _said(label: Any, task: str) -> str:
    """A label or years, to read."""
    if pd.isna(label):
        return "not known"
    return str(label) if TASKS[task].is_classification else f"{label:.0f} years"


def _judge(
    classifier: Classifier, dataset: Dataset, truth: pd.DataFrame, task: str
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A function of a batch's predictions and rows: which are right, and for which that is known.

    Labels are compared in the names that the classifier and the dataset share, as
    `metrics.compared` does.
    """
    taxonomy = dataset.classes(task)
    if not TASKS[task].is_classification:
        years = truth[task].to_numpy(float)

        def judge_years(predicted: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return np.abs(predicted - years[rows]) < TOLERANCE, np.isfinite(years[rows])

        return judge_years
    names = classifier.tasks[task]
    shared = labels.common(names, taxonomy)
    into = labels.project(names, shared)
    # A label that is not shared is never right.
    places = np.array([shared.index(into[name]) if into[name] else MISSING - 1 for name in names])
    true = targets.indices(truth, task, names=shared)

    def judge(predicted: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, crops, whether there is a face


def _as_they_are(
    classifier: Classifier, dataset: Dataset, *, split: str, rows: np.ndarray
) -> Iterator[Batch]:
    """Batches of a split's crops in the classifier's frame, and `True` for each."""
    batches = records.batches(
        dataset, split, batch_size=BATCH_SIZE, size=classifier.size, padding=classifier.padding
    )
    start = 0
    for part in batches.as_numpy_iterator():
        crops = part["image"]
        its = rows[(rows >= start) & (rows < start + len(crops))]
        if len(its):
            yield its, crops[its - start], np.ones(len(its), bool)
        start += len(crops)


def aligned(
    classifier: Classifier, dataset: Dataset, *, split: str, rows: np.ndarray | None = None
) -> Iterator[Batch]:
    """Batches of each image's largest face, aligned, and whether there is one (else it is black).

    The crops are (b, size, size, 3) `uint8` RGB in the classifier's frame.

    Args:
        rows: the images' places in the split; None for all.
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
    rows = np.arange(len(jpegs)) if rows is None else rows
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(rows), BATCH_SIZE):
            its = rows[start : start + BATCH_SIZE]
            seen = list(pool.map(look, [jpegs[row] for row in its]))
            crops = np.stack([black if crop is None else crop for crop in seen])
            yield its, crops, np.array([crop is not None for crop in seen])
