"""Figures by group: which groups there are, which are too small, and how far they are apart.

A group is of faces with the same true label, or two: a face that lacks the label is in none. A
table that others made may bring groups of its own: its columns of dtype category.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import confint_proportions_2indep

from vggface_gender.base import labels
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation.intervals import CONFIDENCE

GROUPINGS = {
    "gender": ("gender",),
    "race": ("race",),
    "age": ("age",),
    "gender x race": ("gender", "race"),
}
CROSSED = " x "  # between the labels of a grouping by two
UNKNOWN = "not known"  # what the faces in no group of a grouping are called
POWER = 0.8  # of a test that finds the minimum detectable gap
SMALL = 30  # a group of fewer faces is marked: its figures are too uncertain to compare


def keys(faces: pd.DataFrame) -> pd.DataFrame:
    """Each face's true gender, race and age band, as ordered categories; missing where unknown.

    Args:
        faces: with the columns gender, race and age (years), as a predictions table has them.
    """
    years = faces["age"].to_numpy(float)
    bands = np.searchsorted([first for first, _ in labels.AGE_BANDS[1:]], years, side="right")
    bands = np.where(np.isnan(years), -1, bands)
    return pd.DataFrame(
        {
            "gender": pd.Categorical(faces["gender"], TASKS["gender"].labels, ordered=True),
            "race": pd.Categorical(faces["race"], TASKS["race"].labels, ordered=True),
            "age": pd.Categorical.from_codes(bands, labels.AGE_BAND_NAMES, ordered=True),
        },
        index=faces.index,
    )


def names(faces: pd.DataFrame) -> dict[str, pd.Series]:
    """What each face's group is called, by grouping: "female", "female, White".

    Returns:
        For each of `GROUPINGS`, and for each column of dtype category, ordered categories that all
        occur; missing where a face lacks a label.
    """
    return called(keys(faces), faces.select_dtypes("category"))


def called(keys: pd.DataFrame, own: pd.DataFrame) -> dict[str, pd.Series]:
    """`names` from faces' keys.

    Args:
        keys: see the function of this name.
        own: (n, k) of dtype category: groups of the table's own.
    """
    return {grouping: joined(keys[list(columns)]) for grouping, columns in GROUPINGS.items()} | {
        column: joined(own[[column]]) for column in own
    }


def joined(columns: pd.DataFrame) -> pd.Series:
    """Each face's groups in several columns as one, "female, White".

    Args:
        columns: (n, k) of dtype category, missing where a face is in no group.

    Returns:
        (n,) ordered categories that all occur; missing where a face lacks one of them.
    """
    known = columns.notna().all(axis=1).to_numpy()
    categories = [columns[column].cat.categories for column in columns]
    shape = tuple(map(len, categories))
    codes = [columns[column].cat.codes.to_numpy()[known] for column in columns]
    occurring, places = np.unique(np.ravel_multi_index(codes, shape), return_inverse=True)
    parts = np.unravel_index(occurring, shape)
    labelled = (its[part] for its, part in zip(categories, parts, strict=True))
    order = [", ".join(row) for row in zip(*labelled, strict=True)]
    group = np.full(len(columns), -1)
    group[known] = places
    return pd.Series(
        pd.Categorical.from_codes(group, order, ordered=True), index=columns.index, name="group"
    )


def by_group(
    faces: pd.DataFrame, measure: Callable[[np.ndarray], dict]
) -> dict[str, dict[str, dict]]:
    """Figures of every group that has faces, by grouping and group, as JSON can hold them.

    Args:
        faces: (n,) see `keys`.
        measure: from the places of a group's faces, at least one of `range(n)`, to its figures.

    Returns:
        By grouping and by group, in the order of the labels: `count`, the figures, and `small`,
        whether the count is under `SMALL`.
    """
    figures: dict[str, dict[str, dict]] = {}
    for grouping, group in names(faces).items():
        codes = group.cat.codes.to_numpy()
        figures[grouping] = {}
        for code, name in enumerate(group.cat.categories):
            rows = np.flatnonzero(codes == code)
            its = {"count": len(rows), **measure(rows), "small": len(rows) < SMALL}
            figures[grouping][name] = its
    return figures


def ungrouped(
    faces: pd.DataFrame, measure: Callable[[np.ndarray], dict]
) -> dict[str, dict[str, Any]]:
    """Figures of the faces that are in no group, since they lack the label, as `by_group`'s.

    Returns:
        By grouping, where there are such faces: `count`, the figures, and `small`.
    """
    figures = {}
    for grouping, group in names(faces).items():
        rows = np.flatnonzero(group.isna())
        if len(rows):
            figures[grouping] = {"count": len(rows), **measure(rows), "small": len(rows) < SMALL}
    return figures


def with_unknown(
    by_group: Mapping[str, Mapping[str, Mapping]], ungrouped: Mapping[str, Mapping]
) -> dict[str, dict[str, Mapping]]:
    """Groups to read, with the faces in none as one more, `UNKNOWN`.

    A grouping that has no groups at all is left out (see `describe_missing`).

    Args:
        by_group, ungrouped: see the functions of these names.
    """
    return {
        grouping: {**members} | ({UNKNOWN: ungrouped[grouping]} if grouping in ungrouped else {})
        for grouping, members in by_group.items()
        if members
    }


def describe_missing(by_group: Mapping[str, Mapping[str, Mapping]]) -> str:
    """A line that says which groupings have no groups; "" where all have."""
    absent = [grouping for grouping, members in by_group.items() if not members]
    return f"not by {', '.join(absent)}: no face has these labels" if absent else ""


class Worst(NamedTuple):
    """The group with the worst figure."""

    name: str
    figures: Mapping


def ranked(groups: Mapping[str, Mapping], *, score: str, greater_is_better: bool) -> list[str]:
    """The names of the groups that are not small, the worst first."""
    large = [name for name, group in groups.items() if not group["small"]]
    return sorted(large, key=lambda name: groups[name][score], reverse=not greater_is_better)


def worst(groups: Mapping[str, Mapping], *, score: str, greater_is_better: bool) -> Worst | None:
    """The worst of the groups that are not small; None where all are.

    Args:
        groups: of one grouping, as `by_group` gives them.
        score: the figure that they are compared by.
    """
    order = ranked(groups, score=score, greater_is_better=greater_is_better)
    return Worst(order[0], groups[order[0]]) if order else None


def gap(groups: Mapping[str, Mapping], *, score: str = "accuracy") -> dict | None:
    """The largest difference of a share between two groups that are not small.

    Args:
        groups: of one grouping, as `by_group` gives them.
        score: the figure, a share of the group's `count`.

    Returns:
        None of fewer than two such groups; else the `worst` and the `best` group; the `difference`
        of their shares; its `interval`, Newcombe's of a difference of two proportions (Statistics
        in Medicine 17, 1998, method 10), at a confidence that by Bonferroni's correction holds for
        all `pairs` of groups together, since the pair was picked by its difference; and the least
        difference that is `detectable` between groups of these counts.
    """
    order = ranked(groups, score=score, greater_is_better=True)
    if len(order) < 2:
        return None
    best, worst = groups[order[-1]], groups[order[0]]
    pairs = len(order) * (len(order) - 1) // 2
    low, high = newcombe(
        [round(group[score] * group["count"]) for group in (best, worst)],
        [group["count"] for group in (best, worst)],
        pairs=pairs,
    )
    return {
        "worst": order[0],
        "best": order[-1],
        "difference": best[score] - worst[score],
        "interval": [float(low), float(high)],
        "pairs": pairs,
        "detectable": detectable(best[score], (best["count"], worst["count"]), pairs=pairs),
    }


def newcombe(
    hits: Sequence, counts: Sequence, *, pairs: int = 1
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Newcombe's interval of the difference of two shares, at a confidence for `pairs` together.

    Args:
        hits, counts: two numbers each, or two arrays of one shape each; the difference is that of
            the first share less the second.
    """
    return confint_proportions_2indep(
        hits[0], counts[0], hits[1], counts[1], method="newcomb", alpha=(1 - CONFIDENCE) / pairs
    )


def detectable(share: float, counts: tuple[int, int], *, pairs: int = 1) -> float | None:
    """The smallest gap below a share that groups of these counts would show in four of five tests.

    Cohen's h of two proportions: a two-sided test at 1 - `CONFIDENCE`, divided by the `pairs` of
    groups that are compared (Bonferroni), with a power of `POWER`.

    Args:
        share: the better group's.
        counts: of faces in the better and in the worse group.

    Returns:
        A difference of shares; None where even a share of 0 would not be detected.
    """
    h = NormalIndPower().solve_power(
        nobs1=counts[0],
        ratio=counts[1] / counts[0],
        alpha=(1 - CONFIDENCE) / pairs,
        power=POWER,
    )
    angle = np.arcsin(np.sqrt(share)) - h / 2
    return None if angle < 0 else float(share - np.sin(angle) ** 2)


def describe_gaps(gaps: Mapping[str, Mapping | None]) -> list[str]:
    """A line to read for each grouping's gap that there is."""
    lines = []
    for grouping, found in gaps.items():
        if found:
            low, high = (100 * end for end in found["interval"])
            together = f", {CONFIDENCE:.0%} for {found['pairs']} pairs together"
            least = found["detectable"]
            power = f"; from {100 * least:.1f} up these counts would show it" if least else ""
            lines.append(
                f"largest gap by {grouping}: {found['worst']} "
                f"{100 * found['difference']:.1f} percentage points below {found['best']} "
                f"({low:.1f} to {high:.1f}{together if found['pairs'] > 1 else ''}{power})"
            )
    return lines
