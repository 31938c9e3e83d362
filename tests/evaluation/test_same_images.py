"""Tests on the same images against statsmodels, SciPy and figures worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from drawn_tables import table
from scipy import stats
from statsmodels.stats import contingency_tables

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, predictions, same_images

NAMES = {"gender": labels.GENDERS, "race": labels.UTKFACE_RACES}
FEMALE, MALE = [0.9, 0.1], [0.2, 0.8]


def gender_table(true: list, outputs: list, names: list | None = None) -> pd.DataFrame:
    names = names or [f"{index}.jpg" for index in range(len(true))]
    return predictions.table(
        names, {"gender": true}, outputs={"gender": np.array(outputs)}, tasks=NAMES
    )


def test_mcnemar_by_hand():
    # Both right 2, only A 1, only B 5, both wrong 1; p = 2 (C(6,0) + C(6,1)) / 2^6.
    true = ["female"] * 9
    a = gender_table(true, [FEMALE] * 3 + [MALE] * 6)
    b = gender_table(true, [FEMALE] * 2 + [MALE] + [FEMALE] * 5 + [MALE])
    result = same_images.mcnemar(a, b, task="gender")
    assert result == {
        "count": 9,
        "both_right": 2,
        "only_a": 1,
        "only_b": 5,
        "both_wrong": 1,
        "difference": pytest.approx(4 / 9),
        "p": pytest.approx(2 * (1 + 6) / 64),
    }
    swapped = same_images.mcnemar(b, a, task="gender")
    assert (swapped["only_a"], swapped["difference"]) == (5, pytest.approx(-4 / 9))
    assert swapped["p"] == result["p"]


@pytest.mark.parametrize("task", ["gender", "race"])
def test_mcnemar_agrees_with_statsmodels_in_any_order_of_rows(task):
    a, b = table(1, 0.3), table(2, 0.6)
    rights = []
    for frame in (a, b):
        columns = [f"{task}_{name}" for name in NAMES[task]]
        guess = frame[columns].idxmax(axis=1).str.removeprefix(f"{task}_")
        rights.append((guess == frame[task])[frame[task].notna()])
    both = contingency_tables.SquareTable.from_data(pd.concat(rights, axis=1).astype(int))
    expected = contingency_tables.mcnemar(both.table, exact=True)
    result = same_images.mcnemar(a, b.sample(frac=1, random_state=0), task=task)
    assert result["p"] == pytest.approx(expected.pvalue)
    assert result["count"] == a[task].notna().sum()
    assert result["only_a"] == (rights[0] & ~rights[1]).sum()
    evaluated = [metrics.evaluate(frame)[task]["accuracy"] for frame in (a, b)]
    assert result["difference"] == pytest.approx(evaluated[1] - evaluated[0])


def test_only_faces_labelled_in_both_count():
    a = gender_table(["female", None, "male", "male"], [FEMALE, FEMALE, MALE, MALE])
    b = gender_table(["female", "female", None, "male"], [FEMALE, MALE, FEMALE, FEMALE])
    result = same_images.mcnemar(a, b, task="gender")
    assert (result["count"], result["both_right"], result["only_a"]) == (2, 1, 1)
    assert result["p"] == 1
    nobody = same_images.mcnemar(
        gender_table([None, "male"], [MALE, MALE]),
        gender_table(["male", None], [MALE, MALE]),
        task="gender",
    )
    assert nobody == {"count": 0, "reason": "no face has a true label in both"}


def test_labels_that_contradict_each_other_are_refused():
    a, b = gender_table(["female", "male"], [MALE] * 2), gender_table(["female"] * 2, [MALE] * 2)
    with pytest.raises(InputError, match=r"1\.jpg has the true gender male in A and female in B"):
        same_images.mcnemar(a, b, task="gender")
    b = table(2, 0.5)
    with pytest.raises(InputError, match=r"7\.jpg has the true age"):
        same_images.wilcoxon(table(1, 0.5), b.assign(age=b.age.where(b.name != "7.jpg", 99.0)))


def test_other_images_have_no_test():
    a, b = table(1, 0.5, 10), table(2, 0.5, 12, first=7)
    expected = {"reason": "different test images: 10 and 12, 3 in common"}
    assert same_images.mcnemar(a, b, task="gender") == expected
    assert same_images.wilcoxon(a, b) == expected


def test_taxonomies_are_compared_in_what_they_have_in_common():
    true = ["Asian", "Others", "White"]
    fine, coarse = np.full((3, 7), 0.02), np.eye(5)[[0, 4, 0]]
    # East and Southeast Asian together are likelier than White, though neither alone is.
    fine[0, [3, 4, 0]] = 0.3, 0.3, 0.32
    fine[1, 2] = fine[2, 1] = 0.88
    a = predictions.table(
        list("abc"), {"race": true}, outputs={"race": fine}, tasks={"race": labels.RACES[1]}
    )
    b = predictions.table(
        list("abc"), {"race": true}, outputs={"race": coarse}, tasks={"race": labels.RACES[0]}
    )
    result = same_images.mcnemar(a, b, task="race")
    assert [result[key] for key in ("both_right", "only_a", "only_b", "both_wrong")] == [1, 1, 1, 0]


def test_wilcoxon_agrees_with_scipy():
    a, b = table(1, 0.5), table(2, 0.7)
    a.loc[3, "age"] = np.nan
    errors = [(frame.age_predicted - a.age).abs().dropna() for frame in (a, b)]
    result = same_images.wilcoxon(a, b.sample(frac=1, random_state=0))
    assert result["count"] == 59
    assert result["p"] == pytest.approx(stats.wilcoxon(errors[1], errors[0]).pvalue)
    assert result["mae_a"] == pytest.approx(errors[0].mean())
    assert result["difference"] == pytest.approx(errors[1].mean() - errors[0].mean())
    assert result["closer_a"] == (errors[0] < errors[1]).sum()
    assert same_images.wilcoxon(a, a)["p"] == 1
