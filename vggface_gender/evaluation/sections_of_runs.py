"""What the report shows of a run beyond its table: maps, the faces, what perturbed crops do."""

from collections.abc import Sequence

import numpy as np

from vggface_gender.base import runs
from vggface_gender.data import records
from vggface_gender.evaluation import (
    explanations,
    explanations_figure,
    face_regions,
    perturbations,
    predictions,
    report,
    robustness,
    sections,
)
from vggface_gender.evaluation.matrix import SPLIT, Test
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import crops


def of(tested: Sequence[Test], *, robust: bool = False) -> list[dict]:
    """The report's sections, one for each classifier, dataset and classification task.

    Args:
        tested: see `matrix.tests`.
        robust: whether to measure what perturbed crops do, too.

    Returns:
        See `report.page`.
    """
    return [section for test in tested for section in _of_one(test, robust=robust)]


def _of_one(test: Test, *, robust: bool) -> list[dict]:
    dataset, table, path = test.dataset, test.table, test.folder / runs.CLASSIFIER
    overlap = list(table[predictions.OVERLAP]) if predictions.OVERLAP in table else None
    trained = classifier.load(path)
    jpegs = dict(zip(table.name, records.jpegs(dataset, SPLIT), strict=True))
    summary = None
    if robust:
        perturbed = perturbations.standard(trained.size)
        summary = robustness.measure(
            path, trained, dataset=dataset, split=SPLIT, perturbed=perturbed
        )
    found = sections.of_table(
        table,
        run=test.name,
        dataset=test.label,
        is_in_domain=test.is_in_domain,
        images=lambda name: crops.decode(jpegs[name]),
    )
    for section in found:
        section["temperature"] = trained.temperatures.get(section["task"])
        section["robustness"] = summary
        section["figures"] = _maps(trained, test, section["task"], overlap)
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
    found = {f"Average faces and {called} maps": explanations_figure.averages(explained.averages)}
    if dataset.padding is not None and explained.face is not None:
        table = face_regions.table(explained.shares, explained.drops, padding=trained.padding)
        found[f"Parts of the face, by {called}"] = explanations_figure.regions(
            table, explained.face, padding=trained.padding, unit=face_regions.UNITS[task]
        )
    return [
        {"title": title, "picture": report.thumbnail(np.asarray(picture), picture.width)}
        for title, picture in found.items()
    ]
