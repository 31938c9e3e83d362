"""Changes of a score on the same faces: paired differences and their intervals.

The faces are the same before and after, so an interval of the change is narrower than those of the
two scores suggest.
"""

import math
from collections.abc import Mapping

import pandas as pd
from scipy import stats

from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import metrics, significance
from vggface_gender.evaluation.intervals import CONFIDENCE


def values(table: pd.DataFrame, task: str) -> pd.Series:
    """What a task's score is the mean of: whether each face is right, or by how many years off.

    Args:
        table: see `predictions.table`.

    Returns:
        (n,) bool or float64 years, of the faces that can be scored, by their rows in the table.
    """
    if not TASKS[task].is_classification:
        [predicted] = TASKS[task].output_columns()
        return (table[predicted] - table[task]).abs().dropna()
    compared = metrics.compared(table, task)
    right = compared.probability.argmax(axis=1) == compared.true
    return pd.Series(right, index=compared.faces.index)


def change(before: pd.Series, after: pd.Series) -> dict:
    """The change of a mean over the same faces.

    Args:
        before, after: (n,), see `values`.

    Returns:
        `difference` of the means and its `interval`: of shares `shares_interval`, of years
        Student's t, None where there is one face or the differences don't vary.
    """
    if before.dtype == bool:
        lost, won = int((before & ~after).sum()), int((~before & after).sum())
        interval = shares_interval(lost, won, count=len(before))
        return {"difference": (won - lost) / len(before), "interval": interval}
    if len(before) < 2:
        return {"difference": float((after - before).mean()), "interval": None}
    test = significance.paired(before, after)
    return {key: test[key] for key in ("difference", "interval")}


def shares_interval(lost: int, won: int, *, count: int) -> list[float]:
    """The interval of a difference of two shares of the same faces, at all figures' confidence.

    That of D. G. Bonett and R. M. Price (Journal of Educational and Behavioral Statistics 37,
    2012): Wald's, with one face added to those lost and one to those won.

    Args:
        lost: faces right before and not after.
        won: faces right after and not before.
        count: all faces.
    """
    lost_share, won_share = (lost + 1) / (count + 2), (won + 1) / (count + 2)
    middle = won_share - lost_share
    error = math.sqrt((lost_share + won_share - middle**2) / (count + 2))
    margin = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * error
    return [max(-1.0, middle - margin), min(1.0, middle + margin)]


def gap(before: Mapping[str, float], after: Mapping[str, Mapping], *, task: str) -> dict | None:
    """How the gap between the genders changes; None unless both have enough faces.

    Args:
        before: by gender, the task's score.
        after: by gender, `small`, the score after the change, and its `change` (see `change`).

    Returns:
        The gender with the `worse` score before, by how much it is worse before (`unchanged`) and
        after (`changed`), and the `difference` of the two (above 0: the gap has widened) with its
        `interval`, made of the two genders' paired ones by adding the squares of their arms
        (G. Y. Zou and A. Donner, Statistics in Medicine 27, 2008); None where one of them is.
    """
    if len(after) < 2 or any(group["small"] for group in after.values()):
        return None
    score = TASKS[task].score
    lesser, greater = sorted(before, key=before.__getitem__)
    changes = [after[name]["change"] for name in (greater, lesser)]
    difference = changes[0]["difference"] - changes[1]["difference"]
    interval = None
    if all(one["interval"] for one in changes):
        (x, (low_x, high_x)), (y, (low_y, high_y)) = (
            (one["difference"], one["interval"]) for one in changes
        )
        interval = [
            difference - math.hypot(x - low_x, high_y - y),
            difference + math.hypot(high_x - x, y - low_y),
        ]
    return {
        "worse": lesser if TASKS[task].greater_is_better else greater,
        "unchanged": before[greater] - before[lesser],
        "changed": after[greater][score] - after[lesser][score],
        "difference": difference,
        "interval": interval,
    }
