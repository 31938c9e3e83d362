"""Rates by depth: AdamW's own arithmetic, its exceptions, what is restored, and the schedules."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from vggface_gender.inference import classifier
from vggface_gender.training import heads, optimizers

RATE, DECAY = 0.02, 0.1
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def network():
    """Two layers and a normalization, random as a seed has it."""
    keras.utils.set_random_seed(3)
    x = keras.Input((4,))
    y = keras.layers.Dense(5, name="early")(x)
    y = keras.layers.BatchNormalization(name="early_normalize")(y)
    y = keras.layers.Dense(2, name="late")(keras.ops.tanh(y))
    return keras.Model(x, y)


def tuned(steps, multipliers, **options):
    """The optimizer of a fine-tuning with much of everything."""
    much = {"warmup": 0.25, "weight_decay": DECAY, "clip": 0.5, "ema": 0.9}
    return optimizers.adamw(RATE, steps, multipliers=multipliers, **much | options)


def gradients_of(model, steps):
    rng = np.random.default_rng(8)
    shapes = [variable.shape for variable in model.trainable_variables]
    return [[rng.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(steps)]


def adamw_in_numpy(values, gradients, rates, decays):
    """Loshchilov and Hutter's algorithm 2, each value with a rate and decay of its own."""
    values = [value.astype(np.float64) for value in values]
    m, v = ([np.zeros_like(value) for value in values] for _ in range(2))
    for step, together in enumerate(gradients, 1):
        for i, gradient in enumerate(together):
            m[i] = BETA_1 * m[i] + (1 - BETA_1) * gradient
            v[i] = BETA_2 * v[i] + (1 - BETA_2) * gradient**2
            # Keras puts epsilon beside the root before the bias is corrected.
            root = np.sqrt(1 - BETA_2**step)
            adam = m[i] * root / (1 - BETA_1**step) / (np.sqrt(v[i]) + EPSILON)
            values[i] = values[i] - rates[i] * (adam + decays[i] * values[i])
    return values


@pytest.mark.parametrize("steps", [1, 7])
def test_steps_are_adamws_at_each_variables_own_rate(steps):
    model = network()
    multipliers = {"early": 0.5, "early/": 0.1, "nowhere": 9.0}
    optimizer = optimizers.DepthAdamW(RATE, weight_decay=DECAY, multipliers=multipliers)
    paths = [variable.path for variable in model.trainable_variables]
    assert paths == [
        "early/kernel",
        "early/bias",
        "early_normalize/gamma",
        "early_normalize/beta",
        "late/kernel",
        "late/bias",
    ]
    gradients = gradients_of(model, steps)
    expected = adamw_in_numpy(
        model.get_weights()[:4] + model.get_weights()[6:],
        gradients,
        rates=[RATE * factor for factor in (0.1, 0.1, 0.5, 0.5, 1, 1)],
        decays=[DECAY if path.endswith("kernel") else 0 for path in paths],
    )
    for together in gradients:
        optimizer.apply(together, model.trainable_variables)
    for path, variable, value in zip(paths, model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=2e-5, atol=2e-6, err_msg=path)


def test_without_multipliers_it_is_keras_adamw_but_for_what_is_not_decayed():
    results = []
    for make in (optimizers.DepthAdamW, keras.optimizers.AdamW):
        model = network()
        optimizer = make(
            optimizers.cosine(RATE, 9, warmup_steps=2), weight_decay=DECAY, global_clipnorm=1.0
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        for together in gradients_of(model, 5):
            optimizer.apply(together, model.trainable_variables)
        results.append(model.get_weights())
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_a_multiplier_of_0_leaves_variables_untouched_even_by_what_is_not_a_number():
    model = network()
    optimizer = optimizers.DepthAdamW(RATE, weight_decay=DECAY, multipliers={"early": 0})
    before = [variable.numpy() for variable in model.trainable_variables]
    (together,) = gradients_of(model, 1)
    together[0][:] = np.nan
    optimizer.apply(together, model.trainable_variables)
    for place, variable in enumerate(model.trainable_variables):
        same = np.array_equal(variable.numpy(), before[place])
        assert same == variable.path.startswith("early"), variable.path
        assert np.isfinite(variable.numpy()).all()


def test_what_is_excluded_by_hand_is_not_decayed_either():
    model = network()
    optimizer = optimizers.DepthAdamW(RATE, weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(var_list=[model.get_layer("early").kernel])
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer.apply([np.zeros_like(value) for value in before], model.trainable_variables)
    shrunk = [
        variable.path
        for variable, value in zip(model.trainable_variables, before, strict=True)
        if not np.array_equal(variable.numpy(), value)
    ]
    assert shrunk == ["late/kernel"]


def test_a_name_may_start_at_any_layer_of_a_path_and_the_longest_counts():
    multipliers = {"block": 0.1, "block_4": 0.2, "net/block_4_1": 0.3, "head/": 0.4, "kernel": 9}
    got = {
        path: optimizers.factor(path, multipliers)
        for path in (
            "block_1_1_conv1/kernel",
            "net/block_1_1_conv1/kernel",
            "net/block_4_1/bias",
            "block_4_1/bias",
            "head/gender/kernel",
            "heads/kernel",
            "my_block_4/kernel",
            "loose",
        )
    }
    assert list(got.values()) == [0.1, 0.1, 0.3, 0.2, 0.4, 1, 1, 1]


def test_the_variables_of_a_classifier_are_named_by_their_own_layers(tmp_path):
    tasks = {"gender": ("female", "male"), "race": ("White", "Black", "Asian")}
    crop = keras.Input((16, 16, 3))
    conv = keras.layers.Conv2D(4, 5, strides=4, name="conv1_1")
    backbone = keras.Model(crop, conv(crop), name="tiny")
    head = heads.build("compact", backbone.output_shape[1:], tasks=tasks)
    about = {"padding": 0.25, "precision": "float32", "about": {}}
    model = classifier.build(backbone, head, tasks=tasks, **about).model
    model.save(tmp_path / "c.keras")
    for each in (model, keras.saving.load_model(tmp_path / "c.keras")):
        optimizer = optimizers.DepthAdamW(RATE, multipliers={"conv1": 0.0, "gender/": 0.5})
        before = {variable.path: variable.numpy() for variable in each.trainable_variables}
        optimizer.apply(
            [np.ones(variable.shape, np.float32) for variable in each.trainable_variables],
            each.trainable_variables,
        )
        moved = {
            variable.path: np.abs(variable.numpy() - before[variable.path]).max()
            for variable in each.trainable_variables
        }
        biases = ("conv1_1/bias", "gender/bias", "race/bias", "dense_256/bias")
        np.testing.assert_allclose(
            [moved[path] for path in biases], [0, RATE / 2, RATE, RATE], rtol=1e-4
        )


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf")])
def test_a_multiplier_that_is_no_share_is_refused(factor):
    with pytest.raises(ValueError, match=r"multiplier of conv: .*expected a number from 0 up"):
        optimizers.DepthAdamW(multipliers={"conv": factor})


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule",
    ["cosine", *(pytest.param(name, marks=pytest.mark.slow) for name in ("constant", "decay"))],
)
def test_a_saved_model_goes_on_as_if_nothing_had_been(schedule, tmp_path):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(64, 4)), rng.normal(size=(64, 2))
    model = network()
    made = tuned(24, {"early": 0.2, "late": 0}, schedule=schedule)
    model.compile(made, "mse", jit_compile=False)
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert type(loaded.optimizer) is optimizers.DepthAdamW
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.optimizer.get_config()["multipliers"] == {"early": 0.2, "late": 0.0}
    assert float(loaded.optimizer.learning_rate) == float(model.optimizer.learning_rate)
    for each in (model, loaded):
        each.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    for got, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    for got, expected in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(got.numpy(), expected.numpy(), err_msg=expected.path)


def test_the_average_of_the_weights_is_theirs_at_each_step():
    model = network()
    optimizer = tuned(10, {"early": 0.5}, ema=0.75, schedule="constant")
    average = None
    for together in gradients_of(model, 4):
        optimizer.apply(together, model.trainable_variables)
        now = [variable.numpy() for variable in model.trainable_variables]
        before = average or now  # the first step's weights start it
        average = [0.75 * a + 0.25 * n for a, n in zip(before, now, strict=True)]
    optimizer.finalize_variable_values(model.trainable_variables)
    for variable, expected in zip(model.trainable_variables, average, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_the_cosine_rises_to_its_rate_and_falls_to_nothing():
    schedule = optimizers.cosine(0.4, 110, warmup_steps=10)
    got = [float(schedule(step)) for step in (0, 5, 10, 35, 60, 110, 500)]
    middle = 0.2 * (1 + np.cos(np.pi / 4))
    np.testing.assert_allclose(got, [0, 0.2, 0.4, middle, 0.2, 0, 0], atol=1e-7)
    plain = optimizers.cosine(0.4, 100, warmup_steps=0)
    np.testing.assert_allclose([float(plain(s)) for s in (0, 50, 100)], [0.4, 0.2, 0], atol=1e-7)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", {0: 0.0, 10: 0.1, 200: 0.0}),
        ("constant", {0: 0.1, 200: 0.1}),
        ("decay", {0: 0.1, 100: 0.01, 200: 0.001}),
    ],
)
def test_the_rate_is_that_of_the_step_to_come(schedule, expected):
    optimizer = optimizers.adamw(0.1, 200, multipliers={}, schedule=schedule)
    for step, rate in expected.items():
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate, rel=1e-5, abs=1e-8)


def test_a_training_of_one_step_or_of_nothing_but_warm_up_still_falls():
    optimizer = optimizers.adamw(0.1, 1, multipliers={}, warmup=1.0)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    optimizer = optimizers.adamw(0.1, 20, multipliers={}, warmup=1.0)
    optimizer.iterations.assign(19)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


@pytest.mark.slow
def test_the_fused_step_is_the_step(monkeypatch):
    """In a graph XLA takes it as a whole; its sums are rounded in another order."""
    ends = []
    for fuses in (True, False):
        monkeypatch.setattr(optimizers, "WORTH_FUSING", 1 if fuses else float("inf"))
        model = network()
        optimizer = tuned(12, {"early": 0.5, "late": 0})
        step = tf.function(lambda *grads, optimizer=optimizer: optimizer.apply(list(grads)))
        optimizer.build(model.trainable_variables)
        for together in gradients_of(model, 6):
            step(*together)
        optimizer.finalize_variable_values(model.trainable_variables)
        operations = step.get_concrete_function(*together).graph.get_operations()
        compiled = [op for op in operations if "_XlaMustCompile" in op.node_def.attr]
        assert [op.get_attr("_XlaMustCompile") for op in compiled] == [True] * fuses
        assert int(optimizer.iterations) == 6
        ends.append([variable.numpy() for variable in (*model.weights, *optimizer.variables)])
    for fused, plain in zip(*ends, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-5, atol=1e-7)


def test_without_decay_and_multipliers_it_is_keras_adam():
    optimizer = optimizers.adamw(0.1, 9, multipliers={}, weight_decay=0, schedule="constant")
    assert type(optimizer) is keras.optimizers.Adam


def test_no_average_no_clipping_and_no_such_schedule():
    optimizer = optimizers.adamw(0.1, 9, multipliers={}, clip=0, ema=0)
    assert not optimizer.use_ema and optimizer.global_clipnorm is None
    with pytest.raises(ValueError, match="no schedule linear"):
        optimizers.adamw(0.1, 9, multipliers={}, schedule="linear")


MIRRORED = """
import sys, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from vggface_gender.training import optimizers

def trained(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(3)
        x = keras.Input((4,))
        y = keras.layers.Dense(5, name="early")(x)
        model = keras.Model(x, keras.layers.Dense(2, name="late")(keras.ops.tanh(y)))
        optimizer = optimizers.adamw(
            0.02,
            24,
            multipliers={"early": 0.2},
            warmup=0.25,
            weight_decay=0.1,
            clip=1e3,
            ema=0.9,
        )
        model.compile(optimizer, "mse", jit_compile=False)
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(64, 4)), rng.normal(size=(64, 2))
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()

one = trained(tf.distribute.get_strategy())
two = trained(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for got, expected in zip(two, one, strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
print("equal")
"""


@pytest.mark.slow
def test_over_two_devices_it_is_what_it_is_on_one():
    done = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True)
    assert done.stdout.endswith("equal\n"), done.stderr[-2000:]
