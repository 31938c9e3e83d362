"""What a training shows in TensorBoard: curves, weights, crops, settings beside figures.

What `evaluation.board` shows of every test stands beside it. TensorFlow is imported where crops
and settings are written, not for the curves: these are a training's on any backend of Keras.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vggface_gender.base import files
from vggface_gender.data.sheets import sheet
from vggface_gender.training.config import flattened

MOST_VALUES = 10_000  # of a weight that its histogram is drawn of
# Settings that say what the data or other classifiers were, which no two runs are compared by.
FACTS = ("fingerprint", "counts", "labels", "init_weights", "before", "teachers")


class Curves(keras.callbacks.Callback):
    """Writes an epoch's logs as curves, and a histogram of every weight, at the epoch's number.

    In place of Keras's own callback, which makes several copies of each weight while it counts, of
    VGG-Face's published head gigabytes, where evenly spaced values show the same; and which keeps
    an epoch's numbers in memory for minutes, so that a kill loses them. Here they are in the file
    before the epoch's checkpoint is; a resumed training removes what comes after the checkpoint.
    """

    def __init__(self, folder: Path, *, done: int = 0):
        """Begin the files.

        Args:
            folder: of the phase; what was trained on goes to `train` in it, what was validated to
                `validation`.
            done: epochs before a resumed training; what there is of later ones is removed.
        """
        super().__init__()
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        places = {part: folder / part for part in ("train", "validation")}
        for place in places.values():
            _keep_until(done, place)
        self._writers = {part: EventFileWriter(str(place)) for part, place in places.items()}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write them."""
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            tag = f"epoch_{name.removeprefix('val_')}"
            self._add(part, epoch + 1, summary=scalar_pb(tag, float(value)))
        for weight in self.model.weights:
            values = keras.ops.reshape(weight, (-1,))
            step = -(-int(values.shape[0]) // MOST_VALUES)
            sample = keras.ops.convert_to_numpy(keras.ops.cast(values[::step], "float32"))
            self._add("train", epoch + 1, summary=histogram_pb(weight.path, sample))
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()

    def _add(self, part: str, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writers[part].add_event(Event(step=step, wall_time=time.time(), **content))


def _keep_until(step: int, folder: Path) -> None:
    """Remove the events of later steps from a folder, if it is there."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    if not folder.is_dir():
        return
    with files.whole(folder, replace=True) as part:
        writer = EventFileWriter(str(part))
        for path in sorted(folder.glob("events*")):
            for content in RawEventFileLoader(str(path)).Load():
                event = Event.FromString(content)
                if event.HasField("summary") and event.step <= step:
                    writer.add_event(event)
        writer.close()


def log_images(images: np.ndarray, title: str, *, folder: Path) -> None:
    """Write the first crops (b, size, size, 3) `uint8` as a sheet of 8 columns.

    Args:
        folder: of these alone; what a training that was killed wrote there is replaced.
    """
    import tensorflow as tf

    from vggface_gender.evaluation import board

    with board.anew(folder):
        tf.summary.image(title, sheet(images[:32], 8)[None])


def log_hparams(
    settings: Mapping, figures: Mapping[str, float], *, folder: Path, name: str
) -> None:
    """Write a run's settings and figures where TensorBoard's HParams page compares runs.

    Args:
        settings: of the training; those of several numbers, such as `augment`, become one each.
        figures: name to number, such as "test/gender_accuracy".
        folder: of these alone; what is there is replaced.
        name: the run's; of two runs with one name the page shows the mean.
    """
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    from vggface_gender.evaluation import board

    varying = {key: value for key, value in settings.items() if key not in FACTS}
    flat = {
        key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for key, value in flattened(varying).items()
    }
    with board.anew(folder):
        api.hparams(flat, trial_id=name)
        for figure, value in figures.items():
            tf.summary.scalar(figure, value)
