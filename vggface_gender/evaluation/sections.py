"""What the report shows of one classifier on one dataset: an audit, maps, montages of errors."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vggface_gender.base import labels, runs
from vggface_gender.base.tasks import CLASSIFICATION
from vggface_gender.data import records
from vggface_gender.evaluation import (
    audit,
    explanations,
    explanations_figure,
    face_regions,
    metrics,
    perturbations,
    predictions,
    report,
    robustness,
    unseen,
)
from vggface_gender.evaluation.matrix import SPLIT, Test
from vggface_gender.evaluation.metrics import Compared
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import crops

ERRORS, SUSPECTS = 12, 24  # faces in a montage


def of(tested: Sequence[Test], *, robust: bool = False) -> list[dict]:
    """The report's sections, one for each classifier, dataset and classification task.

    Args:
        tested: see `matrix.tests`.
        robust: whether to measure what perturbed crops do, too.

    Returns:
        See `report.page`.
    """
    return [section for test in tested for section in _of_one(test, robust=robust)]


def audits(found: Sequence[Mapping]) -> list[dict]:
    """The figures of sections, as JSON can hold them: no pictures."""
    kept = ("title", "temperature", "robustness")
    return [{key: section[key] for key in kept} | section["audit"] for section in found]


def _of_one(test: Test, *, robust: bool) -> list[dict]:
    dataset, table, path = test.dataset, test.table, test.folder / runs.CLASSIFIER
    overlap = list(table[predictions.OVERLAP]) if predictions.OVERLAP in table else None
    trained = classifier.load(path)
    images = dict(zip(table.name, records.jpegs(dataset, SPLIT), strict=True))
    summary = None
    if robust:
        perturbed = perturbations.standard(trained.size)
        summary = robustness.measure(
            path, trained, dataset=dataset, split=SPLIT, perturbed=perturbed
        )
    found = []
    for task in CLASSIFICATION:
        if task not in trained.tasks:
            continue
        compared = metrics.compared(unseen.faces(table), task)
        if compared.faces.empty:
            continue
        found.append(
            {
                "title": f"{test.name} on {test.label}: {task}",
                "audit": audit.audit(table, task),
                "temperature": trained.temperatures.get(task),
                "robustness": summary,
                "figures": _maps(trained, test, task, overlap),
                "montages": montages(compared, images),
            }
        )
    return found


def _maps(
    trained: Classifier, test: Test, task: str, overlap: Sequence[str | None] | None
) -> list[dict]:
    """Where predictions come from: averages by group, and parts of the face where these are known.

    By Grad-CAM, or of a network without gradients by occlusion on a sample.
    """
    dataset, method = test.dataset, explanations.usual(trained)
    explained = explanations.summarize(
        trained,
        dataset,
        split=SPLIT,
        task=task,
        method=method,
        count=explanations.COUNTS[method],
        overlap=overlap,
    )
    called = explanations.NAMES[method]
    found = {
        f"Where predictions come from: average faces and {called} maps": (
            explanations_figure.averages(explained.averages)
        )
    }
    if dataset.padding is not None and explained.face is not None:
        table = face_regions.table(explained.shares, explained.drops, padding=trained.padding)
        found[f"Which parts of the face predictions come from, by {called}"] = (
            explanations_figure.regions(
                table, explained.face, padding=trained.padding, unit=face_regions.UNITS[task]
            )
        )
    return [
        {"title": title, "picture": report.thumbnail(np.asarray(picture), picture.width)}
        for title, picture in found.items()
    ]


def montages(compared: Compared, images: Mapping[str, bytes]) -> list[dict]:
    """The labels that are likely wrong, and every gender and race's most confident errors.

    Args:
        images: by name, as JPEG bytes.

    Returns:
        For each a `title` and `faces`, each a `picture` with a `caption`.
    """
    faces, names, true, probability = compared
    predicted, confidence = probability.argmax(axis=1), probability.max(axis=1)
    suspected = audit.suspects(true, probability)
    shown = [
        (
            f"Labels that are likely wrong ({len(suspected):,}; the likeliest first)",
            suspected[:SUSPECTS],
        )
    ]
    groups = (faces.gender.fillna("?") + ", " + faces.race.fillna("?")).to_numpy()
    order = (-confidence).argsort(kind="stable")
    for group in sorted(set(groups)):
        wrong = order[(predicted != true)[order] & (groups[order] == group)]
        title = f"{group}: {len(wrong):,} errors; the most confident first"
        shown.append((title, wrong[:ERRORS]))

    def face(place: int) -> dict:
        row = faces.iloc[place]
        age = "" if pd.isna(row.age) else f", {labels.age(row.age)}"
        return {
            "picture": report.thumbnail(crops.decode(images[row["name"]])),
            "caption": f"labelled {names[true[place]]}, predicted {names[predicted[place]]} "
            f"{confidence[place]:.0%} ({row.gender or '?'}, {row.race or '?'}{age})",
        }

    return [{"title": title, "faces": [face(place) for place in places]} for title, places in shown]
