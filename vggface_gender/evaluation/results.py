"""What an evaluation leaves behind: predictions table, metrics computed from it, text."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vggface_gender import command, runs
from vggface_gender.evaluation import metrics, predictions


def publish(
    table: pd.DataFrame, dataset: str, split: str, folder: Path, metrics_path: Path
) -> dict:
    """Write `predictions-<dataset>-<split>.csv` and the metrics file, and print the report.

    Args:
        table: see `predictions.table`.
        folder: the run's.
        metrics_path: where the metrics go; written last, since it says that the job is done.

    Returns:
        The content of the metrics file.
    """
    path = folder / f"predictions-{dataset}-{split}.csv"
    predictions.write(table, path)
    figures = {
        "dataset": dataset,
        "split": split,
        "count": len(table),
        # From the file, so that the figures are those that anyone can compute from it.
        "tasks": metrics.evaluate(predictions.read(path)),
    }
    command.write_json(figures, metrics_path)
    print(metrics.report(figures))
    print(f"predictions: {path}\nmetrics: {metrics_path}")
    return figures


def publish_summary(folder: Path, repeats: Sequence[Path]) -> dict:
    """Write `summary.json`, the spread of repeated runs' test figures, and print it.

    Args:
        folder: of all the repeats.
        repeats: each one's own, with its metrics file.

    Returns:
        The content of the summary (see `metrics.summarize`).
    """
    figures = [json.loads((repeat / runs.METRICS).read_text()) for repeat in repeats]
    shared = {key: figures[0][key] for key in ("dataset", "split", "count")}
    summary = shared | metrics.summarize(figures)
    path = folder / "summary.json"
    command.write_json(summary, path)
    print(f"\n{shared['dataset']} {shared['split']}, {shared['count']:,} faces, over the repeats:")
    for task, spreads in summary["tasks"].items():
        for metric, spread in spreads.items():
            values = ", ".join(f"{value:.4f}" for value in spread["values"])
            print(f"  {task} {metric}: {spread['mean']:.4f} (sd {spread['sd']:.4f}; {values})")
    print(f"summary: {path}")
    return summary
