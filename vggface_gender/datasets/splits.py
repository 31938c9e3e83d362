"""Which record stands in which split."""

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SPLITS = ("train", "validation", "test")


def assign(
    names: Sequence[str],
    strata: Sequence[Hashable],
    ties: Sequence[Sequence[Hashable | None]],
    fractions: dict[str, float],
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
            split = list(fractions)[min(np.searchsorted(edges, share), len(edges) - 1)]
            for i in members:
                split_of[i] = split
            placed += len(members)
    return split_of


def folds(
    names: Sequence[str],
    strata: Sequence[Hashable],
    ties: Sequence[Sequence[Hashable | None]],
    count: int,
    seed: int,
) -> list[int]:
    """A fold, from 0, for each record: `count` of equal size, otherwise as `assign` does it."""
    fractions = {str(fold): 1 / count for fold in range(count)}
    return [int(fold) for fold in assign(names, strata, ties, fractions, seed)]


def _components(count: int, ties: Sequence[Sequence[Hashable | None]]) -> np.ndarray:
    """The connected component of each of `count` records under the ties, as an integer."""
    links = []
    for column in ties:
        first: dict[Hashable, int] = {}
        links += [(first.setdefault(v, i), i) for i, v in enumerate(column) if v is not None]
    rows, columns = np.array(links, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
