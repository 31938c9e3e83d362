"""What an evaluation leaves behind: predictions table, metrics computed from it, text."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from vggface_gender.base import files, labels, runs
from vggface_gender.datasets import splits
from vggface_gender.evaluation import card, metrics, predictions


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
    files.write_json(figures, metrics_path)
    page = card.write(folder)
    print(metrics.report(figures))
    print(f"predictions: {path}\nmetrics: {metrics_path}" + (f"\ncard: {page}" if page else ""))
    return figures


def publish_doubts(table: pd.DataFrame, doubts: Mapping[str, np.ndarray], path: Path) -> None:
    """Write how unsure each answer is, and print how well that tells wrong answers from right ones.

    Args:
        table: the predictions that the doubts are about.
        doubts: see `classifier.Sampled`.
    """
    frame = pd.DataFrame({"name": table.name, **doubts})
    with files.whole(path) as part:
        frame.to_csv(part, index=False)
    print("\nDoubts (of gender and race the mean answer's entropy in nats, of age a deviation):")
    for task, doubt in doubts.items():
        print(f"  {task}: {_worth(table, task, doubt)}")
    print(f"doubts: {path}")


def _worth(table: pd.DataFrame, task: str, doubt: np.ndarray) -> str:
    """How well an answer's doubt tells that it is wrong, or of age how far off."""
    if task == "age":
        known = table.age.notna().to_numpy()
        off = (table.age_predicted - table.age).abs().to_numpy()
        rank = stats.spearmanr(doubt[known], off[known]).statistic if known.sum() > 2 else np.nan
        return f"mean {doubt.mean():.2f} years; rank correlation with the error {rank:.3f}"
    faces, _, true, probability = metrics.compared(table, task)
    wrong, doubt = probability.argmax(axis=1) != true, doubt[faces.index]
    if wrong.all() or not wrong.any():
        return f"mean {doubt.mean():.3f}; all answers are {'wrong' if wrong.any() else 'right'}"
    # The share of pairs of a wrong and a right answer in which the wrong one is doubted more.
    pairs = wrong.sum() * (~wrong).sum()
    area = stats.mannwhitneyu(doubt[wrong], doubt[~wrong]).statistic / pairs
    right, mistaken = doubt[~wrong].mean(), doubt[wrong].mean()
    return f"{right:.3f} where right, {mistaken:.3f} where wrong; AUROC {area:.3f}"


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
    files.write_json(summary, path)
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
