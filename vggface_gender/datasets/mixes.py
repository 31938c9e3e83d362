"""Mixes of datasets: `UTKFace[:20%]+FairFace*0.5`.

A part is `NAME[slice]*WEIGHT`: a dataset; how much of its train split, as TFDS slices; what its
examples count for in the loss. A slice is of train alone: validation chooses and test reports, and
a study of how much data is enough must not make its own yardstick noisier with every step down.

Each dataset keeps its own split. Nothing looks for one person or one photo in two datasets.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vggface_gender import datasets
from vggface_gender.base import labels, numbers
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets import Dataset, catalogue, splits

_PART = re.compile(r"(?P<name>.*?)(\[(?P<share>[^][+]*)\])?(\*(?P<weight>[^*+]*))?", re.DOTALL)
_PERCENT, _PLACE = r"(-?\d+(\.\d+)?%)?", r"(-?\d+)?"
_SHARE = re.compile(f"{_PERCENT}:{_PERCENT}|{_PLACE}:{_PLACE}", re.ASCII)
_SYNTAX = "NAME[slice]*WEIGHT, joined by +, as in UTKFace[:20%]+FairFace*0.5"


class Part(NamedTuple):
    """A dataset in a mix."""

    dataset: Dataset
    share: str | None = None  # of its train split: ":20%", "10%:30%", ":500"; None for all
    weight: float = 1.0  # what its examples count for in the loss


@dataclass(frozen=True)
class Mix:
    """Datasets to train on together, or one of them: what a `Dataset` says, of all parts."""

    name: str  # as it was asked for
    parts: tuple[Part, ...]

    @property
    def label(self) -> str:
        """A short name for people and runs: `UTKFace20+FairFacex0.5`."""
        return "+".join(map(_label, self.parts))

    @property
    def fingerprint(self) -> str:
        """Stands for the parts' records, slices and weights; of one whole dataset, its own."""
        parts = [
            [part.dataset.fingerprint, *rows(part, "train", count=_count(part)), part.weight]
            for part in self.parts
        ]
        only = self.parts[0]
        if len(parts) == 1 and parts[0][1:] == [0, _count(only), 1.0]:
            return only.dataset.fingerprint
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """Records by split, of train those in the slices."""
        counts = dict.fromkeys(splits.SPLITS, 0)
        for part in self.parts:
            for split, count in part.dataset.counts.items():
                first, last = rows(part, split, count=count)
                counts[split] += last - first
        return {split: count for split, count in counts.items() if count}

    def classes(self, task: str) -> tuple[str, ...]:
        """The label names of `task` that a classifier of the mix has; () for age.

        Races of several taxonomies are named as `labels.common` has them. A part without labels
        of the task has no say, and its examples none in that task's loss.

        Raises:
            InputError: no part has labels for the task; one has races of several taxonomies; or
                the parts' have fewer than two names in common.
        """
        taxonomies = [part.dataset.classes(task) for part in self.parts if _has(part.dataset, task)]
        if not taxonomies:
            raise InputError(f"{self.name} has no {task} labels")
        names = functools.reduce(labels.common, taxonomies)
        if TASKS[task].is_classification and len(names) < 2:
            raise InputError(
                f"{self.name}: the parts' {task} labels have {' and '.join(names) or 'nothing'} "
                "in common, and a classifier needs two names; train on them one by one"
            )
        return names


def prepare(
    name: str,
    source: str | Path | None = None,
    *,
    data_dir: str | Path = datasets.DATA_DIR,
    seed: int = 0,
    keep_going: bool = False,
    fold: tuple[int, int] | None = None,
    padding: float | None = None,
    align: str = "never",
    say: Callable[[str], None] = print,
) -> Mix:
    """The records of every dataset in a mix, built first where they are missing.

    Args:
        name: the mix, or one dataset (see `parse`).
        source: where the files lie: of one dataset, its own folder; of a mix, the folder that
            holds one named `<NAME>` for each named dataset, as `$FACES_DIR` does.
        data_dir, seed, keep_going, fold, align, say: see `datasets.prepare`.
        padding: the frame of those parts that do not state their own.

    Raises:
        InputError: see `parse` and `datasets.prepare`; a dataset is there twice; a slice is empty
            or reaches beyond the split.
    """
    unframed = [part for part, _, _ in parse(name) if not datasets.has_frame(part)]
    if padding is not None and not unframed:
        raise InputError(f"{name}: the frame of every part is known; state none")
    parts: list[Part] = []
    for (asked_for, share, weight), its_source in _with_sources(name, source):
        dataset = datasets.prepare(
            asked_for,
            its_source,
            data_dir=data_dir,
            seed=seed,
            keep_going=keep_going,
            fold=fold,
            padding=padding if asked_for in unframed else None,
            align=align,
            say=say,
        )
        part = Part(dataset, share, weight)
        _check_is_another(name, part, parts)
        parts.append(part)
        if share:
            first, last = rows(part, "train", count=_count(part))
            say(f"{asked_for}[{share}]: {last - first:,} of {_count(part):,} train records")
    return Mix(name, tuple(parts))


def check(
    name: str, source: str | Path | None = None, *, data_dir: str | Path = datasets.DATA_DIR
) -> None:
    """Refuse at once what `prepare` would refuse after TensorFlow is loaded.

    Args:
        name, source, data_dir: see `prepare`.

    Raises:
        InputError: see `parse` and `datasets.check`.
    """
    for (part, _, _), its_source in _with_sources(name, source):
        datasets.check(part, its_source, data_dir=data_dir)


def _with_sources(
    name: str, source: str | Path | None
) -> list[tuple[tuple[str, str | None, float], str | Path | None]]:
    """The parts of a mix as `parse` gives them, each with where its files lie."""
    asked = parse(name)
    if len(asked) == 1:
        return [(asked[0], source)]
    folder = None if source is None else Path(source)
    sources = [datasets.source_in(folder, part) for part, _, _ in asked]
    if folder and not any(sources):
        raise InputError(f"{name} has no named dataset: give a source only with one")
    return list(zip(asked, sources, strict=True))


def _check_is_another(name: str, part: Part, parts: Sequence[Part]) -> None:
    """Raise an InputError where one of the mix's other parts is this dataset, or called alike."""
    dataset = part.dataset
    if dataset.directory in [other.dataset.directory for other in parts]:
        raise InputError(f"{name}: {dataset.name} is there twice; give each dataset once")
    if dataset.label in [other.dataset.label for other in parts]:
        raise InputError(
            f"{name}: two parts are called {dataset.label}, so that their predictions could "
            "not be kept apart; rename one's file or folder"
        )


def names(text: str) -> list[str]:
    """The datasets of a mix, as it was asked for once: also of what is no longer there."""
    try:
        return [name for name, _, _ in parse(text)]
    except InputError:
        return [_divide(piece.strip())[0] for piece in text.split("+")]


def parse(text: str) -> list[tuple[str, str | None, float]]:
    """The name, slice and weight of every part of a mix.

    What exists as a path is taken for one: a folder `a+b` is not two datasets, nor `faces[:5]` a
    slice.

    Args:
        text: `NAME[slice]*WEIGHT` joined by "+", slice and weight where they are wanted. A name is
            one that `datasets.prepare` takes.

    Raises:
        InputError: a part is none of this, or there is no such dataset.
    """
    pieces = text.split("+")
    parts = []
    while pieces:
        # Of the starts of what is left, the longest that is a dataset: paths may hold a plus.
        for end in range(len(pieces), 0, -1):
            part = "+".join(pieces[:end]).strip()
            name, share, weight = _divide(part)
            if name in catalogue.NAMED or datasets.is_own(name):
                break
        else:
            where = "" if name == text else f" in {text}"
            raise InputError(
                f"no dataset {name or '(nothing)'}{where}: give one of {datasets.choices()}; "
                f"a mix is {_SYNTAX}"
            )
        parts.append((name, _share(part, share), _weight(part, weight)))
        del pieces[:end]
    return parts


def rows(part: Part, split: str, *, count: int) -> tuple[int, int]:
    """Which of a split's `count` records a part takes: the first, and the one after the last.

    They are places in the order in which the whole split is read, rounded as TFDS rounds
    `train[:20%]`. Read one shard after the other, they are that slice's very records.
    `records.records` reads several shards in turn: there the slice is as large and as much
    by chance (TFDS shuffles as it writes), of other records. Either way `[:20%]` and `[20%:]`
    share no record and leave none out.

    Raises:
        InputError: the slice takes nothing, or reaches beyond the split.
    """
    if split != "train" or part.share is None:
        return 0, count
    start, end = part.share.split(":")
    first = _place(start, count) if start else 0
    last = _place(end, count) if end else count
    if not 0 <= first < last <= count:
        raise InputError(
            f"{part.dataset.name}[{part.share}] is empty or reaches beyond the {count:,} records "
            "of its train split"
        )
    return first, last


def _place(edge: str, count: int) -> int:
    place = round(float(edge[:-1]) * count / 100) if edge.endswith("%") else int(edge)
    return place + count if place < 0 else place


def _divide(part: str) -> tuple[str, str | None, str | None]:
    """A part's name, slice and weight as text."""
    if os.path.exists(part):
        return part, None, None
    match = _PART.fullmatch(part)
    assert match  # its parts may all be empty
    return match["name"].strip(), match["share"], match["weight"]


def _share(part: str, share: str | None) -> str | None:
    """A part's slice, checked as far as that goes without the dataset."""
    if share is None:
        return None
    edges = [
        float(edge.rstrip("%")) for edge in share.split(":") if _SHARE.fullmatch(share) and edge
    ]
    if not edges or ("%" in share and max(map(abs, edges)) > 100):
        raise InputError(
            f"{part}: [{share}] is no slice; give one such as [:20%], [20%:], [10%:30%] or [:500]"
        )
    return share


def _weight(part: str, weight: str | None) -> float:
    try:
        return 1.0 if weight is None else numbers.positive_real(weight)
    except ValueError:
        raise InputError(f"{part}: the weight {weight} is not a number above 0") from None


def _label(part: Part) -> str:
    """`UTKFace20` for the first 20%, `UTKFace20to`, `UTKFace10to30`, `UTKFacen500` for 500."""
    label = part.dataset.label
    if part.share:
        label += "" if "%" in part.share else "n"
        label += part.share.removeprefix(":").replace(":", "to").replace("%", "")
    return label if part.weight == 1 else f"{label}x{part.weight:g}"


def _count(part: Part) -> int:
    return part.dataset.counts.get("train", 0)


def _has(dataset: Dataset, task: str) -> bool:
    return any(set(split[task]) - {"missing"} for split in dataset.summary["labels"].values())
