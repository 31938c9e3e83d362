"""Monte-Carlo dropout against a head computed in NumPy."""

import keras
import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.inference import classifier, dropout
from vggface_gender.training import heads

TASKS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian"), "age": ()}


def dropping(rate: float) -> classifier.Classifier:
    keras.utils.set_random_seed(1)
    crop = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(crop)
    backbone = keras.Model(crop, keras.layers.Conv2D(8, 5, strides=4)(x), name="tiny")
    head = heads.build("shared", backbone.output_shape[1:], tasks=TASKS, dropout=rate)
    norm = head.get_layer("normalize")
    norm.moving_mean.assign(keras.random.normal(norm.moving_mean.shape, seed=2))
    plain = classifier.build(
        backbone, head, tasks=TASKS, padding=0.25, precision="float32", about={}, mirror=True
    )
    return classifier.calibrated(plain, {"gender": 1.7})


def test_without_anything_dropped_the_samples_are_the_answer():
    trained = dropping(1e-9)
    crops = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    got, expected = dropout.sampler(trained, samples=3)(crops), trained.predict(crops)
    for task in TASKS:
        np.testing.assert_allclose(got.means[task], expected[task], rtol=1e-5, atol=1e-6)
    chances = expected["race"].astype(float)
    entropy = -(chances * np.log(chances)).sum(1)
    np.testing.assert_allclose(got.uncertainties["race"], entropy, atol=1e-5)
    np.testing.assert_allclose(got.uncertainties["age"], 0, atol=1e-4)
    with pytest.raises(InputError, match="no dropout"):
        dropout.sampler(dropping(0.0), samples=3)


@pytest.mark.slow
def test_dropout_is_sampled_as_a_numpy_head_samples_it():
    """The head's two dropped layers by hand; batch normalization with its moving statistics."""
    trained = dropping(0.5)
    crops = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    # Every copy of a crop is a sample of its own.
    got = dropout.sampler(trained, samples=8)(np.repeat(crops, 200, axis=0))
    backbone, head = trained.parts()
    rng = np.random.default_rng(1)
    norm = head.get_layer("normalize")
    weights = {name: head.get_layer(name).get_weights() for name in ("shared", "gender")}
    sides = []
    for crop in (crops, crops[:, :, ::-1]):
        x = backbone.predict(crop, verbose=0).reshape(2, -1)
        x = (x - norm.moving_mean) / np.sqrt(norm.moving_variance + norm.epsilon)
        x = np.asarray(x * norm.gamma + norm.beta)
        x = x * (rng.random((4000, *x.shape)) < 0.5) * 2
        x = np.maximum(x @ weights["shared"][0] + weights["shared"][1], 0)
        x = x * (rng.random(x.shape) < 0.5) * 2
        x = np.exp(x @ weights["gender"][0] + weights["gender"][1])
        sides.append(x / x.sum(-1, keepdims=True))
    each = np.mean(sides, 0)
    expected = (each ** (1 / 1.7) / (each ** (1 / 1.7)).sum(-1, keepdims=True)).mean(0)
    means = got.means["gender"].reshape(2, 200, 2).mean(axis=1)
    np.testing.assert_allclose(means, expected, atol=0.03)
    assert got.uncertainties["age"].min() > 0


def test_crops_that_would_be_misread_are_refused():
    sample = dropout.sampler(dropping(0.5), samples=2)
    with pytest.raises(InputError, match=r"as if in \[0, 1\]"):
        sample(np.full((2, 32, 32, 3), 0.5, np.float32))


@pytest.mark.slow
def test_a_seed_gives_the_same_samples():
    trained = dropping(0.5)
    crops = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    first, again, other = (
        dropout.sampler(trained, samples=20, seed=seed)(crops) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.means["race"], again.means["race"])
    assert np.abs(other.means["race"] - first.means["race"]).max() > 0
