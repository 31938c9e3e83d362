"""Records written a shard at a time, in the order and the form of TensorFlow Datasets' own writer.

The order is known before an image is read: that of the names' hashes, with the split as salt
(`tfds.core.hashing`). So a shard can be written by itself, by whichever process or machine, from
the list of its images; and all of them equal those that TFDS writes of the same examples.
"""

import functools
import io
import json
import operator
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, hashing
from tensorflow_datasets.core.utils import shard_utils

from vggface_gender.base import parts
from vggface_gender.base.packed import Packed
from vggface_gender.base.parts import Part, Tick
from vggface_gender.datasets import checks
from vggface_gender.datasets.checks import Checked
from vggface_gender.photos import crops, framing, prints, threads

MISSING_AGE = -1.0
MISSING_FOLD = -1
RECORDS, ABOUT = "records.tfrecord", "about.json"  # what a part's folder holds


class Written(NamedTuple):
    """A shard that is written."""

    path: Path  # its file
    records: int
    size: int  # bytes, as TFDS counts them: of the examples alone
    aligned: int  # faces that were found
    whole: tuple[str, ...]  # images that were used whole, of records that are aligned


def features(*, is_aligned: bool) -> tfds.features.FeaturesDict:
    """The features of a record.

    Args:
        is_aligned: whether faces are cut out of the images: then a record has what the image is
            recognized by that its face was cut from.
    """
    common = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "name": tfds.features.Text(),
        "gender": tfds.features.Text(),
        "race": tfds.features.Text(),
        "age": tfds.features.Scalar(np.float32),
        "subject": tfds.features.Text(),
        "fold": tfds.features.Scalar(np.int32),
    }
    return tfds.features.FeaturesDict(
        common | ({"original": tfds.features.Text()} if is_aligned else {})
    )


def plan(
    split: str, images: Collection[Checked], *, count: int, folder: Path, is_aligned: bool
) -> list[Part]:
    """The parts of a split's shards; the list of each one's images is written to the folder.

    Args:
        count: of shards, at most as many as there are images.
        folder: for what is read and written; the parts end in folders in it (see `read`).
        is_aligned: see `features`.
    """
    hasher = hashing.Hasher(split)
    keys = (hasher.hash_key(image.item.name).to_bytes(16, "big") for image in images)
    order = np.argsort(np.fromiter(keys, "S16", len(images)), kind="stable")
    places = np.empty(len(images), np.int64)
    places[order] = np.arange(len(images))
    ends = shard_utils.get_shard_boundaries(len(images), count)
    shards: list[Packed[tuple[int, Checked]]] = [Packed() for _ in ends]
    owners = np.searchsorted(ends, places, side="right")
    for image, place, owner in zip(images, places, owners, strict=True):
        shards[owner].append((int(place), image))
    wanted = []
    for number, its in enumerate(shards):
        listed = folder / f"{split}-{number:05d}.images"
        parts.write([image for _, image in sorted(its, key=operator.itemgetter(0))], listed)
        make = functools.partial(_write, images=listed, is_aligned=is_aligned)
        wanted.append(Part(folder / f"{split}-{number:05d}", make, size=len(its)))
    return wanted


def read(part: Part) -> Written:
    """What a part of `plan` has written."""
    about = json.loads((part.path / ABOUT).read_text())
    return Written(part.path / RECORDS, **about | {"whole": tuple(about["whole"])})


def _write(folder: Path, tick: Tick, *, images: Path, is_aligned: bool) -> None:
    """Write a shard's records, and what is said of them, to a folder."""
    import tensorflow as tf  # records that are there are found without it

    folder.mkdir()
    listed: list[Checked] = parts.read(images)
    form = features(is_aligned=is_aligned)
    serializer = example_serializer.ExampleSerializer(form.get_serialized_info())
    size, aligned, whole = 0, 0, []
    with tf.io.TFRecordWriter(str(folder / RECORDS)) as writer:
        for image, (pictures, is_found) in zip(listed, _pictures(listed, is_aligned), strict=True):
            made = serializer.get_tf_example(form.encode_example(_record(image, pictures)))
            example = made.SerializeToString(deterministic=True)  # the same bytes every time
            writer.write(example)
            size += len(example)
            aligned += is_found
            if is_aligned and not is_found:
                whole.append(image.item.name)
            tick(1)
    about = {"records": len(listed), "size": size, "aligned": aligned, "whole": whole}
    (folder / ABOUT).write_text(json.dumps(about))


def _record(image: Checked, pictures: Mapping) -> dict:
    item = image.item
    return {
        **pictures,
        "image": io.BytesIO(pictures["image"]),
        "name": item.name,
        "gender": item.gender or "",
        "race": item.race or "",
        "age": MISSING_AGE if item.age is None else item.age,
        "subject": item.subject or "",
        "fold": MISSING_FOLD if item.fold is None else item.fold,
    }


def _pictures(listed: list[Checked], is_aligned: bool) -> Iterator[tuple[dict, bool]]:
    """What records hold of images, and whether a face was found; faces are found in threads."""
    if is_aligned:
        return threads.ahead(_framed, listed, threads=os.cpu_count() or 1)
    return (({"image": checks.encoded(image)}, False) for image in listed)


def _framed(image: Checked) -> tuple[dict, bool]:
    """An image's face as JPEG with what the image is recognized by; whether a face was found."""
    pixels = checks.pixels(image)
    face, is_found = framing.frame(pixels)
    return {"image": crops.to_jpeg(face), "original": prints.to_text(pixels)}, is_found
