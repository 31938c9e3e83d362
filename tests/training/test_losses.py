"""Losses of several heads: numbers against NumPy, and labels that are missing."""

import keras
import numpy as np
import pytest
from scipy import special, stats

from vggface_gender.inference import decoding
from vggface_gender.inference.decoding import AGES
from vggface_gender.training import config, heads, losses

TASKS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian"), "age": ()}


def test_the_distributions_loss_is_cross_entropy_and_error():
    rng = np.random.default_rng(0)
    output = rng.normal(0, 3, (5, len(AGES))).astype(np.float32)
    share = special.softmax(output, axis=1)
    true = np.array([[1.0], [30.0], [30.5], [80.0], [116.0]], np.float32)
    got = np.asarray(losses.age_distribution(true, output))
    for row in range(5):
        target = stats.norm.pdf(AGES, true[row, 0], losses.AGE_DEVIATION)
        target /= target.sum()
        error = abs(share[row] @ AGES - true[row, 0])
        assert got[row] == pytest.approx(-(target @ np.log(share[row])) + 0.1 * error, rel=1e-4)


def test_the_laplace_loss_is_scipys():
    output = np.array([[30.0, 1.5], [50.0, 0.0], [10.0, 3.0]], np.float32)
    true = np.array([[33.0], [50.0], [40.0]], np.float32)
    expected = -stats.laplace.logpdf(true[:, 0], output[:, 0], np.exp(output[:, 1]))
    np.testing.assert_allclose(losses.age_laplace(true, output), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "age",
    [
        each if each == "years" else pytest.param(each, marks=pytest.mark.slow)
        for each in config.AGE_HEADS
    ],
)
def test_what_is_missing_changes_nothing(age):
    """A missing label's target may be anything: neither loss, nor metric, nor gradient moves."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    targets = {
        "gender": np.eye(2, dtype=np.float32)[rng.integers(0, 2, 40)],
        "race": np.eye(3, dtype=np.float32)[rng.integers(0, 3, 40)],
        "age": rng.uniform(0, 90, (40, 1)).astype(np.float32),
    }
    weights = {task: (rng.random(40) < 0.6).astype(np.float32) for task in TASKS}
    other = {
        task: np.where(weights[task][:, None] > 0, values, values[::-1])
        for task, values in targets.items()
    }
    head = heads.build("shared", (6,), tasks=TASKS, age=age, dropout=0.0)
    start = head.get_weights()
    found = []
    for wanted in (targets, other):
        head.set_weights(start)
        losses.compile(head, keras.optimizers.SGD(0.1), weights={"age": 0.5}, label_smoothing=0.1)
        figures = head.evaluate(x, wanted, sample_weight=weights, verbose=0, return_dict=True)
        head.train_on_batch(x, wanted, sample_weight=weights)
        found.append((figures, head.get_weights()))
    assert found[0][0] == pytest.approx(found[1][0])
    for one, same in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, same, atol=1e-6)


def test_the_metrics_are_of_the_known_alone():
    head = heads.build("shared", (6,), tasks=TASKS, age="distribution")
    losses.compile(head, keras.optimizers.SGD(0.1), weights={})
    x = np.random.default_rng(1).normal(size=(30, 6)).astype(np.float32)
    outputs = head.predict(x, verbose=0)
    years = np.asarray(decoding.years(outputs["age"]))
    targets = {
        "gender": np.eye(2, dtype=np.float32)[np.arange(30) % 2],
        "race": np.eye(3, dtype=np.float32)[np.arange(30) % 3],
        "age": np.linspace(0, 90, 30, dtype=np.float32)[:, None],
    }
    known = np.arange(30) < 12
    weights = {task: known.astype(np.float32) for task in TASKS}
    figures = head.evaluate(x, targets, sample_weight=weights, verbose=0, return_dict=True)
    for task in ("gender", "race"):
        right = outputs[task].argmax(axis=1) == targets[task].argmax(axis=1)
        assert figures[f"{task}_accuracy"] == pytest.approx(right[known].mean())
    assert figures["age_mae"] == pytest.approx(
        np.abs(years - targets["age"][:, 0])[known].mean(), rel=1e-4
    )


def test_a_step_is_traced_once():
    """Each trace calls the layers again; what makes variables is traced twice."""
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            calls.append(x)
            return x

    tasks = {"gender": ("female", "male"), "age": ()}
    head = heads.build("shared", (6,), tasks=tasks, age="years")
    x = keras.Input((6,))
    model = keras.Model(x, head(Counting()(x)))
    losses.compile(model, keras.optimizers.Adam(), weights={})
    before = len(calls)
    targets = {"gender": np.eye(2, dtype=np.float32), "age": np.ones((2, 1), np.float32)}
    model.fit(np.ones((2, 6), np.float32), targets, epochs=2, verbose=0)
    assert len(calls) == before + 1
