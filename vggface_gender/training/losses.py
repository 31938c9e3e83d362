"""What several heads are trained with: losses and metrics whose examples may lack a label.

Targets and weights are those of `records.soft_targets`: an example whose label is missing
has the weight 0, so it adds nothing to the task's loss or metric.
"""

from collections.abc import Callable, Mapping

import keras
from keras import ops

from vggface_gender.training import heads

AGE_DEVIATION = 2.5  # years: how sharply an annotated age is believed
_YEARS_SHARE = 0.1  # of the absolute error, in years, beside the distribution's cross-entropy


def compile(
    model: keras.Model,
    optimizer: keras.Optimizer,
    task_weights: Mapping[str, float],
    smoothing: float = 0.0,
) -> None:
    """Give the model each task's loss and metrics by what its output is.

    Args:
        model: its output is a dictionary by task, as `heads.shared` gives it.
        task_weights: what each task's loss counts for; 1 where a task is not named.
        smoothing: of gender's and race's labels (Szegedy et al. 2016).
    """
    tasks = {task: tuple(output.shape[1:]) for task, output in model.output.items()}
    model.compile(
        optimizer,
        loss={task: _loss(task, shape, smoothing) for task, shape in tasks.items()},
        loss_weights={task: float(task_weights.get(task, 1.0)) for task in tasks},
        weighted_metrics={task: [_metric(task, shape)] for task, shape in tasks.items()},
        jit_compile=False,  # XLA is slower on processors
    )


def years(output: keras.KerasTensor) -> keras.KerasTensor:
    """Years (b,) from any output of an age head: a distribution, a Laplace pair, or years."""
    if len(output.shape) == 1:
        return output
    if output.shape[-1] == len(heads.AGES):
        return ops.sum(output * heads.AGES, axis=-1)
    return output[:, 0]


def age_distribution(true: keras.KerasTensor, output: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy with a normal distribution around the true year, and the mean's error.

    The distribution is that of label distribution learning (Gao et al. 2017, arXiv:1611.01731).

    Args:
        true: (b, 1) years.
        output: (b, 117) probabilities of `heads.AGES`.

    Returns:
        (b,).
    """
    true = ops.reshape(true, (-1, 1))
    density = ops.exp(-0.5 * ops.square((heads.AGES - true) / AGE_DEVIATION))
    target = density / ops.sum(density, axis=-1, keepdims=True)
    entropy = -ops.sum(target * ops.log(ops.maximum(output, keras.config.epsilon())), axis=-1)
    return entropy + _YEARS_SHARE * _age_error(true, output)


def age_laplace(true: keras.KerasTensor, output: keras.KerasTensor) -> keras.KerasTensor:
    """-ln of Laplace's density, whose scale is the uncertainty (Kendall and Gal 2017).

    Args:
        true: (b, 1) years.
        output: (b, 2): years and ln of the scale in years.

    Returns:
        (b,).
    """
    log_scale = ops.clip(output[:, 1], -3.0, 5.0)  # a twentieth of a year to 150 years
    return _age_error(true, output) * ops.exp(-log_scale) + log_scale + ops.log(2.0)


def _age_error(true: keras.KerasTensor, output: keras.KerasTensor) -> keras.KerasTensor:
    return ops.abs(years(output) - ops.reshape(true, (-1,)))


def _loss(task: str, shape: tuple[int, ...], smoothing: float) -> keras.losses.Loss | Callable:
    if task != "age":
        return keras.losses.CategoricalCrossentropy(label_smoothing=smoothing, name=task)
    return {(len(heads.AGES),): age_distribution, (2,): age_laplace}.get(shape, _age_error)


def _metric(task: str, shape: tuple[int, ...]) -> keras.metrics.Metric:
    if task != "age":
        return keras.metrics.CategoricalAccuracy(name="accuracy")
    return keras.metrics.MeanMetricWrapper(_age_error, name="mae")
