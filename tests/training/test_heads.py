"""Heads: the published one's layers, and what every head gives."""

import keras
import numpy as np
import pytest

from vggface_gender.training import heads

TASKS = {"gender": ("female", "male"), "age": ()}


def test_the_published_head_is_as_published():
    head = heads.recipe("vggface").build((7, 7, 512), {"gender": ("female", "male")})
    kinds = [type(layer).__name__ for layer in head.layers[1:]]
    assert kinds == ["LayerNormalization", "Flatten"] + ["Dense", "Dropout"] * 2 + ["Dense"]
    dense = [layer for layer in head.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [1024, 256, 2]
    assert [layer.activation.__name__ for layer in dense] == ["relu", "relu", "softmax"]
    assert [la.rate for la in head.layers if isinstance(la, keras.layers.Dropout)] == [0.5, 0.5]
    assert heads.recipe("vggface")[1:] == (32, 1e-4, False)


@pytest.mark.parametrize("backbone", ["vggface", "dlib_resnet"])
def test_probabilities_and_years(backbone):
    keras.utils.set_random_seed(0)
    head = heads.recipe(backbone).build((2, 2, 8), TASKS)
    features = np.random.default_rng(0).normal(size=(64, 2, 2, 8)).astype(np.float32)
    got = head.predict(features, verbose=0)
    assert got["gender"].shape == (64, 2) and got["age"].shape == (64,)
    np.testing.assert_allclose(got["gender"].sum(1), 1, atol=1e-6)
    assert 10 < got["age"].mean() < 60  # an untrained head starts among the ages
