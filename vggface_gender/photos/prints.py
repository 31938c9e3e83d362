"""What a picture is recognized by, in whatever file it lies: a digest of its pixels, and a hash.

The hash says of 16 rows whether each of 17 grey values across is brighter than its neighbour (a
difference hash, N. Krawetz, "Kind of like that", hackerfactor.com 2013, here of 256 bits).
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 16  # rows, and differences a row, of a hash
DIGEST = 8  # bytes
# Bits of 256 that hashes of one picture may differ in. Of 2,000 UTKFace faces and their nearest of
# 10,000 others, the pairs looked at were one picture up to 27 bits apart and two from 30 on; no
# FairFace face came nearer to one of UTKFace than 36.
NEAR = 24


class Prints(NamedTuple):
    """What images are recognized by."""

    digests: np.ndarray  # (n,) uint64, of the pixels
    hashes: np.ndarray  # (n, 4) uint64, of the picture


NONE = Prints(np.zeros(0, np.uint64), np.zeros((0, 4), np.uint64))


def stacked(found: Sequence[tuple[int, np.ndarray]]) -> Prints:
    """Those of images, of the digest and the hash of each."""
    if not found:
        return NONE
    digests, hashes = zip(*found, strict=True)
    return Prints(np.array(digests, np.uint64), np.stack(hashes))


def joined(several: Sequence[Prints]) -> Prints:
    """Images of several sources, one after the other."""
    return Prints(*(np.concatenate(arrays) for arrays in zip(NONE, *several, strict=True)))


def digest(image: np.ndarray) -> int:
    """A number of 64 bits that stands for an image's pixels and shape.

    Args:
        image: `uint8`, of any shape.
    """
    made = hashlib.blake2b(repr(image.shape).encode(), digest_size=DIGEST)
    made.update(np.ascontiguousarray(image).data)
    return int.from_bytes(made.digest(), "little")


def difference_hash(image: np.ndarray) -> np.ndarray:
    """The hash of an image (h, w, 3) `uint8` RGB: (4,) `uint64`."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)


def to_text(image: np.ndarray) -> str:
    """Digest and hash of an image (h, w, 3) `uint8` RGB, in hexadecimal digits."""
    first = digest(image).to_bytes(DIGEST, "little")
    return (first + difference_hash(image).tobytes()).hex()


def from_text(text: str) -> tuple[int, np.ndarray]:
    """The digest and the hash, (4,) `uint64`, in what `to_text` gives.

    Raises:
        ValueError: it is no such text.
    """
    made = bytes.fromhex(text)
    return int.from_bytes(made[:DIGEST], "little"), np.frombuffer(made[DIGEST:], np.uint64)
