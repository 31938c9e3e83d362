"""Pseudo-labels that are kept: chosen from a predictions table, scored, described and written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vggface_gender.base import files, text
from vggface_gender.evaluation import metrics, predictions, pseudo_labels


def keep(
    frame: pd.DataFrame,
    task: str,
    *,
    thresholds: Sequence[float],
    hashes: np.ndarray,
    near: int,
    balanced: bool = False,
    most: int | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, dict]:
    """The places of the faces that are kept, and figures: how they were chosen, and their accuracy.

    Args:
        frame: a predictions table of n faces; its true labels may be missing. They only score.
        task: gender or race.
        thresholds: each label's, in the order of the table's columns.
        hashes, near, balanced, most, seed: see `pseudo_labels.choose`.

    Returns:
        Places, and a dictionary of `near`, `balanced`, `most`, `seed`; by label `thresholds` and
        `labels` (see `pseudo_labels.tally`); `kept`, with `count`, `labelled`, the number of those
        whose true label is known, and, unless that is 0, `accuracy` and its 95% Wilson `interval`.

    Raises:
        InputError: nothing is left (see `pseudo_labels.check`).
    """
    names = predictions.output_labels(frame, task)
    probability = predictions.probabilities(frame, task)
    how = {"near": near, "balanced": balanced, "most": most, "seed": seed}
    steps = pseudo_labels.choose(
        probability,
        thresholds,
        hashes=hashes,
        near=near,
        balanced=balanced,
        most=most,
        seed=seed,
    )
    by_label = pseudo_labels.tally(probability, names, steps=steps)
    pseudo_labels.check(by_label, probability, balanced=balanced)
    kept = steps["kept"]
    score = metrics.of_unseen(frame.iloc[kept])[task]
    figures = how | {
        "thresholds": dict(zip(names, thresholds, strict=True)),
        "labels": by_label,
        "kept": {"count": len(kept), "labelled": score["count"]}
        | {key: score[key] for key in ("accuracy", "interval") if key in score},
    }
    return kept, figures


def describe(figures: Mapping) -> str:
    """What became of each label's faces, and how accurate those kept are, to read.

    Args:
        figures: what `keep` gives.
    """
    by_label, kept = figures["labels"], figures["kept"]
    header = ["label", "threshold", *next(iter(by_label.values()))]
    rows = [
        [name, f"{figures['thresholds'][name]:g}", *(f"{number:,}" for number in numbers.values())]
        for name, numbers in by_label.items()
    ]
    parts = [text.table(header, rows)]
    if kept["labelled"]:
        parts.append(
            f"  accuracy: {text.percent(kept['accuracy'])} ({text.interval(kept['interval'])}) of "
            f"the {kept['labelled']:,} kept whose true label is known"
        )
    return "\n\n".join(parts)


def write(
    folder: Path,
    frame: pd.DataFrame,
    *,
    task: str,
    summary: Mapping,
    kept: np.ndarray | None = None,
    jpegs: Mapping[int, bytes] | None = None,
    swept: pd.DataFrame | None = None,
) -> None:
    """Write a folder, whole or not at all.

    `predictions.csv` and `summary.json`; where faces are kept `faces.csv`, as a dataset's table is
    read, and `crops/`; of a sweep `sweep.csv` and `sweep.json`.

    Args:
        folder: what is there is replaced.
        frame: the predictions table of all faces.
        task: what the faces are labelled with.
        summary: what is written to `summary.json`.
        kept: the places of those that are written; None for none.
        jpegs: their crops, by place.
        swept: what `pseudo_label_sweep.sweep` gives.
    """
    with files.whole(folder, replace=True) as part:
        part.mkdir()
        predictions.write(frame, part / "predictions.csv")
        if kept is not None:
            _write_table(part, frame, task=task, kept=kept, jpegs=jpegs or {})
        if swept is not None:
            swept.to_csv(part / "sweep.csv", index=False)
            swept.to_json(part / "sweep.json", orient="records", indent=1, double_precision=15)
        files.write_json(summary, part / "summary.json")


def _write_table(
    folder: Path, frame: pd.DataFrame, *, task: str, kept: np.ndarray, jpegs: Mapping[int, bytes]
) -> None:
    """Write `faces.csv` and `crops/`."""
    label, confidence = pseudo_labels.predicted(predictions.probabilities(frame, task)[kept])
    names = predictions.output_labels(frame, task)
    crops = [f"crops/{place:06d}.jpg" for place in kept]
    (folder / "crops").mkdir()
    for crop, place in zip(crops, kept, strict=True):
        (folder / crop).write_bytes(jpegs[place])
    table = {
        "file": crops,
        task: [names[place] for place in label],
        "confidence": confidence,
        "source": frame["name"].to_numpy()[kept],
        "split": "train",
    }
    pd.DataFrame(table).to_csv(folder / "faces.csv", index=False, errors="backslashreplace")
