"""Splits: shares, what is tied, and what they may not depend on."""

import collections

import numpy as np
import pytest

from vggface_gender.datasets import splits

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def assign(count, seed=0, strata=None, ties=(), names=None):
    names = names or [f"{i:05d}.jpg" for i in range(count)]
    return splits.assign(names, strata or ["one"] * count, ties, FRACTIONS, seed)


@pytest.mark.parametrize("count", [10, 997])
def test_every_stratum_is_divided_by_the_fractions(count):
    strata = ["female"] * count + ["male"] * 2 * count
    got = collections.Counter(zip(strata, assign(3 * count, strata=strata), strict=True))
    for stratum, total in (("female", count), ("male", 2 * count)):
        for split, share in FRACTIONS.items():
            assert abs(got[stratum, split] - share * total) <= 1


def test_what_is_tied_directly_or_through_others_shares_a_split():
    rng = np.random.default_rng(1)
    content = [int(v) for v in rng.integers(0, 150, 300)]
    subject = [int(v) if v < 100 else None for v in rng.integers(0, 200, 300)]
    got = assign(300, ties=[content, subject])
    for column in (content, subject):
        sides = collections.defaultdict(set)
        for value, split in zip(column, got, strict=True):
            if value is not None:
                sides[value].add(split)
        assert all(len(s) == 1 for s in sides.values())
    assert len(set(got)) == 3


def test_a_missing_tie_ties_nothing():
    assert collections.Counter(assign(100, ties=[[None] * 100])) == {
        "train": 60,
        "validation": 20,
        "test": 20,
    }


def test_the_seed_decides_and_the_order_of_the_records_does_not():
    names = [f"{i:03d}" for i in range(200)]
    first = dict(zip(names, assign(200, names=names), strict=True))
    backwards = dict(zip(names[::-1], assign(200, names=names[::-1]), strict=True))
    assert first == backwards
    assert first != dict(zip(names, assign(200, seed=1, names=names), strict=True))
