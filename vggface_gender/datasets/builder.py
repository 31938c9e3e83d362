"""What every dataset's TFDS builder shares: the record, the checks, the splits, the summary.

A dataset's folder says what its files mean (`labelled`) and how it is divided (`FRACTIONS`).
"""

import contextlib
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder

from vggface_gender.base import disk, files, parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.packed import Packed
from vggface_gender.base.parts import HERE, Engine
from vggface_gender.datasets import checks, shards, sources, splits, summary
from vggface_gender.datasets.catalogue import Facts
from vggface_gender.datasets.checks import Checked
from vggface_gender.datasets.shards import Written
from vggface_gender.datasets.sources import Labelled
from vggface_gender.photos import framing

UNREADABLE_LIMIT = 0.05  # a larger share stops the build: something is wrong with the source
SHARDS = 8  # a split, so that several readers share the work; more where one would have more than
SHARD_BYTES = 2**28
PREDICTED = "the labels are a classifier's: nothing is drawn for validation or test"  # a note


class Plan(NamedTuple):
    """Which record goes where, and the summary of how that came about."""

    divided: dict[str, Packed[Checked]]
    summary: dict
    size: int  # bytes of all records, about


class FacesBuilder(dataset_builder.FileReaderBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder of the common record; a dataset's own builder states the rest.

    `build` writes the records; TFDS's own `download_and_prepare`, given a `manual_dir`, does too.
    What the build did is kept in the dataset's metadata (see `plan`). Images are checked, and
    shards written, in parts: see `base.parts`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    FACTS: Facts
    FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
    PADDING: float | None = None  # the crops' frame, as dlib.get_face_chip's padding
    NOTES: tuple[str, ...] = ()  # what was done to the data, for the summary
    STATES_SPLITS = False  # whether it says a split for its images that their names don't show

    def __init__(
        self,
        *,
        seed: int = 0,
        keep_going: bool = False,
        fold: tuple[int, int] | None = None,
        is_aligned: bool = False,
        engine: Engine = HERE,
        kept_beside: Path | None = None,
        **kwargs,
    ):
        """Begin a builder.

        Args:
            seed: of the split.
            keep_going: build even if much of it is unreadable, or labels are not understood.
            fold: which fold is the test split, and of how many; None for a split by fractions.
            is_aligned: write the face of each image as `framing.frame` cuts it, in place of the
                image.
            engine: does the parts of the work.
            kept_beside: where the records will be, beside which the parts are kept; None for a
                folder that goes with the build.
        """
        self.seed = seed
        self.fold = fold
        self.keep_going = keep_going
        self.is_aligned = is_aligned
        self.engine = engine
        self.kept_beside = kept_beside
        self._source: tuple[Path | None, ...] = ()  # that `build` was given
        super().__init__(**kwargs)

    @property
    def MANUAL_DOWNLOAD_INSTRUCTIONS(self) -> str:
        """What lies in the source folder."""
        return self.FACTS.files

    @classmethod
    def labelled(cls, source: Path) -> Iterable[Labelled]:
        """Every image under `source` with its labels, from names and tables alone: no pixels."""
        raise NotImplementedError

    @classmethod
    def notes(cls, source: Path | None) -> Sequence[str]:
        """What was done to the data at `source`, for the summary."""
        return cls.NOTES

    @classmethod
    def listing(cls, listed: Iterable[Labelled]) -> str:
        """A hash of what the source holds, by which a change is seen."""
        return summary.listing_hash(listed, with_splits=cls.STATES_SPLITS)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=shards.features(is_aligned=self.is_aligned),
            homepage=self.FACTS.homepage,
            license=self.FACTS.terms,
            metadata=tfds.core.MetadataDict(),
        )

    def plan(self, source: Path | None) -> Plan:
        """Look at every image under `source` and decide which record goes where.

        Returns:
            Its summary holds what `summary.summarize` gives; `drawn`, the splits that were drawn
            with `seed`; `skipped`, a reason by name; `unused`, what else lies in the source
            (`folders.tally`); `not understood`, labels that are missing for it; `padding`;
            `notes`; `listing`, by which a change of the source is seen; of a fold, `fold`; and, of
            aligned records, `alignment` (see `summary.aligned`).

        Raises:
            InputError: there are no images, or too many that can't be read, or a label is not
                understood; the disk has no room.
        """
        # A dataset that needs no source takes None for one.
        listed = Packed(self.labelled(source))  # type: ignore[arg-type]
        unread = [label for item in listed for label in item.unread]
        if unread and not self.keep_going:
            raise InputError(
                f"{source}: {len(unread):,} label{'s are' if len(unread) > 1 else ' is'} not "
                f"understood, the first: {unread[0].where}: {unread[0].refusal}, or nothing; or "
                "keep going with these labels missing (--keep-going)"
            )
        size = self._require_room(listed)
        listing = self.listing(listed)
        images, skipped = self._check(listed, source, listing=listing)
        is_predicted = any(image.item.is_predicted for image in images)
        fold = None if is_predicted else self.fold
        summed: dict = {}
        if fold:
            own = any(image.item.fold is not None for image in images)
            summed["fold"] = {"test": fold[0], "of": fold[1], "own": own}
            images, torn = splits.with_test_fold(images, fold, seed=self.seed)
            skipped |= torn
        divided, copies = splits.divide(images, self.FRACTIONS, seed=self.seed)
        summed |= summary.summarize(divided, images) | {
            "drawn": splits.drawn(images),
            "skipped": skipped | copies,
            "not understood": summary.count_unread(unread),
            "unused": sources.unused(source, listed) if source and source.is_dir() else {},
            "padding": self.PADDING,
            "notes": [*self.notes(source), *([PREDICTED] if is_predicted else [])],
            "seed": self.seed,
            "listing": listing,
        }
        if self.is_aligned:
            summed = summary.aligned(summed, made_with=framing.settings())
        return Plan(divided, summed, size)

    def _require_room(self, listed: Collection[Labelled]) -> int:
        """The bytes that the records of all splits take; refuse to begin where there is no room."""
        drawn = (len(item.image) for item in listed if isinstance(item.image, bytes))
        found = (sources.stat_of(item.image) for item in listed if isinstance(item.image, str))
        needed = sum(drawn) + sum(stat.st_size for stat in found if stat)
        if self.is_aligned:
            needed = framing.BYTES * len(listed)
        disk.require(Path(self._data_dir_root), needed, what="the records of all its splits")
        return needed

    def _check(
        self, listed: Collection[Labelled], source: Path | None, *, listing: str
    ) -> tuple[Packed[Checked], dict[str, str]]:
        """The images that can be used, and why the others can't."""
        if not listed:
            raise InputError(f"{source}: no images found; expected {self.FACTS.files}")
        with self._working(listing) as folder:
            images, skipped = checks.check(listed, engine=self.engine, folder=folder)
        is_too_much = len(skipped) / len(listed) > UNREADABLE_LIMIT and not self.keep_going
        if not images or is_too_much:
            why = "; ".join(summary.reasons(skipped))
            raise InputError(
                f"{source}: {len(skipped)} of {len(listed)} images can't be used ({why}); mend them"
                + (", or keep going without them (--keep-going)" if images else "")
            )
        return images, skipped

    def build(self, source: Path | None) -> None:
        """Write the records; what was done goes into the metadata.

        Raises:
            InputError: see `plan`.
            Unfinished: the engine does a share of the parts, which is done.
        """
        self._source = (source,)
        folder = source.parent if source and source.is_file() else source
        self.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))

    def _download_and_prepare(self, dl_manager, download_config=None) -> None:
        """Write the shards and say what they hold; TFDS writes the rest."""
        (source,) = self._source or (Path(dl_manager.manual_dir),)
        plan = self.plan(source)
        with self._working(plan.summary["listing"]) as folder:
            wanted = {
                split: shards.plan(
                    split, images, count=count, folder=folder, is_aligned=self.is_aligned
                )
                for (split, images), count in zip(
                    plan.divided.items(), _shards_of(plan), strict=True
                )
            }
            all_parts = list(itertools.chain(*wanted.values()))
            parts.finish(self.engine, all_parts, what="writing records")
            written = {split: list(map(shards.read, its)) for split, its in wanted.items()}
            infos = [self._taken(split, its) for split, its in written.items()]
        self.info.set_splits(tfds.core.SplitDict(infos))
        if self.is_aligned:
            every = list(itertools.chain(*written.values()))
            plan.summary["alignment"] |= {
                "aligned": sum(shard.aligned for shard in every),
                "whole": sorted(name for shard in every for name in shard.whole),
            }
        self.info.metadata.update(plan.summary)

    def _taken(self, split: str, written: Sequence[Written]) -> tfds.core.SplitInfo:
        """A split whose shards are moved to where TFDS has them."""
        names = self._get_filename_template(split)
        for number, shard in enumerate(written):
            place = names.sharded_filepath(shard_index=number, num_shards=len(written))
            shard.path.rename(place)
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=[shard.records for shard in written],
            num_bytes=sum(shard.size for shard in written),
            filename_template=names,
        )

    @contextlib.contextmanager
    def _working(self, listing: str) -> Iterator[Path]:
        """The folder for the parts of the work on what a source holds."""
        if self.kept_beside:
            yield parts.place(self.kept_beside, listing)
        else:
            with files.aside(self._data_dir_root) as folder:
                yield folder


def _shards_of(plan: Plan) -> list[int]:
    """How many shards each split has."""
    counts = [len(images) for images in plan.divided.values()]
    least = min(SHARDS, *counts)
    bytes_each = plan.size / sum(counts)
    return [min(count, max(least, math.ceil(bytes_each * count / SHARD_BYTES))) for count in counts]
