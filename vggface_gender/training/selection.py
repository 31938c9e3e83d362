"""What chooses an epoch on validation, and a phase."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import sampling
from vggface_gender.inference import decoding

if TYPE_CHECKING:  # which needs TensorFlow
    from vggface_gender.training.examples import Examples

SMALLEST_GROUP = 30  # faces in validation that a group must have to be the worst


def scorer(
    select: str, model: keras.Model, *, validation: Iterable, held_out: "Examples"
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


def cost(logs: Mapping[str, float]) -> float:
    """What makes one epoch better than another, the less the better: its score, or its loss.

    Args:
        logs: of an epoch, with `val_loss`, and `val_score` where a score chooses.
    """
    return -logs["val_score"] if "val_score" in logs else logs["val_loss"]


def validated(
    model: keras.Model, validation: Iterable, *, score: Callable[[], float] | None
) -> dict[str, float]:
    """What a model reaches on validation, as an epoch's logs have it."""
    loss = model.evaluate(validation, verbose=0, return_dict=True)["loss"]
    return {"val_loss": loss} | ({"val_score": score()} if score else {})


def best(history: pd.DataFrame) -> pd.Series:
    """The row of the epoch whose weights are kept."""
    return history[history.is_best].iloc[-1]


def reached(epoch: Mapping[str, float]) -> str:
    """What an epoch's logs say that it reached on validation, to read."""
    kind = "score" if "val_score" in epoch else "loss"
    return f"{kind} {epoch[f'val_{kind}']:.4f}"


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


def _error(task: str, output: np.ndarray, held_out: "Examples") -> float:
    years = np.asarray(decoding.years(output))
    known = held_out.weights[task] > 0
    return float(np.abs(years - held_out.targets[task][:, 0])[known].mean())
