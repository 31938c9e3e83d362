"""What every dataset's TFDS builder shares: the record, the checks, the splits, the summary.

A dataset's folder says what its files mean (`labelled`) and how it is divided (`FRACTIONS`).
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from vggface_gender.base import disk
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import checks, sources, splits, summary
from vggface_gender.datasets.catalogue import Facts
from vggface_gender.datasets.checks import Checked
from vggface_gender.datasets.sources import Labelled
from vggface_gender.photos import crops, framing, prints, threads

UNREADABLE_LIMIT = 0.05  # a larger share stops the build: something is wrong with the source
MISSING_AGE = -1.0
MISSING_FOLD = -1
PREDICTED = "the labels are a classifier's: nothing is drawn for validation or test"  # a note


class Plan(NamedTuple):
    """Which record goes where, and the summary of how that came about."""

    divided: dict[str, list[Checked]]
    summary: dict


class FacesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder of the common record; a dataset's own builder states the rest.

    `build` writes the records; TFDS's own `download_and_prepare`, given a `manual_dir`, does too.
    What the build did is kept in the dataset's metadata (see `plan`).
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
        **kwargs,
    ):
        """Begin a builder.

        Args:
            seed: of the split.
            keep_going: build even if much of it is unreadable, or labels are not understood.
            fold: which fold is the test split, and of how many; None for a split by fractions.
            is_aligned: write the face of each image as `framing.frame` cuts it, in place of the
                image.
        """
        self.seed = seed
        self.fold = fold
        self.keep_going = keep_going
        self.is_aligned = is_aligned
        self._planned: Plan | None = None
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
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "name": tfds.features.Text(),
            "gender": tfds.features.Text(),
            "race": tfds.features.Text(),
            "age": tfds.features.Scalar(np.float32),
            "subject": tfds.features.Text(),
            "fold": tfds.features.Scalar(np.int32),
        }
        if self.is_aligned:  # what the image is recognized by that the face was cut from
            features["original"] = tfds.features.Text()
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
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
        listed = list(self.labelled(source))  # type: ignore[arg-type]
        unread = [label for item in listed for label in item.unread]
        if unread and not self.keep_going:
            raise InputError(
                f"{source}: {len(unread):,} label{'s are' if len(unread) > 1 else ' is'} not "
                f"understood, the first: {unread[0].where}: {unread[0].refusal}, or nothing; or "
                "keep going with these labels missing (--keep-going)"
            )
        self._require_room(listed)
        images, skipped = self._check(listed, source)
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
            "listing": self.listing(listed),
        }
        if self.is_aligned:
            summed = summary.aligned(summed, made_with=framing.settings())
        return Plan(divided, summed)

    def _require_room(self, listed: list[Labelled]) -> None:
        """Refuse to begin where the disk has no room for the records of all splits."""
        drawn = (len(item.image) for item in listed if isinstance(item.image, bytes))
        found = (sources.stat_of(item.image) for item in listed if isinstance(item.image, Path))
        needed = sum(drawn) + sum(stat.st_size for stat in found if stat)
        if self.is_aligned:
            needed = framing.BYTES * len(listed)
        disk.require(Path(self._data_dir_root), needed, what="the records of all its splits")

    def _check(
        self, listed: list[Labelled], source: Path | None
    ) -> tuple[list[Checked], dict[str, str]]:
        """The images that can be used, and why the others can't."""
        if not listed:
            raise InputError(f"{source}: no images found; expected {self.FACTS.files}")
        images, skipped = checks.check(listed)
        is_too_much = len(skipped) / len(listed) > UNREADABLE_LIMIT and not self.keep_going
        if not images or is_too_much:
            why = "; ".join(summary.reasons(skipped))
            raise InputError(
                f"{source}: {len(skipped)} of {len(listed)} images can't be used ({why}); mend them"
                + (", or keep going without them (--keep-going)" if images else "")
            )
        return images, skipped

    def build(self, source: Path | None, shards: int) -> None:
        """Write the records, at most `shards` files a split; what was done goes into the metadata.

        Raises:
            InputError: see `plan`.
        """
        # TFDS wants the number of files before it asks for the splits, and none without a record.
        self._planned = self.plan(source)
        shards = min(shards, *map(len, self._planned.divided.values()))
        folder = source.parent if source and source.is_file() else source
        self.download_and_prepare(
            download_config=tfds.download.DownloadConfig(num_shards=shards, manual_dir=folder)
        )

    def _split_generators(self, dl_manager):
        plan = self._planned or self.plan(Path(dl_manager.manual_dir))
        self.info.metadata.update(plan.summary)
        return {split: self._generate_examples(part) for split, part in plan.divided.items()}

    def _generate_examples(self, part: list[Checked]) -> Iterator[tuple[str, dict]]:
        encoded: Iterator[dict] = ({"image": checks.encoded(image)} for image in part)
        if self.is_aligned:
            encoded = self._aligned(part)
        shown = tqdm(part, desc="writing records", unit="", leave=False, mininterval=1)
        for image, pictures in zip(shown, encoded, strict=True):
            item = image.item
            yield (
                item.name,
                {
                    **pictures,
                    "image": io.BytesIO(pictures["image"]),
                    "name": item.name,
                    "gender": item.gender or "",
                    "race": item.race or "",
                    "age": MISSING_AGE if item.age is None else item.age,
                    "subject": item.subject or "",
                    "fold": MISSING_FOLD if item.fold is None else item.fold,
                },
            )

    def _aligned(self, part: list[Checked]) -> Iterator[dict]:
        """What aligned records hold of images, found in threads; how each came about is counted."""
        said = self.info.metadata["alignment"]
        framed = threads.ahead(_framed, part, threads=os.cpu_count() or 1)
        for image, (pictures, is_aligned) in zip(part, framed, strict=True):
            if is_aligned:
                said["aligned"] += 1
            else:
                said["whole"].append(image.item.name)
            yield pictures


def _framed(image: Checked) -> tuple[dict, bool]:
    """An image's face as JPEG with what the image is recognized by; whether a face was found."""
    pixels = checks.pixels(image)
    face, is_aligned = framing.frame(pixels)
    return {"image": crops.to_jpeg(face), "original": prints.to_text(pixels)}, is_aligned
