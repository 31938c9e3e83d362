"""What an export costs: a classifier's accuracy by group before it and after."""

from collections.abc import Mapping

import numpy as np

from vggface_gender.base import text
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import metrics, predictions
from vggface_gender.exports.parity import Difference
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier
from vggface_gender.inference.interface import Answering


def compared(
    trained: Classifier, exported: Answering, *, dataset: Dataset, split: str
) -> dict[str, dict]:
    """Both classifiers' figures on a dataset's split, by task.

    Returns:
        For each task `largest`, `relabelled` and `faces` (see `parity.Difference`), `before` and
        `after`, the figures of `metrics.evaluate`, as JSON can hold them.
    """
    truth = records.labels(dataset, split)
    outputs: list[dict[str, list[np.ndarray]]] = [{}, {}]
    for crops in classifier.crops_of(trained, dataset, split=split, batch_size=64):
        for its, one in zip(outputs, (trained, exported), strict=True):
            for task, answers in one.predict(crops).items():
                its.setdefault(task, []).append(answers)
    joined = [{task: np.concatenate(parts) for task, parts in its.items()} for its in outputs]
    figures = [
        metrics.evaluate(
            predictions.table(truth["name"], truth[list(TASKS)], outputs=its, tasks=trained.tasks)
        )
        for its in joined
    ]
    found = {}
    for task in trained.tasks:
        difference = Difference.of(task, joined[0][task], joined[1][task])
        found[task] = difference._asdict() | {"before": figures[0][task], "after": figures[1][task]}
    return found


def report(found: Mapping[str, Mapping]) -> str:
    """`compared` to read: a table a task."""
    parts = []
    parts.append("both computed in float32, which may differ from a run's own precision")
    for task, figures in found.items():
        unit = "" if TASKS[task].is_classification else " years"
        said = f"{task}: outputs differ by at most {figures['largest']:.1e}{unit}"
        if TASKS[task].is_classification:
            said += f"; {figures['relabelled']:,} of {figures['faces']:,} labels are others"
        parts.append(said)
        before, after = figures["before"], figures["after"]
        if before["count"]:
            parts.append(_table(task, before, after))
    return "\n".join(parts)


def _table(task: str, before: Mapping, after: Mapping) -> str:
    score = TASKS[task].score
    form = text.percent if TASKS[task].is_classification else "{:.2f}".format
    rows = [["all", f"{before['count']:,}", form(before[score]), form(after[score])]]
    for by in ("gender", "race"):
        for name, group in before.get("groups", {}).get(by, {}).items():
            again = after["groups"][by][name]
            rows.append([name, f"{group['count']:,}", form(group[score]), form(again[score])])
    return text.table(["group", "faces", f"{score} before", "after"], rows)
