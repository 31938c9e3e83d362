"""Records to batches of crops and labels.

Every crop leaves here as `uint8` RGB with the side that a network takes, in the frame that the
classifier wants, so that datasets that were cropped more tightly or widely can stand in for each
other.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_datasets as tfds

from vggface_gender import crops
from vggface_gender.datasets import Dataset
from vggface_gender.labels import MISSING

SHARDS_AT_ONCE = 4
# More decoding at once takes cores from the network while it computes, and then both lose: on two
# cores, one batch at a time is a tenth faster from records to features than two or four.
BATCHES_AT_ONCE = max(1, (os.cpu_count() or 1) // 2)


def records(dataset: Dataset, split: str) -> tf.data.Dataset:
    """A split's records in a fixed order.

    Args:
        split: "train", "validation" or "test", or a slice such as "train[:20%]".

    Returns:
        Dictionaries of "image", JPEG bytes; "name", "gender", "race" and "subject", strings, empty
        where missing; "age", `float32` years, and "fold", `int32`, -1 where missing.
    """
    return _read(dataset, split, {"image": tfds.decode.SkipDecoding()})


def labels(dataset: Dataset, split: str) -> pd.DataFrame:
    """A split's labels without its images, in the order of `records`.

    Returns:
        Columns name, gender, race, subject (text) and age (years); what is missing is None or NaN.
    """
    columns = ("name", "gender", "race", "subject", "age")
    wanted = _read(dataset, split, tfds.decode.PartialDecoding(dict.fromkeys(columns, True)))
    parts = list(wanted.batch(1024).as_numpy_iterator())
    table = {c: np.concatenate([part[c] for part in parts]) for c in columns}
    for column in columns[:-1]:
        table[column] = pd.Series([text.decode() or None for text in table[column]], dtype=object)
    frame = pd.DataFrame(table)
    return frame.assign(age=frame.age.where(frame.age >= 0))


def batches(
    dataset: Dataset,
    split: str,
    batch: int,
    size: int,
    padding: float | None = None,
    skip: int = 0,
) -> tf.data.Dataset:
    """A split's records in a fixed order and in batches, their images decoded to crops.

    Args:
        size: the crops' side in pixels.
        padding: the frame wanted, as `dlib.get_face_chip`'s padding. A dataset whose crops show
            less is widened by repeating its border, one that shows more is cut. None, or a dataset
            whose frame is not known: as it is.
        skip: how many records to leave out at the start.

    Returns:
        What `records` gives, in batches, with "image" as (b, size, size, 3) `uint8` RGB.
    """
    frame = 1.0
    if padding is not None and dataset.padding is not None:
        frame = (1 + 2 * padding) / (1 + 2 * dataset.padding)

    def decode(jpegs: np.ndarray) -> np.ndarray:
        return np.stack([crops.fit(crops.decode(jpeg), size, frame) for jpeg in jpegs])

    def with_crops(part: dict) -> dict:
        images = tf.numpy_function(decode, [part["image"]], tf.uint8, stateful=False)
        return part | {"image": tf.ensure_shape(images, (None, size, size, 3))}

    return (
        records(dataset, split)
        .skip(skip)
        .batch(batch)
        .map(with_crops, num_parallel_calls=BATCHES_AT_ONCE, deterministic=True)
        .prefetch(2)
    )


def targets(truth: pd.DataFrame, task: str, names: tuple[str, ...]) -> np.ndarray:
    """What a network learns of a task from `labels`: years, or a label's place in `names`.

    Returns:
        (n,) `float32` years, NaN where missing; or `int32` places, `MISSING` where missing.
    """
    if task == "age":
        return truth.age.to_numpy(np.float32)
    places = {name: place for place, name in enumerate(names)}
    return np.array([places.get(label, MISSING) for label in truth[task]], np.int32)


def feature_batches(
    features: np.ndarray,
    targets: dict[str, np.ndarray],
    batch: int,
    rows: np.ndarray,
    seed: int | None = None,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Batches of features and targets, read from disk as they are needed.

    Args:
        features: (n, ...) `float32`, which may be mapped from a file.
        targets: task to n values.
        rows: which of the n to use.
        seed: None gives the rows once, in order; a seed gives epoch after epoch without end, each
            in an order that follows from the seed and the epoch's number.
        first_epoch: the number of the first epoch given.
    """

    def read(chosen: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(features[chosen])

    def examples(chosen: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        part = tf.numpy_function(read, [chosen], tf.float32, stateful=False)
        part = tf.ensure_shape(part, (None, *features.shape[1:]))
        return part, {task: tf.gather(values, chosen) for task, values in held.items()}

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        mixed = tf.random.experimental.stateless_shuffle(rows, seed=tf.stack([seed, number]))
        return tf.data.Dataset.from_tensor_slices(mixed).batch(batch)

    held = {task: tf.constant(values) for task, values in targets.items()}
    if seed is None:
        order = tf.data.Dataset.from_tensor_slices(rows).batch(batch)
    else:
        order = tf.data.Dataset.counter(first_epoch).flat_map(epoch)
    return order.map(examples, num_parallel_calls=2, deterministic=True).prefetch(4)


def log_sheet(dataset: Dataset, split: str, size: int, padding: float | None, folder: Path) -> None:
    """Write a sheet of a split's first crops, 4 rows of 8, for TensorBoard to show."""
    rows, columns = 4, 8
    first = next(iter(batches(dataset, split, rows * columns, size, padding)))["image"].numpy()
    tiles = np.zeros((rows * columns, size, size, 3), np.uint8)
    tiles[: len(first)] = first
    tiles = tiles.reshape(rows, columns, size, size, 3)
    sheet = tiles.swapaxes(1, 2).reshape(1, rows * size, columns * size, 3)
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        tf.summary.image(f"crops, {split}", sheet)


def _read(dataset: Dataset, split: str, decoders: object) -> tf.data.Dataset:
    return tfds.builder_from_directory(dataset.directory).as_dataset(
        split=split,
        shuffle_files=False,
        decoders=decoders,
        read_config=tfds.ReadConfig(interleave_cycle_length=SHARDS_AT_ONCE, try_autocache=False),
    )
