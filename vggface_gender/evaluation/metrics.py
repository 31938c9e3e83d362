"""Figures from a predictions table: one run's metrics, their report, and summaries of repeats."""

import functools
import math
import statistics
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from vggface_gender.base import labels
from vggface_gender.evaluation import predictions

CONFIDENCE = 0.95
SMALL = 30  # a group of fewer faces is marked: its figures are too uncertain to compare
EPSILON = 1e-7  # Keras's own: probabilities are clipped to [EPSILON, 1 - EPSILON] before the log
GROUPINGS = {
    "gender": ["gender"],
    "race": ["race"],
    "age": ["band"],
    "gender x race": ["gender", "race"],
}

# What differs between repeats of a training; the other figures count faces or break these down.
SCALARS = ("accuracy", "balanced_accuracy", "cross_entropy", "mae", "bias", "within_5_years")


def evaluate(frame: pd.DataFrame) -> dict[str, dict]:
    """The figures for each task that a predictions table has outputs of, as JSON can hold them.

    Every task has `count` (the faces its figures are of), `missing` (faces without a true label)
    and `dropped` (faces whose true label the outputs' taxonomy has no name for). Where `count` is
    0, `reason` says why and there is nothing more. Otherwise a classification task has

    - `labels`: the names compared. Where the true labels are of another race taxonomy than the
      outputs, both are projected to `labels.common`, probabilities summed;
    - `accuracy` and its 95% Wilson `interval`; the class predicted is the likeliest one, the first
      of them on a tie;
    - `balanced_accuracy`: the mean recall over the labels that occur;
    - `cross_entropy`: the mean of -ln p(true label), normalised and clipped as Keras does;
    - `confusion`: counts, a row for each true label, a column for each predicted one.

    and age has, in years,

    - `mae`: the mean absolute error, and its 95% `interval` (`mean_interval`; None for one face);
    - `bias`: the mean of predicted minus true;
    - `within_5_years`: the share of faces at most five years off.

    `groups` breaks accuracy or the errors down by true gender, race (as the dataset names it), age
    band, and gender x race ("female, White"), each group with its `count`, and `small` where that
    is under 30. A face is in a group only if it has the label.
    """
    tasks = {
        task: _classification(frame, task)
        for task in predictions.CLASSIFICATION_TASKS
        if predictions.output_labels(frame, task)
    }
    if predictions.AGE_OUTPUT in frame:
        tasks["age"] = _age(frame)
    return tasks


def summarize(repeats: Sequence[Mapping]) -> dict:
    """The spread of repeated runs' figures: `summary.json`, from each repeat's `metrics.json`.

    Per task and scalar metric: the `mean`, the sample standard deviation `sd` (None for one
    value), `n`, and the `values` in the repeats' order. Repeats without a figure add no value.
    """
    tasks = {}
    for task in labels.TASKS:
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


def report(metrics: Mapping) -> str:
    """A plain-text report of `metrics.json`'s figures: tables of aligned columns, a part a task."""
    parts = [f"{metrics['dataset']} {metrics['split']}: {metrics['count']:,} faces"]
    for task, figures in metrics["tasks"].items():
        heading = f"{task}: {figures['count']:,} faces" + "".join(
            f", {figures[kind]:,} {reason}"
            for kind, reason in (
                ("missing", "without a true label"),
                ("dropped", "with a label that the outputs lack"),
            )
            if figures[kind]
        )
        if not figures["count"]:
            parts.append(f"{heading}\n  left out: {figures['reason']}")
            continue
        describe = _describe_age if task == "age" else _describe_classification
        parts.append("\n\n".join([heading, *describe(figures)]))
    return "\n\n".join(parts) + "\n"


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
    labelled = frame[frame[task].notna()]
    predicted_names = predictions.output_labels(frame, task)
    names = _comparable(predicted_names, set(labelled[task]))
    target = labelled[task].map(labels.project(set(labelled[task]), names))
    faces = labelled[target.notna()]
    true = target.dropna().map(names.index).to_numpy(dtype=int)
    probability = _projected(predictions.probabilities(faces, task), predicted_names, names)
    return Compared(faces, names, true, probability)


def _classification(frame: pd.DataFrame, task: str) -> dict:
    labelled = frame[frame[task].notna()]
    faces, names, true, probability = compared(frame, task)
    figures = _counts(frame, labelled, faces, task)
    if faces.empty:
        return figures

    predicted = probability.argmax(axis=1)
    counts = confusion(true, predicted, len(names))
    occurs = counts.sum(axis=1) > 0
    recall = counts.diagonal()[occurs] / counts.sum(axis=1)[occurs]
    likelihood = np.clip(probability[np.arange(len(true)), true], EPSILON, 1 - EPSILON)
    correct = pd.Series(predicted == true, index=faces.index)
    return {
        **figures,
        **_hits(correct),
        "labels": list(names),
        "balanced_accuracy": float(recall.mean()),
        "cross_entropy": float(-np.log(likelihood).mean()),
        "confusion": counts.tolist(),
        "groups": _groups(faces, correct, _hits),
    }


def _age(frame: pd.DataFrame) -> dict:
    faces = frame[frame["age"].notna()]
    figures = _counts(frame, faces, faces, "age")
    if faces.empty:
        return figures
    errors = faces[predictions.AGE_OUTPUT] - faces["age"]
    return {**figures, **_errors(errors), "groups": _groups(faces, errors, _errors)}


def _counts(
    frame: pd.DataFrame, labelled: pd.DataFrame, faces: pd.DataFrame, task: str
) -> dict[str, int | str]:
    """How many of a table's faces a task's figures are of, and what became of the others."""
    counts = {
        "count": len(faces),
        "missing": len(frame) - len(labelled),
        "dropped": len(labelled) - len(faces),
    }
    if labelled.empty:
        counts["reason"] = f"no face has a true {task} label"
    elif faces.empty:
        counts["reason"] = f"the outputs have no name for any true {task} label"
    return counts


def _comparable(predicted: tuple[str, ...], true: set[str]) -> tuple[str, ...]:
    """The finest label names that outputs and true labels can be compared in."""
    if None not in labels.project(true, predicted).values():
        return predicted
    try:
        taxonomy = labels.races_of(true)
    except ValueError:  # a mixture of datasets: what all taxonomies can be projected to
        taxonomy = functools.reduce(labels.common, labels.RACES)
    return labels.common(predicted, taxonomy)


def _projected(
    probability: np.ndarray, names: tuple[str, ...], into: tuple[str, ...]
) -> np.ndarray:
    """Probabilities (n, len(names)) summed into those of the names `into`: (n, len(into)).

    Rows are normalised, as Keras's cross-entropy does with probabilities.
    """
    place = labels.project(names, into)
    belongs = np.array([[place[name] == target for target in into] for name in names], dtype=float)
    summed = probability @ belongs
    return summed / np.maximum(summed.sum(axis=1, keepdims=True), EPSILON)


def group_keys(faces: pd.DataFrame) -> pd.DataFrame:
    """Each face's true gender, race and age band, as ordered categories; missing where unknown."""
    return pd.DataFrame(
        {
            "gender": pd.Categorical(faces["gender"], labels.GENDERS),
            "race": pd.Categorical(faces["race"], predictions.TRUE_LABELS["race"]),
            "band": pd.Categorical(
                faces["age"].map(labels.age_band, na_action="ignore"), labels.AGE_BAND_NAMES
            ),
        },
        index=faces.index,
    )


def _groups(
    faces: pd.DataFrame, values: pd.Series, score: Callable[[pd.Series], dict]
) -> dict[str, dict[str, dict]]:
    """`score` of the faces' values in each group that has any, by what the groups are of."""
    keys = group_keys(faces)
    return {
        grouping: {
            ", ".join(key): {"count": len(group), **score(group), "small": len(group) < SMALL}
            for key, group in values.groupby(
                [keys[column] for column in columns], observed=True, sort=True
            )
        }
        for grouping, columns in GROUPINGS.items()
    }


def wilson(hits: int, count: int) -> list[float]:
    """Wilson's interval of a share, at the confidence of all figures: [low, high]."""
    interval = stats.binomtest(hits, count).proportion_ci(CONFIDENCE, method="wilson")
    return [float(interval.low), float(interval.high)]


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of faces, a row for each true label, a column for each predicted one."""
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (true, predicted), 1)
    return counts


def _hits(correct: pd.Series) -> dict:
    """The accuracy of faces that are classified correctly or not, and its Wilson interval."""
    interval = wilson(int(correct.sum()), len(correct))
    return {"accuracy": float(correct.mean()), "interval": interval}


def mean_interval(values: np.ndarray) -> list[float]:
    """The interval of a mean, at the confidence of all figures, for values that may be skewed.

    Student's t, transformed so that the skewness of the values does not move it: P. Hall, "On the
    removal of skewness by transformation", JRSS B 54 (1992), the monotone cubic. Absolute errors
    are skewed: of 30 exponential values Student's own holds the mean at 0.91 in place of 0.95.

    Args:
        values: (n,), at least 2.
    """
    count = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    skew = float(stats.skew(values, bias=False)) if count > 2 and error > 0 else 0.0
    quantile, slope = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)), skew / math.sqrt(count)

    def transformed(z: float) -> float:
        if abs(slope) < 1e-9:
            return z
        return 3 / slope * (float(np.cbrt(1 + slope * (z - slope / 6))) - 1)

    mean = float(np.mean(values))
    return [mean - transformed(quantile) * error, mean - transformed(-quantile) * error]


def _errors(errors: pd.Series) -> dict:
    """The mean absolute error of predicted minus true years, its interval, and the bias."""
    absolute = errors.abs()
    mae, interval = float(absolute.mean()), None
    if len(errors) > 1:
        low, high = mean_interval(absolute.to_numpy())
        interval = [max(0.0, low), high]
    return {
        "mae": mae,
        "interval": interval,
        "bias": float(errors.mean()),
        "within_5_years": float((absolute <= 5).mean()),
    }


def _describe_classification(figures: Mapping) -> list[str]:
    headline = [
        ["cross-entropy", f"{figures['cross_entropy']:.4f}", ""],
        ["accuracy", _percent(figures["accuracy"]), _span(figures["interval"], _percent)],
        ["balanced accuracy", _percent(figures["balanced_accuracy"]), ""],
    ]
    confusion = [["true \\ predicted", *figures["labels"]]] + [
        [name, *(f"{count:,}" for count in row)]
        for name, row in zip(figures["labels"], figures["confusion"], strict=True)
    ]
    return [
        aligned(headline, text_columns=range(1)),
        _describe_groups(figures["groups"], "accuracy", _percent),
        aligned(confusion, text_columns=range(1)),
    ]


def _describe_age(figures: Mapping) -> list[str]:
    headline = [
        ["mean absolute error (years)", _years(figures["mae"]), _span(figures["interval"], _years)],
        ["bias (years)", f"{figures['bias']:+.2f}", ""],
        ["within 5 years", _percent(figures["within_5_years"]), ""],
    ]
    return [
        aligned(headline, text_columns=range(1)),
        _describe_groups(figures["groups"], "mae", _years),
    ]


def _describe_groups(groups: Mapping, metric: str, form: Callable[[float], str]) -> str:
    """A table of every group's figures, the small ones marked."""
    rows = [["by", "group", "faces", metric, f"{CONFIDENCE:.0%} interval", ""]]
    for grouping, members in groups.items():
        rows += [
            [
                grouping,
                name,
                f"{group['count']:,}",
                form(group[metric]),
                _span(group["interval"], form),
                "small" if group["small"] else "",
            ]
            for name, group in members.items()
        ]
    note = f"\n  small: under {SMALL} faces" if any(row[-1] for row in rows) else ""
    return aligned(rows, text_columns=range(2)) + note


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _years(years: float) -> str:
    return f"{years:.2f}"


def _span(interval: Sequence[float] | None, form: Callable[[float], str]) -> str:
    return f"{form(interval[0])} to {form(interval[1])}" if interval else "-"


def aligned(rows: Sequence[Sequence[str]], text_columns: Container[int]) -> str:
    """Rows as indented lines; the text columns, by place, flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(width) if position in text_columns else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
