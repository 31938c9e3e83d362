"""Confidence: its error, the temperature that mends it, and the classifier that keeps it."""

import zipfile

import keras
import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import calibration, predictions
from vggface_gender.inference import classifier
from vggface_gender.training import heads

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
    sharp = calibration.tempered(honest, 1 / 2.5)
    assert calibration.calibration(true, sharp)["ece"] > 0.1
    fitted = calibration.temperature(true, sharp)
    assert fitted == pytest.approx(2.5, rel=0.05)
    np.testing.assert_allclose(calibration.tempered(sharp, 2.5), honest, atol=1e-4)
    assert calibration.calibration(true, calibration.tempered(sharp, fitted))["ece"] < 0.01


def test_abstaining():
    probability = np.array([[0.55, 0.45], [0.3, 0.7], [0.05, 0.95], [0.9, 0.1]])
    rows = calibration.abstention(np.array([1, 1, 1, 1]), probability, (0.5, 0.6, 0.95, 0.96))
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
    shown = {"gender": calibration.tempered(honest["gender"], 0.5)}
    shown["race"] = calibration.tempered(honest["race"], 2.0)
    shown["race"][:4000] = calibration.tempered(honest["race"][:4000], 0.1)  # nobody knows
    table = predictions.table([f"{i}.jpg" for i in range(9000)], truth, shown, TASKS)
    found = calibration.temperatures(table, TASKS)
    assert found == {"gender": pytest.approx(2, rel=0.1), "race": pytest.approx(0.5, rel=0.1)}
    nobody = predictions.table(["a"], {}, {"gender": np.array([[0.4, 0.6]])}, TASKS)
    assert calibration.temperatures(nobody, {"gender": TASKS["gender"]}) == {}


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("trained_in", ["float32", "mixed_bfloat16"])
def test_a_calibrated_classifier_says_the_same_less_or_more_surely(mirror, trained_in, tmp_path):
    keras.utils.set_random_seed(1)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1, dtype=trained_in)(crop)
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu", dtype=trained_in)(x)
    backbone = keras.Model(crop, x, name="tiny")
    head = heads.compact(backbone.output_shape[1:], TASKS)
    plain = classifier.build(backbone, head, TASKS, 0.25, trained_in, {}, mirror)
    mended = classifier.calibrated(plain, {"gender": 2.5, "race": 0.7})
    crops = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    before, after = plain.predict(crops), mended.predict(crops)
    for task, temperature in {"gender": 2.5, "race": 0.7}.items():
        expected = calibration.tempered(before[task], temperature)
        np.testing.assert_allclose(after[task], expected, atol=1e-5)
    np.testing.assert_array_equal(before["age"], after["age"])
    assert mended.parts()[1].name == "head"

    path = tmp_path / "classifier.keras"
    classifier.save(mended, path, half=True)
    assert b"Custom" not in zipfile.ZipFile(path).read("config.json")
    for precision in ("float32", "mixed_bfloat16"):
        loaded = classifier.load(path, precision)
        assert loaded.temperatures == {"gender": 2.5, "race": 0.7}
        np.testing.assert_allclose(loaded.predict(crops)["race"], after["race"], atol=0.02)
    alone = keras.saving.load_model(path, compile=False)
    got = alone.predict(crops.astype("float32"), verbose=0)
    np.testing.assert_allclose(got["gender"], after["gender"], atol=0.02)


def test_certainty_stays_finite():
    keras.utils.set_random_seed(1)
    crop = keras.Input((None, None, 3))
    sure = keras.ops.one_hot(keras.ops.zeros_like(crop[:, 0, 0, 0], dtype="int32"), 2)
    model = keras.Model(crop, {"gender": sure})
    plain = classifier.Classifier(model, {"gender": ("female", "male")}, 8, 0.25, "float32")
    got = classifier.calibrated(plain, {"gender": 0.5}).predict(np.zeros((3, 8, 8, 3), np.uint8))
    np.testing.assert_allclose(got["gender"], [[1, 0]] * 3, atol=1e-6)


def dropping(rate: float) -> classifier.Classifier:
    keras.utils.set_random_seed(1)
    crop = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(crop)
    backbone = keras.Model(crop, keras.layers.Conv2D(8, 5, strides=4)(x), name="tiny")
    head = heads.answers(heads.shared(backbone.output_shape[1:], TASKS, dropout=rate))
    norm = head.get_layer("normalize")
    norm.moving_mean.assign(keras.random.normal(norm.moving_mean.shape, seed=2))
    plain = classifier.build(backbone, head, TASKS, 0.25, "float32", {}, mirror=True)
    return classifier.calibrated(plain, {"gender": 1.7})


def test_without_anything_dropped_the_samples_are_the_answer():
    trained = dropping(1e-9)
    crops = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    got, expected = classifier.sampler(trained, 3)(crops), trained.predict(crops)
    for task in TASKS:
        np.testing.assert_allclose(got.means[task], expected[task], rtol=1e-5, atol=1e-6)
    chances = expected["race"].astype(float)
    entropy = -(chances * np.log(chances)).sum(1)
    np.testing.assert_allclose(got.doubts["race"], entropy, atol=1e-5)
    np.testing.assert_allclose(got.doubts["age"], 0, atol=1e-4)
    with pytest.raises(InputError, match="no dropout"):
        classifier.sampler(dropping(0.0), 3)


def test_dropout_is_sampled_as_a_numpy_head_samples_it():
    """The head's two dropped layers by hand; batch normalization with its moving statistics."""
    trained = dropping(0.5)
    crops = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    got = classifier.sampler(trained, 800)(crops)
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
    np.testing.assert_allclose(got.means["gender"], expected, atol=0.04)
    again = classifier.sampler(trained, 40, seed=3)(crops).means["race"]
    np.testing.assert_array_equal(
        classifier.sampler(trained, 40, seed=3)(crops).means["race"], again
    )
    assert np.abs(classifier.sampler(trained, 40, seed=4)(crops).means["race"] - again).max() > 0
    assert got.doubts["age"].min() > 0
