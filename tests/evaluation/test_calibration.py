"""Confidence: its error, the temperature that calibrates it, and withheld predictions."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

from vggface_gender.evaluation import calibration

TASKS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian"), "age": ()}


def test_the_calibration_error_by_a_loop_of_its_own():
    rng = np.random.default_rng(1)
    probability = rng.dirichlet((2, 2), 400)
    true = rng.integers(0, 2, 400)
    confidence, right = probability.max(1), probability.argmax(1) == true
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    found = calibration.calibration(true, probability)
    assert found["ece"] == pytest.approx(error, abs=1e-9)
    assert sum(each["count"] for each in found["bins"]) == 400


def test_planted_overconfidence_is_found_and_the_temperature_takes_it_away():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, (20_000, 3))
    honest = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    true = (rng.random((20_000, 1)) > honest.cumsum(1)).sum(1)
    assert calibration.calibration(true, honest)["ece"] < 0.01
    sharp = 2.5 * scores
    assert calibration.calibration(true, special.softmax(sharp, axis=1))["ece"] > 0.1
    fitted = calibration.temperature(true, sharp)
    assert fitted == pytest.approx(2.5, rel=0.05)
    mended = special.softmax(sharp / fitted, axis=1)
    assert calibration.calibration(true, mended)["ece"] < 0.01
    # Logarithms of probabilities are logits too.
    logarithms = special.log_softmax(sharp, axis=1)
    assert calibration.temperature(true, logarithms) == pytest.approx(fitted, rel=1e-6)


def test_abstaining():
    probability = np.array([[0.55, 0.45], [0.3, 0.7], [0.05, 0.95], [0.9, 0.1]])
    true = np.array([1, 1, 1, 1])
    rows = calibration.abstention(true, probability, thresholds=(0.5, 0.6, 0.95, 0.96))
    assert [row["answered"] for row in rows] == [1, 0.75, 0.25, 0]
    assert [row["accuracy"] for row in rows] == [0.5, pytest.approx(2 / 3), 1, None]


def test_each_tasks_temperature_is_fitted_on_the_faces_that_have_its_label():
    rng = np.random.default_rng(3)
    honest = {task: rng.dirichlet([1] * len(names), 9000) for task, names in TASKS.items() if names}
    truth = {
        task: [TASKS[task][k] for k in (rng.random((9000, 1)) > p.cumsum(1)).sum(1)]
        for task, p in honest.items()
    }
    truth["race"][:4000] = [None] * 4000
    logits = {task: np.log(p) for task, p in honest.items()}
    logits["gender"] = logits["gender"] * 2
    logits["race"] = logits["race"] / 2
    logits["race"][:4000] *= 10  # nobody knows
    found = calibration.temperatures(pd.DataFrame(truth), logits, tasks=TASKS)
    assert found == {"gender": pytest.approx(2, rel=0.1), "race": pytest.approx(0.5, rel=0.1)}
    nobody = pd.DataFrame({"gender": [None], "race": [None]})
    assert calibration.temperatures(nobody, logits, tasks=TASKS) == {}


def test_no_faces_have_no_calibration_error():
    found = calibration.calibration(np.zeros(0, int), np.zeros((0, 2)))
    assert found == {"ece": None, "bins": []}
