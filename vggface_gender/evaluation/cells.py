"""Cells of the matrix: the figures of a classifier on a dataset, from its table alone."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vggface_gender.base import files
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import metrics, unseen

KEPT = (
    "interval",
    "count",
    "dropped",
    "unpredicted",
    "balanced_accuracy",
    "labels",
)  # of a task's figures


def of(
    table: pd.DataFrame, *, run: str, dataset: str, is_in_domain: bool | None = None
) -> dict[str, Any]:
    """The figures of a classifier on a dataset, as JSON can hold them.

    Args:
        table: see `predictions.table`.
        run, dataset: what to call them.
        is_in_domain: whether the classifier was trained on this dataset; None: not known.

    Returns:
        See `matrix.cells`, without `detection`.
    """
    counts = unseen.overlap(table)
    cell: dict[str, Any] = {
        "run": run,
        "dataset": dataset,
        "trained_on": is_in_domain,
        "count": len(unseen.faces(table)),
        "overlap": counts and {key: counts[key] for key in ("exact", "near")},
    }
    for task, figures in metrics.of_unseen(table).items():
        if figures["count"]:
            cell[task] = _figures(task, figures)
            apart = figures.get("without_near", figures if counts else {})
            if (score := TASKS[task].score) in apart:
                cell[task]["without_overlap"] = apart[score]
    return cell


def means(found: Sequence[Mapping], runs: Sequence[str]) -> list[dict]:
    """The figures of every run on every dataset: the means over its repeats.

    Args:
        found: (n,) cells.
        runs: (n,) the run that each is of: without the repeat's name.

    Returns:
        For each, in order: `run`, `dataset`, `trained_on`, and by task `mean` of the score, its
        standard deviation `sd` (None of one repeat), `n` and `values`.
    """
    grouped: dict[tuple[str, str], list[Mapping]] = {}
    for run, cell in zip(runs, found, strict=True):
        grouped.setdefault((run, cell["dataset"]), []).append(cell)
    rows = []
    for (run, dataset), group in grouped.items():
        row = {"run": run, "dataset": dataset, "trained_on": group[0]["trained_on"]}
        for task, its in TASKS.items():
            values = [cell[task][its.score] for cell in group if task in cell]
            if values:
                row[task] = {
                    "mean": statistics.fmean(values),
                    "sd": statistics.stdev(values) if len(values) > 1 else None,
                    "n": len(values),
                    "values": values,
                }
        rows.append(row)
    return rows


def write(found: Sequence[Mapping], averaged: Sequence[Mapping], *, folder: Path) -> None:
    """Write `matrix.json` and `matrix.csv`, the cells, and `means.json`."""
    table = pd.json_normalize(list(found), sep="_")
    with files.whole(folder / "matrix.csv") as part:
        table.to_csv(part, index=False)
    files.write_json(averaged, folder / "means.json")
    files.write_json(found, folder / "matrix.json")


def _figures(task: str, figures: Mapping) -> dict:
    """What a cell keeps of a task's figures."""
    score = TASKS[task].score
    return {key: figures[key] for key in (score, *KEPT) if key in figures} | {
        "by_gender": {
            group: {key: one[key] for key in (score, "interval", "count")}
            for group, one in figures["groups"]["gender"].items()
        }
    }
