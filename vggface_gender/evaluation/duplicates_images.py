"""What images are recognized by, of a dataset's records or of photos, computed in parts.

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

from vggface_gender.base import parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import Part, Tick
from vggface_gender.datasets import Dataset
from vggface_gender.photos import prints, sources
from vggface_gender.photos.prints import Prints
from vggface_gender.photos.sources import Source

LEAST = 1024  # photos in a part: a second of work
LABELS = ("gender", "race", "age")
# What a part's file holds of each image that was read: text, "" where missing.
FACTS = ("name", "split", *LABELS)
_BATCH = 256  # images read at once


def of_photos(found: Sequence[Source], out: Path) -> list[Part]:
    """The parts of some photos, in their order; of photos that have changed, others.

    Args:
        found: files and URLs.
        out: what the work is to end in, beside which its parts lie.

    Raises:
        InputError: there is a video, a camera or standard input among them.
    """
    for source in found:
        if source.kind != sources.PHOTO or source.name == sources.STDIN:
            raise InputError(f"{source.name}: duplicates are looked for among files of photos")
    folder = _folder(out, sources.state(found))
    return parts.divided(found, folder, least=LEAST, make=_look_at_photos, ending=".npz")


def of_records(dataset: Dataset, splits: Sequence[str], *, out: Path) -> list[Part]:
    """The parts of some splits of a dataset, a shard each; of aligned records, of the pictures that
    these are cut from.

    Args:
        out: what the work is to end in, beside which its parts lie.
    """
    from vggface_gender.data import records

    folder = _folder(out, repr([dataset.fingerprint, *splits]))
    return [
        Part(
            folder / f"{split}-{number:05d}.npz",
            functools.partial(_look_at_records, dataset=dataset, split=split, shard=shard.split),
            size=shard.size,
        )
        for split in splits
        for number, shard in enumerate(records.shards(dataset, split))
    ]


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


def _folder(out: Path, key: str) -> Path:
    """The folder for the parts, which stands for what they are made from."""
    return parts.place(out, hashlib.blake2b(os.fsencode(key), digest_size=6).hexdigest())


def _look_at_photos(place: Path, tick: Tick, *, listed: Path) -> None:
    """Make a part of photos."""

    def look(source: Source) -> tuple[int, np.ndarray] | str:
        try:
            image = sources.picture(source).read()
        except InputError as error:
            return str(error).removeprefix(f"{source.name}: ")
        return prints.digest(image), prints.difference_hash(image)

    given: list[Source] = parts.read(listed)
    looked: list[tuple[int, np.ndarray] | str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(given), _BATCH):
            looked += pool.map(look, given[start : start + _BATCH])
            tick(len(looked) - start)
    names = (source.name.encode("utf-8", "backslashreplace").decode() for source in given)
    both = list(zip(names, looked, strict=True))
    good = [name for name, found in both if not isinstance(found, str)]
    found = prints.stacked([found for found in looked if not isinstance(found, str)])
    bad = [(name, found) for name, found in both if isinstance(found, str)]
    facts = {name: [""] * len(good) for name in FACTS} | {"name": good}
    _write(place, facts, found, unreadable=bad)


def _look_at_records(place: Path, tick: Tick, *, dataset: Dataset, split: str, shard: str) -> None:
    """Make a part of records."""
    # Here, since photos need no TensorFlow.
    from vggface_gender.data import records
    from vggface_gender.evaluation import overlap

    facts: dict[str, list[str]] = {name: [] for name in FACTS}
    found = [prints.NONE]
    with records.reading(dataset):
        for batch in records.records(dataset, shard).batch(_BATCH).as_numpy_iterator():
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
