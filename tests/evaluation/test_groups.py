"""Groups: who is in which, which are small, which is the worst."""

import numpy as np
import pandas as pd

from vggface_gender.evaluation import groups


def faces(**columns) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    empty = {"gender": [None] * count, "race": [None] * count, "age": [np.nan] * count}
    return pd.DataFrame(empty | columns)


def test_names_in_the_order_of_the_labels():
    some = faces(
        gender=["male", "female", None, "male"],
        race=["White", "Others", "White", "Black"],
        age=[2.9, 3, np.nan, 116],
    )
    named = groups.names(some)
    assert named["gender x race"].tolist() == [
        "male, White",
        "female, Others",
        np.nan,
        "male, Black",
    ]
    assert [*named["gender x race"].cat.categories] == [
        "female, Others",
        "male, White",
        "male, Black",
    ]
    assert named["age"].tolist() == ["0-2", "3-9", np.nan, "70+"]
    assert [*named["race"].cat.categories] == ["White", "Black", "Others"]


def test_each_groups_measure_is_of_its_faces():
    some = faces(gender=["male", "female", None, "male"] * 15)
    found = groups.by_group(some, lambda rows: {"rows": rows.tolist()})
    assert found["race"] == found["age"] == found["gender x race"] == {}
    assert {name: (one["count"], one["small"]) for name, one in found["gender"].items()} == {
        "female": (15, True),
        "male": (30, False),
    }
    assert found["gender"]["female"]["rows"] == list(range(1, 60, 4))


def test_the_worst_is_of_those_that_are_not_small():
    some = {
        "a": {"count": 40, "accuracy": 0.9, "mae": 3, "small": False},
        "b": {"count": 10, "accuracy": 0.1, "mae": 9, "small": True},
        "c": {"count": 40, "accuracy": 0.8, "mae": 4, "small": False},
        "d": {"count": 40, "accuracy": 0.7, "mae": 2, "small": False},
    }
    assert groups.worst(some, score="accuracy", greater_is_better=True) == ("d", some["d"])
    assert groups.worst(some, score="mae", greater_is_better=False) == ("c", some["c"])
    assert groups.worst({"b": some["b"]}, score="mae", greater_is_better=False) is None
    found = groups.gap(some)
    assert (found["worst"], found["best"], found["pairs"]) == ("d", "a", 3)


def test_faces_without_a_label_are_a_group_of_their_own():
    some = faces(gender=["male", "female", None, "male"], race=["White", None, None, "Black"])
    sizes = groups.ungrouped(some, lambda rows: {"rows": rows.tolist()})
    assert {grouping: its["rows"] for grouping, its in sizes.items()} == {
        "gender": [2],
        "race": [1, 2],
        "age": [0, 1, 2, 3],
        "gender x race": [1, 2],
    }
    assert sizes["race"]["count"] == 2 and sizes["race"]["small"]
    by_group = groups.by_group(some, lambda rows: {"rows": rows.tolist()})
    shown = groups.with_unknown(by_group, sizes)
    for grouping in ("gender", "race", "gender x race"):
        assert sum(group["count"] for group in shown[grouping].values()) == len(some)
        assert [*shown[grouping]][-1] == groups.UNKNOWN
    assert "age" not in shown
    assert groups.describe_missing(by_group) == "not by age: no face has these labels"
