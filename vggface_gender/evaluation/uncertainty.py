"""Whether the uncertainty of Monte-Carlo dropout says which predictions are wrong."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from vggface_gender.base import files
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import metrics, predictions


def write(table: pd.DataFrame, uncertainties: Mapping[str, np.ndarray], *, path: Path) -> None:
    """Write a CSV file of each face's name and the uncertainty of each task's prediction.

    Args:
        table: the predictions (see `predictions.table`), (n,) rows.
        uncertainties: task to (n,) (see `inference.dropout.Sampled`).
    """
    frame = pd.DataFrame({"name": table["name"], **uncertainties})
    with files.whole(path) as part:
        frame.to_csv(part, index=False, errors="surrogateescape")


def figures(table: pd.DataFrame, uncertainties: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """How well each task's uncertainty separates wrong predictions from right ones.

    Args:
        table: the predictions, (n,) rows.
        uncertainties: task to (n,): the entropy of the mean prediction in nats, of age the standard
            deviation in years.

    Returns:
        By task: of gender and race the mean uncertainty where `right` and where `wrong`, each None
        of no faces, and `auroc`, the share of pairs of a wrong and a right prediction in which the
        wrong one is more uncertain (None without both); of age the `mean`, and its rank
        `correlation` with the absolute error (None of fewer than three faces).
    """
    return {
        task: _of_labels(table, task, its)
        if TASKS[task].is_classification
        else _of_years(table, its)
        for task, its in uncertainties.items()
    }


def _of_labels(table: pd.DataFrame, task: str, uncertainty: np.ndarray) -> dict:
    faces, _, true, probability = metrics.compared(table, task)
    is_wrong = probability.argmax(axis=1) != true
    known = uncertainty[table.index.get_indexer(faces.index)]
    wrong, right = known[is_wrong], known[~is_wrong]
    auroc = None
    if len(wrong) and len(right):
        auroc = float(stats.mannwhitneyu(wrong, right).statistic / (len(wrong) * len(right)))
    means = {
        name: float(its.mean()) if len(its) else None
        for name, its in (("right", right), ("wrong", wrong))
    }
    return means | {"auroc": auroc}


def _of_years(table: pd.DataFrame, uncertainty: np.ndarray) -> dict:
    known = table["age"].notna().to_numpy()
    errors = (predictions.years(table) - table["age"]).abs().to_numpy()
    correlation = None
    if known.sum() > 2:
        correlation = float(stats.spearmanr(uncertainty[known], errors[known]).statistic)
    return {"mean": float(uncertainty.mean()), "correlation": correlation}


def report(figures: Mapping[str, Mapping]) -> str:
    """What `figures` gives, to read."""
    lines = ["uncertainty (the mean prediction's entropy in nats, of age the standard deviation):"]
    for task, its in figures.items():
        if not TASKS[task].is_classification:
            correlation = its["correlation"]
            shown = "-" if correlation is None else f"{correlation:.3f}"
            lines.append(
                f"  {task}: mean {its['mean']:.2f} years; rank correlation with the error {shown}"
            )
        elif its["auroc"] is None:
            where = "right" if its["wrong"] is None else "wrong"
            mean = "-" if its[where] is None else f"{its[where]:.3f}"
            lines.append(f"  {task}: mean {mean}; all predictions are {where}")
        else:
            lines.append(
                f"  {task}: {its['right']:.3f} where right, {its['wrong']:.3f} where wrong; "
                f"AUROC {its['auroc']:.3f}"
            )
    return "\n".join(lines)
