"""What thresholds of pseudo-labels accept, and how accurate that is where true labels are known.

These figures score; they choose nothing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vggface_gender.base import labels, text
from vggface_gender.evaluation import metrics, predictions
from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.pseudo_labels import accept, predicted

SWEEP = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def sweep(frame: pd.DataFrame, task: str, *, thresholds: Sequence[float]) -> pd.DataFrame:
    """What is accepted at each of several thresholds, and its accuracy where labels are known.

    Args:
        frame: a predictions table; its true labels may be missing.
        task: gender or race.
        thresholds: of all labels alike.

    Returns:
        A row a threshold and group: `by` "all" or "predicted", or one of
        `groups.GROUPINGS` by true labels, of faces with a true label of the task alone; `group`;
        the number of its `faces` and of those `accepted`, and their share, `acceptance`. Of the
        accepted, those with a true label that the classifier has a name for are `labelled`;
        `accuracy` is the share of these that are predicted it, `low` and `high` its 95% Wilson
        interval, NaN where there are none; `small` marks under 30 of them.
    """
    names = predictions.output_labels(frame, task)
    probability = predictions.probabilities(frame, task)
    label, _ = predicted(probability)
    # What is scored is the predicted label, also where several are compared as one coarser.
    given = predictions.table(
        frame["name"],
        frame[list(labels.TASKS)],
        outputs={task: np.eye(len(names))[label]},
        tasks={task: names},
    )
    by_predicted = {("all", "all"): np.ones(len(given), bool)}
    by_predicted |= {("predicted", name): label == place for place, name in enumerate(names)}
    by_truth = metrics.evaluate(given)[task].get("groups", {})
    rows = []
    for threshold in thresholds:
        accepted = accept(probability, [threshold] * len(names))
        for (by, group), among in by_predicted.items():
            chosen = accepted & among
            figures = metrics.evaluate(given[chosen])[task]
            rows.append(_row(threshold, by, group, among.sum(), chosen.sum(), figures))
        found = metrics.evaluate(given[accepted])[task].get("groups", {})
        for by, groups in by_truth.items():
            for group, whole in groups.items():
                figures = found.get(by, {}).get(group, {"count": 0})
                rows.append(_row(threshold, by, group, whole["count"], figures["count"], figures))
    return pd.DataFrame(rows)


def _row(
    threshold: float, by: str, group: str, faces: int, accepted: int, figures: dict
) -> dict[str, float | int | str | bool]:
    low, high = figures.get("interval", (np.nan, np.nan))
    return {
        "threshold": threshold,
        "by": by,
        "group": group,
        "faces": int(faces),
        "accepted": int(accepted),
        "acceptance": accepted / faces if faces else np.nan,
        "labelled": figures["count"],
        "accuracy": figures.get("accuracy", np.nan),
        "low": low,
        "high": high,
        "small": figures["count"] < SMALL,
    }


def describe(swept: pd.DataFrame) -> str:
    """A sweep to read: what each threshold accepts, and how accurate that is in every group."""
    names = list(dict.fromkeys(swept.group[swept.by == "predicted"]))
    header = ["threshold", "accepted", "of", "share", *names, "accuracy", "95% interval"]
    rows = []
    for threshold, part in swept.groupby("threshold"):
        part = part.set_index(["by", "group"])
        all_ = part.loc[("all", "all")]
        is_known = all_.labelled > 0
        rows.append(
            [
                f"{threshold:g}",
                f"{all_.accepted:,}",
                f"{all_.faces:,}",
                _share(all_.acceptance),
                *(_share(part.acceptance["predicted", name]) for name in names),
                _share(all_.accuracy),
                text.interval([all_.low, all_.high] if is_known else None),
            ]
        )
    parts = [text.table(header, rows, text_columns=0)]
    if swept.labelled.any():
        parts.append(_describe_groups(swept))
    return "\n\n".join(parts)


def _describe_groups(swept: pd.DataFrame) -> str:
    """Accuracies, a line a group, a column a threshold, the small groups' marked."""
    thresholds = swept.threshold.unique()
    header = ["by", "group", "faces", *(f"at {threshold:g}" for threshold in thresholds)]
    rows = []
    for (by, group), part in swept.groupby(["by", "group"], sort=False):
        cells = [
            f"{_share(row.accuracy)} of {row.labelled:,}" + "*" * row.small
            for row in part.itertuples()
        ]
        rows.append([by, group, f"{part.faces.iloc[0]:,}", *cells])
    note = f"\n  accuracy of the accepted, and their number; *: under {SMALL}"
    return text.table(header, rows, text_columns=2) + note


def _share(share: float) -> str:
    return "-" if np.isnan(share) else text.percent(share)
