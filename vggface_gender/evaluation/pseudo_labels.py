"""Pseudo-labels: which predictions are confident enough to train on, and which of those are kept.

The most probable label is taken for true where its probability reaches a threshold (D.-H. Lee,
"Pseudo-Label", ICML 2013 Workshop on Challenges in Representation Learning). True labels are not
used here: they only score (see `pseudo_label_results` and `pseudo_label_sweep`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from vggface_gender.base.errors import InputError

THRESHOLD = 0.95  # as FixMatch's for its pseudo-labels (K. Sohn et al., NeurIPS 2020)


def predicted(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predicted labels (n,), as places, the first on a tie, and their confidences (n,).

    Args:
        probability: (n, k) in `[0, 1]`.
    """
    return probability.argmax(axis=1), probability.max(axis=1)


def accept(probability: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Which faces are predicted with at least the confidence of their label: (n,) bool.

    Args:
        probability: (n, k) in `[0, 1]`.
        thresholds: k of them, each label's own.
    """
    label, confidence = predicted(probability)
    return confidence >= np.asarray(thresholds, np.float64)[label]


def thin(hashes: np.ndarray, confidence: np.ndarray, *, near: int) -> np.ndarray:
    """Which of n faces are left when of near-duplicates only the most confident is kept: (n,) bool.

    From the most confident down, a face is kept unless it is a near-duplicate of one that is: so no
    two that are kept are near-duplicates, and each that is not has a more confident one that is,
    the earlier of two alike. Time grows with n squared, 5 s for 30,000.

    Args:
        hashes: (n, 4) `uint64` (see `prints.difference_hash`).
        confidence: (n,).
        near: how many bits the hashes of one picture may differ in.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    words = np.ascontiguousarray(hashes[order].T)  # (4, n): each step then runs along memory
    stays = np.ones(len(order), bool)
    for i in tqdm(range(len(order)), desc="near-duplicates", leave=False, delay=3, disable=None):
        if stays[i]:
            apart = np.bitwise_count(words[:, i + 1 :] ^ words[:, i : i + 1])
            stays[i + 1 :] &= apart.sum(axis=0, dtype=np.uint16) > near
    kept = np.zeros(len(order), bool)
    kept[order[stays]] = True
    return kept


def draw(label: np.ndarray, most: int, *, seed: int) -> np.ndarray:
    """Which of n faces are drawn, at random, when a label may have `most` of them: (n,) bool.

    The most confident are not preferred: those are the faces that teach the classifier least.

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
    *,
    hashes: np.ndarray,
    near: int,
    balanced: bool = False,
    most: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The places of the faces that are left after each step, by its name; `kept` comes last.

    `predicted` all, `accepted` those that pass their label's threshold (see `accept`), `thinned`
    those left of them without near-duplicates (see `thin`), `balanced` those drawn so that each
    label has as many as the rarest, and `kept` those drawn of these (see `draw`).

    Args:
        probability: (n, k).
        thresholds: k.
        hashes: (n, 4); those of faces that are not accepted are not looked at.
        near: see `thin`.
        balanced: whether to draw of each label as many as the rarest has: none where one has none.
        most: how many faces to keep at most, of each label as many where they are balanced.
        seed: of the draws.
    """
    label, confidence = predicted(probability)
    classes = probability.shape[1]
    accepted = np.flatnonzero(accept(probability, thresholds))
    thinned = accepted[thin(hashes[accepted], confidence[accepted], near=near)]
    kept = evened = thinned
    if balanced:
        rarest = np.bincount(label[thinned], minlength=classes).min()
        kept = evened = thinned[draw(label[thinned], int(rarest), seed=seed)]
    if most is not None and balanced:
        kept = evened[draw(label[evened], most // classes, seed=seed)]
    elif most is not None:
        kept = evened[draw(np.zeros(len(evened), int), most, seed=seed)]
    steps = {"predicted": np.arange(len(label)), "accepted": accepted, "thinned": thinned}
    return steps | {"balanced": evened, "kept": kept}


def tally(
    probability: np.ndarray, names: Sequence[str], *, steps: Mapping[str, np.ndarray]
) -> dict[str, dict[str, int]]:
    """What became of each label's faces, in numbers.

    Args:
        steps: what `choose` gives.
    """
    label, _ = predicted(probability)
    left = {step: np.bincount(label[at], minlength=len(names)) for step, at in steps.items()}
    numbers = {
        "predicted": left["predicted"],
        "accepted": left["accepted"],
        "near-duplicates": left["accepted"] - left["thinned"],
        "balanced away": left["thinned"] - left["balanced"],
        "beyond max": left["balanced"] - left["kept"],
        "kept": left["kept"],
    }
    return {
        name: {what: int(count[place]) for what, count in numbers.items()}
        for place, name in enumerate(names)
    }


def check(
    by_label: Mapping[str, Mapping[str, int]], probability: np.ndarray, *, balanced: bool
) -> None:
    """Refuse a choice that leaves nothing.

    Args:
        by_label: what `tally` gives.
        probability: (n, k).

    Raises:
        InputError: no face is accepted; or of a label none, where all are to be balanced.
    """
    if not any(numbers["accepted"] for numbers in by_label.values()):
        raise InputError(
            f"of {len(probability):,} faces none reaches its label's threshold; the most confident "
            f"has {probability.max():.3f}: lower the threshold"
        )
    absent = [name for name, n in by_label.items() if n["accepted"] == n["near-duplicates"]]
    if balanced and absent:
        raise InputError(
            f"no face predicted {' or '.join(absent)} is left, so there is nothing to balance "
            "with: lower the label's threshold, or do not balance"
        )
