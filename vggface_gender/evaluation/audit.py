"""An audit of one classifier on one dataset, from its predictions table: whom it fails, how badly,
and whether its confidence can be believed.

Accuracy and false rates per gender, race, age band and their intersections come through fairlearn's
`MetricFrame`; the gap between the best and the worst group has an interval that holds for all pairs
of groups together; calibration and abstention, which treat the probability of the likeliest label
as the classifier's confidence, are told of all faces and of every group.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, count, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score
from statsmodels.stats.proportion import confint_proportions_2indep

from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics
from vggface_gender.evaluation.calibration import abstention, calibration
from vggface_gender.evaluation.metrics import CONFIDENCE, GROUPINGS, SMALL


def audit(frame: pd.DataFrame, task: str) -> dict:
    """Everything below for a table's gender or race, as JSON can hold it.

    Returns:
        `count`, `labels`; `confusion`, counts by true and told label; `groups` and `gaps` by
        grouping (see `rates` and `gap`); `calibration` and `abstention` of all faces (see
        `evaluation.calibration`) and, as `calibration_by` (the expected error) and `abstention_by`,
        of each gender, race and age band that is not small.

    Raises:
        InputError: no face has a true label that the outputs have a name for.
    """
    compared = metrics.compared(frame, task)
    faces, names, true, probability = compared
    if faces.empty:
        raise InputError(f"no face has a true {task} that the outputs have a name for")
    keys = metrics.group_keys(faces)
    groups = {
        grouping: rates(true, probability, names, [keys[column] for column in columns])
        for grouping, columns in GROUPINGS.items()
    }

    def by_group(score: Callable[[np.ndarray, np.ndarray], object]) -> dict[str, dict]:
        return {
            column: {
                name: score(true[chosen], probability[chosen])
                for name in keys[column].cat.categories
                if (chosen := (keys[column] == name).to_numpy()).sum() >= SMALL
            }
            for column in keys
        }

    return {
        "task": task,
        "count": len(faces),
        "labels": list(names),
        "groups": groups,
        "gaps": {grouping: gap(members) for grouping, members in groups.items()},
        "confusion": metrics.confusion(true, probability.argmax(axis=1), len(names)).tolist(),
        "calibration": calibration(true, probability),
        "calibration_by": by_group(lambda *faces: calibration(*faces)["ece"]),
        "abstention": abstention(true, probability),
        "abstention_by": by_group(abstention),
    }


def rates(
    true: np.ndarray, probability: np.ndarray, names: Sequence[str], keys: Sequence[pd.Series]
) -> dict[str, dict]:
    """Accuracy and false rates of every group that has faces.

    Args:
        true: (n,) places in `names`.
        probability: (n, len(names)).
        keys: what the groups are formed by, each (n,); a face that lacks one is in no group.

    Returns:
        By group ("female, White"): `count`; `small`, whether under `SMALL`; `accuracy` and its
        Wilson `interval`; by label, `recall` (of the faces that have it, how many are told so; None
        where none has) and `told` (of all, how many are told so).
    """
    known = np.logical_and.reduce([key.notna().to_numpy() for key in keys])
    if not known.any():
        return {}
    true, predicted = true[known], probability.argmax(axis=1)[known]
    parts = zip(*(key[known].astype(str) for key in keys), strict=True)
    group = pd.Series(map(", ".join, parts), name="group")
    frames = {
        name: MetricFrame(
            metrics={"recall": true_positive_rate, "told": selection_rate},
            y_true=(true == place).astype(int),
            y_pred=(predicted == place).astype(int),
            sensitive_features=group,
        ).by_group
        for place, name in enumerate(names)
    }
    whole = MetricFrame(
        metrics={"count": count, "accuracy": accuracy_score},
        y_true=true,
        y_pred=predicted,
        sensitive_features=group,
    ).by_group
    found = {}
    for name in _ordered(keys, known):
        number = int(whole["count"][name])
        members = (group == name).to_numpy()
        found[name] = {
            "count": number,
            "small": number < SMALL,
            "accuracy": float(whole["accuracy"][name]),
            "interval": metrics.wilson(round(whole["accuracy"][name] * number), number),
            "recall": {
                label: float(frames[label]["recall"][name])
                if (true[members] == place).any()
                else None
                for place, label in enumerate(names)
            },
            "told": {label: float(frames[label]["told"][name]) for label in names},
        }
    return found


def _ordered(keys: Sequence[pd.Series], known: np.ndarray) -> list[str]:
    """Groups in the order of their labels."""
    table = pd.DataFrame({place: key[known] for place, key in enumerate(keys)})
    unique = table.drop_duplicates().sort_values(list(table.columns))
    return [", ".join(map(str, row)) for row in unique.itertuples(index=False)]


def gap(groups: Mapping[str, Mapping]) -> dict | None:
    """The largest gap in accuracy between two groups that are not small; None of fewer than two.

    Returns:
        `worst` and `best` group; `difference` of their accuracies; `interval`: Newcombe's of a
        difference of two proportions (Statistics in Medicine 17, 1998, method 10), at a confidence
        that by Bonferroni's correction holds for all `pairs` of groups together, since the pair was
        picked by its difference.
    """
    large = {name: group for name, group in groups.items() if not group["small"]}
    if len(large) < 2:
        return None
    ranked = sorted(large, key=lambda name: large[name]["accuracy"])
    worst, best = ranked[0], ranked[-1]
    pairs = len(large) * (len(large) - 1) // 2
    hits = [round(large[name]["accuracy"] * large[name]["count"]) for name in (best, worst)]
    counts = [large[name]["count"] for name in (best, worst)]
    low, high = confint_proportions_2indep(
        hits[0], counts[0], hits[1], counts[1], method="newcomb", alpha=(1 - CONFIDENCE) / pairs
    )
    return {
        "worst": worst,
        "best": best,
        "difference": large[best]["accuracy"] - large[worst]["accuracy"],
        "interval": [float(low), float(high)],
        "pairs": pairs,
    }


def suspects(true: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Faces whose label is likely wrong, the likeliest first: their places.

    Confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021): a face is suspected if it is
    told another label at least as surely as faces that have that label are on average. To be asked
    only of faces that the classifier was not trained on.
    """
    rows = np.arange(len(true))
    sure = np.array(
        [
            probability[true == label, label].mean() if (true == label).any() else np.inf
            for label in range(probability.shape[1])
        ]
    )
    told = np.where(probability >= sure, probability, -1).argmax(axis=1)
    is_suspect = (probability[rows, told] >= sure[told]) & (told != true)
    margin = probability[rows, told] - probability[rows, true]
    found = np.flatnonzero(is_suspect)
    return found[np.argsort(-margin[found], kind="stable")]


def report(audited: Mapping) -> str:
    """A plain-text report of what `audit` gives."""
    percent = "{:.1%}".format
    names = audited["labels"]
    heading = ["by", "group", "faces", "accuracy", "95% interval", *(f"{n} told" for n in names)]
    rows = [[*heading, ""]]
    for grouping, members in audited["groups"].items():
        for name, group in members.items():
            recall = [group["recall"][label] for label in names]
            rows.append(
                [
                    grouping,
                    name,
                    f"{group['count']:,}",
                    percent(group["accuracy"]),
                    "{:.1%} to {:.1%}".format(*group["interval"]),
                    *("-" if share is None else percent(share) for share in recall),
                    "small" if group["small"] else "",
                ]
            )
    lines = [
        f"{audited['task']}: {audited['count']:,} faces",
        "",
        metrics.aligned(rows, text_columns=range(2)),
        f"  told: of the faces so labelled, how many are told so; small: under {SMALL} faces",
        "",
    ]
    for grouping, found in audited["gaps"].items():
        if found:
            low, high = found["interval"]
            lines.append(
                f"largest gap by {grouping}: {found['worst']} {found['difference']:.1%} below "
                f"{found['best']} ({low:.1%} to {high:.1%}, for {found['pairs']} pairs together)"
            )
    reliability = [["confidence", "faces", "mean", "right"]]
    for each in audited["calibration"]["bins"]:
        span = f"{each['from']:.2f} to {each['to']:.2f}"
        means = (percent(each["confidence"]), percent(each["accuracy"]))
        reliability.append([span, f"{each['count']:,}", *means])
    answered = [["answered from a confidence of", "share", "accuracy"]]
    for row in audited["abstention"]:
        accuracy = "-" if row["accuracy"] is None else percent(row["accuracy"])
        answered.append([f"{row['threshold']:.2f}", percent(row["answered"]), accuracy])
    lines += [
        "",
        f"expected calibration error {audited['calibration']['ece']:.4f}",
        metrics.aligned(reliability, text_columns=range(1)),
        "",
        metrics.aligned(answered, text_columns=()),
    ]
    return "\n".join(lines) + "\n"
