"""An audit of one classifier on one dataset, from its predictions table: whom it fails, how badly,
and whether its confidence can be believed.

Accuracy, recall and selection rate by gender, race, age band and their intersections come through
fairlearn's `MetricFrame`; the gap between the best and the worst group has an interval that holds
for all pairs of groups together; calibration and abstention, which treat the probability of the
likeliest label as the classifier's confidence, are given for all faces and for every group.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, count, selection_rate
from sklearn.metrics import accuracy_score, recall_score

from vggface_gender.base import text
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import (
    calibration,
    fairness,
    groups,
    intervals,
    metrics,
    predictions,
    unseen,
)
from vggface_gender.evaluation.groups import CROSSED, SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE

IN_ONE_TABLE = 2  # labels whose recalls stand beside the accuracy: more make it too wide


def audit(frame: pd.DataFrame, task: str) -> dict:
    """Everything below for a table's gender or race, as JSON can hold it.

    Copies of images that the classifier was trained on are left out, as far as the table has them.

    Args:
        frame: see `predictions.table`.

    Returns:
        `count`; `missing` and `dropped` faces (see `metrics.evaluate`); `labels`; `confusion`,
        counts by true and predicted label; `groups` and `gaps` by grouping (see `rates` and
        `groups.gap`); `ungrouped`, the same rates of the faces in no group of a grouping;
        `unpredicted`, where faces have no prediction, the share of each group (see
        `without_prediction`); `fairness`, the differences that fairlearn has names for (see
        `fairness.differences`); `overlap` (see `unseen.overlap`) and the `accuracy`
        `without_near`-duplicates of training images, where there are any; `calibration` and
        `abstention` of all faces (see `evaluation.calibration`; None where the outputs are labels
        alone) and, as `calibration_by` (the expected error) and `abstention_by`, of each gender,
        race and age band that is not small.

    Raises:
        InputError: no face that the classifier was not trained on has a true label that the outputs
            have a name for.
    """
    overlap = unseen.overlap(frame)
    figures = metrics.of_unseen(frame)[task]
    faces, names, true, probability = metrics.compared(unseen.faces(frame), task)
    if faces.empty:
        raise InputError(figures["reason"])
    predicted = probability.argmax(axis=1)
    called = groups.names(faces)
    by_group = {
        grouping: rates(true, predicted, names=names, group=group)
        for grouping, group in called.items()
    }
    ungrouped = {
        grouping: rates(true, predicted, names=names, group=_unknown(group))[groups.UNKNOWN]
        for grouping, group in called.items()
        if group.isna().any()
    }
    # Of the groups of a label, all faces have it: there is no recall of another to compare.
    apart = {name: group for name, group in called.items() if task not in name.split(CROSSED)}
    is_hard = predictions.are_hard(faces, task)
    single = {column: called[column] for column in called if CROSSED not in column}

    def of_single(score: Callable[[np.ndarray, np.ndarray], object]) -> dict[str, dict]:
        return {
            column: _of_large(group, lambda rows: score(true[rows], probability[rows]))
            for column, group in single.items()
            if not is_hard
        }

    return {
        "task": task,
        "count": len(faces),
        "missing": figures["missing"],
        "dropped": figures["dropped"],
        "labels": list(names),
        "overlap": overlap,
        "accuracy": figures["accuracy"],
        "interval": figures["interval"],
        **({"without_near": figures["without_near"]} if "without_near" in figures else {}),
        "groups": by_group,
        "ungrouped": ungrouped,
        "gaps": {grouping: groups.gap(members) for grouping, members in by_group.items()},
        "fairness": fairness.differences(true, predicted, names=names, called=apart),
        **({"unpredicted": without_prediction(frame, task)} if "unpredicted" in figures else {}),
        "confusion": metrics.confusion(true, predicted, classes=len(names)).tolist(),
        "calibration": None if is_hard else calibration.calibration(true, probability),
        "calibration_by": of_single(lambda *faces: calibration.calibration(*faces)["ece"]),
        "abstention": None if is_hard else calibration.abstention(true, probability),
        "abstention_by": of_single(calibration.abstention),
    }


def without_prediction(frame: pd.DataFrame, task: str) -> dict[str, dict]:
    """Of the faces with a true label, how many have no prediction, by group.

    Args:
        frame: see `predictions.table`; some faces have no prediction.

    Returns:
        By grouping and group: `count` of faces with the label, `small`, the `share` of them without
        a prediction and its Wilson `interval`; "all" is a grouping of one group, "all".
    """
    faces = frame[frame[task].notna()]
    lacks = ~predictions.is_predicted(faces, task)

    def share(rows: np.ndarray) -> dict:
        ends = intervals.wilson(int(lacks[rows].sum()), len(rows)).tolist()
        return {"share": float(lacks[rows].mean()), "interval": ends}

    every = {"count": len(faces), **share(np.arange(len(faces))), "small": len(faces) < SMALL}
    return {"all": {"all": every}} | groups.by_group(faces, share)


def _unknown(group: pd.Series) -> pd.Series:
    """The faces in no group as one, the others in none."""
    name = group.isna().map({True: groups.UNKNOWN, False: None})
    return name.astype(pd.CategoricalDtype([groups.UNKNOWN]))


def _of_large(group: pd.Series, score: Callable[[np.ndarray], object]) -> dict[str, object]:
    """A score of the faces of every group that is not small, from their places."""
    codes = group.cat.codes.to_numpy()
    rows = {name: np.flatnonzero(codes == code) for code, name in enumerate(group.cat.categories)}
    return {name: score(its) for name, its in rows.items() if len(its) >= SMALL}


def rates(
    true: np.ndarray, predicted: np.ndarray, *, names: Sequence[str], group: pd.Series
) -> dict[str, dict]:
    """Accuracy, recall and selection rate of every group that has faces.

    Args:
        true, predicted: (n,) places in `names`.
        group: (n,) what each face's group is called, as `groups.names` gives it.

    Returns:
        By group: `count`; `small`, whether under `SMALL`; `accuracy` and its Wilson `interval`; by
        label, `recall` (of the faces that have it, the share that it is predicted for; None where
        none has it) and `selection_rate` (of all, the share that it is predicted for).
    """
    known = group.notna().to_numpy()
    if not known.any():
        return {}
    places = range(len(names))
    scores = {"count": count, "accuracy": accuracy_score}
    scores |= {f"recall {k}": partial(_recall, place=k) for k in places}
    scores |= {f"selection {k}": partial(selection_rate, pos_label=k) for k in places}
    table = MetricFrame(
        metrics=scores,
        y_true=true[known],
        y_pred=predicted[known],
        sensitive_features=group[known].astype(str),
    ).by_group.loc[list(group.cat.categories)]
    counts = table["count"].astype(int)
    hits = (table["accuracy"] * counts).round().astype(int)
    return {
        name: {
            "count": number,
            "small": number < SMALL,
            "accuracy": float(row["accuracy"]),
            "interval": ends,
            "recall": {
                label: None if np.isnan(row[f"recall {k}"]) else float(row[f"recall {k}"])
                for k, label in enumerate(names)
            },
            "selection_rate": {
                label: float(row[f"selection {k}"]) for k, label in enumerate(names)
            },
        }
        for (name, row), number, ends in zip(
            table.iterrows(),
            counts.tolist(),
            intervals.wilson(hits, counts).tolist(),
            strict=True,
        )
    }


def _recall(true: np.ndarray, predicted: np.ndarray, *, place: int) -> float:
    """One label's recall; NaN where no face has it."""
    return recall_score(true == place, predicted == place, zero_division=np.nan)


def suspects(true: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Faces whose label is likely wrong, the likeliest first: their places.

    Confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021): a face is suspected if another
    label is predicted for it with at least the confidence that faces with that label have on
    average. Meant for faces that the classifier was not trained on.

    Args:
        true: (n,) places of the labels.
        probability: (n, k), rows sum to 1.
    """
    rows = np.arange(len(true))
    usual = np.array(
        [
            probability[true == label, label].mean() if (true == label).any() else np.inf
            for label in range(probability.shape[1])
        ]
    )
    predicted = np.where(probability >= usual, probability, -1).argmax(axis=1)
    is_suspect = (probability[rows, predicted] >= usual[predicted]) & (predicted != true)
    margin = probability[rows, predicted] - probability[rows, true]
    found = np.flatnonzero(is_suspect)
    return found[np.argsort(-margin[found], kind="stable")]


def report(audited: Mapping) -> str:
    """A plain-text report of what `audit` gives."""
    overlap = audited["overlap"]
    unmarked = "the table does not say which faces the classifier was trained on"
    heading = [f"{audited['task']}: {audited['count']:,} faces"]
    for key, why in (
        ("missing", "without a true label"),
        ("dropped", "with a true label that the predictions have no name for"),
    ):
        if audited[key]:
            heading.append(f"left out: {audited[key]:,} {why}")
    heading += [unmarked] if overlap is None else unseen.describe(overlap)
    if audited.get("without_near", {}).get("count"):
        share = text.percent(audited["without_near"]["accuracy"])
        heading.append(f"accuracy {text.percent(audited['accuracy'])}, without them {share}")
    parts = [
        "\n  ".join(heading),
        _describe_groups(audited),
        "\n".join(groups.describe_gaps(audited["gaps"])),
        fairness.describe(audited["fairness"]),
        _describe_unpredicted(audited.get("unpredicted", {})),
    ]
    if audited["calibration"]:
        parts.append(calibration.describe(audited["calibration"]))
        parts.append(calibration.describe_abstention(audited["abstention"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_unpredicted(unpredicted: Mapping[str, Mapping[str, Mapping]]) -> str:
    """The share of each group without a prediction, to read; "" where all faces have one."""
    rows = [
        [
            grouping,
            name,
            f"{group['count']:,}",
            text.percent(group["share"]),
            text.interval(group["interval"]),
            "small" if group["small"] else "",
        ]
        for grouping, members in unpredicted.items()
        for name, group in members.items()
    ]
    header = ["by", "group", "faces", "without a prediction", f"{CONFIDENCE:.0%} interval", ""]
    return text.table(header, rows, text_columns=2) if rows else ""


def _describe_groups(audited: Mapping) -> str:
    """Every group's accuracy and recalls; of many labels the recalls in a table of their own."""
    names = audited["labels"]
    rows = [
        (grouping, name, group)
        for grouping, members in groups.with_unknown(
            audited["groups"], audited["ungrouped"]
        ).items()
        for name, group in members.items()
    ]
    of_group = [
        [
            grouping,
            name,
            f"{group['count']:,}",
            text.percent(group["accuracy"]),
            text.interval(group["interval"]),
        ]
        for grouping, name, group in rows
    ]
    recalls = [
        ["-" if share is None else text.percent(share) for share in group["recall"].values()]
        for *_, group in rows
    ]
    marks = [["small" if group["small"] else ""] for *_, group in rows]
    header = ["by", "group", "faces", "accuracy", f"{CONFIDENCE:.0%} interval"]
    note = "\n  recall: of the faces with this true label, the share that it is predicted for"
    small = metrics.small_note(mark for [mark] in marks)
    absent = groups.describe_missing(audited["groups"])
    below = note + small + (f"\n  {absent}" if absent else "")
    if not rows:
        return below.removeprefix("\n")

    def joined(*parts: Sequence[list[str]]) -> list[list[str]]:
        return [[cell for part in row for cell in part] for row in zip(*parts, strict=True)]

    if len(names) <= IN_ONE_TABLE:
        header = [*header, *(f"{name} recall" for name in names), ""]
        return text.table(header, joined(of_group, recalls, marks), text_columns=2) + below
    groups_table = text.table([*header, ""], joined(of_group, marks), text_columns=2)
    lines = [[f"{by} {name}" if name == groups.UNKNOWN else name] for by, name, _ in rows]
    # A label's words below one another: seven of them are as wide as a page.
    header = ["recall of", *("\n".join(name.replace("_", " ").split()) for name in names)]
    return f"{groups_table}\n\n{text.table(header, joined(lines, recalls))}{below}"
