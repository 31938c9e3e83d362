"""AdamW whose learning rate depends on where in the network a variable stands.

A pretrained layer keeps what it knows only if it moves far slower than a fresh head. Scaling its
gradients does nothing under Adam, which divides the scale out again: the rate itself is scaled.
"""

from collections.abc import Mapping

import keras

from vggface_gender.base import device

UNDECAYED = ("bias", "gamma", "beta")  # pulled to zero they only shift or mute what they belong to
WORTH_FUSING = 10_000  # weights; of fewer, compiling the step takes longer than it saves
LAST_SHARE = 0.01  # of the first rate, where an exponential decay ends


@keras.saving.register_keras_serializable(package="vggface_gender")
class DepthAdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101) with rates by depth.

    A variable's rate is the optimizer's times its multiplier, for its step and for its decoupled
    weight decay alike. Biases and a normalization's gamma and beta are not decayed, nor what
    `exclude_from_weight_decay` names. A variable whose multiplier is 0 keeps its value to the bit;
    it still counts in the norm that `global_clipnorm` limits.

    Keras names a variable by the path of layers that it was built in. In functional models, nested
    or not, loaded or not, that is its own layer alone: `block_4_1_conv1/kernel`, `gender/bias`. A
    layer that holds others, or a subclassed model, stands before them: `encoder/dense/kernel`. So a
    multiplier's name may start anywhere in the path where a layer's name does: `dense` and
    `encoder/de` both name that kernel. End a name with `/` to mean exactly one layer.

    Under `tf.distribute` Keras clips each replica's share of the gradients before it adds them up.

    Args:
        multipliers: the start of a variable's path to the factor, from 0 up, of its rate. The
            longest that fits counts; where none does the factor is 1.
        kwargs: `keras.optimizers.AdamW`'s.

    Raises:
        ValueError: a multiplier is negative or not finite.
    """

    def __init__(self, *args, multipliers: Mapping[str, float] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        multipliers = {name: float(factor) for name, factor in (multipliers or {}).items()}
        for name, factor in multipliers.items():
            if not 0 <= factor < float("inf"):
                raise ValueError(f"multiplier of {name}: {factor}; expected a number from 0 up")
        self.multipliers = multipliers

    def build(self, variables):
        """Make the slots, and note each variable's factor and decay."""
        if self.built:
            return
        super().build(variables)
        # By place and not by name: under tf.distribute a step sees each replica's own copy.
        self._factors = [factor(variable.path, self.multipliers) for variable in variables]
        self._decays = [
            self.weight_decay
            if variable.name not in UNDECAYED and self._use_weight_decay(variable)
            else 0.0
            for variable in variables
        ]

    def apply(self, grads, trainable_variables=None):
        """Keras's step; on a processor, in a compiled graph, fused by XLA.

        Operation by operation a step reads and writes every weight a dozen times, which for dlib's
        network and batches of 64 costs a fifth of the training. Few weights are left as they are.
        """
        step = super().apply
        if any(gradient is None for gradient in grads) or not device.may_fuse():
            return step(grads, trainable_variables)
        if sum(gradient.shape.num_elements() for gradient in grads) < WORTH_FUSING:
            return step(grads, trainable_variables)
        if not self.built:
            self.build(trainable_variables)  # a compiled function may not make variables
        return device.fused(lambda *grads: step(list(grads), trainable_variables))(*grads)

    def update_step(self, gradient, variable, learning_rate):
        """Decay one variable and take Adam's step, both at the variable's own rate."""
        place = self._get_variable_index(variable)
        factor, decay = self._factors[place], self._decays[place]
        if factor == 0:
            return
        rate = keras.ops.cast(learning_rate, variable.dtype) * factor
        if decay:
            self.assign_sub(variable, variable * (rate * decay))
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Nothing: Keras would decay every variable at one rate, so `update_step` does it."""

    def get_config(self):
        """Keras's, and the multipliers."""
        return super().get_config() | {"multipliers": dict(self.multipliers)}


def factor(path: str, multipliers: Mapping[str, float]) -> float:
    """The multiplier whose name fits a path of layers, `outer/inner/variable`, the longest."""
    layers = path.split("/")[:-1]
    starts = ["/".join(path.split("/")[place:]) for place in range(len(layers))]
    fitting = [name for name in multipliers if any(start.startswith(name) for start in starts)]
    return multipliers[max(fitting, key=len)] if fitting else 1.0


def cosine(
    learning_rate: float, steps: int, *, warmup_steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A rate that rises in a straight line from 0, then falls to 0 along half a cosine.

    The rise spares pretrained weights the first steps, in which Adam knows little of the gradients'
    sizes and a fresh head sends back noise.

    Args:
        learning_rate: the greatest, at step `warmup_steps`.
        steps: until it is 0, the warm-up included; more than `warmup_steps`.
        warmup_steps: 0 for none.
    """
    if not warmup_steps:
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=learning_rate, warmup_steps=warmup_steps
    )


def adamw(
    learning_rate: float,
    steps: int,
    *,
    multipliers: Mapping[str, float],
    warmup: float = 0.05,
    weight_decay: float = 0.01,
    clip: float = 5.0,
    ema: float = 0.998,
    schedule: str = "cosine",
) -> keras.Optimizer:
    """The optimizer of every training: `DepthAdamW`; Keras's Adam where it would be just that.

    Args:
        learning_rate: what `multipliers` scale (see `DepthAdamW`).
        steps: of the whole training.
        warmup: the share of the steps in which the cosine's rate rises; others start at `rate`.
        weight_decay: decoupled; a step takes this times the variable's rate off a weight.
        clip: the greatest norm of all gradients together; 0 for any.
        ema: the momentum of the moving average of the weights; 0 for no average.
        schedule: "cosine" (see `cosine`); "constant", whose rate may be set from outside; or
            "decay", exponential, to a hundredth at the end.

    Raises:
        ValueError: no such schedule.
    """
    match schedule:
        case "cosine":
            # At least one step is left to fall in.
            falling = cosine(
                learning_rate, steps, warmup_steps=min(round(warmup * steps), steps - 1)
            )
        case "constant":
            falling = float(learning_rate)
        case "decay":
            falling = keras.optimizers.schedules.ExponentialDecay(learning_rate, steps, LAST_SHARE)
        case _:
            raise ValueError(f"no schedule {schedule}: give cosine, constant or decay")
    shared = {"global_clipnorm": clip or None, "use_ema": ema > 0, "ema_momentum": ema}
    if not weight_decay and not multipliers:
        return keras.optimizers.Adam(falling, **shared)
    return DepthAdamW(falling, weight_decay=weight_decay, multipliers=multipliers, **shared)
