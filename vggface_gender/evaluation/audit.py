"""An audit of one classifier on one dataset, from its predictions table: whom it fails, how badly,
and whether its confidence can be believed.

Accuracy, recall and selection rate by gender, race, age band and their intersections come through
fairlearn's `MetricFrame`; the gap between the best and the worst group has an interval that holds
for all pairs of groups together; calibration and abstention, which treat the probability of the
likeliest label as the classifier's confidence, are given for all faces and for every group.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, selection_rate
from sklearn.metrics import accuracy_score, recall_score

from vggface_gender.base import labels, text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import (
    calibration,
    fairness,
    groups,
    intervals,
    metrics,
    tally,
    unseen,
)
from vggface_gender.evaluation.groups import CROSSED, SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE
from vggface_gender.evaluation.tally import Tally

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
    return of_tally(tally.of(frame, task), task)


def of_tally(counted: Tally, task: str) -> dict:
    """What `audit` gives, from the tally of a table.

    Raises:
        InputError: see `audit`.
    """
    names = counted.names
    is_unseen = ~counted.cells["is_copy"].to_numpy(bool)
    kept = _where(counted, is_unseen)
    true = _true(kept, task)
    is_predicted = kept.cells["predicted"].notna().to_numpy()
    is_labelled = kept.groups[task].notna().to_numpy()
    compared = is_labelled & is_predicted & (true >= 0)
    near = int(kept.cells["near"].sum())
    figures = metrics.counted(
        task,
        _count(kept),
        labelled=_count(kept, is_labelled),
        unpredicted=_count(kept, is_labelled & ~is_predicted),
        count=_count(kept, compared),
    )
    if not compared.any():
        is_all_copies = not len(kept.cells) and len(counted.cells)
        raise InputError(metrics.ALL_COPIES if is_all_copies else figures["reason"])

    true, faces = true[compared], _where(kept, compared)
    cells = faces.cells
    predicted, counts = cells["predicted"].cat.codes.to_numpy(), cells["count"].to_numpy()
    right = predicted == true
    called = groups.called(faces.groups, faces.groups.drop(columns=TASKS))
    its: dict[str, Any] = {"names": names, "counts": counts}
    by_group = {
        grouping: rates(true, predicted, group=group, **its) for grouping, group in called.items()
    }
    ungrouped = {
        grouping: rates(true, predicted, group=_unknown(group), **its)[groups.UNKNOWN]
        for grouping, group in called.items()
        if group.isna().any()
    }
    # Of the groups of a label, all faces have it: there is no recall of another to compare.
    apart = {name: group for name, group in called.items() if task not in name.split(CROSSED)}
    is_hard = not cells["soft"].any()
    single = {column: called[column] for column in called if CROSSED not in column}
    every = np.arange(len(cells))

    def calibrated(rows: np.ndarray) -> dict:
        confidence = cells["confidence"].to_numpy()[rows]
        places = cells["bin"].cat.codes.to_numpy()[rows]
        return calibration.of_bins(places, right[rows], counts=counts[rows], confidence=confidence)

    def withheld(rows: np.ndarray) -> list[dict]:
        places = cells["reached"].cat.codes.to_numpy()[rows]
        return calibration.of_thresholds(places, right[rows], counts=counts[rows])

    def of_single(score: Callable[[np.ndarray], object]) -> dict[str, dict]:
        return {
            column: _of_large(group, counts, score=score)
            for column, group in single.items()
            if not is_hard
        }

    return {
        "task": task,
        "count": figures["count"],
        "missing": figures["missing"],
        "dropped": figures["dropped"],
        "labels": names,
        "overlap": _overlap(counted, is_unseen),
        **metrics.accuracy_of(int(counts[right].sum()), figures["count"]),
        **({"without_near": _without_near(cells, right)} if near else {}),
        "groups": by_group,
        "ungrouped": ungrouped,
        "gaps": {grouping: groups.gap(members) for grouping, members in by_group.items()},
        "fairness": fairness.differences(true, predicted, called=apart, **its),
        **({"unpredicted": without_prediction(counted, task)} if "unpredicted" in figures else {}),
        "confusion": metrics.confusion(true, predicted, classes=len(names), counts=counts).tolist(),
        "calibration": None if is_hard else calibrated(every),
        "calibration_by": of_single(lambda rows: calibrated(rows)["ece"]),
        "abstention": None if is_hard else withheld(every),
        "abstention_by": of_single(withheld),
    }


def _where(counted: Tally, chosen: np.ndarray) -> Tally:
    """Some of a tally's cells."""
    return counted._replace(groups=counted.groups[chosen], cells=counted.cells[chosen])


def _count(counted: Tally, chosen: np.ndarray | slice = slice(None)) -> int:
    """The faces in some cells."""
    return int(counted.cells["count"].to_numpy()[chosen].sum())


def _true(counted: Tally, task: str) -> np.ndarray:
    """The place of each cell's true label in the names compared; -1 where it has none there."""
    group, names = counted.groups[task].cat, counted.names
    into = labels.project(group.categories, tuple(names))
    place: dict[str | None, int] = {name: place for place, name in enumerate(names)}
    return np.array([*(place.get(into[label], -1) for label in group.categories), -1])[group.codes]


def _overlap(counted: Tally, is_unseen: np.ndarray) -> dict | None:
    """See `unseen.overlap`."""
    if counted.copies is None:
        return None
    return {
        "exact": _count(counted, ~is_unseen),
        "near": int(counted.cells["near"].sum()),
        "names": counted.copies,
    }


def _without_near(cells: pd.DataFrame, right: np.ndarray) -> dict:
    """The accuracy of compared faces that are no near-duplicates, and how many these are."""
    counts = (cells["count"] - cells["near"]).to_numpy()
    count = int(counts.sum())
    accuracy = metrics.accuracy_of(int(counts[right].sum()), count) if count else {}
    return accuracy | {"count": count}


def without_prediction(counted: Tally, task: str) -> dict[str, dict]:
    """Of the faces with a true label, how many have no prediction, by group.

    Args:
        counted: the tally of a table; some faces have no prediction.

    Returns:
        By grouping and group: `count` of faces with the label, `small`, the `share` of them without
        a prediction and its Wilson `interval`; "all" is a grouping of one group, "all".
    """
    faces = _where(counted, counted.groups[task].notna().to_numpy())
    lacks = faces.cells["predicted"].isna().to_numpy()
    counts = faces.cells["count"].to_numpy()

    def share(rows: np.ndarray) -> dict:
        lacking, count = int(counts[rows][lacks[rows]].sum()), int(counts[rows].sum())
        return {
            "count": count,
            "share": lacking / count,
            "interval": intervals.wilson(lacking, count).tolist(),
            "small": count < SMALL,
        }

    called = groups.called(faces.groups, faces.groups.drop(columns=TASKS))
    return {"all": {"all": share(np.arange(len(counts)))}} | {
        grouping: {name: share(rows) for name, rows in _rows(group).items()}
        for grouping, group in called.items()
    }


def _unknown(group: pd.Series) -> pd.Series:
    """The faces in no group as one, the others in none."""
    name = group.isna().map({True: groups.UNKNOWN, False: None})
    return name.astype(pd.CategoricalDtype([groups.UNKNOWN]))


def _rows(group: pd.Series) -> dict[str, np.ndarray]:
    """The places of each group's cells."""
    codes = group.cat.codes.to_numpy()
    return {name: np.flatnonzero(codes == code) for code, name in enumerate(group.cat.categories)}


def _of_large(
    group: pd.Series, counts: np.ndarray, *, score: Callable[[np.ndarray], object]
) -> dict[str, object]:
    """A score of every group that is not small, from the places of its cells."""
    rows = _rows(group)
    return {name: score(its) for name, its in rows.items() if counts[its].sum() >= SMALL}


def rates(
    true: np.ndarray,
    predicted: np.ndarray,
    *,
    names: Sequence[str],
    group: pd.Series,
    counts: np.ndarray,
) -> dict[str, dict]:
    """Accuracy, recall and selection rate of every group that has faces.

    Args:
        true, predicted: (n,) places in `names`.
        group: (n,) what each face's group is called, as `groups.names` gives it.
        counts: (n,) of the faces that each of these stands for.

    Returns:
        By group: `count`; `small`, whether under `SMALL`; `accuracy` and its Wilson `interval`; by
        label, `recall` (of the faces that have it, the share that it is predicted for; None where
        none has it) and `selection_rate` (of all, the share that it is predicted for).
    """
    known = group.notna().to_numpy()
    if not known.any():
        return {}
    places = range(len(names))
    scores = {"accuracy": accuracy_score}
    scores |= {f"recall {k}": partial(_recall, place=k) for k in places}
    scores |= {f"selection {k}": partial(selection_rate, pos_label=k) for k in places}
    table = MetricFrame(
        metrics=scores,
        y_true=true[known],
        y_pred=predicted[known],
        sensitive_features=group[known].astype(str),
        sample_params={name: {"sample_weight": counts[known]} for name in scores},
    ).by_group.loc[list(group.cat.categories)]
    sizes = np.bincount(group.cat.codes[known], counts[known]).astype(int)
    hits = (table["accuracy"] * sizes).round().astype(int)
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
            sizes.tolist(),
            intervals.wilson(hits, sizes).tolist(),
            strict=True,
        )
    }


def _recall(
    true: np.ndarray, predicted: np.ndarray, *, place: int, sample_weight: np.ndarray
) -> float:
    """One label's recall; NaN where no face has it."""
    return recall_score(
        true == place, predicted == place, sample_weight=sample_weight, zero_division=np.nan
    )


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
