"""An audit of one classifier on one dataset, from its predictions table: whom it fails, how badly,
and whether its confidence can be believed.

Accuracy and false rates per gender, race, age band and their intersections come through fairlearn's
`MetricFrame`; the gap between the best and the worst group has an interval that holds for all pairs
of groups together; calibration, temperature and abstention treat the probability of the likeliest
label as the classifier's confidence.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, count, selection_rate, true_positive_rate
from scipy import optimize
from sklearn.metrics import accuracy_score
from statsmodels.stats.proportion import confint_proportions_2indep

from vggface_gender.command import InputError
from vggface_gender.evaluation import metrics
from vggface_gender.evaluation.metrics import CONFIDENCE, EPSILON, GROUPINGS, SMALL

BINS = 15  # of confidence, as Guo et al. 2017 (arXiv:1706.04599) have them
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
TEMPERATURES = (0.05, 20.0)


def audit(frame: pd.DataFrame, task: str) -> dict:
    """Everything below for a table's gender or race, as JSON can hold it.

    Returns:
        `count`, `labels`; `confusion`, counts by true and told label; `groups` and `gaps` by
        grouping (see `rates` and `gap`); `calibration` of all faces and, as `calibration_by`, the
        error of each gender, race and age band; `abstention` (see there).

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
    return {
        "task": task,
        "count": len(faces),
        "labels": list(names),
        "groups": groups,
        "gaps": {grouping: gap(members) for grouping, members in groups.items()},
        "confusion": metrics.confusion(true, probability.argmax(axis=1), len(names)).tolist(),
        "calibration": calibration(true, probability),
        "calibration_by": {
            column: {
                name: calibration(true[chosen], probability[chosen])["ece"]
                for name in keys[column].cat.categories
                if (chosen := (keys[column] == name).to_numpy()).sum() >= SMALL
            }
            for column in keys
        },
        "abstention": abstention(true, probability),
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


def calibration(true: np.ndarray, probability: np.ndarray, bins: int = BINS) -> dict:
    """Whether a confidence of so much is right so often.

    Returns:
        `ece`: the expected calibration error, the mean over faces of the difference between their
        bin's mean confidence and its accuracy; `bins` of equal width that hold faces: `from`, `to`,
        `count`, mean `confidence`, `accuracy` and its Wilson `interval`.
    """
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == true
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    filled = []
    for place in np.unique(places):
        chosen = places == place
        number, hits = int(chosen.sum()), int(right[chosen].sum())
        filled.append(
            {
                "from": place / bins,
                "to": (place + 1) / bins,
                "count": number,
                "confidence": float(confidence[chosen].mean()),
                "accuracy": hits / number,
                "interval": metrics.wilson(hits, number),
            }
        )
    off = sum(each["count"] * abs(each["confidence"] - each["accuracy"]) for each in filled)
    return {"ece": off / len(true) if len(true) else None, "bins": filled}


def tempered(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities as softmax would give them with all scores divided by a temperature."""
    scores = np.log(np.maximum(probability, np.finfo(np.float32).tiny)) / temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def temperature(true: np.ndarray, probability: np.ndarray) -> float:
    """The temperature with the least cross-entropy (Guo et al. 2017), to be fitted on validation.

    Above 1 the classifier was too sure of itself, below 1 not sure enough.
    """

    def cross_entropy(logarithm: float) -> float:
        likely = tempered(probability, np.exp(logarithm))[np.arange(len(true)), true]
        return float(-np.log(np.clip(likely, EPSILON, 1)).mean())

    found = optimize.minimize_scalar(
        cross_entropy, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def abstention(
    true: np.ndarray, probability: np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> list[dict]:
    """What is left if answers below a confidence are withheld.

    Returns:
        For each threshold `threshold`, the `answered` share of faces, and their `accuracy` (None
        where none is answered).
    """
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == true
    rows = []
    for threshold in thresholds:
        answered = confidence >= threshold
        rows.append(
            {
                "threshold": threshold,
                "answered": float(answered.mean()),
                "accuracy": float(right[answered].mean()) if answered.any() else None,
            }
        )
    return rows


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
