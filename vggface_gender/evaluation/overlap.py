"""Whether photos that a classifier was tested on were among those that it was trained on.

Duplicates have the same bytes; near-duplicates show the same picture resized, recompressed or a
little recoloured. A picture's hash says of 16 rows whether each of 17 grey values across is
brighter than its neighbour (a difference hash, N. Krawetz, "Kind of like that", hackerfactor.com
2013, here of 256 bits).
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from vggface_gender.photos import crops

SIDE = 16  # rows, and differences a row, of a hash
# Bits of 256 that hashes of one picture may differ in. Of 2,000 UTKFace faces and their nearest of
# 10,000 others, the pairs looked at were one picture up to 27 bits apart and two from 30 on; no
# FairFace face came nearer to one of UTKFace than 36.
NEAR = 24
_CHUNK = 512  # test images at once


class Prints(NamedTuple):
    """What images are recognized by."""

    digests: np.ndarray  # (n, 16) uint8, of the bytes
    hashes: np.ndarray  # (n, 4) uint64, of the picture


class Overlap(NamedTuple):
    """Which test images have a duplicate among the training images."""

    exact: np.ndarray  # (n,) bool
    near: np.ndarray  # (n,) bool: a duplicate or a near-duplicate
    nearest: np.ndarray  # (n,) int64: the place of the training image with the nearest hash
    bits: np.ndarray  # (n,) int64: by how many bits its hash differs


def prints(jpegs: Sequence[bytes]) -> Prints:
    """Digests and hashes of images in JPEG bytes."""
    if not jpegs:
        return Prints(np.zeros((0, 16), np.uint8), np.zeros((0, 4), np.uint64))
    digests = [np.frombuffer(hashlib.blake2b(j, digest_size=16).digest(), np.uint8) for j in jpegs]
    hashes = [difference_hash(crops.decode(jpeg)) for jpeg in jpegs]
    return Prints(np.stack(digests), np.stack(hashes))


def difference_hash(image: np.ndarray) -> np.ndarray:
    """The hash of an image (h, w, 3) `uint8` RGB: (4,) `uint64`."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)


def find(test: Prints, train: Prints, *, near: int = NEAR) -> Overlap:
    """The test images that have a duplicate or a near-duplicate among the training images.

    Args:
        test: of n images.
        near: how many bits the hashes of one picture may differ in.
    """
    count = len(test.hashes)
    if not len(train.hashes):
        none = np.zeros(count, bool)
        return Overlap(none, none, np.zeros(count, np.int64), np.full(count, 64 * 4))
    known = {digest.tobytes() for digest in train.digests}
    exact = np.array([digest.tobytes() in known for digest in test.digests], bool)
    nearest, bits = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        apart = np.zeros((len(test.hashes[rows]), len(train.hashes)), np.uint16)
        for word in range(test.hashes.shape[1]):
            apart += np.bitwise_count(test.hashes[rows, None, word] ^ train.hashes[None, :, word])
        nearest[rows] = apart.argmin(axis=1)
        bits[rows] = apart.min(axis=1)
    return Overlap(exact, exact | (bits <= near), nearest, bits)
