"""What the report shows of a run beyond its table: maps, the faces, what perturbed crops do."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

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
    return [section for tests in together(tested) for section in _of_tests(tests, robust=robust)]


def together(tested: Sequence[Test]) -> list[list[Test]]:
    """Tests whose faces are one section: the folds of a run on the dataset that it was trained on.

    Each fold's classifier predicts the faces that it has not learned from, so that together they
    predict every face of the dataset, out-of-fold: likely wrong labels are found among all.
    """
    found: dict[tuple[str, ...], list[Test]] = {}
    for test in tested:
        is_fold = test.is_in_domain and test.repeat.startswith("fold-")
        key = (test.run, test.label) if is_fold else (test.name, test.label)
        found.setdefault(key, []).append(test)
    return list(found.values())


def _of_tests(tests: Sequence[Test], *, robust: bool) -> list[dict]:
    test = tests[0]  # of several folds the one whose maps are drawn
    dataset, path = test.dataset, test.folder / runs.CLASSIFIER
    overlap = None
    if predictions.OVERLAP in test.table:
        overlap = list(test.table[predictions.OVERLAP])
    trained = classifier.load(path)
    jpegs = {
        name: jpeg
        for one in tests
        for name, jpeg in zip(one.table.name, records.jpegs(one.dataset, SPLIT), strict=True)
    }
    summary = None
    if robust:
        perturbed = perturbations.standard(trained.size)
        summary = robustness.measure(
            path, trained, dataset=dataset, split=SPLIT, perturbed=perturbed
        )
    found = sections.of_table(
        pd.concat([one.table for one in tests], ignore_index=True),
        run=test.name if len(tests) == 1 else f"{test.run} (out-of-fold)",
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
