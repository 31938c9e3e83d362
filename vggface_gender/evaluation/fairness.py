"""Differences between groups by fairlearn's names: demographic parity, equal opportunity, equalized
odds; each label in turn is what is predicted or not, so of two labels the one's recall is 1 - the
other's false positive rate.

Intervals are a bootstrap's (percentiles over faces drawn with replacement). A difference of the
highest and the lowest group is never negative, so chance alone makes it larger: the interval of
groups that do not differ lies above 0. `chance` is what groups of these sizes would show of the
same classifier if none were treated differently.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vggface_gender.base import text
from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE

DRAWS = 2000
# By name: the rates that it compares. Equalized odds is the larger of two differences.
DIFFERENCES = {
    "demographic parity": ("selection",),
    "equal opportunity": ("recall",),
    "equalized odds": ("recall", "false positives"),
}


def differences(
    true: np.ndarray,
    predicted: np.ndarray,
    *,
    names: Sequence[str],
    called: Mapping[str, pd.Series],
    counts: np.ndarray | None = None,
    draws: int = DRAWS,
) -> dict[str, dict]:
    """How far groups are apart in selection rate, recall and false positives, label by label.

    Args:
        true, predicted: (n,) places in `names`.
        called: by grouping what each face's group is called, as `groups.names` gives it. Groups of
            under `SMALL` faces are left out.
        counts: (n,) of the faces that each of these stands for; None: one.
        draws: bootstrap draws.

    Returns:
        By grouping that has two groups to compare: `groups`, their names; `labels`: by label and
        each name of `DIFFERENCES` a `difference`, its `interval`, and `chance`, the median
        difference where the groups' labels are shuffled among the faces of a true label. A
        difference is None where a group has no face to have that rate.
    """
    found = {}
    counts = np.ones(len(true), int) if counts is None else counts
    for grouping, group in called.items():
        codes = group.cat.codes.to_numpy()
        known = codes >= 0
        sizes = np.bincount(codes[known], counts[known], minlength=len(group.cat.categories))
        large = np.flatnonzero(sizes >= SMALL)
        if len(large) < 2:
            continue
        chosen = np.isin(codes, large)
        places = np.searchsorted(large, codes[chosen])
        cells = np.zeros((len(large), len(names), len(names)))
        np.add.at(cells, (places, true[chosen], predicted[chosen]), counts[chosen])
        found[grouping] = {
            "groups": [str(group.cat.categories[code]) for code in large],
            "labels": _of_cells(cells, names=names, draws=draws),
        }
    return found


def _of_cells(cells: np.ndarray, *, names: Sequence[str], draws: int) -> dict[str, dict]:
    """One grouping's `labels`, from counts of faces (groups, true, predicted)."""
    rng = np.random.default_rng(0)
    count = cells.sum()
    # Faces drawn with replacement are counts drawn from the cells' shares.
    counts = rng.multinomial(int(count), (cells / count).ravel(), size=draws)
    drawn = _rates(counts.reshape(draws, *cells.shape))
    shuffled = _rates(_shuffled(cells, rng, draws))
    own = _rates(cells[None])
    labels: dict[str, dict] = {}
    for place, label in enumerate(names):
        labels[label] = {}
        for name, rates in DIFFERENCES.items():
            of_all = [_span(own[rate][..., place]) for rate in rates]
            difference = float(np.max(of_all))
            if np.isnan(difference):
                labels[label][name] = None
                continue
            ends, chance = (
                np.nanquantile(np.max([_span(some[rate][..., place]) for rate in rates], 0), shares)
                for some, shares in (
                    (drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]),
                    (shuffled, 0.5),
                )
            )
            labels[label][name] = {
                "difference": difference,
                "interval": ends.tolist(),
                "chance": float(chance),
            }
    return labels


def _rates(cells: np.ndarray) -> dict[str, np.ndarray]:
    """Every group's rates of each label, (draws, groups, labels), NaN where there is no such face.

    Args:
        cells: counts of faces, (draws, groups, true, predicted).
    """
    selected, has = cells.sum(axis=2), cells.sum(axis=3)
    both = np.diagonal(cells, axis1=2, axis2=3)
    count = selected.sum(axis=2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "selection": selected / count,
            "recall": both / has,
            "false positives": (selected - both) / (count - has),
        }


def _span(rates: np.ndarray) -> np.ndarray:
    """The highest less the lowest of the groups' rates, (draws, groups) to (draws,)."""
    return rates.max(axis=1) - rates.min(axis=1)


def _shuffled(cells: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Counts of as many faces in every group with every true label, predicted as in all groups."""
    has = cells.sum(axis=2).astype(int)  # (groups, true)
    shares = cells.sum(axis=0) / np.maximum(cells.sum(axis=(0, 2)), 1)[:, None]  # (true, predicted)
    return np.stack(
        [
            np.stack(
                [
                    rng.multinomial(count, _normalized(shares[label]), size=draws)
                    for count in counts
                ],
                axis=1,
            )
            for label, counts in enumerate(has.T)
        ],
        axis=2,
    )


def _normalized(shares: np.ndarray) -> np.ndarray:
    """Shares that sum to 1; those of a label that no face has are any."""
    return shares / shares.sum() if shares.sum() else np.full(len(shares), 1 / len(shares))


def describe(found: Mapping[str, Mapping]) -> str:
    """What `differences` gives, to read; "" where there is nothing to compare."""
    rows = [
        [
            grouping,
            label,
            name,
            f"{100 * each['difference']:.1f}",
            text.interval([100 * end for end in each["interval"]], "{:.1f}".format),
            f"{100 * each['chance']:.1f}",
        ]
        for grouping, figures in found.items()
        for label, by_name in figures["labels"].items()
        for name, each in by_name.items()
        if each
    ]
    if not rows:
        return ""
    header = ["by", "label", "difference in", "points", f"{CONFIDENCE:.0%} interval", "by chance"]
    note = (
        f"  between the highest and the lowest group of {SMALL} faces or more; by chance: the "
        "median\n  if groups were not treated differently"
    )
    return f"{text.table(header, rows, text_columns=3)}\n{note}"
