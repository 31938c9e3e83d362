"""What an evaluation leaves behind: predictions table, metrics computed from it, text."""

from pathlib import Path

import pandas as pd

from vggface_gender import command
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
