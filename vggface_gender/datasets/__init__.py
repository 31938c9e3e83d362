"""Datasets of faces, written once to TFRecords: named ones, a folder, a table.

`prepare` gives a dataset's records, building them where they are missing. TensorFlow Datasets
loads with the first build, not with this package.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vggface_gender.base import console, files, labels, locks, parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.geometry import ALIGN
from vggface_gender.base.parts import HERE, Engine
from vggface_gender.base.splits import ALL
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets import catalogue, frames, stored, summary
from vggface_gender.datasets.catalogue import NAMED

DATA_DIR = Path("tfrecords")
ALIGNED = "aligned_"  # in the name of the folder of records whose faces were aligned


@dataclass(frozen=True)
class Dataset:
    """A dataset's records on disk, and what their build wrote about them."""

    name: str
    directory: Path  # TFDS's: holds the shards, features.json, dataset_info.json, metadata.json
    summary: dict  # see `builder.FacesBuilder.plan`

    @property
    def label(self) -> str:
        """A short name for people and runs: a folder's or a table's last part."""
        return catalogue.label(self.name)

    @property
    def slug(self) -> str:
        """A name for files: `utk_face-split_0`."""
        return "-".join(self.directory.parts[-3:-1])

    @property
    def counts(self) -> dict[str, int]:
        """Records by split."""
        return self.summary["counts"]

    @property
    def fingerprint(self) -> str:
        """Stands for the records' contents, labels and split, and for the crops that they give."""
        # Of other images, versions up to 0.1 made squares by squeezing them.
        sides = (size.split("x") for size in self.summary["sizes"])
        is_square = all(width == height for width, height in sides)
        return self.summary["fingerprint"] + ("" if is_square else "-central")

    @property
    def is_aligned(self) -> bool:
        """Whether the records' faces were found and aligned as the records were written."""
        return "alignment" in self.summary

    @property
    def padding(self) -> float | None:
        """The crops' frame as `dlib.get_face_chip`'s padding; None where it is not known."""
        return self.summary["padding"]

    @property
    def light(self) -> "Dataset":
        """The same without what its build says of single images, to hand to other processes."""
        kept = ("counts", "fingerprint", "labels", "padding", "sizes")
        said = {key: value for key, value in self.summary.items() if key in kept}
        return dataclasses.replace(
            self, summary=said | ({"alignment": {}} if self.is_aligned else {})
        )

    def count(self, split: str) -> int:
        """Records of a split, or of all."""
        return sum(self.counts.values()) if split == ALL else self.counts[split]

    def require(self, split: str) -> None:
        """Raise an InputError that names the splits there are, unless `split` is one, or all."""
        if split not in (*self.counts, ALL):
            raise InputError(
                f"{self.name} has no split {split}: give one of {', '.join(self.counts)}, or {ALL}"
            )

    def classes(self, task: str) -> tuple[str, ...]:
        """The label names of `task` that a classifier of this dataset has; () for age.

        Raises:
            InputError: the dataset has no labels for the task, or races of several taxonomies.
        """
        seen = {label for split in self.summary["labels"].values() for label in split[task]}
        seen -= {"missing"}
        if not seen:
            raise InputError(f"{self.name} has no {task} labels")
        taxonomies = TASKS[task].taxonomies
        if len(taxonomies) > 1:
            try:
                return labels.races_of(seen)
            except ValueError as error:
                raise InputError(f"{self.name}: {error}; rename them to those of one") from None
        return TASKS[task].labels


class _Place(NamedTuple):
    """What a dataset's name comes to."""

    kind: str  # its builder's folder
    prefix: str  # of the names of its records' folders, "" of a named dataset
    source: Path | None  # where its files should lie, if that is known


def prepare(
    name: str,
    source: str | Path | None = None,
    *,
    data_dir: str | Path = DATA_DIR,
    seed: int = 0,
    keep_going: bool = False,
    fold: tuple[int, int] | None = None,
    padding: float | None = None,
    align: str = "never",
    engine: Engine = HERE,
    say: Callable[[str], None] = print,
) -> Dataset:
    """A dataset's records: those in `data_dir`, or built there first.

    They are built anew where a stated source (or a folder or a table) has changed since. A build
    that fails or is killed leaves what was there before; what a killed one left is swept.

    Args:
        name: one of `NAMED`, a folder of class folders, or a CSV file with a column `file`.
        source: where a named dataset's own files lie, or a folder that holds one of its name; by
            default `$FACES_DIR/<name>`.
        data_dir: where the records are kept.
        seed: of the split; each seed's records have a folder of their own.
        keep_going: build even if more than 5% of the images are unreadable, or labels are not
            understood.
        fold: which fold is the test split, from 0, and of how many (see `splits.with_test_fold`);
            None for one split. Each fold's records have a folder of their own.
        padding: the frame of the crops, as `dlib.get_face_chip`'s padding, of a dataset that does
            not state its own. It is kept: later calls need not state it again.
        align: one of `geometry.ALIGN`: find the face in each image and cut it out as
            `photos.framing` does it. "auto" does so where the frame of the images is neither
            known nor stated. Aligned records have a folder of their own.
        engine: does the parts of a build. One that keeps them goes on where it was stopped.
        say: takes what people should know, a text at a time: which records are used, or, of new
            ones, what `describe` says.

    Raises:
        InputError: no such dataset, its files are not there, or they are not what is expected; a
            frame is stated of what is to be aligned.
        Unfinished: the engine does a share of the parts, which is done.
    """
    place = _place(name, source, data_dir)
    builder_class = _builder_class(place.kind)
    frame = Path(data_dir, place.kind, f"{place.prefix}frame.json")
    if padding is not None and has_frame(name):
        raise InputError(f"{name}: its frame is known; state one only of a dataset that has none")
    is_aligned = _is_aligned(name, align, padding=padding, frame=frame)
    split = f"split_{seed}" + (f"_fold_{fold[0]}_of_{fold[1]}" if fold else "")
    config = f"{place.prefix}{ALIGNED if is_aligned else ''}{split}"
    directory = Path(data_dir, place.kind, config, str(builder_class.VERSION))
    files.sweep(Path(data_dir))
    lock = (
        contextlib.nullcontext()
        if engine.is_share
        else locks.held(Path(data_dir, f"{place.kind}-{config}"))
    )
    with lock:
        known, damage = _found(directory)
        if known:
            dataset = _open(name, directory, known, frame=frame, padding=padding)
            is_stated = source is not None or name not in NAMED
            if not is_stated or not _has_changed(builder_class, place.source, dataset):
                there = summary.head(name, directory, summary=dataset.summary)
                say("\n".join([there, *summary.warnings(dataset.summary)]))
                return dataset
            say(f"{place.source} has changed since {directory} was written: writing it anew")
        if builder_class.FACTS.files and not (place.source and place.source.exists()):
            others = directory.parents[1] / f"{place.prefix}{split}"
            if is_aligned and others.exists():
                raise InputError(
                    f"{name}: the records in {others} hold its images as they are, and its own "
                    "files, to find the faces in, are not there: align never to use these records"
                )
            raise InputError(_how_to_get(name, place.source, damage))
        if damage:
            say(f"{damage}: writing it anew")
        options = {"seed": seed, "keep_going": keep_going, "fold": fold, "is_aligned": is_aligned}
        _build(builder_class, config, place.source, directory, data_dir, options, engine=engine)
    known = stored.read(directory)
    dataset = _open(name, directory, known, frame=frame, padding=padding)
    say(describe(dataset))
    return dataset


def check(name: str, source: str | Path | None = None, *, data_dir: str | Path = DATA_DIR) -> None:
    """Refuse at once what `prepare` would refuse after TensorFlow is loaded.

    Args:
        name, source, data_dir: see `prepare`.

    Raises:
        InputError: no such dataset; or its files are not there, and nor are any records of it.
    """
    place = _place(name, source, data_dir)
    has_source = place.source is not None and place.source.exists()
    needs_source = name in NAMED and NAMED[name].files and not has_source
    if needs_source and not any(Path(data_dir, place.kind).glob("*/*/*")):
        raise InputError(_how_to_get(name, place.source, ""))


def check_each(names: Iterable[str], folder: Path | None, *, data_dir: str | Path) -> None:
    """`check` of several datasets, whose own folders lie in one (see `source_in`)."""
    for name in names:
        check(name, source_in(folder, name), data_dir=data_dir)


def source_in(folder: Path | None, name: str) -> Path | None:
    """A named dataset's own source in the folder that holds one for each; None for any other."""
    return folder / name if folder and name in NAMED else None


def has_frame(name: str) -> bool:
    """Whether a dataset states the frame of its crops itself."""
    return name in NAMED and _builder_class(NAMED[name].kind).PADDING is not None


def _is_aligned(name: str, align: str, *, padding: float | None, frame: Path) -> bool:
    """Whether the faces of a dataset are to be aligned: see `prepare`.

    Args:
        frame: the file that keeps the frame that was stated.
    """
    if align not in ALIGN:
        raise InputError(f"no alignment {align}: give {', '.join(ALIGN)}")
    if align == "always" and padding is not None:
        raise InputError(f"{name}: align always, or state the frame of its crops; not both")
    is_known = has_frame(name) or padding is not None
    return align == "always" or (align == "auto" and not is_known and frames.kept(frame) is None)


def describe(dataset: Dataset) -> str:
    """What the build of a dataset's records found and did, to read."""
    return summary.describe(dataset.name, dataset.directory, summary=dataset.summary)


def _place(name: str, source: str | Path | None, data_dir: str | Path) -> _Place:
    if name in NAMED:
        return _Place(NAMED[name].kind, "", _files_of(name, source))
    path = Path(name)
    if source is not None:
        raise InputError(
            f"{name} is its own source: give one only with a named dataset ({', '.join(NAMED)})"
        )
    # Two folders of one name must not share records.
    digest = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=4).hexdigest()
    slug = re.sub(r"\W+", "_", catalogue.label(name).lower()).strip("_")
    prefix = f"{slug}_{digest}_"
    if is_own(name):
        return _Place("folder" if path.is_dir() else "table", prefix, path)
    for kind in ("folder", "table"):  # it may be gone, and its records be there
        if any(Path(data_dir, kind).glob(f"{prefix}*split_*")):
            return _Place(kind, prefix, path)
    raise InputError(f"no dataset {name}: give one of {choices()}")


def _files_of(name: str, source: str | Path | None) -> Path | None:
    """Where a named dataset's own files should lie: see `prepare`."""
    if source is None:
        return Path(os.environ["FACES_DIR"], name) if "FACES_DIR" in os.environ else None
    within = Path(source, name)
    return within if within.is_dir() else Path(source)


def is_own(name: str) -> bool:
    """Whether it is a folder or a table that exists."""
    return os.path.isdir(name) or (name.lower().endswith(".csv") and os.path.isfile(name))


def choices() -> str:
    """What a dataset can be, for an error."""
    return f"{', '.join(NAMED)}, a folder that exists, or a .csv file that exists"


def _builder_class(kind: str) -> Any:
    # The folder and module are named as TFDS expects of a dataset.
    return importlib.import_module(f"{__name__}.{kind}.{kind}_dataset_builder").Builder


def _has_changed(builder_class: Any, source: Path | None, dataset: Dataset) -> bool:
    """Whether a source is there and is not what the records were written from."""
    if source is None or not source.exists():
        return False
    return builder_class.listing(builder_class.labelled(source)) != dataset.summary["listing"]


def _build(
    builder_class: Any,
    config: str,
    source: Path | None,
    directory: Path,
    data_dir: str | Path,
    options: Mapping,
    *,
    engine: Engine,
) -> None:
    """Build in a folder aside, then move the finished records to `directory`."""
    with console.silenced():
        import tensorflow  # noqa: F401 (TFDS loads it late, in the midst of a progress bar)
        import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # the builder has its own
    with files.aside(data_dir) as aside:
        is_kept = engine.is_kept or parts.is_begun(directory)
        with _quiet():
            builder = builder_class(
                **options,
                engine=engine,
                kept_beside=directory if is_kept else None,
                config=tfds.core.BuilderConfig(name=config),
                data_dir=aside,
            )
            builder.build(source)
        built = aside / directory.relative_to(data_dir)
        directory.parent.mkdir(parents=True, exist_ok=True)
        files.remove(directory)
        built.rename(directory)
        parts.discard(directory)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep from people what TFDS says of downloads and of configs that it doesn't know."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


def _open(
    name: str, directory: Path, summary: dict, *, frame: Path, padding: float | None
) -> Dataset:
    """The records in a folder, in the frame that is stated now or was before."""
    if padding is not None:
        frames.keep(frame, padding)
    return Dataset(name, directory, frames.framed(summary, frames.kept(frame)))


def _found(directory: Path) -> tuple[dict | None, str]:
    """What is known of the records that are there, or what is wrong with them; "" of none."""
    if not directory.exists():
        return None, ""
    try:
        return stored.read(directory), ""
    except InputError as error:
        return None, str(error)


def _how_to_get(name: str, source: Path | None, damage: str) -> str:
    facts = catalogue.facts(name)
    there = damage or f"{name} is not in the records"
    where = f"not at {source}" if source else "not known: neither a source nor $FACES_DIR is given"
    return (
        f"{there}, and its own files are {where}. It is {facts.title} "
        f"(terms: {facts.terms}), published at {facts.homepage}; expected: {facts.files}; "
        f"then: vggface-gender records --dataset {name} --source DIR"
    )
