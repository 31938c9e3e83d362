"""What every dataset's TFDS builder shares: the common record, the checks, the splits, the summary.

A dataset's folder says what its files mean (`labelled`) and how it is divided (`FRACTIONS`); the
rest is here.
"""

import collections
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tqdm import tqdm

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import splits
from vggface_gender.photos import faces

IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
UNREADABLE_LIMIT = 0.05  # a larger share stops the build: something is wrong with the source
END_OF_IMAGE = b"\xff\xd9"  # a JPEG's last marker; its compressed data can't hold these bytes
JPEG_QUALITY = 95  # for what has to be re-encoded; chroma is not subsampled
MISSING_AGE = -1.0
MISSING_FOLD = -1
TOLD = "a classifier told the labels: nothing is drawn for validation or test"  # for the summary


class Labelled(NamedTuple):
    """One image of a dataset and what the dataset says of it; None where it says nothing."""

    name: str  # unique in the dataset and stable: a relative path, never an absolute one
    image: Path | bytes
    gender: str | None = None
    race: str | None = None
    age: float | None = None  # years
    subject: str | None = None
    fold: int | None = None
    split: str | None = None  # where the dataset itself says so
    problem: str | None = None  # why it can't be used, where its name or row shows that already
    told: bool = False  # its label is a classifier's answer, to train on and not to score by


class Checked(NamedTuple):
    """What looking at every image found."""

    good: list[Labelled]
    digests: list[str]  # of each good image's content
    reencoded: set[str]  # names of those that are not upright JPEGs already
    skipped: dict[str, str]  # name to reason
    sizes: collections.Counter  # "200x200" to count


class Plan(NamedTuple):
    """Which record goes where, and the summary of how that came about."""

    divided: dict[str, list[Labelled]]
    reencoded: set[str]
    summary: dict


class FacesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder of the common record; a dataset's own builder states the rest.

    `build` writes the records; TFDS's own `download_and_prepare`, given a `manual_dir`, does too.
    What the build did is kept in the dataset's metadata (see `summarize`).
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    TITLE: str
    TERMS: str
    HOMEPAGE: str
    MANUAL_DOWNLOAD_INSTRUCTIONS: str | None = None  # what lies in the source folder
    FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
    PADDING: float | None = None  # the crops' frame, as dlib.get_face_chip's padding
    NOTES: tuple[str, ...] = ()  # what was done to the data, for the summary

    def __init__(
        self,
        *,
        seed: int = 0,
        keep_going: bool = False,
        fold: tuple[int, int] | None = None,
        **kwargs,
    ):
        """Begin a builder.

        Args:
            seed: of the split.
            keep_going: build even if much of it is unreadable.
            fold: which fold is the test split, and of how many; None for a split by fractions.
        """
        self.seed = seed
        self.fold = fold
        self.keep_going = keep_going
        self._planned: Plan | None = None
        super().__init__(**kwargs)

    @classmethod
    def labelled(cls, source: Path) -> Iterable[Labelled]:
        """Every image under `source` with its labels, from names and tables alone: no pixels."""
        raise NotImplementedError

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
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            homepage=self.HOMEPAGE,
            license=self.TERMS,
            metadata=tfds.core.MetadataDict(),
        )

    def plan(self, source: Path | None) -> "Plan":
        """Look at every image under `source` and decide which record goes where.

        Raises:
            InputError: there are no images, or too many that can't be read.
        """
        listed = list(self.labelled(source))
        if not listed:
            raise InputError(
                f"{source}: no images found; expected {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        checked = check(listed)
        share = len(checked.skipped) / len(listed)
        if not checked.good or (share > UNREADABLE_LIMIT and not self.keep_going):
            name, reason = next(iter(checked.skipped.items()))
            raise InputError(
                f"{source}: {len(checked.skipped)} of {len(listed)} images can't be used "
                f"(the first: {name}: {reason}); mend them"
                + (", or build with --keep-going" if checked.good else "")
            )
        has_own_folds = any(item.fold is not None for item in checked.good)
        told = any(item.told for item in checked.good)
        fold = None if told else self.fold
        if fold:
            checked = with_test_fold(checked, fold, self.seed)
        divided, left_out = divide(checked, self.FRACTIONS, self.seed)
        checked.skipped.update(left_out)
        summary = summarize(divided, checked) | {
            "padding": self.PADDING,
            "notes": [*self.NOTES, *([TOLD] if told else [])],
            "seed": self.seed,
            "listing": listing_hash(listed),
        }
        if fold:
            summary["fold"] = {"test": fold[0], "of": fold[1], "own": has_own_folds}
        return Plan(divided, checked.reencoded, summary)

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
        return {
            split: self._generate_examples(part, plan.reencoded)
            for split, part in plan.divided.items()
        }

    def _generate_examples(
        self, part: list[Labelled], reencoded: set[str]
    ) -> Iterator[tuple[str, dict]]:
        for item in tqdm(part, desc="writing records", unit="", leave=False, mininterval=1):
            content = _content(item.image)
            yield (
                item.name,
                {
                    "image": io.BytesIO(to_jpeg(content) if item.name in reencoded else content),
                    "name": item.name,
                    "gender": item.gender or "",
                    "race": item.race or "",
                    "age": MISSING_AGE if item.age is None else item.age,
                    "subject": item.subject or "",
                    "fold": MISSING_FOLD if item.fold is None else item.fold,
                },
            )


def images_under(folder: Path, within: Path) -> Iterator[Labelled]:
    """Every file below `folder` whose name ends like an image's, hidden ones left out, unlabelled.

    Args:
        within: the dataset's own folder, to which the images' names are relative.
    """
    # os.walk and text: in a folder of tens of thousands of files, pathlib would take seconds.
    for parent, folders, files in os.walk(folder):
        folders.sort()
        start = Path(parent).relative_to(within).as_posix()
        start = "" if start == "." else f"{start}/"
        for file in sorted(files):
            if os.path.splitext(file)[1].lower() in IMAGE_ENDINGS and not file.startswith("."):
                yield Labelled(start + file, Path(parent, file))


def check(listed: list[Labelled]) -> Checked:
    """Read and decode every image once; what can't be decoded is skipped, with the reason."""
    checked = Checked([], [], set(), {}, collections.Counter())
    for item in tqdm(listed, desc="checking images", unit="", leave=False, mininterval=1):
        look = _look_at(item)
        if isinstance(look, str):
            checked.skipped[item.name] = look
            continue
        checked.good.append(item)
        checked.digests.append(look.digest)
        checked.sizes["{}x{}".format(*look.size)] += 1
        if not look.is_upright_jpeg:
            checked.reencoded.add(item.name)
    return checked


def to_jpeg(content: bytes) -> bytes:
    """An image file of any format, decoded, turned upright and encoded as JPEG."""
    encoded = io.BytesIO()
    photo = Image.fromarray(faces.decode(io.BytesIO(content), "image"))
    photo.save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return encoded.getvalue()


def with_test_fold(checked: Checked, fold: tuple[int, int], seed: int) -> Checked:
    """The images with one fold as their test split and the others as train.

    The folds are the dataset's own where it has some, else drawn with `seed`, persons and exact
    duplicates on one side. Splits that the dataset names are set aside. Where its own folds share
    a person with the test fold, the images of that person outside it are skipped.

    Args:
        fold: which one, from 0, in the order of the dataset's own numbers; and of how many.

    Raises:
        InputError: the dataset's own folds are of another number, or some images have none.
    """
    items, (chosen, count) = checked.good, fold
    own = sorted({item.fold for item in items} - {None})
    if own:
        if any(item.fold is None for item in items):
            without = next(item.name for item in items if item.fold is None)
            raise InputError(f"{without} has no fold, and others have: give every image one")
        if len(own) != count:
            raise InputError(
                f"the dataset has folds of its own, {', '.join(map(str, own))}: "
                f"give --folds {len(own)}"
            )
        fold_of = [own.index(item.fold) for item in items]
    else:
        fold_of = splits.folds(
            names=[item.name for item in items],
            strata=[(item.gender, item.race) for item in items],
            ties=[checked.digests, [item.subject for item in items]],
            count=count,
            seed=seed,
        )
    tested = {item.subject for item, k in zip(items, fold_of, strict=True) if k == chosen} - {None}
    good, digests, skipped = [], [], dict(checked.skipped)
    for item, digest, k in zip(items, checked.digests, fold_of, strict=True):
        if k != chosen and item.subject in tested:
            skipped[item.name] = f"its person, {item.subject}, is in the test fold too"
            continue
        good.append(item._replace(split="test" if k == chosen else "train"))
        digests.append(digest)
    return checked._replace(good=good, digests=digests, skipped=skipped)


def divide(
    checked: Checked, fractions: dict[str, float], seed: int
) -> tuple[dict[str, list[Labelled]], dict[str, str]]:
    """The good images by split, and those left out, with the reason.

    A dataset that names no splits is divided by `fractions`. In one that does, its validation and
    test stay as they are; whichever it lacks is cut from train. Exact duplicates and one person's
    images are kept on one side; a copy, outside test, of what the dataset itself puts into test
    (or, outside validation, of what it puts there) is left out.
    """
    cut = {split: fractions[split] for split in drawn_splits(checked.good)}
    fractions = {"train": 1 - sum(cut.values()), **cut}

    pairs = list(zip(checked.good, checked.digests, strict=True))
    divided: dict[str, list[Labelled]] = {split: [] for split in splits.SPLITS}
    left_out: dict[str, str] = {}
    seen: dict[str, Labelled] = {}  # by digest, over the splits that are done
    for split in ("test", "validation", "train"):
        part = [(item, d) for item, d in pairs if (item.split or "train") == split]
        for item, d in part:
            if d in seen:
                left_out[item.name] = (
                    f"the same image as {seen[d].name}, which is in {seen[d].split}"
                )
        part = [(item, d) for item, d in part if d not in seen]
        seen |= {d: item for item, d in part}
        if split != "train":
            divided[split] = [item for item, _ in part]
            continue
        assigned = splits.assign(
            names=[item.name for item, _ in part],
            strata=[(item.gender, item.race) for item, _ in part],
            ties=[[d for _, d in part], [item.subject for item, _ in part]],
            fractions=fractions,
            seed=seed,
        )
        for (item, _), target in zip(part, assigned, strict=True):
            divided[target].append(item)
    return {split: part for split, part in divided.items() if part}, left_out


def drawn_splits(items: Iterable[Labelled]) -> list[str]:
    """Which of validation and test the dataset doesn't name, so that they are drawn from train.

    None where labels are a classifier's answers: such a dataset is there to be trained on.
    """
    items = list(items)
    if any(item.told for item in items):
        return []
    named = {item.split for item in items}
    return [split for split in ("validation", "test") if split not in named]


def summarize(divided: dict[str, list[Labelled]], checked: Checked) -> dict:
    """What a build did, as JSON: counts per split and label, duplicates, files skipped and why.

    `fingerprint` stands for the records' contents, labels and split: features cached from them
    are kept under it.
    """
    digest_of = {
        item.name: digest for item, digest in zip(checked.good, checked.digests, strict=True)
    }
    content = sorted(
        [split, digest_of[item.name], *_labels(item)]
        for split, part in divided.items()
        for item in part
    )
    copies = collections.defaultdict(list)
    for item in checked.good:
        copies[digest_of[item.name]].append(item)
    duplicates = [items for items in copies.values() if len(items) > 1]
    sides = collections.defaultdict(set)
    for split, part in divided.items():
        for item in part:
            sides[item.subject].add(split)
    torn = [subject for subject, of in sides.items() if subject is not None and len(of) > 1]
    return {
        "counts": {split: len(part) for split, part in divided.items()},
        "drawn": drawn_splits(checked.good),
        "labels": {
            split: {
                "gender": _counts(item.gender for item in part),
                "race": _counts(item.race for item in part),
                "age": _counts(
                    None if item.age is None else labels.age_band(item.age) for item in part
                ),
            }
            for split, part in divided.items()
        },
        "sizes": dict(checked.sizes.most_common()),
        "duplicates": {
            "images": sum(map(len, duplicates)),
            "contents": len(duplicates),
            "with different labels": sum(
                len({(i.gender, i.race, i.age) for i in items}) > 1 for items in duplicates
            ),
        },
        "subjects on two sides": sorted(torn),
        "reencoded": len(checked.reencoded),
        "skipped": checked.skipped,
        "fingerprint": hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest(),
    }


def listing_hash(listed: Iterable[Labelled]) -> str:
    """A hash of names, labels, and the files' sizes and times: has the source changed since?"""
    state = []
    for item in listed:
        if isinstance(item.image, Path) and item.image.exists():
            stat = item.image.stat()
            state.append([item.name, stat.st_size, stat.st_mtime_ns, *_labels(item)])
        else:
            state.append([item.name, *_labels(item)])
    return hashlib.blake2b(json.dumps(sorted(state)).encode(), digest_size=16).hexdigest()


def _labels(item: Labelled) -> list:
    return [item.name, *(str(value) for value in item[2:7])]


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    counts = collections.Counter("missing" if value is None else value for value in values)
    bands = labels.AGE_BAND_NAMES
    return {
        label: counts[label]
        for label in sorted(counts, key=lambda x: (bands.index(x) if x in bands else -1, x))
    }


def _content(image: Path | bytes) -> bytes:
    return image if isinstance(image, bytes) else image.read_bytes()


def _is_upright_jpeg(image: Image.Image) -> bool:
    return image.format == "JPEG" and image.getexif().get(0x0112, 1) == 1  # EXIF orientation


class _Look(NamedTuple):
    """What one image is found to be."""

    digest: str
    size: tuple[int, int]  # width and height in pixels
    is_upright_jpeg: bool


def _look_at(item: Labelled) -> _Look | str:
    """What an image is, or why it can't be used."""
    if item.problem:
        return item.problem
    try:
        content = _content(item.image)
        if not content:
            return "zero bytes"
        with Image.open(io.BytesIO(content)) as image:
            size, is_upright_jpeg = image.size, _is_upright_jpeg(image)
            if not is_upright_jpeg:
                to_jpeg(content)
            elif not _decodes(content):
                image.load()
    except Exception as error:  # Pillow raises whatever its many decoders do
        return " ".join(str(error).split()) or repr(error)
    return _Look(hashlib.blake2b(content, digest_size=16).hexdigest(), size, is_upright_jpeg)


def _decodes(jpeg: bytes) -> bool:
    """Whether a JPEG is surely whole; Pillow, which is slower, has to look at the others.

    OpenCV reads all of the coefficients but computes an eighth of the pixels. It forgives a file
    that ends early, which has no end marker among its last bytes.
    """
    if END_OF_IMAGE not in jpeg[-1024:]:
        return False
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_COLOR_8) is not None
