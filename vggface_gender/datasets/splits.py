"""Which record stands in which split."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    from vggface_gender.datasets.checks import Checked

SPLITS = ("train", "validation", "test")


def assign(
    names: Sequence[str],
    strata: Sequence[Hashable],
    *,
    ties: Sequence[Sequence[Hashable | None]],
    fractions: Mapping[str, float],
    seed: int,
) -> list[str]:
    """A split for each record, by stratum, with everything that is tied on one side.

    Args:
        names: unique, stable keys. The outcome depends on them, not on their order.
        strata: what each record is balanced by, such as its gender: every stratum is divided by
            `fractions` on its own.
        ties: one or more columns of n values each. Two records with an equal value in a column
            (the same bytes, the same person) share a split; None ties nothing.
        fractions: split name to share; they sum to 1.
        seed: of the shuffle.

    Returns:
        n split names. Shares are met to within the size of the largest tied group.
    """
    order = np.argsort(np.asarray(names, dtype=str), kind="stable")
    group_of = _components(len(names), ties)
    groups: dict[int, list[int]] = {}
    for i in order:
        groups.setdefault(group_of[i], []).append(i)
    by_stratum: dict[Hashable, list[list[int]]] = {}
    for members in groups.values():
        by_stratum.setdefault(strata[members[0]], []).append(members)

    rng = np.random.default_rng(seed)
    split_of = [""] * len(names)
    edges = np.cumsum(list(fractions.values()))
    for stratum in sorted(by_stratum, key=repr):
        stratum_groups = by_stratum[stratum]
        total = sum(map(len, stratum_groups))
        placed = 0
        for g in rng.permutation(len(stratum_groups)):
            members = stratum_groups[g]
            # The middle of the group decides, so that no split is favoured by large groups.
            share = (placed + len(members) / 2) / total
            split = list(fractions)[min(int(np.searchsorted(edges, share)), len(edges) - 1)]
            for i in members:
                split_of[i] = split
            placed += len(members)
    return split_of


def folds(
    names: Sequence[str],
    strata: Sequence[Hashable],
    *,
    ties: Sequence[Sequence[Hashable | None]],
    count: int,
    seed: int,
) -> list[int]:
    """A fold, from 0, for each record: `count` of equal size, otherwise as `assign` does it."""
    fractions = {str(fold): 1 / count for fold in range(count)}
    return [int(fold) for fold in assign(names, strata, ties=ties, fractions=fractions, seed=seed)]


def divide(
    images: Sequence["Checked"], fractions: Mapping[str, float], *, seed: int
) -> tuple[dict[str, list["Checked"]], dict[str, str]]:
    """The images by split, and why some are left out, by name.

    A dataset that names no splits is divided by `fractions`. In one that does, its validation and
    test stay as they are; whichever it lacks is cut from train. Exact duplicates and one person's
    images are kept on one side; a copy, outside test, of what the dataset itself puts into test
    (or, outside validation, of what it puts there) is left out.
    """
    cut = {split: fractions[split] for split in drawn(images)}
    divided: dict[str, list[Checked]] = {split: [] for split in SPLITS}
    left_out: dict[str, str] = {}
    seen: dict[str, Checked] = {}  # by digest, over the splits that are done
    for split in ("test", "validation", "train"):
        part = []
        for image in images:
            if (image.item.split or "train") != split:
                continue
            if twin := seen.get(image.digest):
                left_out[image.item.name] = (
                    f"the same image as {twin.item.name}, which is in {twin.item.split}"
                )
            else:
                part.append(image)
        seen |= {image.digest: image for image in part}
        divided[split] = part
    # What is named for train, or for nothing, makes up what is missing.
    train, divided["train"] = divided["train"], []
    assigned = assign(
        **_traits(train), fractions={"train": 1 - sum(cut.values()), **cut}, seed=seed
    )
    for image, split in zip(train, assigned, strict=True):
        divided[split].append(image)
    return {split: part for split, part in divided.items() if part}, left_out


def drawn(images: Iterable["Checked"]) -> list[str]:
    """Which of validation and test the dataset doesn't name, so that they are drawn from train.

    None where labels are a classifier's predictions: such a dataset is there to be trained on.
    """
    items = [image.item for image in images]
    if any(item.is_predicted for item in items):
        return []
    named = {item.split for item in items}
    return [split for split in ("validation", "test") if split not in named]


def with_test_fold(
    images: Sequence["Checked"], fold: tuple[int, int], *, seed: int
) -> tuple[list["Checked"], dict[str, str]]:
    """The images with one fold named for test and the others for train; and why some are left out.

    The folds are the dataset's own where it has some, else drawn with `seed`, persons and exact
    duplicates on one side. Splits that the dataset names are set aside. Where its own folds share
    a person with the test fold, the images of that person outside it are left out.

    Args:
        fold: which one, from 0, in the order of the dataset's own numbers; and of how many.

    Raises:
        InputError: the dataset's own folds are of another number, or some images have none.
    """
    chosen, count = fold
    fold_of = _own_folds(images, count) or folds(**_traits(images), count=count, seed=seed)
    is_test = [k == chosen for k in fold_of]
    tested = {i.item.subject for i, yes in zip(images, is_test, strict=True) if yes} - {None}
    kept, left_out = [], {}
    for image, yes in zip(images, is_test, strict=True):
        item = image.item
        if not yes and item.subject in tested:
            left_out[item.name] = f"its person, {item.subject}, is in the test fold too"
        else:
            named = item._replace(split="test" if yes else "train")
            kept.append(image._replace(item=named))
    return kept, left_out


def _own_folds(images: Sequence["Checked"], count: int) -> list[int]:
    """Each image's fold, from 0, where the dataset has folds; [] where it has none."""
    items = [image.item for image in images]
    own = sorted({item.fold for item in items if item.fold is not None})
    if not own:
        return []
    if without := [item.name for item in items if item.fold is None]:
        raise InputError(f"{without[0]} has no fold, and others have: give every image one")
    if len(own) != count:
        raise InputError(
            f"the dataset has folds of its own, {', '.join(map(str, own))}: "
            f"ask for {len(own)} folds, not {count}"
        )
    return [own.index(item.fold) for item in items if item.fold is not None]


def _traits(images: Sequence["Checked"]) -> dict:
    """What `assign` balances by and ties together: labels; contents and people."""
    items = [image.item for image in images]
    return {
        "names": [item.name for item in items],
        "strata": [(item.gender, item.race) for item in items],
        "ties": [[image.digest for image in images], [item.subject for item in items]],
    }


def _components(count: int, ties: Sequence[Sequence[Hashable | None]]) -> np.ndarray:
    """The connected component of each of `count` records under the ties, as an integer."""
    links = []
    for column in ties:
        first: dict[Hashable, int] = {}
        links += [(first.setdefault(v, i), i) for i, v in enumerate(column) if v is not None]
    rows, columns = np.array(links, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
