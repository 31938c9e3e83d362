"""What images are recognized by, of a dataset's records or of files, computed in parts.

Each part ends in a file (see `base.parts`), so that a command that was stopped goes on, and several
processes or machines can share the work.
"""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import Part, Tick
from vggface_gender.datasets import Dataset
from vggface_gender.photos import prints, read
from vggface_gender.photos.prints import Prints

PART = 4096  # images in a part: a few seconds of work
LABELS = ("gender", "race", "age")
# What a part's file holds of each image that was read; text, "" where missing.
FACTS = ("name", "split", *LABELS)
_BATCH = 256  # images read at once


def of_files(files: Sequence[str], folder: Path) -> list[Part]:
    """The parts of some photos. What has changed is read again.

    Args:
        files: their paths, which name them.
        folder: where the parts are kept.
    """
    chunks = [tuple(files[start : start + PART]) for start in range(0, len(files), PART)]
    return [
        Part(
            _path(folder, number, repr([(file, _stamp(file)) for file in chunk])),
            functools.partial(_look_at_files, files=chunk),
            len(chunk),
        )
        for number, chunk in enumerate(chunks)
    ]


def of_records(dataset: Dataset, splits: Sequence[str], *, folder: Path) -> list[Part]:
    """The parts of some splits of a dataset; of aligned records, of the pictures they are cut from.

    Args:
        folder: where the parts are kept.
    """
    made: list[Part] = []
    for split in splits:
        count = dataset.count(split)
        for start in range(0, count, PART):
            stop = min(start + PART, count)
            part = f"{split}[{start}:{stop}]"
            make = functools.partial(_look_at_records, dataset=dataset, split=split, part=part)
            key = f"{dataset.fingerprint} {part}"
            made.append(Part(_path(folder, len(made), key), make, stop - start))
    return made


def read_prints(path: Path) -> Prints:
    """What the images of a part are recognized by."""
    with np.load(path) as kept:
        return Prints(kept["digests"], kept["hashes"])


def count(path: Path) -> int:
    """How many images a part's file holds."""
    with np.load(path) as kept:
        return len(kept["digests"])


def read_facts(path: Path) -> dict[str, np.ndarray]:
    """What is known of a part's images, by `FACTS`: (n,) text each."""
    with np.load(path) as kept:
        return {name: kept[name] for name in FACTS}


def read_unreadable(path: Path) -> list[tuple[str, str]]:
    """The images of a part that could not be read, which are no others of it, and why."""
    with np.load(path) as kept:
        return [(name, why) for name, why in kept["unreadable"].tolist()]


def _path(folder: Path, number: int, key: str) -> Path:
    """Where a part is kept, under a name that stands for what it is made from."""
    digest = hashlib.blake2b(os.fsencode(key), digest_size=8).hexdigest()
    return folder / f"prints-{number:06}-{digest}.npz"


def _stamp(file: str) -> tuple[int, int] | None:
    """A file's size and time of change; None of one that is not there."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _look_at_files(place: Path, tick: Tick, *, files: Sequence[str]) -> None:
    """Make a part of photos."""

    def look(file: str) -> tuple[int, np.ndarray] | str:
        try:
            image = read.read_photo(file)
        except InputError as error:
            return str(error).removeprefix(f"{file}: ")
        return prints.digest(image), prints.difference_hash(image)

    looked: list[tuple[int, np.ndarray] | str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), _BATCH):
            looked += pool.map(look, files[start : start + _BATCH])
            tick(len(looked) - start)
    both = list(zip(files, looked, strict=True))
    good = [file for file, found in both if not isinstance(found, str)]
    found = prints.stacked([found for found in looked if not isinstance(found, str)])
    bad = [(file, found) for file, found in both if isinstance(found, str)]
    facts = {name: [""] * len(good) for name in FACTS} | {"name": good}
    _write(place, facts, found, unreadable=bad)


def _look_at_records(place: Path, tick: Tick, *, dataset: Dataset, split: str, part: str) -> None:
    """Make a part of records."""
    # In a worker that looks at files, there is no need of TensorFlow.
    from vggface_gender.data import records
    from vggface_gender.evaluation import overlap

    facts: dict[str, list[str]] = {name: [] for name in FACTS}
    found = [prints.NONE]
    with records.reading(dataset):
        for batch in records.records(dataset, part).batch(_BATCH).as_numpy_iterator():
            found.append(overlap.of_batch(batch, is_aligned=dataset.is_aligned))
            for name in ("name", "gender", "race"):
                facts[name] += [value.decode() for value in batch[name]]
            facts["age"] += [f"{age:g}" if age >= 0 else "" for age in batch["age"]]
            tick(len(batch["name"]))
    facts["split"] = [split] * len(facts["name"])
    _write(place, facts, prints.joined(found), unreadable=[])


def _write(
    place: Path,
    facts: Mapping[str, Sequence[str]],
    found: Prints,
    *,
    unreadable: Sequence[tuple[str, str]],
) -> None:
    """Write a part's file; its arrays hold no objects."""
    arrays: dict = {name: np.array(values, dtype=str) for name, values in facts.items()}
    bad = np.array(unreadable, dtype=str).reshape(-1, 2)
    np.savez(place, **arrays, **found._asdict(), unreadable=bad)
