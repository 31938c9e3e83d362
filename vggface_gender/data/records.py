"""Records to batches of crops and labels.

Every crop leaves here as `uint8` RGB with the side that a network takes, in the frame that the
classifier wants, so that datasets that were cropped more tightly or widely can stand in for each
other.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_datasets as tfds

from vggface_gender.base import labels as label_names
from vggface_gender.base.labels import MISSING
from vggface_gender.data import augmentation
from vggface_gender.data.augmentation import Amounts
from vggface_gender.datasets import Dataset
from vggface_gender.photos import crops

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
        view: None for the crops as they are; a number for crops augmented by `amounts`, where the
            number and a record's place in the split give one picture.

    Returns:
        What `records` gives, in batches, with "image" as (b, size, size, 3) `uint8` RGB.
    """
    frame = frame_of(dataset, padding)

    def decode(places: np.ndarray, jpegs: np.ndarray) -> np.ndarray:
        images = map(crops.decode, jpegs)
        if view is None:
            return np.stack([crops.fit(image, size, frame) for image in images])
        return np.stack(
            [
                augmentation.augment(
                    image, size, frame, amounts, np.random.default_rng([view, place])
                )
                for place, image in zip(places, images, strict=True)
            ]
        )

    def with_crops(places: tf.Tensor, part: dict) -> dict:
        images = tf.numpy_function(decode, [places, part["image"]], tf.uint8, stateful=False)
        return part | {"image": tf.ensure_shape(images, (None, size, size, 3))}

    return (
        records(dataset, split)
        .skip(skip)
        .enumerate(skip)
        .batch(batch)
        .map(with_crops, num_parallel_calls=BATCHES_AT_ONCE, deterministic=True)
        .prefetch(2)
    )


def frame_of(dataset: Dataset, padding: float | None) -> float:
    """How much of a dataset's images to show, as `crops.fit` takes it, for a frame of `padding`."""
    if padding is None or dataset.padding is None:
        return 1.0
    return (1 + 2 * padding) / (1 + 2 * dataset.padding)


def targets(truth: pd.DataFrame, task: str, names: tuple[str, ...]) -> np.ndarray:
    """What a network learns of a task from `labels`: years, or a label's place in `names`.

    A label of a finer taxonomy has the place of its coarser name (see `labels.project`).

    Returns:
        (n,) `float32` years, NaN where missing; or `int32` places, `MISSING` where missing.
    """
    if task == "age":
        return truth.age.to_numpy(np.float32)
    into = label_names.project({label for label in truth[task] if label is not None}, names)
    places = {label: names.index(name) for label, name in into.items() if name is not None}
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


def soft_targets(
    truth: pd.DataFrame, tasks: dict[str, tuple[str, ...]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What a network with several heads learns, and how much each example counts for each of them.

    Returns:
        Per task `float32` targets, one-hot (n, classes) or years (n, 1), and weights (n,): 1, or 0
        where the label is missing, whose target is then 0.
    """
    wanted, known = {}, {}
    for task, names in tasks.items():
        values = targets(truth, task, names)
        if task == "age":
            known[task] = np.isfinite(values)
            wanted[task] = np.where(known[task], values, 0)[:, None].astype(np.float32)
        else:
            known[task] = values != MISSING
            wanted[task] = np.eye(len(names), dtype=np.float32)[np.maximum(values, 0)]
            wanted[task][~known[task]] = 0
    return wanted, {task: mask.astype(np.float32) for task, mask in known.items()}


def jpegs(dataset: Dataset, split: str) -> list[bytes]:
    """A split's images as JPEG bytes, in the order of `labels`.

    They are held in memory, since a training visits them in another order every epoch: UTKFace's
    whole set is 120 MB.
    """
    parts = records(dataset, split).map(lambda record: record["image"]).batch(1024)
    return [jpeg for part in parts.as_numpy_iterator() for jpeg in part]


def read_crops(
    images: list[bytes], frames: np.ndarray, size: int, amounts: Amounts
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """A reader for `training_batches`: JPEGs to augmented crops (b, size, size, 3) `uint8`.

    Args:
        images: n of them.
        frames: (n,), what of each to show, as `crops.fit` takes it.
    """

    def read(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.stack(
            [
                augmentation.augment(crops.decode(images[row]), size, frames[row], amounts, rng)
                for row in rows
            ]
        )

    return read


def read_views(
    views: list[np.ndarray],
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """A reader for `training_batches`: of every row one of its cached views, drawn at random.

    Args:
        views: arrays (n, ...) alike, which may be mapped from files.
    """

    def read(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        drawn = rng.integers(len(views), size=len(rows))
        part = np.empty((len(rows), *views[0].shape[1:]), views[0].dtype)
        for number, view in enumerate(views):
            part[drawn == number] = view[rows[drawn == number]]
        return part

    return read


def training_batches(
    read: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    order: Callable[[int], np.ndarray],
    targets: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    batch: int,
    seed: int,
    first_epoch: int = 0,
    mixup: float = 0.0,
) -> tf.data.Dataset:
    """Epoch after epoch of whole batches without end: (inputs, targets, weights).

    Every batch follows from the seed, its epoch's number and its own place in it.

    Args:
        read: rows and a generator to inputs (b, ...).
        order: an epoch's number to the rows that it visits, one after the other.
        targets, weights: task to n rows, as `soft_targets` gives them.
        batch: examples a batch; what is left over at an epoch's end is left out.
        mixup: strength of `augmentation.mix_up`; 0 for none.
    """
    tasks = list(targets)
    sample = read(order(first_epoch)[:1], np.random.default_rng(0))
    kind = tf.float32 if mixup else tf.as_dtype(sample.dtype)

    def make(epoch: np.ndarray, place: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
        rng = np.random.default_rng([seed, int(epoch), int(place)])
        inputs = read(rows, rng)
        others = {f"target {task}": targets[task][rows] for task in tasks}
        others |= {f"weight {task}": weights[task][rows] for task in tasks}
        if mixup:
            inputs, others = augmentation.mix_up(inputs, others, mixup, rng)
        return [inputs, *others.values()]

    def with_shapes(epoch: tf.Tensor, place: tf.Tensor, rows: tf.Tensor):
        made = tf.numpy_function(
            make, [epoch, place, rows], [kind, *[tf.float32] * 2 * len(tasks)], stateful=False
        )
        inputs = tf.ensure_shape(made[0], (batch, *sample.shape[1:]))
        wanted, known = made[1 : 1 + len(tasks)], made[1 + len(tasks) :]
        return (
            inputs,
            {
                task: tf.ensure_shape(values, (batch, *targets[task].shape[1:]))
                for task, values in zip(tasks, wanted, strict=True)
            },
            {
                task: tf.ensure_shape(values, (batch,))
                for task, values in zip(tasks, known, strict=True)
            },
        )

    def visits(number: tf.Tensor) -> tf.data.Dataset:
        rows = tf.numpy_function(order, [number], tf.int64, stateful=False)
        rows = tf.ensure_shape(rows, (None,))
        parts = tf.data.Dataset.from_tensor_slices(rows).batch(batch, drop_remainder=True)
        return parts.enumerate().map(lambda place, part: (number, place, part))

    return (
        tf.data.Dataset.counter(first_epoch)
        .flat_map(visits)
        .map(with_shapes, num_parallel_calls=BATCHES_AT_ONCE, deterministic=True)
        .prefetch(4)
    )


def fixed_batches(
    inputs: np.ndarray,
    rows: np.ndarray,
    targets: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    batch: int,
) -> tf.data.Dataset:
    """Each of the rows once, in order, in batches (inputs, targets, weights), for validation.

    Args:
        inputs: (n, ...), which may be mapped from a file.
        targets, weights: task to values row by row, as many as `rows`.
    """

    def read(chosen: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(inputs[chosen])

    def examples(chosen: tf.Tensor, wanted: dict, known: dict):
        part = tf.numpy_function(read, [chosen], tf.as_dtype(inputs.dtype), stateful=False)
        return tf.ensure_shape(part, (None, *inputs.shape[1:])), wanted, known

    whole = tf.data.Dataset.from_tensor_slices((rows, targets, weights)).batch(batch)
    return whole.map(examples, num_parallel_calls=2, deterministic=True).prefetch(4)


def with_targets(
    parts: list[tf.data.Dataset], targets: dict[str, np.ndarray], weights: dict[str, np.ndarray]
) -> tf.data.Dataset:
    """Batches of inputs, one dataset after the other, beside the targets and weights of their rows.

    Args:
        parts: each gives batches of inputs, all of one size but the last of each.
        targets, weights: task to the rows of all parts.
    """
    inputs = parts[0]
    for part in parts[1:]:
        inputs = inputs.concatenate(part)
    rows = tf.data.Dataset.from_tensor_slices((targets, weights))
    one_by_one = tf.data.Dataset.zip(inputs.unbatch(), rows)
    batched = one_by_one.batch(64).map(lambda crop, pair: (crop, *pair))
    # What unbatching forgets; without it Keras warns that the input ran out.
    steps = -(-len(next(iter(targets.values()))) // 64)
    return batched.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def log_sheet(dataset: Dataset, split: str, size: int, padding: float | None, folder: Path) -> None:
    """Write a sheet of a split's first crops, 4 rows of 8, for TensorBoard to show."""
    first = next(iter(batches(dataset, split, 32, size, padding)))["image"].numpy()
    log_batch(first, f"crops, {split}", folder)


def log_batch(images: np.ndarray, title: str, folder: Path) -> None:
    """Write the first crops (b, size, size, 3) `uint8` as a sheet, for TensorBoard to show."""
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        tf.summary.image(title, sheet(images[:32], 8)[None])


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Crops (n, size, size, 3) `uint8` side by side in rows: (rows * size, columns * size, 3)."""
    size = images.shape[1]
    rows = -(-len(images) // columns)
    tiles = np.zeros((rows * columns, size, size, 3), np.uint8)
    tiles[: len(images)] = images
    tiles = tiles.reshape(rows, columns, size, size, 3)
    return tiles.swapaxes(1, 2).reshape(rows * size, columns * size, 3)


def log_hparams(settings: dict, figures: dict[str, float], folder: Path) -> None:
    """Write a run's settings and figures where TensorBoard's HParams page compares runs."""
    from tensorboard.plugins.hparams import api

    kinds = (bool, int, float, str)
    flat = {
        key: value if isinstance(value, kinds) else str(value) for key, value in settings.items()
    }
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        api.hparams(flat, trial_id=folder.parent.name)
        for name, value in figures.items():
            tf.summary.scalar(name, value)


def _read(dataset: Dataset, split: str, decoders: object) -> tf.data.Dataset:
    return tfds.builder_from_directory(dataset.directory).as_dataset(
        split=split,
        shuffle_files=False,
        decoders=decoders,
        read_config=tfds.ReadConfig(interleave_cycle_length=SHARDS_AT_ONCE, try_autocache=False),
    )
