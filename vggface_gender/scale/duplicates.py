"""The duplicates among images whose prints lie in files: here, or on Beam for any number of them.

On Beam the steps are those of `evaluation.duplicates`, its very functions, and so is the result:
images are brought together by their digests, those that are left by their hashes, and what is left
of these by their keys in each table. What travels are arrays of many images, not images: a runner
takes some 20 microseconds for each thing that it passes on, in which hundreds of hashes are
compared.
"""

import functools
import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vggface_gender.base import files
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import duplicates, duplicates_images
from vggface_gender.evaluation.duplicates import NO_PAIRS, RECALL, Found, Pairs
from vggface_gender.photos import prints
from vggface_gender.photos.prints import NEAR, Prints
from vggface_gender.scale import process

if TYPE_CHECKING:
    import apache_beam as beam

# Images that are read at once, and that meet in one place: 5 MB, a fraction of a second's work.
TOGETHER = 2**17
TRIES = 3  # of a pipeline whose workers die

# Of n images: digests (n, 1) or none, hashes (n, 4), both `uint64`, and places (n,) `int64`.
Arrays = tuple[np.ndarray, ...]


def find(
    parts: Sequence[Path],
    *,
    runner: str | None = None,
    options: Sequence[str] = (),
    near: int = NEAR,
    recall: float = RECALL,
    seed: int = 0,
    together: int = TOGETHER,
) -> Found:
    """The duplicates among the images of some parts, one after the other: see `duplicates.find`.

    Args:
        parts: files that `duplicates_images` has made. On Beam all workers reach them, and what is
            found is put together in a folder aside.
        runner: Beam's; None to do all in this process.
        options: the runner's, as command-line flags.
        near, recall, seed: see `duplicates.find`.
        together: images that are read at once and, about, that meet in one place. The result does
            not depend on it.

    Raises:
        InputError: the pipeline failed time and again.
    """
    drawn: dict = {"near": near, "recall": recall, "seed": seed}
    if runner is None or not parts:
        return duplicates.find(_prints(parts), **drawn)
    counts = list(map(duplicates_images.count, parts))
    sources = _sources(parts, counts, together=together)
    bands = duplicates.tables(sum(counts), **drawn).bands
    with files.aside(parts[0].parent) as folder:
        build = functools.partial(
            _build,
            sources=sources,
            bands=bands,
            near=near,
            partitions=-(-sum(counts) // together),
            folder=folder,
            together=together,
        )
        for tries_left in reversed(range(TRIES)):
            try:
                process.run(build, runner, options=options)
                break
            except InputError:
                if not tries_left:
                    raise
        return duplicates.merged([Found(NO_PAIRS), *map(_read, sorted(folder.glob("*.npz")))])


def find_exhaustively(parts: Sequence[Path], *, near: int = NEAR) -> Found:
    """`duplicates.find_exhaustively` of the images of some parts, in this process."""
    return duplicates.find_exhaustively(_prints(parts), near=near)


def _prints(parts: Sequence[Path]) -> Prints:
    return prints.joined(list(map(duplicates_images.read_prints, parts)))


def _sources(
    parts: Sequence[Path], counts: Sequence[int], *, together: int
) -> list[list[tuple[Path, int]]]:
    """The parts, each with its first image's place, in lists of about `together` images."""
    starts = itertools.accumulate(counts, initial=0)
    placed = zip(parts, starts, strict=False)  # the last start is no part's
    by_list = itertools.groupby(placed, key=lambda part: part[1] // together)
    return [list(some) for _, some in by_list]


def _build(
    pipeline: "beam.Pipeline",
    *,
    sources: list[list[tuple[Path, int]]],
    bands: np.ndarray,
    near: int,
    partitions: int,
    together: int,
    folder: Path,
) -> None:
    """The pipeline, which ends in files of what was found.

    Args:
        bands: of the tables.
        partitions: in how many places, in each step, images meet.
    """
    import apache_beam as beam

    by_table = functools.partial(_by_table, bands=bands, partitions=partitions)
    contents = (
        pipeline
        | "sources" >> beam.Create(sources)
        | beam.Reshuffle()
        | "by digest" >> beam.FlatMap(_by_digest, partitions)
        | "same digest" >> beam.GroupByKey()
        | "copies" >> beam.Map(_grouped, exact=True)
    )
    pictures = (
        contents
        | "contents" >> beam.FlatMap(lambda step: _sent(step[1][0], step[1], partitions))
        | "same hash" >> beam.GroupByKey()
        | "same" >> beam.Map(_grouped, exact=False)
    )
    compared = (
        pictures
        | "pictures" >> beam.FlatMap(lambda step: by_table(step[1]))
        | "same key" >> beam.GroupByKey()
        | "compare" >> beam.Map(_compared, bands=bands, near=near)
    )
    grouped = (contents, pictures) | beam.Flatten() | beam.Map(operator.itemgetter(0))
    (
        (grouped, compared)
        | "found" >> beam.Flatten()
        | "by place" >> beam.FlatMap(_by_place, together)
        | "same place" >> beam.GroupByKey()
        | "write" >> beam.Map(_write, folder=folder)
    )


def _by_digest(source: list[tuple[Path, int]], partitions: int) -> Iterator[tuple[int, Arrays]]:
    """Read some parts, and send their images to where those of the same digest come."""
    read = [duplicates_images.read_prints(path) for path, _ in source]
    places = [
        start + np.arange(len(of.digests)) for of, (_, start) in zip(read, source, strict=True)
    ]
    digests, hashes = prints.joined(read)
    arrays = digests[:, None], hashes, np.concatenate(places)
    return _sent(arrays[0], arrays, partitions)


def _by_table(
    arrays: Arrays, *, bands: np.ndarray, partitions: int
) -> Iterator[tuple[tuple[int, int], Arrays]]:
    """Send images to where, in each table, those of the same key come."""
    for table, band in enumerate(bands):
        keys = duplicates.keys(arrays[0], band)
        for partition, some in _sent(keys[:, None], arrays, partitions):
            yield (table, partition), some


def _sent(values: np.ndarray, arrays: Arrays, partitions: int) -> Iterator[tuple[int, Arrays]]:
    """Divide images so that those of equal values come to the same one of some partitions.

    Args:
        values: (n, w) `uint64`.
    """
    mixed = np.zeros(len(values), np.uint64)
    for column in values.T:  # Fibonacci hashing: the bits of a hash are not even
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    partition = (mixed % np.uint64(partitions)).astype(np.int64)
    order = np.argsort(partition, kind="stable")
    ends = np.cumsum(np.bincount(partition, minlength=partitions))
    for number, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            yield number, tuple(array[rows] for array in arrays)


def _together(several: Iterable[Arrays]) -> Arrays:
    return tuple(np.concatenate(arrays) for arrays in zip(*several, strict=True))


def _grouped(met: tuple[int, Iterable[Arrays]], *, exact: bool) -> tuple[Found, Arrays]:
    """Group the images that met by digest or by hash, the first array; of each group one is left.

    Returns:
        The pairs, and hashes and places of the images that are left.
    """
    arrays = _together(met[1])
    values, hashes, places = arrays[0], *arrays[-2:]
    pairs, firsts = duplicates.group(values, places, exact=exact)
    is_left = np.isin(places, firsts)
    return Found(pairs), (hashes[is_left], places[is_left])


def _compared(
    met: tuple[tuple[int, int], Iterable[Arrays]], *, bands: np.ndarray, near: int
) -> Found:
    """Compare the images that met in a table."""
    (table, _), several = met
    hashes, places = _together(several)
    keys = duplicates.keys(hashes, bands[table])
    return duplicates.compare(keys, hashes, places=places, near=near)


def _by_place(found: Found, together: int) -> Iterator[tuple[int, Found]]:
    """Divide what was found by the places of first images; the counts go with the first of all."""
    chunk = found.pairs.first // together
    yield 0, found._replace(pairs=NO_PAIRS)
    for number in np.unique(chunk).tolist():
        yield number, Found(Pairs(*(array[chunk == number] for array in found.pairs)))


def _write(met: tuple[int, Iterable[Found]], *, folder: Path) -> None:
    """Write what was found in all steps and tables, each pair once."""
    number, several = met
    found = duplicates.merged(list(several))
    with files.whole(folder / f"{number:06}.npz") as place:
        counts = np.array([found.compared, found.skipped])
        np.savez(place, counts=counts, **found.pairs._asdict())


def _read(path: Path) -> Found:
    """What `_write` wrote."""
    with np.load(path) as kept:
        pairs = Pairs(*(kept[name] for name in Pairs._fields))
        return Found(pairs, *kept["counts"].tolist())
