"""Grad-CAM against a gradient worked out by hand, and on every kind of classifier."""

import keras
import numpy as np
import pytest

from vggface_gender import backbones
from vggface_gender.backbones import resnet50, vggface
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import gradcam
from vggface_gender.inference import classifier
from vggface_gender.training import heads

TASKS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian"), "age": ()}


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


def tiny(tasks=TASKS, age="years"):
    keras.utils.set_random_seed(2)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    x = keras.layers.Conv2D(6, 5, strides=4, activation="relu", name="first")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="tanh", name="second")(x)
    backbone = keras.Model(crop, x, name="tiny")
    head = heads.build("shared", backbone.output_shape[1:], tasks=tasks, age=age)
    head.get_layer("normalize").moving_variance.assign(
        np.random.default_rng(1).uniform(0.5, 2, 7 * 7 * 5)
    )
    return backbone, head


def built(backbone, head, tasks=TASKS, **kwargs):
    return classifier.build(
        backbone, head, tasks=tasks, padding=0.25, precision="float32", about={}, **kwargs
    )


def by_hand(backbone, head, crops, kernel, bias_free_scores):
    """The maps of layer "second" from the chain rule written out in NumPy, in float64."""
    maps = backbone.predict(crops, verbose=0).astype(np.float64)
    flat = maps.reshape(len(maps), -1)
    normal = head.get_layer("normalize")
    gamma, beta, mean, variance = (w.astype(np.float64) for w in normal.get_weights())
    scale = gamma / np.sqrt(variance + normal.epsilon)
    weights, bias = (w.astype(np.float64) for w in head.get_layer("shared").get_weights())
    hidden = ((flat - mean) * scale + beta) @ weights + bias
    on = hidden > 0
    places = bias_free_scores(np.maximum(hidden, 0))
    gradient = ((on * kernel[:, places].T) @ weights.T) * scale
    channel = gradient.reshape(maps.shape).mean((1, 2), keepdims=True)
    return np.maximum((channel * maps).sum(-1), 0), places


@pytest.mark.parametrize("task", ["gender", "race"])
@pytest.mark.parametrize("wanted", [None, 1])
def test_it_is_the_gradient_by_hand(crops, task, wanted):
    backbone, head = tiny()
    explain = gradcam.explainer(built(backbone, head), task, layer="second")
    maps, explained = explain(crops, None if wanted is None else np.full(6, wanted))
    kernel, bias = (w.astype(np.float64) for w in head.get_layer(task).get_weights())

    def places(hidden):
        return (hidden @ kernel + bias).argmax(1) if wanted is None else np.full(6, wanted)

    expected, expected_places = by_hand(backbone, head, crops, kernel, places)
    assert explained.tolist() == expected_places.tolist()
    assert (expected > 0).any(axis=(1, 2)).sum() >= 3  # there is something to agree on
    np.testing.assert_allclose(maps, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("age", ["years", "distribution", "laplace"])
def test_age_is_explained_by_its_years(crops, age):
    made = built(*tiny(age=age))
    maps, years = gradcam.explainer(made, "age", layer="first")(crops)
    np.testing.assert_allclose(years, made.predict(crops)["age"], rtol=1e-4)
    assert maps.shape == (6, 7, 7) and (maps >= 0).all() and maps.max() > 0


def test_a_mirrored_a_tempered_and_a_loaded_classifier_give_the_same(crops, tmp_path):
    tasks = {"race": TASKS["race"]}
    backbone, head = tiny(tasks)
    expected, _ = gradcam.explainer(built(backbone, head, tasks), "race", layer="second")(crops)
    made = built(backbone, head, tasks, mirror=True, temperatures={"race": 3.0})
    classifier.save(made, tmp_path / "c.keras")
    again = classifier.load(tmp_path / "c.keras")
    for one in (made, again):
        got, _ = gradcam.explainer(one, "race", layer="second")(crops)
        np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        pytest.param(
            lambda: backbones.load("dlib", layer="map+block_4_3"), (8, 8), marks=pytest.mark.slow
        ),
        (lambda: backbones.load("dlib", precision="mixed_bfloat16"), (8, 8)),
        pytest.param(lambda: resnet50.load(size=96), (12, 12), marks=pytest.mark.slow),
        (
            lambda: vggface.build(
                channels=((4, 4), (4, 4), (4,) * 3, (8,) * 3, (8,) * 3), size=128
            ),
            (8, 8),
        ),
    ],
)
def test_every_backbone_can_be_explained(build, shape):
    backbone = build()
    size = backbone.input_shape[1]
    head = heads.build("shared", backbone.output_shape[1:], tasks=TASKS)
    crops = np.random.default_rng(3).integers(0, 256, (2, size, size, 3), np.uint8)
    maps, _ = gradcam.explainer(built(backbone, head), "gender")(crops)
    assert maps.shape == (2, *shape) and np.isfinite(maps).all() and maps.dtype == np.float32


@pytest.mark.parametrize(
    ("task", "layer", "named"),
    [("race", None, "race.*gender"), ("gender", "third", "third.*second")],
)
def test_what_is_not_there_is_named(task, layer, named):
    tasks = {"gender": TASKS["gender"]}
    with pytest.raises(InputError, match=named):
        gradcam.explainer(built(*tiny(tasks), tasks), task, layer=layer)


def test_the_layer_is_the_deepest_that_is_fine_enough():
    crop = keras.Input((64, 64, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    for name, strides in (("a", 2), ("b", 2), ("c", 2), ("d", 1), ("e", 2), ("f", 2)):
        x = keras.layers.Conv2D(2, 3, strides=strides, padding="same", name=name)(x)
    fine = keras.Model(crop, x)
    assert gradcam.chosen(fine).name == "d"  # of 8 by 8; "e" has 4, "f" 2
    assert gradcam.chosen(fine, "f").name == "f"
    coarse = keras.Model(fine.get_layer("d").output, x)
    assert gradcam.chosen(coarse).name == "e"  # the finest there are
    flat = keras.Model(crop, keras.layers.Dense(2)(keras.layers.Flatten()(crop)))
    with pytest.raises(InputError, match="--method occlusion"):
        gradcam.chosen(flat)
