"""From logits to answers: numbers against NumPy and SciPy."""

import numpy as np
import pytest
from scipy import special

from vggface_gender.inference import decoding

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("width", [1, 2])
def test_years_are_a_regressions_first_number(width):
    output = RNG.normal(30, 20, (5, width)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(decoding.years(output)), output[:, 0])


def test_years_are_a_distributions_mean():
    logits = RNG.normal(0, 3, (5, len(decoding.AGES))).astype(np.float32)
    expected = special.softmax(logits, axis=1) @ np.arange(117)
    np.testing.assert_allclose(np.asarray(decoding.years(logits)), expected, rtol=1e-5)


def test_views_are_averaged_and_then_tempered():
    views = [
        {"race": RNG.normal(0, 4, (6, 5)).astype(np.float32), "age": RNG.random((6, 1))}
        for _ in range(2)
    ]
    got = decoding.answers(views, {"race": 0.6})
    mean = np.mean([special.softmax(view["race"], axis=1) for view in views], axis=0)
    expected = special.softmax(np.log(mean) / 0.6, axis=1)
    np.testing.assert_allclose(np.asarray(got["race"]), expected, rtol=1e-4)
    np.testing.assert_allclose(
        np.asarray(got["age"]), (views[0]["age"] + views[1]["age"])[:, 0] / 2
    )


def test_logits_that_no_probability_can_hold_are_no_trouble():
    logits = np.array([[0.0, 300.0, -300.0]], np.float32)
    (got,) = np.asarray(decoding.answers([{"race": logits}], {"race": 100.0})["race"])
    np.testing.assert_allclose(got, special.softmax(logits[0] / 100), rtol=1e-5)
