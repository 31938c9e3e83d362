"""Batches that a network is trained and validated on: inputs, targets and weights.

What reads the inputs is a function of rows and a generator of random numbers, so that crops that
are decoded and augmented, and features that lie in a cache, are batched alike.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from vggface_gender.data import augmentation
from vggface_gender.data.augmentation import Amounts
from vggface_gender.data.features_file import FeaturesFile
from vggface_gender.data.records import BATCHES_AT_ONCE, untuned
from vggface_gender.photos import crops

Reader = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # rows to inputs (b, ...)


def read_crops(
    images: Sequence[bytes], frames: np.ndarray, *, size: int, amounts: Amounts | None = None
) -> Reader:
    """A reader of crops (b, size, size, 3) `uint8` RGB.

    Args:
        images: n JPEG files' bytes.
        frames: (n,), what of each to show, as `crops.fit` takes it.
        amounts: of augmentation; None for the crops as they are evaluated.
    """

    def read(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        decoded = (crops.decode(images[row]) for row in rows)
        if amounts is None:
            made = [
                crops.fit(image, size, frame=frames[row])
                for image, row in zip(decoded, rows, strict=True)
            ]
        else:
            made = [
                augmentation.augment(image, size, frame=frames[row], amounts=amounts, rng=rng)
                for image, row in zip(decoded, rows, strict=True)
            ]
        return np.stack(made)

    return read


def read_features(
    views: Sequence[Sequence[np.ndarray | FeaturesFile]], *, part: np.ndarray, row: np.ndarray
) -> Reader:
    """A reader of cached features: of every example one of its views, drawn at random.

    Nothing is read but what is asked for.

    Args:
        views: for each view, features (m, ...) for each dataset of a mix.
        part, row: (n,): the dataset that an example is of, and its row there.
    """
    first = views[0][0]

    def read(examples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        drawn = rng.integers(len(views), size=len(examples))
        inputs = np.empty((len(examples), *first.shape[1:]), first.dtype)
        for number, arrays in enumerate(views):
            for place, array in enumerate(arrays):
                chosen = (drawn == number) & (part[examples] == place)
                inputs[chosen] = array[row[examples[chosen]]]
        return inputs

    return read


def training_batches(
    read: Reader,
    order: Callable[[int], np.ndarray],
    *,
    targets: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    mixup: float = 0.0,
    drop_remainder: bool = True,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Epoch after epoch of batches without end: (inputs, targets, weights).

    Every batch follows from the seed, its epoch's number and its own place in it; a part of one
    also from which part it is.

    Args:
        order: an epoch's number to the rows that it visits, one after the other.
        targets, weights: task to n rows (see `targets.targets`).
        mixup: strength of `augmentation.mix_up`; 0 for none.
        drop_remainder: leave out an epoch's last batch where it is not full.
        share: which part of each batch is given, from 0, and of how many, as several hosts share
            it; a batch of fewer rows than there are parts leaves some empty.
    """
    part, parts = share
    tasks = list(targets)
    sample = read(order(first_epoch)[:1], np.random.default_rng(0))
    kind = tf.float32 if mixup else tf.as_dtype(sample.dtype)
    length = batch_size if drop_remainder and parts == 1 else None

    def make(epoch: np.ndarray, place: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
        rng = np.random.default_rng([seed, int(epoch), int(place), *([part] if part else [])])
        rows = np.array_split(rows, parts)[part]
        inputs = read(rows, rng)
        others = {f"target {task}": targets[task][rows] for task in tasks}
        others |= {f"weight {task}": weights[task][rows] for task in tasks}
        if mixup:
            inputs, others = augmentation.mix_up(inputs, others, strength=mixup, rng=rng)
        return [inputs, *others.values()]

    def with_shapes(epoch: tf.Tensor, place: tf.Tensor, rows: tf.Tensor):
        inputs, *others = tf.numpy_function(
            make, [epoch, place, rows], [kind, *[tf.float32] * 2 * len(tasks)], stateful=False
        )
        shapes = [targets[task].shape[1:] for task in tasks] + [()] * len(tasks)
        others = [
            tf.ensure_shape(values, (length, *shape))
            for values, shape in zip(others, shapes, strict=True)
        ]
        return (
            tf.ensure_shape(inputs, (length, *sample.shape[1:])),
            dict(zip(tasks, others[: len(tasks)], strict=True)),
            dict(zip(tasks, others[len(tasks) :], strict=True)),
        )

    def visits(number: tf.Tensor) -> tf.data.Dataset:
        rows = tf.numpy_function(lambda n: order(int(n)), [number], tf.int64, stateful=False)
        rows = tf.ensure_shape(rows, (None,))
        whole = tf.data.Dataset.from_tensor_slices(rows).batch(batch_size, drop_remainder)
        return whole.enumerate().map(lambda place, rows: (number, place, rows))

    return (
        untuned(tf.data.Dataset.counter(first_epoch))
        .flat_map(visits)
        .map(with_shapes, num_parallel_calls=BATCHES_AT_ONCE, deterministic=True)
        .prefetch(4)
    )


def fixed_batches(
    read: Reader,
    *,
    targets: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    batch_size: int,
) -> tf.data.Dataset:
    """Every example once, in order, in batches (inputs, targets, weights), for validation.

    Args:
        read: takes rows; draws nothing at random.
        targets, weights: task to n rows (see `targets.targets`).
    """
    rng = np.random.default_rng(0)
    sample = read(np.zeros(1, np.int64), rng)

    def examples(rows: tf.Tensor, wanted: dict, known: dict):
        inputs = tf.numpy_function(
            lambda rows: read(rows, rng), [rows], tf.as_dtype(sample.dtype), stateful=False
        )
        return tf.ensure_shape(inputs, (None, *sample.shape[1:])), wanted, known

    count = len(next(iter(targets.values())))
    rows = np.arange(count, dtype=np.int64)
    whole = tf.data.Dataset.from_tensor_slices((rows, dict(targets), dict(weights)))
    return (
        untuned(whole)
        .batch(batch_size)
        .map(examples, num_parallel_calls=BATCHES_AT_ONCE, deterministic=True)
        .prefetch(2)
    )
