"""Heads on frozen features, the way that scikit-learn has it: `fit`, `predict`, `predict_proba`."""

import functools
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from vggface_gender.api import model
from vggface_gender.base import readings
from vggface_gender.base.errors import InputError


class FaceClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of face crops: logistic regression on a frozen network's features.

    Trained in seconds, without TensorFlow, as a scikit-learn estimator: it goes into
    `cross_val_score` and `GridSearchCV`. What `vggface-gender transfer` trains has more to it.

    >>> from vggface_gender import FaceClassifier
    >>> crops = np.random.default_rng(0).integers(0, 255, (8, 40, 40, 3), np.uint8)
    >>> trained = FaceClassifier(task="gender").fit(crops, ["f", "m"] * 4)
    >>> trained.predict_proba(crops).shape
    (8, 2)

    Args:
        task: "gender" or "race": labels that are none of that task's are refused, as in a table,
            and so are two spellings of one ("f" and "female"); None for labels of any kind.
        run: the run whose network gives the features; by default that of the classifier that comes
            with the package.
        C: the inverse of the regularization's strength, as scikit-learn's.
        class_weight: None, or "balanced", as scikit-learn's.
        max_iter: of the solver.
    """

    def __init__(
        self,
        task: str | None = None,
        *,
        run: str | None = None,
        C: float = 0.01,
        class_weight: str | None = None,
        max_iter: int = 1000,
    ):
        self.task = task
        self.run = run
        self.C = C
        self.class_weight = class_weight
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any) -> Self:
        """Train the head.

        Args:
            X: crops (n, h, w, 3) `uint8` RGB `[0, 255]`, framed as the network expects them.
            y: (n,) labels.

        Raises:
            InputError: X is no such array, a label is not understood, or there is only one.
        """
        labels = np.asarray(y)
        self._check(labels)
        crops = np.asarray(X)
        if len(crops) != len(labels):
            raise InputError(f"{len(crops)} crops and {len(labels)} labels: give as many")
        if not len(labels):
            raise InputError("no crops: a classifier needs some of each class")
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise InputError(f"only one class, {self.classes_[0]}: a classifier needs two")
        features = self._features(crops)
        self.n_features_in_ = features.shape[1]
        self.head_ = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=self.C, class_weight=self.class_weight, max_iter=self.max_iter),
        ).fit(features, labels)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes), columns as `classes_`, of crops as `fit` takes them."""
        check_is_fitted(self)
        features = self._features(np.asarray(X))
        if not len(features):  # which scikit-learn refuses
            return np.zeros((0, len(self.classes_)))
        return self.head_.predict_proba(features)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable labels (n,) of crops as `fit` takes them."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_tags__(self) -> Tags:
        """scikit-learn's: X is a batch of images, no table."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def _features(self, crops: np.ndarray) -> np.ndarray:
        return _model(self.run).classifier.embed(crops)

    def _check(self, labels: np.ndarray) -> None:
        """Refuse labels that are none of the task's, or are spelt in two ways."""
        if self.task is None:
            return
        if self.task not in ("gender", "race"):
            raise InputError(f"no task {self.task} of labels: give gender or race, or None")
        reading = readings.READINGS[self.task]
        spelt: dict[str, str] = {}
        for label in map(str, np.unique(labels)):
            read = reading.read(label)
            if read is None:
                raise InputError(readings.refusal(self.task, label, reading=reading))
            understood = str(read)
            if other := spelt.get(understood):
                raise InputError(f"{other!r} and {label!r} are both {understood}: spell it one way")
            spelt[understood] = label


@functools.lru_cache(maxsize=2)
def _model(run: str | None) -> model.Model:
    """A run's model, read once: estimators are cloned and pickled often."""
    return model.load(run)
