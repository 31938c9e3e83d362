"""Heads: the published one's layers, and what every head gives."""

import keras
import numpy as np
import pytest

from vggface_gender.inference import decoding
from vggface_gender.training import config, heads

TASKS = {"gender": ("female", "male"), "age": ()}


def test_the_published_head_is_as_published():
    head = heads.build("vggface", (7, 7, 512), tasks={"gender": ("female", "male")})
    kinds = [type(layer).__name__ for layer in head.layers[1:]]
    assert kinds == ["LayerNormalization", "Flatten"] + ["Dense", "Dropout"] * 2 + ["Dense"]
    dense = [layer for layer in head.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [1024, 256, 2]
    assert [layer.activation.__name__ for layer in dense] == ["relu", "relu", "linear"]
    assert [la.rate for la in head.layers if isinstance(la, keras.layers.Dropout)] == [0.5, 0.5]
    assert config.transfer_recipe("vggface") == ("vggface", 32, 1e-4, "constant")


@pytest.mark.parametrize("kind", ["compact", "shared"])
def test_normalization_may_begin_with_the_features_own_statistics(kind):
    head = heads.build(kind, (2, 2, 3), tasks=TASKS)
    features = np.random.default_rng(0).normal(-7, 5, size=(50, 2, 2, 3)).astype(np.float32)
    heads.begin_normalization(head, [features[:32], features[32:]])
    normalize = head.get_layer("normalize")
    flat = features.reshape(50, -1)
    np.testing.assert_allclose(normalize.moving_mean, flat.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(normalize.moving_variance, flat.var(axis=0), rtol=1e-5)


def test_a_head_that_normalizes_each_example_keeps_its_weights():
    head = heads.build("vggface", (2, 2, 3), tasks=TASKS)
    before = head.get_weights()
    heads.begin_normalization(head, [np.ones((4, 2, 2, 3), np.float32)])
    assert all((a == b).all() for a, b in zip(before, head.get_weights(), strict=True))


@pytest.mark.parametrize("kind", config.HEADS)
@pytest.mark.parametrize(("age", "width"), [("years", 1), ("distribution", 117), ("laplace", 2)])
def test_logits_and_what_years_are_made_of(kind, age, width):
    keras.utils.set_random_seed(0)
    head = heads.build(kind, (2, 2, 8), tasks=TASKS, age=age)
    features = np.random.default_rng(0).normal(size=(64, 2, 2, 8)).astype(np.float32)
    got = head.predict(features, verbose=0)
    assert got["gender"].shape == (64, 2) and got["age"].shape == (64, width)
    assert got["gender"].min() < 0  # no probabilities
    years = np.asarray(decoding.years(got["age"]))
    assert 10 < years.mean() < 70  # an untrained head starts among the ages
