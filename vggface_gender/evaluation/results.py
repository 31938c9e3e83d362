"""What an evaluation leaves behind: predictions table, metrics computed from it, text."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vggface_gender import command, labels, runs
from vggface_gender.datasets import splits
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
        The content of the summary (see `metrics.summarize`); of folds `count` is that of all their
        test faces, and `folds` has a row for each (see `fold_rows`).
    """
    figures = [json.loads((repeat / runs.METRICS).read_text()) for repeat in repeats]
    shared = {key: figures[0][key] for key in ("dataset", "split", "count")}
    is_of_folds = "fold" in runs.settings(repeats[0])
    if is_of_folds:
        shared["count"] = sum(one["count"] for one in figures)
    summary = shared | metrics.summarize(figures)
    if is_of_folds:
        summary["folds"] = fold_rows(repeats, shared["dataset"])
        print(f"\n{fold_table(summary['folds'])}")
    path = folder / "summary.json"
    command.write_json(summary, path)
    print(f"\n{shared['dataset']} {shared['split']}, {shared['count']:,} faces, over the repeats:")
    for task, spreads in summary["tasks"].items():
        for metric, spread in spreads.items():
            values = ", ".join(f"{value:.4f}" for value in spread["values"])
            print(f"  {task} {metric}: {spread['mean']:.4f} (sd {spread['sd']:.4f}; {values})")
    print(f"summary: {path}")
    return summary


def fold_rows(folds: Sequence[Path], dataset: str) -> list[dict]:
    """What each fold's classifier reaches on the splits that it was trained, chosen and tested on.

    Returns:
        A row a fold: `fold`, its folder's name; and by split (`train`, `validation`, `test`)
        `count` and, by task, the accuracy, or of age the mean absolute error in years.
    """
    rows = []
    for folder in folds:
        row: dict = {"fold": folder.name}
        for split in splits.SPLITS:
            table = predictions.read(folder / f"predictions-{dataset}-{split}.csv")
            row[split] = {"count": len(table)} | {
                task: one["mae" if task == "age" else "accuracy"]
                for task, one in metrics.evaluate(table).items()
                if one["count"]
            }
        rows.append(row)
    return rows


def fold_table(rows: Sequence[Mapping]) -> str:
    """Such rows to read, with the mean and the spread over the folds below each column."""
    tasks = [task for task in labels.TASKS if task in rows[0]["test"]]
    columns = [(task, split) for task in tasks for split in splits.SPLITS]
    heading = ["fold", "train", "val", "test", *(f"{task} {split}" for task, split in columns)]
    lines = [heading]
    for row in rows:
        counts = [f"{row[split]['count']:,}" for split in splits.SPLITS]
        lines.append([row["fold"], *counts, *(f"{row[s][task]:.4f}" for task, s in columns)])
    values = pd.DataFrame([[row[s][task] for task, s in columns] for row in rows])
    for name, spread in (("mean", values.mean()), ("sd", values.std(ddof=1))):
        lines.append([name, "", "", "", *(f"{value:.4f}" for value in spread)])
    return metrics.aligned(lines, text_columns=range(1))
