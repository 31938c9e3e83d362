"""Figures from a predictions table: one run's metrics, their report, and summaries of repeats."""

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vggface_gender.base import labels, text
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import few_examples, groups, intervals, predictions, unseen
from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE

EPSILON = 1e-7  # Keras's own: probabilities are clipped to [EPSILON, 1 - EPSILON] before the log

ALL_COPIES = "every face is a copy of an image that the classifier was trained on"

# What differs between repeats of a training; the other figures count faces or break these down.
SCALARS = ("accuracy", "balanced_accuracy", "cross_entropy", "mae", "bias", "within_5_years")


def evaluate(frame: pd.DataFrame, *, by_group: bool = True) -> dict[str, dict]:
    """The figures for each task that a predictions table has outputs of, as JSON can hold them.

    Args:
        frame: see `predictions.table`.
        by_group: whether to give the figures of groups, too.

    Every task has `count` (the faces its figures are of), `missing` (faces without a true label)
    and `dropped` (faces whose true label the outputs' taxonomy has no name for); and `unpredicted`,
    where there are any, faces with a true label and without a prediction, which are in no figure.
    Where `count` is 0, `reason` says why and there is nothing more. Otherwise a classification task
    has

    - `labels`: the names compared. Where the true labels are of another race taxonomy than the
      outputs, both are projected to `labels.common`, probabilities summed;
    - `accuracy` and its 95% Wilson `interval`; the class predicted is the likeliest one, the first
      of them on a tie;
    - `balanced_accuracy`: the mean recall over the labels that occur, where there are two;
    - `cross_entropy`: the mean of -ln p(true label), normalised and clipped as Keras does; of no
      meaning where the outputs are labels alone (`predictions.are_hard`);
    - `confusion`: counts, a row for each true label, a column for each predicted one.

    and age has, in years,

    - `mae`: the mean absolute error, and its 95% `interval` (`intervals.mean`; None for one face);
    - `bias`: the mean of predicted minus true;
    - `within_5_years`: the share of faces at most five years off.

    `groups` breaks accuracy or the errors down by true gender, race (as the dataset names it), age
    band, and gender x race ("female, White"), each group with its `count`, and `small` where that
    is under 30. A face is in a group only if it has the label: `ungrouped` has, by grouping, the
    same figures of those that have not, where there are any.
    """
    return {
        name: (_classification if task.is_classification else _age)(frame, name, by_group)
        for name, task in TASKS.items()
        if predictions.has(frame, name)
    }


def of_unseen(frame: pd.DataFrame) -> dict[str, dict]:
    """`evaluate`'s figures without faces that the classifier was trained on, as far as known.

    Exact copies of training images are left out. Near-duplicates count, since splits of published
    datasets have them; a task's figures without these stand beside, as `without_near`, and those of
    all faces as `with_exact`: the score, its `interval` and `count`, where they differ in faces.
    """
    kept = unseen.faces(frame)
    found = evaluate(kept)
    apart = unseen.faces(frame, without_near=True)
    for key, faces in (("with_exact", frame), ("without_near", apart)):
        if len(faces) == len(kept):
            continue
        for task, figures in evaluate(faces, by_group=False).items():
            names = (TASKS[task].score, "interval", "count")
            found[task][key] = {name: figures[name] for name in names if name in figures}
    if kept.empty and len(frame):
        return {task: figures | {"reason": ALL_COPIES} for task, figures in found.items()}
    return found


def summarize(repeats: Sequence[Mapping]) -> dict:
    """The spread of repeated runs' figures: `summary.json`, from each repeat's `metrics.json`.

    Per task and scalar metric: the `mean`, the sample standard deviation `sd` (None for one
    value), `n`, and the `values` in the repeats' order. Repeats without a figure add no value.
    """
    tasks: dict[str, dict] = {}
    for task in TASKS:
        figures = [repeat["tasks"].get(task, {}) for repeat in repeats]
        for metric in SCALARS:
            values = [each[metric] for each in figures if metric in each]
            if values:
                tasks.setdefault(task, {})[metric] = {
                    "mean": statistics.fmean(values),
                    "sd": statistics.stdev(values) if len(values) > 1 else None,
                    "n": len(values),
                    "values": values,
                }
    return {"tasks": tasks}


class Compared(NamedTuple):
    """Faces whose true label the outputs have a name for, and both in common names."""

    faces: pd.DataFrame  # their rows of the table
    names: tuple[str, ...]
    true: np.ndarray  # (n,) places in `names`
    probability: np.ndarray  # (n, len(names)), rows sum to 1


def compared(frame: pd.DataFrame, task: str) -> Compared:
    """What `evaluate` compares of a classification task.

    Where the true labels are of another taxonomy than the outputs, both are projected to what they
    have in common, probabilities summed.
    """
    labelled = frame[frame[task].notna() & predictions.is_predicted(frame, task)]
    predicted_names = predictions.output_labels(frame, task)
    names = compared_names(frame, task)
    target = labelled[task].map(labels.project(set(labelled[task]), names))
    faces = labelled[target.notna()]
    true = target.dropna().map(names.index).to_numpy(dtype=int)
    probability = projected(predictions.probabilities(faces, task), predicted_names, into=names)
    return Compared(faces, names, true, probability)


def compared_names(frame: pd.DataFrame, task: str) -> tuple[str, ...]:
    """The label names that `compared` compares a table's true labels and outputs in."""
    known = frame[task].notna() & predictions.is_predicted(frame, task)
    return comparable(predictions.output_labels(frame, task), set(frame[task][known]))


def comparable(predicted: tuple[str, ...], true: set[str]) -> tuple[str, ...]:
    """The finest label names that outputs and true labels can be compared in."""
    if None not in labels.project(true, predicted).values():
        return predicted
    try:
        taxonomy = labels.races_of(true)
    except ValueError:  # a mixture of datasets: what all taxonomies can be projected to
        taxonomy = functools.reduce(labels.common, labels.RACES)
    return labels.common(predicted, taxonomy)


def projected(
    probability: np.ndarray, names: tuple[str, ...], *, into: tuple[str, ...]
) -> np.ndarray:
    """Probabilities (n, len(names)) summed into those of the names `into`: (n, len(into)).

    Rows are normalised, as Keras's cross-entropy does with probabilities.
    """
    summed = probability @ belonging(names, into)
    return summed / np.maximum(summed.sum(axis=1, keepdims=True), EPSILON)


def belonging(names: tuple[str, ...], into: tuple[str, ...]) -> np.ndarray:
    """Which of the names `into` each of `names` is a part of: 0 or 1, (len(names), len(into))."""
    place = labels.project(names, into)
    return np.array([[place[name] == target for target in into] for name in names], dtype=float)


def _classification(frame: pd.DataFrame, task: str, by_group: bool) -> dict:
    faces, names, true, probability = compared(frame, task)
    figures = _counts(frame, faces, task)
    if faces.empty:
        return figures

    predicted = probability.argmax(axis=1)
    counts = confusion(true, predicted, classes=len(names))
    occurs = counts.sum(axis=1) > 0
    recall = counts.diagonal()[occurs] / counts.sum(axis=1)[occurs]
    likelihood = np.clip(probability[np.arange(len(true)), true], EPSILON, 1 - EPSILON)
    correct = predicted == true
    figures |= {
        **accuracy(correct),
        "labels": list(names),
        # Of one label it is the accuracy, and predicting that label for every face has 100%.
        **({"balanced_accuracy": float(recall.mean())} if len(recall) > 1 else {}),
        "cross_entropy": float(-np.log(likelihood).mean()),
        "confusion": counts.tolist(),
    }
    if by_group:
        figures |= _by_group(faces, lambda rows: accuracy(correct[rows]))
    return figures


def _age(frame: pd.DataFrame, task: str, by_group: bool) -> dict:
    faces = frame[frame[task].notna() & predictions.is_predicted(frame, task)]
    figures = _counts(frame, faces, task)
    if faces.empty:
        return figures
    errors = (predictions.years(faces) - faces[task]).to_numpy()
    figures |= _errors(errors)
    if by_group:
        figures |= _by_group(faces, lambda rows: _errors(errors[rows]))
    return figures


def _by_group(faces: pd.DataFrame, measure: Callable[[np.ndarray], dict]) -> dict[str, dict]:
    """The figures of every group, and of the faces that are in none."""
    return {
        "groups": groups.by_group(faces, measure),
        "ungrouped": groups.ungrouped(faces, measure),
    }


def _counts(frame: pd.DataFrame, faces: pd.DataFrame, task: str) -> dict[str, Any]:
    """How many of a table's faces a task's figures are of, and what became of the others."""
    is_labelled = frame[task].notna().to_numpy()
    unpredicted = int((is_labelled & ~predictions.is_predicted(frame, task)).sum())
    return counted(
        task, len(frame), labelled=int(is_labelled.sum()), unpredicted=unpredicted, count=len(faces)
    )


def counted(
    task: str, total: int, *, labelled: int, unpredicted: int, count: int
) -> dict[str, Any]:
    """How many of `total` faces a task's figures are of, and what became of the others.

    Args:
        labelled: faces with a true label.
        unpredicted: those of them without a prediction.
        count: those that are compared.

    Returns:
        What `evaluate` says of every task.
    """
    counts: dict[str, Any] = {
        "count": count,
        "missing": total - labelled,
        "dropped": labelled - unpredicted - count,
        **({"unpredicted": unpredicted} if unpredicted else {}),
    }
    if not labelled:
        counts["reason"] = f"no face has a true {task} label"
    elif unpredicted == labelled:
        counts["reason"] = f"no face with a true {task} label has a prediction"
    elif not count:
        counts["reason"] = f"the outputs have no name for any true {task} label"
    return counts


def confusion(
    true: np.ndarray, predicted: np.ndarray, *, classes: int, counts: np.ndarray | int = 1
) -> np.ndarray:
    """Counts of faces, a row for each true label, a column for each predicted one.

    Args:
        true, predicted: (n,) places of labels.
        counts: (n,) of the faces that each of these stands for.
    """
    table = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (true, predicted), counts)
    return table


def accuracy(correct: np.ndarray) -> dict:
    """The accuracy of faces (n,), each predicted correctly or not, and its Wilson interval."""
    return accuracy_of(int(correct.sum()), len(correct))


def accuracy_of(hits: int, count: int) -> dict:
    """`accuracy` of so many correct predictions among so many faces, one at least."""
    return {"accuracy": hits / count, "interval": intervals.wilson(hits, count).tolist()}


def _errors(errors: np.ndarray) -> dict:
    """The mean absolute error of predicted minus true years, its interval, and the bias."""
    absolute = np.abs(errors)
    interval = None
    if len(errors) > 1:
        interval = np.maximum(intervals.mean(absolute), 0).tolist()
    return {
        "mae": float(absolute.mean()),
        "interval": interval,
        "bias": float(errors.mean()),
        "within_5_years": float((absolute <= 5).mean()),
    }


def report(metrics: Mapping) -> str:
    """A plain-text report of `metrics.json`'s figures: tables of aligned columns, a part a task."""
    parts = [f"{metrics['dataset']} {metrics['split']}: {metrics['count']:,} faces"]
    if "overlap" in metrics:
        parts[0] += "".join(f"\n  {line}" for line in unseen.describe(metrics["overlap"]))
    for name, figures in metrics["tasks"].items():
        heading = f"{name}: {figures['count']:,} faces" + "".join(
            f", {figures[kind]:,} {reason}"
            for kind, reason in (
                ("missing", "without a true label"),
                ("dropped", "with a label that the outputs lack"),
                ("unpredicted", "without a prediction"),
            )
            if figures.get(kind)
        )
        if few := metrics.get("few", {}).get(name):
            heading += f"\n  {few_examples.describe(few)}"
        if only := _only_label(figures):
            heading += f"\n  every face is {only}: that has no balanced accuracy"
        if not figures["count"]:
            parts.append(f"{heading}\n  left out: {figures['reason']}")
            continue
        by_group = describe_groups(name, figures["groups"], ungrouped=figures.get("ungrouped", {}))
        parts += [heading, _headline(name, figures), by_group]
        if "confusion" in figures:
            parts.append(describe_confusion(figures["labels"], figures["confusion"]))
    return "\n\n".join(parts) + "\n"


def _only_label(figures: Mapping) -> str | None:
    """The true label that all faces have, if they have one alone."""
    if "confusion" not in figures:
        return None
    rows = zip(figures["labels"], figures["confusion"], strict=True)
    occurring = [label for label, row in rows if sum(row)]
    return occurring[0] if len(occurring) == 1 else None


def _headline(name: str, figures: Mapping) -> str:
    """A task's figures over all faces, a line each."""
    task = TASKS[name]
    score = [task.format(figures[task.score]), text.interval(figures["interval"], task.format)]
    if task.is_classification:
        rows = [
            ["cross-entropy", f"{figures['cross_entropy']:.4f}", ""],
            [task.score_name, *score],
        ]
        if "balanced_accuracy" in figures:
            rows.append(["balanced accuracy", text.percent(figures["balanced_accuracy"]), ""])
    else:
        rows = [
            [task.score_name, *score],
            ["bias (years)", f"{figures['bias']:+.2f}", ""],
            ["within 5 years", text.percent(figures["within_5_years"]), ""],
        ]
    for key, faces in (
        ("without_near", "without near-duplicates"),
        ("with_exact", "with copies of training images"),
    ):
        other = figures.get(key)
        if other and other["count"]:
            name = f"{task.score_name} {faces} ({other['count']:,})"
            interval = text.interval(other["interval"], task.format)
            rows.append([name, task.format(other[task.score]), interval])
    return text.table(["metric", "value", f"{CONFIDENCE:.0%} interval"], rows)


def describe_groups(
    name: str,
    by_group: Mapping[str, Mapping[str, Mapping]],
    *,
    ungrouped: Mapping[str, Mapping],
) -> str:
    """A table of every group's score in a task, the small ones marked.

    Args:
        by_group, ungrouped: see `groups.by_group` and `groups.ungrouped`.
    """
    task = TASKS[name]
    rows = [
        [
            grouping,
            group,
            f"{figures['count']:,}",
            task.format(figures[task.score]),
            text.interval(figures["interval"], task.format),
            "small" if figures["small"] else "",
        ]
        for grouping, members in groups.with_unknown(by_group, ungrouped).items()
        for group, figures in members.items()
    ]
    header = ["by", "group", "faces", task.score, f"{CONFIDENCE:.0%} interval", ""]
    drawn = ""
    if rows:
        drawn = text.table(header, rows, text_columns=2) + small_note(row[-1] for row in rows)
    absent = groups.describe_missing(by_group)
    return "\n".join(filter(None, [drawn, absent and f"  {absent}"]))


def small_note(marks: Iterable[str]) -> str:
    """The line below a table that says what its marks of small groups mean; "" without any."""
    return f"\n  small: under {SMALL} faces" if any(marks) else ""


def describe_confusion(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Counts of faces by true and predicted label, to read."""
    rows = [
        [name, *(f"{count:,}" for count in row)] for name, row in zip(names, counts, strict=True)
    ]
    return text.table(["true \\ predicted", *names], rows)
