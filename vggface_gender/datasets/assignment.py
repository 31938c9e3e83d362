"""Shares of a dataset by whole persons: which of its records make up which split or fold."""

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from vggface_gender.base.packed import in_order

TOLERANCE = 0.001  # of all images: a split that is no further from its share is left as it is
ROUNDING = 1e-6  # of sizes in images
MISSING = -1  # the code of what ties nothing


def assign(
    names: Sequence[str],
    strata: Sequence[Hashable],
    *,
    ties: Iterable[Iterable[Hashable | None]],
    fractions: Mapping[str, float],
    seed: int,
) -> list[str]:
    """A split for each record, by stratum, with everything that is tied on one side.

    First every stratum is divided by `fractions` on its own. Of strata with few people that rounds
    whole people away, each time from the small splits; so then people are moved one by one, each
    move that which leaves the strata most alike, from the split that has most above its share to
    the one that has most below (`_level`). Where shares are met to within half an image, or a
    thousandth of all, nobody is moved.

    Args:
        names: unique, stable keys. The outcome depends on them, not on their order.
        strata: what each record is balanced by. Of a tuple, such as its gender and race, each
            entry is balanced too.
        ties: one or more columns of n values each. Two records with an equal value in a column
            (the same bytes, the same person) share a split; None ties nothing. Of an array, which
            takes less memory, all values tie. A person, below, is what is tied together.
        fractions: split name to share; they sum to 1.
        seed: of the shuffle.

    Returns:
        n split names. No split with a share is empty if there are as many persons as splits. Shares
        are met to within the images of the largest person; only where a split would be empty
        without it has one person more, which another then lacks.
    """
    count = len(names)
    numbered = in_order(zip(names, range(count), strict=True))
    order = np.fromiter((i for _, i in numbered), np.int64, count)
    group_of = np.empty(count, np.int64)  # numbered as they come in the order of the names
    group_of[order] = _renumbered(_components(count, ties)[order])
    members = order[np.argsort(group_of[order], kind="stable")]  # group by group
    groups = Groups(sizes=np.bincount(group_of), members=members)
    shares = {split: share for split, share in fractions.items() if share > 0}

    rng = np.random.default_rng(seed)
    portions = np.array(list(shares.values()))
    split_of_group = _by_stratum(groups, strata, portions, rng)
    if count:
        _level(split_of_group, groups, strata, portions, rng)
    named = list(shares)
    return [named[place] for place in split_of_group[group_of]]


class Groups(NamedTuple):
    """What is tied together, in g groups."""

    sizes: np.ndarray  # (g,) int64
    members: np.ndarray  # (n,) int64: the records of the first group, of the second, ...


def _by_stratum(
    groups: Groups, strata: Sequence[Hashable], shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Each group's split by its place among the groups of its stratum, shuffled.

    The stratum of a group is that of its first member.
    """
    firsts = groups.members[np.cumsum(groups.sizes) - groups.sizes]
    number, known = _numbers(strata[i] for i in firsts)
    split_of = np.zeros(len(groups.sizes), np.int64)
    edges = np.cumsum(shares)
    for stratum in sorted(known, key=repr):
        its = np.flatnonzero(number == known[stratum])
        its = its[rng.permutation(len(its))]
        sizes = groups.sizes[its]
        # The middle of the group decides, so that no split is favoured by large groups.
        middles = (np.cumsum(sizes) - sizes + sizes / 2) / sizes.sum()
        split_of[its] = np.minimum(np.searchsorted(edges, middles), len(edges) - 1)
    return split_of


def _level(
    split_of: np.ndarray,
    groups: Groups,
    strata: Sequence[Hashable],
    shares: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Move groups between splits, in place, until shares are met and no split is empty.

    A move is made only if it brings the two splits' sizes nearer to their shares, so this ends; and
    it ends at sizes within the largest group of their shares, since from a split that is further
    above, or into one that is further below, any group may move. Then splits exchange groups, for
    as long as that makes them more alike. Whichever group may move, that one does which leaves the
    counts of all labels (each stratum, and each entry of it) nearest to their shares: the least sum
    of squared distances, each split's over its share.
    """
    counts = _label_counts(groups, strata)  # the first column counts images
    squares = counts.multiply(counts).sum(axis=1)
    sizes = groups.sizes
    totals = counts.sum(axis=0)
    excess = np.array(
        [counts[split_of == s].sum(axis=0) - share * totals for s, share in enumerate(shares)]
    )
    order = rng.permutation(len(sizes))  # who moves of those that are alike

    def move(donor: int, taker: int, may: np.ndarray) -> tuple[int, float]:
        """Move the best of those that may; returns it and what that adds to the distance."""
        linear = excess[taker] / shares[taker] - excess[donor] / shares[donor]
        added = squares * (1 / shares[donor] + 1 / shares[taker]) + 2 * (counts @ linear)
        g = order[np.argmin(np.where(may, added, np.inf)[order])]
        put(g, taker)
        return g, added[g]

    def put(g: int, taker: int) -> None:
        row = counts[[g]].toarray().ravel()
        excess[split_of[g]] -= row
        excess[taker] += row
        split_of[g] = taker

    enough = max(0.5, TOLERANCE * sizes.sum())
    if np.abs(excess[:, 0]).max() <= enough and len(set(split_of)) == len(shares):
        return
    while np.abs(excess[:, 0]).max() > enough:
        donor, taker = int(excess[:, 0].argmax()), int(excess[:, 0].argmin())
        distance = excess[donor, 0] - excess[taker, 0]
        may = (split_of == donor) & (sizes < distance - ROUNDING)
        if not may.any():
            break
        move(donor, taker, may)
    while not (people := np.bincount(split_of, minlength=len(shares))).all() and people.max() > 1:
        donor = int(np.where(people > 1, excess[:, 0], -np.inf).argmax())
        move(donor, int(people.argmin()), split_of == donor)

    def exchange(one: int, other: int) -> bool:
        """Exchange two groups of equal size, if that brings the splits nearer to their shares."""
        g, added = move(one, other, split_of == one)
        back = (split_of == other) & (sizes == sizes[g])
        h, also = move(other, one, back)
        if added + also < -ROUNDING:
            return True
        put(h, other)
        put(g, one)
        return False

    pairs = list(itertools.permutations(range(len(shares)), 2))
    while len(sizes) >= len(shares) and any([exchange(*pair) for pair in pairs]):
        pass


def _label_counts(groups: Groups, strata: Sequence[Hashable]) -> csr_array:
    """How many images each group has, in all and of every label: (groups, 1 + labels)."""
    number, known = _numbers(strata[i] for i in groups.members)
    columns: dict[Hashable, int] = {}
    labels: list[tuple[int, int]] = []  # a stratum, and the column of a label that it means
    for stratum, row in known.items():
        entries = enumerate(stratum) if isinstance(stratum, tuple) else ()
        for label in ("images", ("stratum", stratum), *entries):
            labels.append((row, columns.setdefault(label, len(columns))))
    means = csr_array((np.ones(len(labels)), tuple(np.array(labels).T)))
    owners = np.repeat(np.arange(len(groups.sizes)), groups.sizes)
    # A group's images of one stratum are summed.
    shape = (len(groups.sizes), len(known))
    counts = csr_array((np.ones(len(number)), (owners, number)), shape=shape) @ means
    counts.sort_indices()
    return counts


def folds(
    names: Sequence[str],
    strata: Sequence[Hashable],
    *,
    ties: Iterable[Iterable[Hashable | None]],
    count: int,
    seed: int,
) -> list[int]:
    """A fold, from 0, for each record: `count` of equal size, otherwise as `assign` does it."""
    fractions = {str(fold): 1 / count for fold in range(count)}
    return [int(fold) for fold in assign(names, strata, ties=ties, fractions=fractions, seed=seed)]


def _components(count: int, ties: Iterable[Iterable[Hashable | None]]) -> np.ndarray:
    """The connected component of each of `count` records under the ties, as an integer."""
    firsts, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for column in ties:
        codes = _codes(column)
        is_tied = codes != MISSING
        _, first, which = np.unique(codes, return_index=True, return_inverse=True)
        firsts.append(first[which][is_tied])
        others.append(np.flatnonzero(is_tied))
    rows, columns = np.concatenate(firsts), np.concatenate(others)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _codes(values: Iterable[Hashable | None]) -> np.ndarray:
    """A number for each value, equal for equal ones, and `MISSING` for None: (n,) int64."""
    if isinstance(values, np.ndarray):
        return np.unique(values, return_inverse=True)[1]
    codes, known = _numbers(values)
    if None in known:
        codes[codes == known[None]] = MISSING
    return codes


def _numbers(values: Iterable[Hashable]) -> tuple[np.ndarray, dict[Hashable, int]]:
    """Values numbered from 0 in the order in which they are first met, (n,) int64; and by value."""
    known: dict[Hashable, int] = {}
    numbers = (known.setdefault(value, len(known)) for value in values)
    return np.fromiter(numbers, np.int64), known


def _renumbered(numbers: np.ndarray) -> np.ndarray:
    """`_numbers` of integers (n,) most of which differ: without a dictionary of them."""
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[which]
