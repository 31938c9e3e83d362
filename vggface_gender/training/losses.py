"""What heads are trained with: losses and metrics of logits, whose examples may lack a label.

Targets and weights are those of `data.targets`: an example whose label is missing has the weight 0,
so it adds nothing to the task's loss or metric.
"""

from collections.abc import Callable, Mapping

import keras
from keras import ops

from vggface_gender.base.tasks import TASKS
from vggface_gender.inference.decoding import AGES, years

AGE_DEVIATION = 2.5  # years: how sharply an annotated age is believed
_YEARS_SHARE = 0.1  # of the absolute error, in years, beside the distribution's cross-entropy


def compile(
    model: keras.Model,
    optimizer: keras.Optimizer,
    *,
    weights: Mapping[str, float],
    label_smoothing: float = 0.0,
) -> None:
    """Give the model each task's loss and metrics by what its output is.

    Args:
        model: its output is a dictionary by task, as `heads.build` gives it.
        weights: what each task's loss counts for; 1 where a task is not named.
        label_smoothing: of classification (Szegedy et al. 2016).
    """
    sizes = {task: output.shape[-1] for task, output in model.output.items()}
    model.compile(
        optimizer,
        loss={task: _loss(task, size, label_smoothing) for task, size in sizes.items()},
        loss_weights={task: float(weights.get(task, 1.0)) for task in sizes},
        weighted_metrics={task: [_metric(task)] for task in sizes},
        jit_compile=False,  # XLA is slower on processors
    )
    _make_variables(model)


def _make_variables(model: keras.Model) -> None:
    """Make the optimizer's and the losses' own variables, which a first step would make.

    TensorFlow traces a step that makes variables twice, which takes seconds.
    """
    model.optimizer.build(model.trainable_variables)
    sizes = {task: output.shape[-1] for task, output in model.output.items()}
    outputs = {task: ops.zeros((1, size)) for task, size in sizes.items()}
    targets = {
        task: outputs[task] if TASKS[task].is_classification else ops.zeros((1, 1))
        for task in sizes
    }
    model.compute_loss(
        y=targets, y_pred=outputs, sample_weight={task: ops.zeros((1,)) for task in sizes}
    )


def age_error(true: keras.KerasTensor, output: keras.KerasTensor) -> keras.KerasTensor:
    """The absolute error in years (b,).

    Args:
        true: (b, 1) years.
        output: of any age head (see `decoding.years`).
    """
    return ops.abs(years(output) - ops.reshape(true, (-1,)))


def age_distribution(true: keras.KerasTensor, output: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy with a normal distribution around the true year, and the mean's error.

    The distribution is that of label distribution learning (Gao et al. 2017, arXiv:1611.01731).

    Args:
        true: (b, 1) years.
        output: (b, 117) logits over `decoding.AGES`.

    Returns:
        (b,).
    """
    true = ops.reshape(true, (-1, 1))
    density = ops.exp(-0.5 * ops.square((AGES - true) / AGE_DEVIATION))
    target = density / ops.sum(density, axis=-1, keepdims=True)
    entropy = -ops.sum(target * ops.log_softmax(output), axis=-1)
    return entropy + _YEARS_SHARE * age_error(true, output)


def age_laplace(true: keras.KerasTensor, output: keras.KerasTensor) -> keras.KerasTensor:
    """-ln of Laplace's density, whose scale is the uncertainty (Kendall and Gal 2017).

    Args:
        true: (b, 1) years.
        output: (b, 2): years and ln of the scale in years.

    Returns:
        (b,).
    """
    log_scale = ops.clip(output[:, 1], -3.0, 5.0)  # a twentieth of a year to 150 years
    return age_error(true, output) * ops.exp(-log_scale) + log_scale + ops.log(2.0)


_OF_AGE = {len(AGES): age_distribution, 2: age_laplace, 1: age_error}


def _loss(task: str, size: int, label_smoothing: float) -> keras.losses.Loss | Callable:
    if TASKS[task].is_classification:
        return keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=label_smoothing, name=task
        )
    return _OF_AGE[size]


def _metric(task: str) -> keras.metrics.Metric:
    if TASKS[task].is_classification:
        return keras.metrics.CategoricalAccuracy(name="accuracy")
    return keras.metrics.MeanMetricWrapper(age_error, name="mae")
