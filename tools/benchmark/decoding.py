"""Decoding and resizing in this package against TensorFlow's functions."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.report import Row
from benchmark.timing import BATCH_SIZE, exhaust, in_turns

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


def measure(paths: Sequence[Path], *, repeats: int) -> list[Row]:
    """Both by CPU time, to the sizes that the two networks take.

    Args:
        paths: JPEG files.
    """
    jpegs = [path.read_bytes() for path in paths]
    return [_row(jpegs, size, repeats) for size in (150, 224)]


def _row(jpegs: Sequence[bytes], size: int, repeats: int) -> Row:
    title = f"crops, {size}"
    sides = (
        lambda: exhaust(with_tensorflow(jpegs, size)),
        lambda: exhaust(with_opencv(jpegs, size)),
    )
    return Row(
        name=title,
        ours=f"crops.decode and crops.fit to {size}x{size}, {len(jpegs):,} JPEGs",
        reference="tf.io.decode_jpeg and tf.image.resize",
        unit="images/CPU s",
        goal="above 1",
        pairs=[
            (len(jpegs) / theirs, len(jpegs) / ours)
            for theirs, ours in in_turns(title, sides, repeats=repeats, clock=time.process_time)
        ],
    )


def with_opencv(jpegs: Sequence[bytes], size: int) -> "Iterator[np.ndarray]":
    """The images as the package decodes them: batches (b, size, size, 3) `uint8`."""
    import numpy as np

    from vggface_gender.photos import crops

    for start in range(0, len(jpegs), BATCH_SIZE):
        part = jpegs[start : start + BATCH_SIZE]
        yield np.stack([crops.fit(crops.decode(jpeg), size) for jpeg in part])


def with_tensorflow(jpegs: Sequence[bytes], size: int) -> "Iterator[np.ndarray]":
    """The same as TensorFlow's own functions in a pipeline of one thread give it."""
    import tensorflow as tf

    def decode(jpeg: "tf.Tensor") -> "tf.Tensor":
        image = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.cast(tf.image.resize(image, (size, size)), tf.uint8)

    pipeline = tf.data.Dataset.from_tensor_slices(jpegs).map(decode)
    return pipeline.batch(BATCH_SIZE).as_numpy_iterator()
