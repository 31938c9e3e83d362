"""Datasets of faces, written once to TFRecords: named ones, a folder, a table.

`prepare` gives a dataset's records, building them where they are missing. TensorFlow Datasets
loads with the first call, not with this package.
"""

import contextlib
import fcntl
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets.catalogue import NAMED

DATA_DIR = Path("tfrecords")
SHARDS = 8  # a split, so that several readers share the work


@dataclass(frozen=True)
class Dataset:
    """A dataset's records on disk, and what their build wrote about them."""

    name: str
    directory: Path  # TFDS's: holds the shards, features.json, dataset_info.json, metadata.json
    summary: dict  # see `builder.summarize`

    @property
    def label(self) -> str:
        """A short name for people and runs: a folder's or a table's last part."""
        return self.name if self.name in NAMED else Path(self.name).resolve().stem

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
        """Stands for the records' contents, labels and split."""
        return self.summary["fingerprint"]

    @property
    def padding(self) -> float | None:
        """The crops' frame as `dlib.get_face_chip`'s padding; None where it is not known."""
        return self.summary["padding"]

    def require(self, split: str) -> None:
        """Raise an InputError that names the splits there are, unless `split` is one."""
        if split not in self.counts:
            raise InputError(
                f"{self.name} has no split {split}: give --split {' or '.join(self.counts)}"
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
        if task == "race":
            try:
                return labels.races_of(seen)
            except ValueError as error:
                raise InputError(f"{self.name}: {error}; rename them to those of one") from None
        return labels.GENDERS if task == "gender" else ()


def prepare(
    name: str,
    source: str | Path | None = None,
    data_dir: str | Path = DATA_DIR,
    seed: int = 0,
    keep_going: bool = False,
    fold: tuple[int, int] | None = None,
) -> Dataset:
    """A dataset's records: those in `data_dir`, or built there first.

    They are built anew where a stated source (or a folder or a table) has changed since. A build
    that fails or is killed leaves what was there before; what a killed one left is swept.

    Args:
        name: one of `NAMED`, a folder of class folders, or a CSV file with a column `file`.
        source: where a named dataset's own files lie; by default `$FACES_DIR/<name>`.
        data_dir: where the records are kept.
        seed: of the split; each seed's records have a folder of their own.
        keep_going: build even if more than 5% of the images are unreadable.
        fold: which fold is the test split, from 0, and of how many (see `builder.with_test_fold`);
            None for one split. Each fold's records have a folder of their own.

    Raises:
        InputError: no such dataset, its files are not there, or they are not what is expected.
    """
    kind, config, path = _resolve(name, source)
    builder_class = _builder_class(kind)
    config = f"{config}split_{seed}" + (f"_fold_{fold[0]}_of_{fold[1]}" if fold else "")
    directory = Path(data_dir, kind, config, str(builder_class.VERSION))
    with _locked(Path(data_dir, f".{kind}.lock")):
        for leftover in Path(data_dir).glob(f".{kind}.building.*"):
            shutil.rmtree(leftover)
        if directory.exists():
            dataset = _open(name, directory)
            is_stated = source is not None or kind in ("folder", "table")
            if not (is_stated and path.exists()) or not _changed(builder_class, path, dataset):
                print(f"{name}: {sum(dataset.counts.values()):,} records in {directory}")
                return dataset
            print(f"{path} has changed since {directory} was written: writing it anew")
        if kind != "synthetic_faces" and not (path and path.exists()):
            raise InputError(_how_to_get(name, builder_class, path))
        options = {"seed": seed, "keep_going": keep_going, "fold": fold}
        _build(builder_class, config, path, directory, data_dir, options)
    dataset = _open(name, directory)
    print(describe(dataset))
    return dataset


def source_in(folder: Path | None, name: str) -> Path | None:
    """A dataset's own source in the folder that holds one for each; None of a folder or a table."""
    return folder / name if folder and name in NAMED else None


def describe(dataset: Dataset) -> str:
    """The summary of a dataset's build, to read."""
    summary = dataset.summary
    total = sum(dataset.counts.values())
    lines = [f"{dataset.name}: {total:,} records in {dataset.directory}"]
    for split, count in dataset.counts.items():
        lines.append(f"  {split} {count:,}")
        for task, counts in summary["labels"][split].items():
            listed = ", ".join(f"{label} {n:,}" for label, n in counts.items())
            lines.append(f"    {task}: {listed}")
    if fold := summary.get("fold"):
        whose = "its own folds" if fold["own"] else f"folds drawn with seed {summary['seed']}"
        lines.append(f"  fold: {fold['test']} of {fold['of']} is the test split ({whose})")
    drawn = " and ".join(summary["drawn"])
    lines.append(
        f"  split: {drawn} drawn with seed {summary['seed']}"
        if drawn
        else "  split: as the dataset has it"
    )
    sizes = list(summary["sizes"].items())
    lines.append(
        "  sizes: "
        + ", ".join(f"{size} ({n:,})" for size, n in sizes[:3])
        + (f" and {len(sizes) - 3} others" if len(sizes) > 3 else "")
    )
    copies = summary["duplicates"]
    if copies["images"]:
        lines.append(
            f"  duplicates: {copies['images']} images of {copies['contents']} contents, each kept "
            f"on one side of the split ({copies['with different labels']} contents with different "
            "labels)"
        )
    if torn := summary["subjects on two sides"]:
        lines.append(
            f"  WARNING: the dataset's own splits put {len(torn)} people on two sides, the first: "
            f"{torn[0]}"
        )
    if summary["reencoded"]:
        lines.append(f"  encoded anew as upright JPEG: {summary['reencoded']:,}")
    if skipped := summary["skipped"]:
        lines.append(f"  left out: {len(skipped):,}")
        lines += [f"    {name}: {reason}" for name, reason in list(skipped.items())[:10]]
        if len(skipped) > 10:
            lines.append(f"    ... all are listed in {dataset.directory / 'metadata.json'}")
    lines += [f"  note: {note}" for note in summary["notes"]]
    return "\n".join(lines)


def _resolve(name: str, source: str | Path | None) -> tuple[str, str, Path | None]:
    """The builder's folder, the start of the config's name, and where the files should lie."""
    if name in NAMED:
        if source is None and "FACES_DIR" in os.environ:
            source = Path(os.environ["FACES_DIR"]) / name
        return NAMED[name].kind, "", None if source is None else Path(source)
    path = Path(name)
    if source is not None:
        raise InputError(
            f"--source goes with a named dataset ({', '.join(NAMED)}), not with {name}"
        )
    if path.is_dir():
        kind = "folder"
    elif path.suffix.lower() == ".csv" and path.is_file():
        kind = "table"
    else:
        raise InputError(
            f"no dataset {name}: give one of {', '.join(NAMED)}, a folder that exists, "
            "or a .csv file that exists"
        )
    # Two folders of one name must not share records.
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()
    slug = re.sub(r"\W+", "_", path.resolve().stem.lower()).strip("_")
    return kind, f"{slug}_{digest}_", path


def _builder_class(kind: str):
    # The folder and module are named as TFDS expects of a dataset.
    return importlib.import_module(f"{__name__}.{kind}.{kind}_dataset_builder").Builder


def _changed(builder_class, source: Path, dataset: Dataset) -> bool:
    from vggface_gender.datasets import builder

    return builder.listing_hash(builder_class.labelled(source)) != dataset.summary["listing"]


def _build(
    builder_class,
    config: str,
    source: Path | None,
    directory: Path,
    data_dir: str | Path,
    options: Mapping,
) -> None:
    """Build in a folder aside, then move the finished records to `directory`."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # the builder has its own
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.parts[-3]}.building.", dir=data_dir))
    try:
        builder = builder_class(
            **options,
            config=tfds.core.BuilderConfig(name=config),
            data_dir=aside,
        )
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS tells of downloads
            builder.build(source, SHARDS)
        built = aside / directory.relative_to(data_dir)
        directory.parent.mkdir(parents=True, exist_ok=True)
        if directory.exists():
            directory.rename(aside / "replaced")
        built.rename(directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _open(name: str, directory: Path) -> Dataset:
    return Dataset(name, directory, json.loads((directory / "metadata.json").read_text()))


def _how_to_get(name: str, builder_class, source: Path | None) -> str:
    where = f"not at {source}" if source else "and no --source DIR or $FACES_DIR says where it is"
    return (
        f"{name} is not in the records, {where}. It is {builder_class.TITLE} "
        f"(terms: {builder_class.TERMS}), published at {builder_class.HOMEPAGE}; expected: "
        f"{builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS}; then: "
        f"vggface-gender records --dataset {name} --source DIR"
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that the kernel drops with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
