"""Whether photos that a classifier was tested on were among those that it was trained on.

Duplicates have the same pixels, in whatever file they lie; near-duplicates show the same picture
resized, recompressed or a little recoloured. A picture's hash says of 16 rows whether each of 17
grey values across is brighter than its neighbour (a difference hash, N. Krawetz, "Kind of like
that", hackerfactor.com 2013, here of 256 bits).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.photos import crops

SIDE = 16  # rows, and differences a row, of a hash
# Bits of 256 that hashes of one picture may differ in. Of 2,000 UTKFace faces and their nearest of
# 10,000 others, the pairs looked at were one picture up to 27 bits apart and two from 30 on; no
# FairFace face came nearer to one of UTKFace than 36.
NEAR = 24
_PAIRS = 2**23  # compared at once: 64 MB
_BATCH = 256  # images handed to the threads at once

# Of splits met already: a command compares the same faces with several trainings.
_known: dict[tuple[Path, str, str, bytes], "Prints"] = {}


class Prints(NamedTuple):
    """What images are recognized by."""

    digests: np.ndarray  # (n,) uint64, of the pixels
    hashes: np.ndarray  # (n, 4) uint64, of the picture


class Overlap(NamedTuple):
    """Which test images have a duplicate among the training images."""

    exact: np.ndarray  # (n,) bool
    near: np.ndarray  # (n,) bool: a duplicate or a near-duplicate
    nearest: np.ndarray  # (n,) int64: the place of the training image with the nearest hash
    bits: np.ndarray  # (n,) int64: by how many bits its hash differs


NONE = Prints(np.zeros(0, np.uint64), np.zeros((0, 4), np.uint64))


def prints(jpegs: Sequence[bytes]) -> Prints:
    """Digests and hashes of images in JPEG bytes."""
    return _prints([jpegs], title=None, count=len(jpegs))


def of_split(dataset: Dataset, split: str, *, rows: np.ndarray | None = None) -> Prints:
    """Those of a dataset's records, in the order of `records.labels`; read a batch at a time.

    Twenty thousand crops of 200 pixels take about nine seconds on two cores.

    Args:
        rows: the places, ascending, of the records wanted; None for all.
    """
    rows = np.arange(dataset.count(split)) if rows is None else rows
    key = dataset.directory, dataset.fingerprint, split, rows.tobytes()
    if key not in _known:
        title = f"{dataset.label}, {split}: image hashes"
        _known[key] = _prints(_images(dataset, split, rows), title=title, count=len(rows))
    return _known[key]


def _images(dataset: Dataset, split: str, rows: np.ndarray) -> Iterator[list[bytes]]:
    """The images of a split's records at these places, in batches."""
    wanted = np.isin(np.arange(dataset.count(split)), rows)
    images = records.records(dataset, split).map(lambda record: record["image"])
    for place, batch in enumerate(images.batch(_BATCH).as_numpy_iterator()):
        its = wanted[place * _BATCH : (place + 1) * _BATCH]
        yield [image for image, is_wanted in zip(batch, its, strict=True) if is_wanted]


def joined(several: Sequence[Prints]) -> Prints:
    """Images of several sources, one after the other."""
    return Prints(*(np.concatenate(arrays) for arrays in zip(NONE, *several, strict=True)))


def _prints(batches: Iterable[Sequence[bytes]], *, title: str | None, count: int) -> Prints:
    found: list[tuple[int, np.ndarray]] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=count, desc=title, unit="", leave=False, disable=title is None) as bar,
    ):
        for batch in batches:
            found += pool.map(_print, batch)
            bar.update(len(batch))
    if not found:
        return NONE
    digests, hashes = zip(*found, strict=True)
    return Prints(np.array(digests, np.uint64), np.stack(hashes))


def _print(jpeg: bytes) -> tuple[int, np.ndarray]:
    image = crops.decode(jpeg)
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest(), "little"), difference_hash(image)


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
    exact = np.isin(test.digests, train.digests)
    nearest, bits = np.zeros(count, np.int64), np.zeros(count, np.int64)
    step = max(1, _PAIRS // len(train.hashes))
    for start in range(0, count, step):
        rows = slice(start, start + step)
        apart = np.zeros((len(test.hashes[rows]), len(train.hashes)), np.uint16)
        for word in range(test.hashes.shape[1]):
            apart += np.bitwise_count(test.hashes[rows, None, word] ^ train.hashes[None, :, word])
        nearest[rows] = apart.argmin(axis=1)
        bits[rows] = apart.min(axis=1)
    return Overlap(exact, exact | (bits <= near), nearest, bits)
