"""Duplicates found by tables of hashes are those of all pairs, as far as theory says."""

import math

import numpy as np
import pytest

from vggface_gender.evaluation import duplicates
from vggface_gender.photos.prints import Prints


def random_hashes(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, (count, 4), np.uint64)


def flipped(hashes, bits, seed=1):
    """Each hash with so many of its bits flipped, drawn for each."""
    rng = np.random.default_rng(seed)
    flips = np.zeros((len(hashes), 256), np.uint8)
    for row in flips:
        row[rng.permutation(256)[:bits]] = 1
    return hashes ^ np.packbits(flips, axis=1).view(np.uint64)


def of(*hashes):
    """Prints of pictures whose pixels all differ."""
    joined = np.concatenate(hashes)
    return Prints(np.arange(len(joined), dtype=np.uint64), joined)


def listed(pairs):
    return list(zip(*(array.tolist() for array in pairs), strict=True))


def by_brute_force(prints):
    """All pairs of places that are exact copies or near-duplicates: slow and plain."""
    found = {}
    for i, one in enumerate(prints.hashes):
        apart = np.bitwise_count(prints.hashes[i + 1 :] ^ one).sum(axis=1)
        exact = prints.digests[i + 1 :] == prints.digests[i]
        for j in np.flatnonzero(exact | (apart <= 24)):
            found[i, i + 1 + int(j)] = (bool(exact[j]), int(apart[j]))
    return found


def test_all_pairs_of_distinct_hashes_are_those_of_brute_force():
    base = random_hashes(300)
    prints = of(base, flipped(base[:40], 3), flipped(base[40:80], 24, 2), flipped(base[80:99], 25))
    truth = by_brute_force(prints)
    assert len(truth) == 80  # 25 bits apart is none
    found = duplicates.find_exhaustively(prints).pairs
    assert {(i, j): (exact, bits) for i, j, exact, bits in listed(found)} == truth
    assert listed(found) == sorted(listed(found))


def test_copies_are_pairs_with_the_first_and_go_on_as_one():
    one, other = random_hashes(2)
    near = flipped(one[None], 5)[0]
    # Two files of one content, a content with the same hash, and a near-duplicate, twice.
    hashes = np.stack([other, one, near, one, one, near])
    prints = Prints(np.array([9, 1, 3, 2, 1, 3], np.uint64), hashes)
    expected = [(1, 2, False, 5), (1, 3, False, 0), (1, 4, True, 0), (2, 5, True, 0)]
    for find in (duplicates.find, duplicates.find_exhaustively):
        assert listed(find(prints).pairs) == expected
    places, groups = duplicates.groups(duplicates.find(prints).pairs)
    assert (places.tolist(), groups.tolist()) == ([1, 2, 3, 4, 5], [0] * 5)


def test_many_copies_cost_no_more_than_they_are():
    count = 200_000
    blank = np.zeros((count, 4), np.uint64)
    found = duplicates.find(Prints(np.zeros(count, np.uint64), blank))
    assert found.pairs.exact.sum() == count - 1 and found.compared == 0
    found = duplicates.find(of(blank))  # blank pictures of any colour
    assert (found.pairs.bits == 0).all() and not found.pairs.exact.any()
    assert (len(found.pairs.first), found.compared) == (count - 1, 0)


def test_nothing_one_image_and_images_all_different():
    for count in (0, 1, 2, 2_000):
        found = duplicates.find(of(random_hashes(count)))
        assert len(found.pairs.first) == found.skipped == 0
        assert [len(array) for array in duplicates.groups(found.pairs)] == [0, 0]


def test_one_giant_bucket_is_bounded_and_what_was_skipped_is_said():
    """Hashes within 4 bits of one: more in every bucket than are compared."""
    hashes = np.unique(flipped(np.zeros((3_000, 4), np.uint64), 4), axis=0)
    tables = len(duplicates.tables(len(hashes)).bands)
    found = duplicates.find(of(hashes), window=50)
    assert found.compared <= tables * len(hashes) * 50
    assert found.skipped > 0
    assert found.compared + found.skipped <= tables * len(hashes) * (len(hashes) - 1) // 2
    places, groups = duplicates.groups(found.pairs)
    assert len(places) == len(hashes) and not groups.any()  # one group, for all that
    full = duplicates.find(of(hashes[:400]))
    assert listed(full.pairs) == listed(duplicates.find_exhaustively(of(hashes[:400])).pairs)
    assert full.skipped == 0


@pytest.mark.parametrize("count", [4_000, 40_000])
def test_pairs_at_the_threshold_are_found_as_often_as_theory_says(count):
    base = random_hashes(count)
    drawn = duplicates.tables(2 * count)
    assert drawn.recall >= 0.99
    for bits, least in ((24, 0.99), (12, 0.9999), (25, 0)):
        prints = of(base, flipped(base[:2_000], bits))
        found = duplicates.find(prints).pairs
        share = len(found.first) / 2_000
        # Three standard errors below what is promised.
        assert share >= least - 3 * math.sqrt(least * (1 - least) / 2_000)
        assert (share == 0) == (bits == 25)
        assert (found.bits == bits).all() and (found.second - found.first == count).all()


def test_the_probability_to_miss_a_pair_is_what_shuffles_give():
    """Counted over many shuffles of the bits, of a pair 24 bits apart."""
    drawn = duplicates.tables(100_000, recall=0.9)
    rng = np.random.default_rng(0)
    count, width = drawn.bands.shape
    assert 1 < count <= 256 // width  # of one shuffle
    differs = np.arange(256) < 24
    missed = 0
    for _ in range(5_000):
        bands = rng.permutation(differs)[: count * width].reshape(count, width)
        missed += bands.any(axis=1).all()
    expected = 1 - drawn.recall
    assert missed / 5_000 == pytest.approx(expected, abs=4 * math.sqrt(expected / 5_000))


def test_bands_grow_with_the_hashes_and_share_no_bit_within_a_shuffle():
    widths, counts = zip(
        *(duplicates.tables(10**n).bands.shape[::-1] for n in range(2, 9)), strict=True
    )
    assert list(widths) == sorted(widths) and list(counts) == sorted(counts)
    bands = duplicates.tables(10_000).bands
    assert len(np.unique(bands)) == bands.size and bands.size <= 256
    np.testing.assert_array_equal(bands, duplicates.tables(10_000).bands)
    assert (bands != duplicates.tables(10_000, seed=1).bands).any()


def test_the_order_of_images_changes_nothing_and_partitions_give_what_a_table_gives():
    base = random_hashes(2_000)
    prints = of(base, flipped(base[:200], 20), flipped(base[:50], 2), base[:5])
    rng = np.random.default_rng(0)
    hashes = np.unique(prints.hashes, axis=0)
    band = duplicates.tables(len(hashes)).bands[0]
    keys = duplicates.keys(hashes, band)
    at = rng.permutation(len(hashes))
    # A window that cuts buckets, too.
    for taken in ({}, {"window": 1}):
        whole = duplicates.compare(keys, hashes, places=np.arange(len(hashes)), **taken)
        mixed = duplicates.compare(keys[at], hashes[at], places=at, **taken)
        assert listed(whole.pairs) == listed(mixed.pairs)
        parts = [
            duplicates.compare(keys[part], hashes[part], places=part, **taken)
            for part in (np.flatnonzero(keys % 7 == rest) for rest in range(7))
        ]
        assert listed(duplicates.joined([part.pairs for part in parts])) == listed(whole.pairs)
        assert sum(part.compared for part in parts) == whole.compared
        assert sum(part.skipped for part in parts) == whole.skipped
    # Of shuffled images the same are in one group.
    order = rng.permutation(len(prints.digests))
    mixed = Prints(prints.digests[order], prints.hashes[order])
    groups = []
    for given, names in ((prints, np.arange(len(order))), (mixed, order)):
        at, numbers = duplicates.groups(duplicates.find(given).pairs)
        groups.append({frozenset(names[at[numbers == n]].tolist()) for n in np.unique(numbers)})
    assert groups[0] == groups[1]


def test_keys_are_the_bits_of_a_band():
    hashes = random_hashes(50)
    band = np.array([3, 255, 64, 127, 0])
    bits = np.unpackbits(hashes.view(np.uint8), axis=1, bitorder="little")[:, band]
    assert duplicates.keys(hashes, band).tolist() == (bits @ [16, 8, 4, 2, 1]).tolist()


@pytest.mark.slow
def test_of_real_faces_nearly_all_near_duplicates_are_found(faces_dir):
    from vggface_gender.evaluation import overlap

    paths = sorted((faces_dir / "UTKFace").iterdir())
    prints = overlap.prints([path.read_bytes() for path in paths])
    truth = duplicates.find_exhaustively(prints).pairs
    found = duplicates.find(prints)
    assert found.skipped == 0
    assert set(listed(found.pairs)) <= set(listed(truth))
    is_near = truth.bits > 0
    assert is_near.sum() > 500  # as the dataset's page says, it has many
    for low, high in ((1, 16), (1, 24)):
        wanted = {pair for pair in listed(truth) if low <= pair[3] <= high}
        assert len(wanted & set(listed(found.pairs))) >= 0.99 * len(wanted)
    assert found.compared < 0.02 * len(prints.digests) ** 2 / 2
