"""From what heads give, logits, to what people read: probabilities and years.

Every function works on Keras's symbolic tensors, TensorFlow's and NumPy's alike.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from vggface_gender.base import labels
from vggface_gender.base.tasks import TASKS

AGES = np.arange(labels.AGE_BANDS[-1][1] + 1, dtype=np.float32)  # years that a distribution is over


def years(output: keras.KerasTensor) -> keras.KerasTensor:
    """Years (b,) from any output of an age head.

    >>> years(np.array([[31.0, 2.0]])).tolist()
    [31.0]

    Args:
        output: logits over `AGES` (b, 117), whose probabilities' mean is the age (Rothe et al.
            2015, "DEX"); or years and the logarithm of their scale (b, 2); or years (b, 1).
    """
    if output.shape[-1] == len(AGES):
        return ops.matmul(ops.softmax(output), AGES[:, None])[:, 0]
    return output[:, 0]


def answers(
    views: Sequence[Mapping[str, keras.KerasTensor]],
    temperatures: Mapping[str, float],
) -> dict[str, keras.KerasTensor]:
    """Probabilities (b, classes), or years (b,), from a head's outputs for each view of a crop.

    Several views' probabilities are averaged, then tempered: their logarithms are divided by the
    task's temperature, which changes no predicted label, only its confidence (Guo et al. 2017,
    arXiv:1706.04599). Several views' years are averaged.

    Args:
        views: each a head's output: task to logits (b, classes), or what `years` takes.
        temperatures: task to number; 1 where it is not named.
    """
    logits = pooled(views)
    return {
        task: ops.softmax(logits[task] / temperatures.get(task, 1.0))
        if TASKS[task].is_classification
        else sum(years(view[task]) for view in views) / len(views)
        for task in views[0]
    }


def pooled(views: Sequence[Mapping[str, keras.KerasTensor]]) -> dict[str, keras.KerasTensor]:
    """Each classification task's logits (b, classes): of several views, of their mean probability.

    Args:
        views: see `answers`.
    """
    tasks = [task for task in views[0] if TASKS[task].is_classification]
    if len(views) == 1:
        return {task: views[0][task] for task in tasks}
    return {
        task: ops.logsumexp(ops.stack([ops.log_softmax(view[task]) for view in views]), axis=0)
        for task in tasks
    }
