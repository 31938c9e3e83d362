"""A classifier as TensorFlow's SavedModel and as LiteRT's flat file.

SavedModels are for TensorFlow Serving (https://www.tensorflow.org/tfx/guide/serving), LiteRT's
files for phones and small machines (https://ai.google.dev/edge/litert).
"""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from vggface_gender.base import console, contract, files
from vggface_gender.inference import arrays, classifier
from vggface_gender.inference.classifier import Classifier

VERSION = "1"  # the folder within a SavedModel's that TensorFlow Serving looks for


@dataclass(frozen=True)
class Exported:
    """An exported file, read back: see `inference.interface.Answering`."""

    answer: Callable[[np.ndarray], dict[str, np.ndarray]]  # of a batch of crops, float32
    tasks: tuple[str, ...]

    def predict(self, crops: np.ndarray, *, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Answers for crops: see `inference.interface.Answering`."""
        crops = arrays.crops(crops).astype(np.float32)
        parts = [
            self.answer(crops[start : start + batch_size])
            for start in range(0, len(crops), batch_size)
        ]
        return {task: np.concatenate([part[task] for part in parts]) for task in self.tasks}


def save_saved_model(trained: Classifier, folder: str | os.PathLike) -> Exported:
    """Write a classifier as a SavedModel, whole or not at all; returns it read back.

    The folder is laid out as TensorFlow Serving wants it: `1/` holds the model, and its contract is
    `1/assets.extra/classifier.json`. Crops are `float32` (batch, height, width, 3) in `[0, 255]`.

    Args:
        trained: loaded in `float32`.
    """
    with files.whole(folder, replace=True) as part:
        with _quiet():
            _called(trained).export(part / VERSION, verbose=False)
        extra = part / VERSION / "assets.extra"
        extra.mkdir()
        files.write_json(classifier.described(trained), extra / contract.NAME)
    served = tf.saved_model.load(str(Path(folder, VERSION)))
    return _read_back(trained, lambda crops: served.serve(tf.constant(crops)))


def save_litert(
    trained: Classifier, path: str | os.PathLike, *, calibration: Iterable[np.ndarray] | None = None
) -> Exported:
    """Write a classifier as LiteRT's file, whole or not at all; returns it read back.

    It takes one crop at a time, `float32` (1, size, size, 3) in `[0, 255]`, of the classifier's own
    size.

    Args:
        trained: loaded in `float32`.
        calibration: crops (size, size, 3) `uint8`, some hundred, by which the ranges of 8-bit
            integers are set; None to compute in `float32`.
    """
    path = Path(path)
    crop = keras.Input((trained.size, trained.size, 3), batch_size=1, name="crop")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        keras.Model(crop, trained.model(crop)).export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if calibration is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [each[None].astype(np.float32)] for each in calibration
            )
        content = converter.convert()
    with files.whole(path) as part:
        part.write_bytes(content)
    with _quiet():
        interpreter = tf.lite.Interpreter(str(path))
        runner = interpreter.get_signature_runner()

    def answer(crops: np.ndarray) -> dict[str, np.ndarray]:
        each = [runner(crop=crop[None]) for crop in crops]
        return {task: np.concatenate([one[task] for one in each]) for task in trained.tasks}

    return _read_back(trained, answer)


def _called(trained: Classifier) -> keras.Model:
    trained.model(np.zeros((1, trained.size, trained.size, 3), np.float32))  # Keras asks for it
    return trained.model


def _read_back(trained: Classifier, answer: Callable) -> Exported:
    def in_arrays(crops: np.ndarray) -> dict[str, np.ndarray]:
        return {task: np.asarray(each) for task, each in answer(crops).items()}

    return Exported(in_arrays, tuple(trained.tasks))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep from people what converters say of themselves."""
    with warnings.catch_warnings(), console.silenced():
        warnings.simplefilter("ignore")
        yield
