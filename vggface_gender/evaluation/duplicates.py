"""Which images of a set are copies or near-duplicates of each other, without comparing all pairs.

Images of equal pixels, and then pictures of equal hashes, are grouped first, so k copies cost k and
not k²; each group goes on as its first image. Hashes are then compared by locality-sensitive
hashing (bit sampling: Indyk and Motwani, "Approximate nearest neighbors", STOC 1998; Gionis, Indyk
and Motwani, "Similarity search in high dimensions via hashing", VLDB 1999): in each of several
tables, hashes that agree in a few chosen bits meet in a bucket, and only those that meet are
compared, by all their bits. So what is found is true; what may be missed is a pair that met in no
table (see `tables`).

Each step is one function of arrays, `group`, `keys` and `compare`, that knows nothing of the whole:
it takes all images, or those that a distributed job has brought together since they share a key.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vggface_gender.photos.prints import NEAR, Prints

BITS = 256  # of a hash
RECALL = 0.99  # of pairs that differ in as many bits as near-duplicates may
# A hash is compared with at most so many that follow it in its bucket. Buckets of UTKFace and
# FairFace are smaller; larger ones hold pictures with little in them, or the frames of a video.
WINDOW = 1024
_BLOCK = 2**22  # pairs compared at once where all are: 200 MB


class Pairs(NamedTuple):
    """Pairs of images, each once, in the order of their places."""

    first: np.ndarray  # (m,) int64: the place of one image
    second: np.ndarray  # (m,) int64: of the other, which comes later
    exact: np.ndarray  # (m,) bool: whether they have the same pixels
    bits: np.ndarray  # (m,) int64: by how many bits their hashes differ


class Tables(NamedTuple):
    """What chooses which hashes meet."""

    bands: np.ndarray  # (t, r) int64: for each table, the bits that hashes have to agree in
    recall: float  # the probability that a pair `near` bits apart meets in a table


class Found(NamedTuple):
    """The duplicates among some images, or those that one step has found."""

    pairs: Pairs
    compared: int = 0  # pairs of hashes; one that met in two tables counts twice
    # Pairs that met and were not compared, in buckets of more than the window; what is skipped in
    # one table may be compared in another.
    skipped: int = 0


_NO_PLACES = np.zeros(0, np.int64)
NO_PAIRS = Pairs(_NO_PLACES, _NO_PLACES, np.zeros(0, bool), _NO_PLACES)


def find(
    prints: Prints, *, near: int = NEAR, recall: float = RECALL, seed: int = 0, window: int = WINDOW
) -> Found:
    """The duplicates and near-duplicates among some images.

    Of k images with the same pixels there are k - 1 pairs, each of the first and another; so too of
    k contents with the same hash. Other near-duplicates are pairs of the first images that have
    their hashes. So two images are duplicates, also by way of others, if pairs connect them.

    Args:
        prints: of n images.
        near: how many bits the hashes of one picture may differ in: a small part of 256, else
            most pairs have to be compared.
        recall: below 1, the least probability that a pair `near` bits apart is found; see `tables`.
        seed: of the tables.
        window: how many of its bucket a hash is compared with at most.
    """
    pairs, firsts = grouped(prints)
    hashes, found = prints.hashes[firsts], Found(pairs)
    for band in tables(len(prints.digests), near=near, recall=recall, seed=seed).bands:
        met = compare(keys(hashes, band), hashes, places=firsts, near=near, window=window)
        found = merged([found, met])  # at once: most pairs meet in many tables
    return found


def find_exhaustively(prints: Prints, *, near: int = NEAR) -> Found:
    """`find` that compares all pairs of hashes: those of 50,000 images take half a minute."""
    pairs, firsts = grouped(prints)
    hashes, found, start = prints.hashes[firsts], [pairs], 0
    while start < len(hashes):
        rest = hashes[start:]
        block = rest[: max(1, _BLOCK // len(rest))]
        apart = np.zeros((len(block), len(rest)), np.uint16)
        for word in range(hashes.shape[1]):
            apart += np.bitwise_count(block[:, None, word] ^ rest[None, :, word])
        one, other = np.nonzero(apart <= near)
        one, other = one[one < other], other[one < other]
        found.append(_near(firsts[start:], one, other, apart[one, other]))
        start += len(block)
    return Found(joined(found), len(hashes) * (len(hashes) - 1) // 2)


def grouped(prints: Prints) -> tuple[Pairs, np.ndarray]:
    """Images of the same pixels grouped, and then those that are left by their hashes.

    Returns:
        Pairs as `find` says, and the places of the images that are left, one for each hash:
        `int64`, ascending.
    """
    copies, contents = group(prints.digests[:, None], np.arange(len(prints.digests)), exact=True)
    same, firsts = group(prints.hashes[contents], contents, exact=False)
    return joined([copies, same]), firsts


def group(values: np.ndarray, places: np.ndarray, *, exact: bool) -> tuple[Pairs, np.ndarray]:
    """Pair the first image of each value with every further one.

    Args:
        values: (n, w) `uint64`, what an image is grouped by: its digest or its hash.
        places: (n,) `int64`, in any order.
        exact: what is said of the pairs.

    Returns:
        The pairs, and the places of the first images: `int64`, ascending.
    """
    order = np.lexsort((places, *values.T))
    values, places = values[order], places[order]
    is_first = np.ones(len(values), bool)
    is_first[1:] = (values[1:] != values[:-1]).any(axis=1)
    first = places[is_first][np.cumsum(is_first) - 1][~is_first]
    second = places[~is_first]
    count = len(second)
    pairs = Pairs(first, second, np.full(count, exact), np.zeros(count, np.int64))
    return pairs, np.sort(places[is_first])


def tables(count: int, *, near: int = NEAR, recall: float = RECALL, seed: int = 0) -> Tables:
    """What chooses which of some hashes meet.

    The 256 bits are shuffled and cut into bands of r bits, each a table's; when they are used up,
    they are shuffled anew. A pair d bits apart is missed by m bands of one shuffle if each of these
    has one of the d. The shuffle puts the d anywhere, so the probability is, by inclusion and
    exclusion over the bands that have none,

        P(m) = sum over k of (-1)^k C(m, k) C(256 - r k, d) / C(256, d),

    less than the (1 - C(256 - r, d) / C(256, d))^m of bands that are drawn each by itself. Bands
    are added until the product over the shuffles is at most 1 - `recall` at d = `near`; of pairs
    that are less far apart, more are found.

    With r bits of fair coins, n² / 2^(r + 1) pairs would meet by chance in a table, and r = log2 n
    would keep that to n / 2. Bits of faces are neither fair nor independent: on UTKFace and
    FairFace, 1.8 are worth one. So r = 1.8 log2 n - 11, which lets a few meet for each hash,
    however many there are. The tables needed grow with n^0.3, and the cost with n^1.3.

    Args:
        count: of the images, n.
        near, recall, seed: see `find`.
    """
    width = min(64, max(10, round(1.8 * math.log2(max(count, 2)) - 11)))
    most = BITS // width
    rng = np.random.default_rng(seed)
    bands: list[np.ndarray] = []
    missed = 1.0
    while missed > 1 - recall:
        enough = (k for k in range(1, most) if missed * _missed(k, width, near) <= 1 - recall)
        cut = next(enough, most)
        bands += list(rng.permutation(BITS)[: cut * width].reshape(cut, width))
        missed *= _missed(cut, width, near)
    return Tables(np.stack(bands), 1 - missed)


def _missed(bands: int, width: int, near: int) -> float:
    """The probability that two hashes `near` bits apart differ within each of some bands."""
    fitting = min(bands, (BITS - near) // width)  # bands that can all be without one of the bits
    terms = (
        (-1) ** k * math.comb(bands, k) * math.comb(BITS - width * k, near)
        for k in range(fitting + 1)
    )
    return sum(terms) / math.comb(BITS, near)


def keys(hashes: np.ndarray, band: np.ndarray) -> np.ndarray:
    """The keys of hashes in a table: equal of those that agree in all bits of its band.

    Args:
        hashes: (n, 4) `uint64`.
        band: (r,) `int64`, r at most 64: which of the 256 bits.

    Returns:
        (n,) `uint64`, below 2^r.
    """
    made = np.zeros(len(hashes), np.uint64)
    for place in band.tolist():
        word, bit = divmod(place, 64)
        made = made << np.uint64(1) | hashes[:, word] >> np.uint64(bit) & np.uint64(1)
    return made


def compare(
    keys: np.ndarray,
    hashes: np.ndarray,
    *,
    places: np.ndarray,
    near: int = NEAR,
    window: int = WINDOW,
) -> Found:
    """Compare the hashes that have the same key.

    Of a bucket of more than `window`, each hash is compared with just so many that follow it when
    the bucket is sorted, so that near ones mostly stand close (the sorted neighbourhood method:
    Hernández and Stolfo, "The merge/purge problem", SIGMOD 1995).

    Args:
        keys: (n,) `uint64`: all of a table that have any of the keys.
        hashes: (n, 4) `uint64`, no two of them equal, in any order.
        places: (n,) `int64`.
        near, window: see `find`.
    """
    order = np.argsort(keys)
    sizes = _runs(keys[order])
    order, sizes = order[np.repeat(sizes > 1, sizes)], sizes[sizes > 1]  # most meet none
    if (sizes > window).any():
        order = order[np.lexsort((*hashes[order].T, keys[order]))]
    hashes, places = hashes[order], places[order]
    # How many of its bucket follow each hash; those that some follow at a distance of `step` are
    # fewer with each step.
    following = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(order)) - 1
    one, found, compared = np.arange(len(order)), [NO_PAIRS], 0
    for step in range(1, window + 1):
        one = one[following[one] >= step]
        if not len(one):
            break
        compared += len(one)
        apart = np.bitwise_count(hashes[one] ^ hashes[one + step]).sum(axis=1, dtype=np.int64)
        is_near = apart <= near
        found.append(_near(places, one[is_near], one[is_near] + step, apart[is_near]))
    met = int((sizes * (sizes - 1) // 2).sum())
    return Found(joined(found), compared, met - compared)


def _runs(keys: np.ndarray) -> np.ndarray:
    """How many equal ones stand together in sorted keys, run by run: `int64`."""
    is_new = np.ones(len(keys), bool)
    is_new[1:] = keys[1:] != keys[:-1]
    return np.diff(np.flatnonzero(is_new), append=len(keys))


def _near(places: np.ndarray, one: np.ndarray, other: np.ndarray, bits: np.ndarray) -> Pairs:
    """Pairs of near-duplicates that stand at these indices of `places`."""
    first, second = np.sort(np.stack([places[one], places[other]]), axis=0)
    return Pairs(first, second, np.zeros(len(one), bool), bits.astype(np.int64))


def joined(several: Sequence[Pairs]) -> Pairs:
    """All of several pairs, each once, in the order of their places."""
    pairs = Pairs(*(np.concatenate(arrays) for arrays in zip(*several, strict=True)))
    order = np.lexsort((pairs.second, pairs.first))
    first, second = pairs.first[order], pairs.second[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return Pairs(*(array[order[is_new]] for array in pairs))


def merged(several: Sequence[Found]) -> Found:
    """What several steps have found, together."""
    found, compared, skipped = zip(*several, strict=True)
    return Found(joined(found), sum(compared), sum(skipped))


def groups(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The images that pairs connect, also by way of others.

    Returns:
        The places (k,) `int64`, ascending, of all images that are in a pair, and the number (k,)
        `int64` of the group that each is in: from 0, in the order of their first images.
    """
    from scipy.sparse import coo_array, csgraph

    places, ends = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    first, second = ends.reshape(2, -1)
    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(places),) * 2)
    _, labels = csgraph.connected_components(links, directed=False)
    _, starts, numbers = np.unique(labels, return_index=True, return_inverse=True)
    return places, np.argsort(np.argsort(starts))[numbers].astype(np.int64)
