"""What a training shows in TensorBoard beside Keras's curves: weights, crops, settings."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from vggface_gender.data.sheets import sheet

MOST_VALUES = 10_000  # of a weight that its histogram is drawn of


class Histograms(keras.callbacks.Callback):
    """Writes a histogram of every weight after every epoch.

    Keras's own makes several copies of each weight while it counts, which for VGG-Face's published
    head are gigabytes. Evenly spaced values of a large weight show the same.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self._writer = tf.summary.create_file_writer(str(folder))

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        """Write them."""
        with self._writer.as_default(step=epoch):
            for weight in self.model.weights:
                values = tf.reshape(tf.convert_to_tensor(weight), [-1])
                step = -(-int(values.shape[0]) // MOST_VALUES)
                tf.summary.histogram(weight.path, values[::step])
        self._writer.flush()

    def on_train_end(self, logs=None) -> None:
        """Close the file."""
        self._writer.close()


def log_images(images: np.ndarray, title: str, *, folder: Path) -> None:
    """Write the first crops (b, size, size, 3) `uint8` as a sheet of 8 columns."""
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        tf.summary.image(title, sheet(images[:32], 8)[None])


def log_hparams(settings: Mapping, figures: Mapping[str, float], *, folder: Path) -> None:
    """Write a run's settings and figures where TensorBoard's HParams page compares runs.

    Args:
        settings: a flat dictionary; what is neither number, text nor truth is written as text.
        figures: name to number, such as "test/gender_accuracy".
        folder: the run's TensorBoard folder.
    """
    from tensorboard.plugins.hparams import api

    kinds = (bool, int, float, str)
    flat = {
        key: value if isinstance(value, kinds) else str(value) for key, value in settings.items()
    }
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        api.hparams(flat, trial_id=folder.parent.name)
        for name, value in figures.items():
            tf.summary.scalar(name, value)
