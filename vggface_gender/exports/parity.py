"""How far an exported classifier's answers are from the classifier's own, on the same crops."""

from typing import NamedTuple

import numpy as np

from vggface_gender.base.tasks import TASKS
from vggface_gender.inference.interface import Answering

# What an export may differ by: of probabilities, and in years.
TOLERANCE = {task.name: 1e-4 if task.is_classification else 0.01 for task in TASKS.values()}


class Difference(NamedTuple):
    """How far two classifiers' answers of one task are apart."""

    largest: float  # of any probability, or in years
    relabelled: int  # faces whose most probable label is another
    faces: int

    @classmethod
    def of(cls, task: str, one: np.ndarray, other: np.ndarray) -> "Difference":
        """That of two classifiers' outputs for the same faces: (n, classes), or of age (n,)."""
        relabelled = 0
        if TASKS[task].is_classification:
            relabelled = int((one.argmax(axis=1) != other.argmax(axis=1)).sum())
        return cls(float(np.abs(one - other).max(initial=0)), relabelled, len(one))

    def is_within(self, tolerance: float) -> bool:
        """Whether no label changed and no answer is further off; a NaN is not within."""
        return self.relabelled == 0 and self.largest <= tolerance


def differences(one: Answering, other: Answering, *, crops: np.ndarray) -> dict[str, Difference]:
    """The differences of two classifiers' answers, by task.

    Args:
        crops: as `Answering.predict` takes them.
    """
    ours, theirs = one.predict(crops), other.predict(crops)
    return {task: Difference.of(task, ours[task], theirs[task]) for task in ours}
