"""Whether photos that a classifier was tested on were among those that it was trained on.

Duplicates have the same pixels, in whatever file they lie; near-duplicates show the same picture
resized, recompressed or a little recoloured (see `photos.prints`). Of records that were aligned,
it is the pictures that they were cut from which are compared.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.photos import crops
from vggface_gender.photos import prints as pictures
from vggface_gender.photos.prints import NEAR, Prints, stacked

_PAIRS = 2**23  # compared at once: 64 MB
_BATCH = 256  # images handed to the threads at once

# Of splits met already: a command compares the same faces with several trainings.
_known: dict[tuple[Path, str, str, bytes], Prints] = {}


class Overlap(NamedTuple):
    """Which test images have a duplicate among the training images."""

    exact: np.ndarray  # (n,) bool
    near: np.ndarray  # (n,) bool: a duplicate or a near-duplicate
    nearest: np.ndarray  # (n,) int64: the place of the training image with the nearest hash
    bits: np.ndarray  # (n,) int64: by how many bits its hash differs


def prints(jpegs: Sequence[bytes]) -> Prints:
    """Digests and hashes of images in JPEG bytes."""
    return _prints([jpegs], _print, title=None, count=len(jpegs))


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
        field, look = _looked_at(dataset.is_aligned)
        batches = _column(dataset, split, rows, field)
        _known[key] = _prints(batches, look, title=title, count=len(rows))
    return _known[key]


def of_batch(batch: Mapping[str, Sequence[bytes]], *, is_aligned: bool) -> Prints:
    """Those of a batch of records, as `records.records` gives them."""
    field, look = _looked_at(is_aligned)
    return _prints([batch[field]], look, title=None, count=len(batch[field]))


def _looked_at(is_aligned: bool) -> tuple[str, Callable[[bytes], tuple[int, np.ndarray]]]:
    """The field of a record that is looked at, and how."""
    return (records.ORIGINAL, _kept) if is_aligned else ("image", _print)


def _column(dataset: Dataset, split: str, rows: np.ndarray, field: str) -> Iterator[list[bytes]]:
    """A field of a split's records at these places, in batches."""
    wanted = np.isin(np.arange(dataset.count(split)), rows)
    values = records.records(dataset, split).map(lambda record: record[field])
    for place, batch in enumerate(values.batch(_BATCH).as_numpy_iterator()):
        its = wanted[place * _BATCH : (place + 1) * _BATCH]
        yield [value for value, is_wanted in zip(batch, its, strict=True) if is_wanted]


def _prints(
    batches: Iterable[Sequence[bytes]],
    look: Callable[[bytes], tuple[int, np.ndarray]],
    *,
    title: str | None,
    count: int,
) -> Prints:
    found: list[tuple[int, np.ndarray]] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=count, desc=title, unit="", leave=False, disable=title is None) as bar,
    ):
        for batch in batches:
            found += pool.map(look, batch)
            bar.update(len(batch))
    return stacked(found)


def _print(image: bytes) -> tuple[int, np.ndarray]:
    """Those of an image in JPEG bytes."""
    pixels = crops.decode(image)
    return pictures.digest(pixels), pictures.difference_hash(pixels)


def _kept(text: bytes) -> tuple[int, np.ndarray]:
    """Those that an aligned record keeps of the picture that it was cut from."""
    return pictures.from_text(text.decode())


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
