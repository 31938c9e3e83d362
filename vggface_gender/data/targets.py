"""What a network learns of labels: numbers, and weights of 0 where a label is missing."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vggface_gender.base import labels
from vggface_gender.base.labels import MISSING
from vggface_gender.base.tasks import TASKS


def indices(truth: pd.DataFrame, task: str, *, names: tuple[str, ...]) -> np.ndarray:
    """Each label's place in a classifier's names.

    A label of a finer taxonomy has the place of its coarser name (see `labels.project`).

    Args:
        truth: see `records.labels`.
        names: the classifier's.

    Returns:
        (n,) `int32`, `MISSING` where there is no label, or none that `names` has a place for.
    """
    into = labels.project({label for label in truth[task] if label is not None}, names)
    places = {label: names.index(name) for label, name in into.items() if name is not None}
    return np.array([places.get(label, MISSING) for label in truth[task]], np.int32)


def targets(
    truth: pd.DataFrame, tasks: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What a network's heads learn, and how much each example counts for each of them.

    Args:
        truth: see `records.labels`.
        tasks: task to label names, () for age.

    Returns:
        Per task `float32` targets, one-hot (n, classes) or years (n, 1), and weights (n,): 1, or 0
        where the label is missing, whose target is then 0.
    """
    wanted, known = {}, {}
    for task, names in tasks.items():
        if TASKS[task].is_classification:
            places = indices(truth, task, names=names)
            known[task] = places != MISSING
            wanted[task] = np.eye(len(names), dtype=np.float32)[np.maximum(places, 0)]
            wanted[task][~known[task]] = 0
        else:
            years = truth[task].to_numpy(np.float32)
            known[task] = np.isfinite(years)
            wanted[task] = np.where(known[task], years, 0)[:, None].astype(np.float32)
    return wanted, {task: mask.astype(np.float32) for task, mask in known.items()}
