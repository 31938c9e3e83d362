"""Networks that are trained: joined, and continued with the tasks that fit."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.training import network

GENDERS = labels.GENDERS


@pytest.mark.parametrize("batch_norm", ["frozen", "adapted"])
def test_the_backbones_batch_normalization_stays_or_moves(batch_norm):
    keras.utils.set_random_seed(0)
    crop = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(crop)
    x = keras.layers.BatchNormalization(name="norm")(x)
    backbone = keras.Model(crop, x, name="backbone")
    features = keras.Input(backbone.output_shape[1:])
    flat = keras.layers.Flatten()(features)
    outputs = {"gender": keras.layers.Dense(2, activation="softmax", name="gender")(flat)}
    head = keras.Model(features, outputs, name="head")
    model = network.joined(backbone, head, batch_norm=batch_norm)
    norm = backbone.get_layer("norm")
    before = [weight.numpy() for weight in norm.weights]
    kernel = backbone.get_layer("conv").kernel.numpy()
    model.compile("adam", loss={"gender": "categorical_crossentropy"})
    rng = np.random.default_rng(0)
    crops, targets = rng.random((32, 16, 16, 3)) * 255, np.eye(2)[rng.integers(0, 2, 32)]
    model.fit(crops, {"gender": targets}, verbose=0)
    moved = [np.abs(w.numpy() - b).max() > 0 for w, b in zip(norm.weights, before, strict=True)]
    assert moved == [batch_norm == "adapted"] * 4
    assert np.abs(backbone.get_layer("conv").kernel.numpy() - kernel).max() > 0


def initial(**tasks):
    return SimpleNamespace(tasks=tasks)


class Mix:
    """A dataset with the labels that are stated."""

    name = "faces"

    def __init__(self, **classes):
        self._classes = classes

    def classes(self, task):
        if task not in self._classes:
            raise InputError(f"faces has no {task} labels")
        return self._classes[task]


def test_finer_labels_are_mapped_to_the_classifiers():
    before = initial(gender=GENDERS, race=labels.UTKFACE_RACES, age=())
    chosen = network.choose(before, Mix(gender=GENDERS, race=labels.FAIRFACE_RACES))
    assert chosen.tasks == {"gender": GENDERS, "race": labels.UTKFACE_RACES}
    assert chosen.fresh == ()
    assert any("East Asian to Asian" in note for note in chosen.notes)
    assert any("age" in note and "left out" in note for note in chosen.notes)


def test_labels_without_a_place_need_a_new_head():
    before = initial(gender=GENDERS, race=labels.UTKFACE_RACES)
    chosen = network.choose(initial(race=labels.FAIRFACE_RACES), Mix(race=labels.UTKFACE_RACES))
    assert chosen.fresh == ("race",) and chosen.tasks == {"race": labels.UTKFACE_RACES}
    chosen = network.choose(before, Mix(gender=GENDERS, age=()), wanted=["gender", "age"])
    assert chosen.fresh == ("age",) and list(chosen.tasks) == ["gender", "age"]
    assert network.choose(before, Mix(gender=GENDERS), replace=True).fresh == ("gender",)


def test_a_dataset_without_any_of_the_labels_is_refused():
    with pytest.raises(InputError, match="labels of none of the classifier's tasks"):
        network.choose(initial(gender=GENDERS), Mix(age=()))
    with pytest.raises(InputError, match="no race labels"):
        network.choose(initial(gender=GENDERS), Mix(gender=GENDERS), wanted=["race"])
