"""What answers need of a classifier, be it on Keras or on ONNX Runtime."""

from typing import Protocol

import numpy as np


class Answering(Protocol):
    """A model from crops to answers."""

    def predict(self, crops: np.ndarray, *, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Answers for crops.

        Args:
            crops: (n, h, w, 3) RGB in `[0, 255]`, any number of them, of one size. Where they are
                not square, their central squares are classified.
            batch_size: crops in a forward pass, at most.

        Returns:
            `float32` (n, classes) probabilities for gender and race, (n,) years for age.

        Raises:
            InputError: the crops are not such (see `arrays.crops`), or an output is no number.
        """


class Predictor(Answering, Protocol):
    """A model from crops to answers, with what has to be known to use it.

    `inference.classifier.Classifier` is one on Keras, `inference.onnx_classifier.OnnxClassifier`
    one on ONNX Runtime; both give the same answers.
    """

    @property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        """Task to the names of its outputs; () for age."""

    @property
    def size(self) -> int:
        """The crop's side in pixels that the network works at."""

    @property
    def padding(self) -> float:
        """The crops' frame, as `dlib.get_face_chip`'s padding."""

    @property
    def about(self) -> dict:
        """Backbone, dataset and how its crops were aligned, for people."""

    def embed(self, crops: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """The features (n, d) `float32` that the head works on; crops are as in `predict`."""
