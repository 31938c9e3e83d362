"""What chooses an epoch on validation, where that is not the least loss."""

from collections.abc import Callable, Iterable

import keras
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import sampling
from vggface_gender.inference import decoding
from vggface_gender.training.examples import Examples

SMALLEST_GROUP = 30  # faces in validation that a group must have to be the worst


def scorer(
    select: str, model: keras.Model, *, validation: Iterable, held_out: Examples
) -> Callable[[], float] | None:
    """A function that gives what is to be greatest on validation; None for the least loss.

    Args:
        select: "loss"; "balanced-accuracy", the mean of the labels' recalls; or "worst-group", the
            least accuracy of a gender x race group. Of several tasks their mean; where only ages
            are learned, the mean absolute error, negated.
        validation: batches of the examples in `held_out`.
    """
    if select == "loss":
        return None
    groups = sampling.groups(held_out.truth, "gender+race")

    def score() -> float:
        outputs = model.predict(validation, verbose=0)
        tasks = [task for task in outputs if TASKS[task].is_classification]
        if not tasks:
            return -float(np.mean([_error(task, outputs[task], held_out) for task in outputs]))
        values = []
        for task in tasks:
            true = held_out.targets[task].argmax(axis=1)
            right = outputs[task].argmax(axis=1) == true
            known = held_out.weights[task] > 0
            if select == "worst-group":
                values.append(worst(right[known], groups[known]))
            else:
                values.append(
                    np.mean([right[known & (true == one)].mean() for one in set(true[known])])
                )
        return float(np.mean(values))

    return score


def worst(right: np.ndarray, groups: np.ndarray) -> float:
    """The least accuracy of a group of `SMALLEST_GROUP` faces or more.

    Args:
        right: (n,) truths.
        groups: (n,) names, None where there is none.

    Raises:
        InputError: there is no such group.
    """
    accuracies = [
        right[groups == one].mean()
        for one in set(groups) - {None}
        if (groups == one).sum() >= SMALLEST_GROUP
    ]
    if not accuracies:
        raise InputError(
            f"no gender x race group has {SMALLEST_GROUP} faces in validation: "
            "select by balanced-accuracy"
        )
    return float(min(accuracies))


def _error(task: str, output: np.ndarray, held_out: Examples) -> float:
    years = np.asarray(decoding.years(output))
    known = held_out.weights[task] > 0
    return float(np.abs(years - held_out.targets[task][:, 0])[known].mean())
