"""Pseudo-labels: which answers of a classifier are sure enough to train on, and what that costs.

A classifier's likeliest label is taken for true where its probability reaches a threshold (D.-H.
Lee, "Pseudo-Label", ICML 2013 Workshop on Challenges in Representation Learning). Functions on
arrays and tables; true labels reach none of those that choose, only `sweep`, which scores.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from vggface_gender.base import labels
from vggface_gender.evaluation import metrics, predictions

THRESHOLD = 0.95  # as FixMatch's for its pseudo-labels (K. Sohn et al., NeurIPS 2020)
SWEEP = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def told(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest labels (n,), as places, the first on a tie, and their probabilities (n,).

    Args:
        probability: (n, k) in `[0, 1]`.
    """
    return probability.argmax(axis=1), probability.max(axis=1)


def accept(probability: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Which faces are told a label at or above the threshold of that label: (n,) bool.

    Args:
        probability: (n, k) in `[0, 1]`.
        thresholds: k of them, each label's own.
    """
    label, confidence = told(probability)
    return confidence >= np.asarray(thresholds, np.float64)[label]


def thin(hashes: np.ndarray, confidence: np.ndarray, near: int) -> np.ndarray:
    """Which of n faces stay when of near-alikes only the surest does: (n,) bool.

    From the surest down, a face stays unless it is like one that stays: so no two that stay are
    alike, and each that goes is like a surer one that stays, the earlier of two as sure. Time grows
    with n², 5 s for 30,000.

    Args:
        hashes: (n, 4) `uint64` (see `overlap.difference_hash`).
        confidence: (n,).
        near: how many bits the hashes of one picture may differ in.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    words = np.ascontiguousarray(hashes[order].T)  # (4, n): each step then runs along memory
    stays = np.ones(len(order), bool)
    for i in tqdm(range(len(order)), desc="near-alikes", leave=False, delay=3, disable=None):
        if stays[i]:
            apart = np.bitwise_count(words[:, i + 1 :] ^ words[:, i : i + 1])
            stays[i + 1 :] &= apart.sum(axis=0, dtype=np.uint16) > near
    kept = np.zeros(len(order), bool)
    kept[order[stays]] = True
    return kept


def draw(label: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Which of n faces are drawn, at random, when a label may have `most` of them: (n,) bool.

    The surest are not preferred: those are the faces that the classifier learns least from.

    Args:
        label: (n,) of whole numbers.
    """
    order = np.random.default_rng(seed).permutation(len(label))
    drawn = np.zeros(len(label), bool)
    for each in np.unique(label):
        drawn[order[label[order] == each][:most]] = True
    return drawn


def choose(
    probability: np.ndarray,
    thresholds: Sequence[float],
    hashes: np.ndarray,
    near: int,
    balanced: bool = False,
    most: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The places of the faces that are left after each step, by its name; `kept` comes last.

    `told` all, `accepted` those that pass their label's threshold (see `accept`), `thinned` those
    of them that stay (see `thin`), `balanced` those drawn so that each label has as many as the
    rarest, and `kept` those drawn of these (see `draw`).

    Args:
        probability: (n, k).
        thresholds: k.
        hashes: (n, 4); those of faces that are not accepted are not looked at.
        near: see `thin`.
        balanced: whether to draw of each label as many as the rarest has: none where one has none.
        most: how many faces to keep at most, of each label as many where they are balanced.
        seed: of the draws.
    """
    label, confidence = told(probability)
    classes = probability.shape[1]
    accepted = np.flatnonzero(accept(probability, thresholds))
    thinned = accepted[thin(hashes[accepted], confidence[accepted], near)]
    kept = evened = thinned
    if balanced:
        rarest = np.bincount(label[thinned], minlength=classes).min()
        kept = evened = thinned[draw(label[thinned], int(rarest), seed)]
    if most is not None and balanced:
        kept = evened[draw(label[evened], most // classes, seed)]
    elif most is not None:
        kept = evened[draw(np.zeros(len(evened), int), most, seed)]
    steps = {"told": np.arange(len(label)), "accepted": accepted, "thinned": thinned}
    return steps | {"balanced": evened, "kept": kept}


def tally(
    probability: np.ndarray, names: Sequence[str], steps: dict[str, np.ndarray]
) -> dict[str, dict[str, int]]:
    """What became of each label's faces, in numbers, from what `choose` gives."""
    label, _ = told(probability)
    left = {step: np.bincount(label[at], minlength=len(names)) for step, at in steps.items()}
    numbers = {
        "told": left["told"],
        "accepted": left["accepted"],
        "thinned away": left["accepted"] - left["thinned"],
        "balanced away": left["thinned"] - left["balanced"],
        "beyond max": left["balanced"] - left["kept"],
        "kept": left["kept"],
    }
    return {
        name: {what: int(count[place]) for what, count in numbers.items()}
        for place, name in enumerate(names)
    }


def sweep(frame: pd.DataFrame, task: str, thresholds: Sequence[float]) -> pd.DataFrame:
    """What is accepted at each of several thresholds and, of faces with a true label, how truly.

    Args:
        frame: a predictions table; its true labels may be missing.
        task: gender or race.
        thresholds: of all labels alike.

    Returns:
        A row a threshold and group: `by` "all" or "told" (the label given), or one of
        `metrics.GROUPINGS` by true labels, of faces with a true label of the task alone; `group`;
        the number of its `faces` and of those `accepted`, and their share, `acceptance`. Of the
        accepted, those with a true label that the classifier has a name for are `labelled`;
        `accuracy` is the share of these that are told it, `low` and `high` its 95% Wilson
        interval, NaN where there are none; `small` marks under 30 of them.
    """
    names = predictions.output_labels(frame, task)
    probability = predictions.probabilities(frame, task)
    label, _ = told(probability)
    # What is scored is the label given, also where several are compared as one coarser.
    given = predictions.table(
        frame["name"],
        frame[list(labels.TASKS)],
        {task: np.eye(len(names))[label]},
        {task: names},
    )
    by_told = {("all", "all"): np.ones(len(given), bool)}
    by_told |= {("told", name): label == place for place, name in enumerate(names)}
    by_truth = metrics.evaluate(given)[task].get("groups", {})
    rows = []
    for threshold in thresholds:
        accepted = accept(probability, [threshold] * len(names))
        for (by, group), among in by_told.items():
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
        "small": figures["count"] < metrics.SMALL,
    }


def describe(swept: pd.DataFrame) -> str:
    """A sweep to read: what each threshold accepts, and how true that is in every group."""
    names = list(dict.fromkeys(swept.group[swept.by == "told"]))
    rows = [["threshold", "accepted", "of", "share", *names, "accuracy", "95% interval"]]
    for threshold, part in swept.groupby("threshold"):
        part = part.set_index(["by", "group"])
        all_ = part.loc[("all", "all")]
        is_known = all_.labelled > 0
        rows.append(
            [
                f"{threshold:g}",
                f"{all_.accepted:,}",
                f"{all_.faces:,}",
                _percent(all_.acceptance),
                *(_percent(part.acceptance["told", name]) for name in names),
                _percent(all_.accuracy),
                f"{all_.low:.1%} to {all_.high:.1%}" if is_known else "-",
            ]
        )
    parts = [metrics.aligned(rows, text_columns=())]
    if swept.labelled.any():
        parts.append(_describe_groups(swept))
    return "\n\n".join(parts)


def _describe_groups(swept: pd.DataFrame) -> str:
    """Accuracies, a line a group, a column a threshold, the small groups' marked."""
    thresholds = swept.threshold.unique()
    rows = [["by", "group", "faces", *(f"at {threshold:g}" for threshold in thresholds)]]
    for (by, group), part in swept.groupby(["by", "group"], sort=False):
        cells = [
            f"{_percent(row.accuracy)} of {row.labelled:,}" + ("*" if row.small else " ")
            for row in part.itertuples()
        ]
        rows.append([by, group, f"{part.faces.iloc[0]:,}", *cells])
    note = f"\n  accuracy of the accepted, and their number; *: under {metrics.SMALL}"
    return metrics.aligned(rows, text_columns=range(2)) + note


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.1%}"
