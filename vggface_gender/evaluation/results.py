"""What an evaluation leaves behind: the predictions table and the metrics computed from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vggface_gender.base import files, runs, text
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets import Dataset, splits
from vggface_gender.evaluation import card, few_examples, metrics, predictions, unseen

SUMMARY = "summary.json"


def publish(
    table: pd.DataFrame,
    *,
    dataset: Dataset,
    split: str,
    folder: Path,
    metrics_path: Path,
    made_by: Mapping | None = None,
    learned_from: Mapping | None = None,
) -> dict:
    """Write a predictions table, the metrics file and, of a run, its card and TensorBoard's events.

    Args:
        table: see `predictions.table`.
        split: what the files call it.
        folder: the run's.
        metrics_path: where the metrics go; they are written after the table, since of a run they
            say that it is finished.
        made_by: see `provenance.made_by`; the table's place is `predictions.place`'s.
        learned_from: what is known of the training images (see `trained_on.about`).

    Returns:
        The content of the metrics file: `dataset` (its label), `split`, `count`, and `tasks` as
        `metrics.of_unseen` gives them; `overlap` with the training images and `made_by` where
        these are known; `few`, the labels with few training examples (see `few_examples.few`).
    """
    path = predictions.place(folder, dataset, split=split, made_by=made_by, table=table)
    predictions.write(table, path, made_by=made_by)
    # From the file, so that the figures are those that anyone can compute from it.
    written = predictions.read(path)
    figures = {
        "dataset": dataset.label,
        "split": split,
        "count": len(unseen.faces(written)),
        "tasks": metrics.of_unseen(written),
    }
    if learned_from is not None:
        figures["overlap"] = (unseen.overlap(written) or {}) | dict(learned_from)
    if few := few_examples.of_run(folder):
        figures["few"] = few
    if made_by:
        figures["made_by"] = dict(made_by)
    if (board_of_run := folder / runs.TENSORBOARD).is_dir():
        from vggface_gender.evaluation import board  # takes TensorFlow, this module else does not

        board.write(figures, board_of_run / path.stem.removeprefix("predictions-"))
    files.write_json(figures, metrics_path)
    card.write(folder)
    return figures


def summary(folder: Path, repeats: Sequence[Path]) -> dict:
    """Write `summary.json`, the spread of repeated trainings' test figures.

    Args:
        folder: of all the repeats.
        repeats: each one's own, with its metrics file.

    Returns:
        The content of the summary (see `metrics.summarize`); of folds `count` is that of all their
        test faces, and `folds` has a row for each (see `fold_rows`).
    """
    figures = [runs.figures(repeat / runs.METRICS) for repeat in repeats]
    shared = {key: figures[0][key] for key in ("dataset", "split", "count")}
    is_of_folds = bool(runs.settings(repeats[0]).get("fold"))
    if is_of_folds:
        shared["count"] = sum(one["count"] for one in figures)
    content = shared | metrics.summarize(figures)
    if is_of_folds:
        content["folds"] = fold_rows(repeats, shared["dataset"])
    files.write_json(content, folder / SUMMARY)
    return content


def means(summary: Mapping) -> dict[str, float]:
    """The means that `summary` gives, by name, and how far the repeats are apart.

    Returns:
        "mean/gender_accuracy", "sd/gender_accuracy" and the like; no spread of one value.
    """
    return {
        f"{kind}/{task}_{metric}": spread[kind]
        for task, spreads in summary["tasks"].items()
        for metric, spread in spreads.items()
        for kind in ("mean", "sd")
        if spread[kind] is not None
    }


def describe_summary(summary: Mapping) -> str:
    """What `summary` gives, to read."""
    parts = [describe_folds(summary["folds"])] if "folds" in summary else []
    rows = [
        [
            f"{task} {metric.replace('_', ' ')}",
            f"{spread['mean']:.4f}",
            "-" if spread["sd"] is None else f"{spread['sd']:.4f}",
            ", ".join(f"{value:.4f}" for value in spread["values"]),
        ]
        for task, spreads in summary["tasks"].items()
        for metric, spread in spreads.items()
    ]
    over = "folds" if "folds" in summary else "repeats"
    heading = (
        f"{summary['dataset']} {summary['split']}, {summary['count']:,} faces, over the {over}:"
    )
    parts.append(f"{heading}\n{text.table(['metric', 'mean', 'sd', 'values'], rows)}")
    return "\n\n".join(parts)


def fold_rows(folds: Sequence[Path], dataset: str) -> list[dict]:
    """What each fold's classifier reaches on the splits that it was trained, chosen and tested on.

    Returns:
        A row a fold: `fold`, its folder's name; and by split (`train`, `validation`, `test`)
        `count` and, by task, its score (see `base.tasks`).
    """
    rows = []
    for folder in folds:
        row: dict = {"fold": folder.name}
        for split in splits.SPLITS:
            table = predictions.read(predictions.tables(folder, split)[dataset])
            row[split] = {"count": len(table)} | {
                task: one[TASKS[task].score]
                for task, one in metrics.evaluate(table).items()
                if one["count"]
            }
        rows.append(row)
    return rows


def describe_folds(rows: Sequence[Mapping]) -> str:
    """Such rows to read, with the mean and the spread over the folds below each column."""
    columns = [
        (task, split) for task in TASKS if task in rows[0]["test"] for split in splits.SPLITS
    ]
    cells = [
        [
            row["fold"],
            *(f"{row[split]['count']:,}" for split in splits.SPLITS),
            *(f"{row[split][task]:.4f}" for task, split in columns),
        ]
        for row in rows
    ]
    values = pd.DataFrame([[row[split][task] for task, split in columns] for row in rows])
    for name, spread in (("mean", values.mean()), ("sd", values.std(ddof=1))):
        cells.append([name, "", "", "", *(f"{value:.4f}" for value in spread)])
    return text.table(["fold", *splits.SPLITS, *map(" ".join, columns)], cells)
