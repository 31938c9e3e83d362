"""Targets: one-hot labels and years, what is missing marked, what is finer mapped."""

import numpy as np
import pandas as pd

from vggface_gender.data import targets

TRUTH = pd.DataFrame(
    {
        "gender": ["male", None, "female"],
        "race": ["East Asian", "White", None],
        "age": [3.5, np.nan, 70],
    }
)
RACES = ("White", "Black", "Asian")


def test_labels_places_in_the_classifiers_names():
    places = targets.indices(TRUTH, "gender", names=("female", "male"))
    assert places.dtype == np.int32 and places.tolist() == [1, -1, 0]
    assert targets.indices(TRUTH, "race", names=RACES).tolist() == [2, 0, -1]
    assert targets.indices(TRUTH, "race", names=("Black", "Indian")).tolist() == [-1, -1, -1]


def test_what_is_missing_has_no_weight_and_what_is_finer_its_coarser_place():
    tasks = {"gender": ("female", "male"), "race": RACES, "age": ()}
    wanted, weights = targets.targets(TRUTH, tasks)
    np.testing.assert_array_equal(wanted["gender"], [[0, 1], [0, 0], [1, 0]])
    np.testing.assert_array_equal(wanted["race"], [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(wanted["age"], [[3.5], [0], [70]])
    np.testing.assert_array_equal(weights["gender"], [1, 0, 1])
    np.testing.assert_array_equal(weights["race"], [1, 1, 0])
    np.testing.assert_array_equal(weights["age"], [1, 0, 1])
