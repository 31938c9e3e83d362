"""Records: read as they lie in the files, their labels as a table, their crops in batches.

Every crop leaves here as `uint8` RGB with the side that a network takes, in the frame that the
classifier wants, so that datasets that were cropped more tightly or widely can stand in for each
other.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_datasets as tfds

from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.splits import ALL
from vggface_gender.data import augmentation
from vggface_gender.data.augmentation import Amounts
from vggface_gender.datasets import Dataset
from vggface_gender.photos import crops

ORIGINAL = "original"  # of an aligned record: what its picture is recognized by
SHARDS_AT_ONCE = 4
# More decoding at once takes cores from the network while it computes, and then both lose: on two
# cores, one batch at a time is a tenth faster from records to features than two or four.
BATCHES_AT_ONCE = max(1, (os.cpu_count() or 1) // 2)


def records(dataset: Dataset, split: str) -> tf.data.Dataset:
    """A split's records in a fixed order.

    Args:
        split: "train", "validation" or "test", "all" of them, or a slice such as "train[:20%]".

    Returns:
        Dictionaries of "image", JPEG or PNG bytes; "name", "gender", "race" and "subject", strings,
        empty where missing; "age", `float32` years, and "fold", `int32`, -1 where missing. Of
        aligned records also `ORIGINAL`, as `photos.prints.to_text` gives it of the picture.
    """
    return _read(dataset, split, {"image": tfds.decode.SkipDecoding()})


def labels(dataset: Dataset, split: str) -> pd.DataFrame:
    """A split's labels without its images, in the order of `records`.

    Returns:
        Columns name, gender, race, subject (text) and age (years); what is missing is None or NaN.
    """
    return pd.concat(label_batches(dataset, split), ignore_index=True)


def label_batches(dataset: Dataset, split: str, *, size: int = 1024) -> Iterator[pd.DataFrame]:
    """`labels`, so many records at a time, which hold little memory."""
    columns = ("name", "gender", "race", "subject", "age")
    wanted = _read(dataset, split, tfds.decode.PartialDecoding(dict.fromkeys(columns, True)))
    with reading(dataset):
        for batch in wanted.batch(size).as_numpy_iterator():
            texts = {
                column: pd.Series([text.decode() or None for text in batch[column]], dtype=object)
                for column in columns[:-1]
            }
            yield pd.DataFrame(texts | {"age": np.where(batch["age"] >= 0, batch["age"], np.nan)})


def jpegs(dataset: Dataset, split: str) -> list[bytes]:
    """A split's images as JPEG or PNG bytes, in the order of `labels`.

    They are held in memory, since a training visits them in another order every epoch: UTKFace's
    whole set is 120 MB.
    """
    parts = records(dataset, split).map(lambda record: record["image"]).batch(1024)
    with reading(dataset):
        return [jpeg for part in parts.as_numpy_iterator() for jpeg in part]


def batches(
    dataset: Dataset,
    split: str,
    *,
    batch_size: int,
    size: int,
    padding: float | None = None,
    skip: int = 0,
    shard: int | None = None,
    view: int | None = None,
    amounts: Amounts = augmentation.NONE,
) -> tf.data.Dataset:
    """A split's records in a fixed order and in batches, their images decoded to crops.

    Args:
        size: the crops' side in pixels.
        padding: the frame wanted, as `dlib.get_face_chip`'s padding. A dataset whose crops show
            less is widened by repeating its border, one that shows more is cut. None, or a dataset
            whose frame is not known: as it is.
        skip: how many records to leave out at the start.
        shard: the number of a shard (see `shards`) that alone is read; not with a view.
        view: None for the crops as they are; a number for crops augmented by `amounts`, where the
            number and a record's place in the split give one picture.

    Returns:
        What `records` gives, in batches, with "image" as (b, size, size, 3) `uint8` RGB.
    """
    frame = frame_of(dataset, padding)

    def decode(places: np.ndarray, images: np.ndarray) -> np.ndarray:
        decoded = map(crops.decode, images)
        if view is None:
            return np.stack([crops.fit(image, size, frame=frame) for image in decoded])
        generators = (np.random.default_rng([view, place]) for place in places)
        return np.stack(
            [
                augmentation.augment(image, size, frame=frame, amounts=amounts, rng=rng)
                for image, rng in zip(decoded, generators, strict=True)
            ]
        )

    def with_crops(places: tf.Tensor, part: dict) -> dict:
        images = tf.numpy_function(decode, [places, part["image"]], tf.uint8, stateful=False)
        return part | {"image": tf.ensure_shape(images, (None, size, size, 3))}

    return (
        records(dataset, split if shard is None else shards(dataset, split)[shard].split)
        .skip(skip)
        .enumerate(skip)
        .batch(batch_size)
        .map(with_crops, num_parallel_calls=BATCHES_AT_ONCE, deterministic=True)
        .prefetch(2)
    )


class Shard(NamedTuple):
    """A file of a split's records."""

    split: str  # what TFDS calls it, as "train[3shard]"
    size: int  # records


def shards(dataset: Dataset, split: str) -> list[Shard]:
    """The files of a split, or of all, in the order that they are opened in."""
    infos = tfds.builder_from_directory(dataset.directory).info.splits
    return [
        Shard(f"{name}[{number}shard]", count)
        for name in (dataset.counts if split == ALL else [split])
        for number, count in enumerate(infos[name].shard_lengths)
    ]


def order(counts: Sequence[int]) -> np.ndarray:
    """Where the records of shards stand in the order of `records`, which reads several at once.

    Args:
        counts: of records by shard (see `shards`).

    Returns:
        (n,) int64: of each record in the order of `records`, its place in that of the shards one
        after the other.
    """
    ends = np.cumsum(counts, dtype=np.int64)
    spans = tf.data.Dataset.from_tensor_slices((ends - counts, ends))
    read = untuned(spans).interleave(
        tf.data.Dataset.range,
        cycle_length=SHARDS_AT_ONCE,
        block_length=tfds.ReadConfig().interleave_block_length,
    )
    places = list(read.batch(2**16).as_numpy_iterator())
    return np.concatenate(places) if places else np.zeros(0, np.int64)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset, and those made of it, without TensorFlow's tuning of how much is done at once.

    Here that is fixed; and the thread that tunes would sleep on for up to a minute after the last
    batch, while the program waits for it.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def frame_of(dataset: Dataset, padding: float | None) -> float:
    """How much of a dataset's images to show, as `crops.fit` takes it, for a frame of `padding`."""
    if padding is None or dataset.padding is None:
        return 1.0
    return (1 + 2 * padding) / (1 + 2 * dataset.padding)


@contextlib.contextmanager
def reading(dataset: Dataset) -> Iterator[None]:
    """Where a dataset's records are read: damage within a file, found by its checksums, is named.

    Raises:
        InputError: a record is damaged or its file is gone.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
        raise InputError(
            f"{dataset.directory} is damaged ({first_line(error)}): delete that folder, and give "
            f"the same command with {dataset.name}'s own files: it writes the records anew"
        ) from None


def _read(dataset: Dataset, split: str, decoders: object) -> tf.data.Dataset:
    read = tfds.builder_from_directory(dataset.directory).as_dataset(
        split="+".join(dataset.counts) if split == ALL else split,
        shuffle_files=False,
        decoders=decoders,
        read_config=tfds.ReadConfig(interleave_cycle_length=SHARDS_AT_ONCE, try_autocache=False),
    )
    return untuned(read)
