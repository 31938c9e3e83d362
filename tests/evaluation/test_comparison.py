"""Comparisons of runs against SciPy, statsmodels and figures worked out by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from drawn_tables import table
from scipy import stats

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import (
    comparison,
    comparison_notes,
    comparison_report,
    metrics,
    repeats,
    same_images,
)
from vggface_gender.evaluation.repeats import Repeat


def seeds(first: int, skill: float, count: int = 3, keys=range, **settings) -> dict[str, Repeat]:
    """A side of seeds on one split; `first` makes its predictions."""
    return {
        f"seed-{key}": Repeat(
            table(first + i, skill),
            {"seed": key, "split_seed": 0, "fingerprint": "f", **settings},
            f"digest {first + i}",
        )
        for i, key in enumerate(keys(count))
    }


def resplits(first: int, skill: float, kind: str = "seed", test: int = 50) -> dict[str, Repeat]:
    """A side of three resplits or folds, each tested on images of its own."""
    return {
        f"{kind}-{key}": Repeat(
            table(first + key, skill, test, first=1000 * key),
            {
                "seed": key if kind == "seed" else 0,
                "split_seed": key if kind == "seed" else 0,
                "fingerprint": f"f{key}",
                "counts": {"train": 400, "validation": 50, "test": test},
            },
        )
        for key in range(3)
    }


# ------------------------------------------------------------------------ which test


def test_seeds_on_one_split_are_not_paired():
    chosen = repeats.design(seeds(0, 0.3), seeds(10, 0.5))
    assert chosen["test"] == "welch" and chosen["overlap"] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["seed", "fold"])
def test_the_same_resplits_and_folds_are_paired_and_corrected(kind):
    a, b = resplits(0, 0.3, kind), resplits(10, 0.5, kind)
    compared = comparison.compare(a, dict(reversed(b.items())))
    assert compared["t_test"]["test"] == "paired"
    assert compared["t_test"]["overlap"] == [50 / 400, 50 / 400]
    assert [warning[:16] for warning in compared["warnings"]] == [
        "the repeats of A",
        "the repeats of B",
    ]
    values = [
        [metrics.evaluate(repeat.table)["race"]["accuracy"] for repeat in side.values()]
        for side in (a, b)
    ]
    differences = np.subtract(*values[::-1])
    t = differences.mean() / (differences.std(ddof=1) * math.sqrt(1 / 3 + 1 / 8))
    result = compared["tasks"]["race"]["metrics"]["accuracy"]
    assert result["t"] == pytest.approx(t)
    assert result["p"] == pytest.approx(2 * stats.t.sf(abs(t), 2))
    pairs = [(test["a"], test["b"]) for test in compared["tasks"]["race"]["same_images"]]
    assert pairs == [(f"{kind}-{key}",) * 2 for key in range(3)]
    assert all(test["count"] == 50 for test in compared["tasks"]["race"]["same_images"])


def test_resplits_of_other_data_are_not_paired():
    a, b = resplits(0, 0.3), resplits(10, 0.5)
    other = {
        key: r._replace(settings={**r.settings, "fingerprint": "g" + key}) for key, r in b.items()
    }
    chosen = repeats.design(a, other)
    assert chosen["test"] == "welch" and chosen["overlap"] == [1 / 8, 1 / 8]
    assert "seed-0" in chosen["why"]
    chosen = repeats.design(a, seeds(10, 0.5))
    assert chosen["test"] == "welch" and chosen["overlap"] == [1 / 8, 0]
    chosen = repeats.design(a, {key: b[key] for key in ("seed-0", "seed-2")})
    assert chosen["test"] == "welch"


def test_the_share_of_test_images_is_asked_for_where_it_is_unknown():
    a, b = (
        {
            key: r._replace(settings={k: v for k, v in r.settings.items() if k != "counts"})
            for key, r in side.items()
        }
        for side in (resplits(0, 0.3), resplits(10, 0.5))
    )
    with pytest.raises(InputError, match="seed-0 of A has no counts"):
        repeats.design(a, b)
    assert repeats.design(a, b, test_share=0.2)["overlap"] == [pytest.approx(0.25)] * 2
    with pytest.raises(InputError, match="between 0 and 1"):
        repeats.design(a, b, test_share=1.0)


def test_one_repeat_has_no_t_test_but_mcnemars():
    a, b = {"run": Repeat(table(1, 0.3))}, seeds(10, 0.5)
    compared = comparison.compare(a, b)
    assert compared["t_test"]["test"] is None
    accuracy = compared["tasks"]["gender"]["metrics"]["accuracy"]
    assert "p" not in accuracy and accuracy["a"]["n"] == 1 and accuracy["b"]["n"] == 3
    (test,) = compared["tasks"]["gender"]["same_images"]
    expected = same_images.mcnemar(a["run"].table, b["seed-0"].table, task="gender")
    assert test == {"a": "run", "b": "seed-0", **expected}


# -------------------------------------------------------------------------- refusals


def refused(a: dict, b: dict) -> str:
    with pytest.raises(InputError) as caught:
        comparison.compare(a, b)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_repeated_evaluations_of_one_checkpoint_are_refused():
    a, b = seeds(0, 0.3), seeds(10, 0.5)
    a["seed-1"] = a["seed-1"]._replace(checkpoint=a["seed-0"].checkpoint)
    message = refused(a, b)
    assert message.startswith(
        "seed-0 and seed-1 of A are one checkpoint (identical classifier.keras)"
    )
    assert "seed-0 and seed-1 of B are one checkpoint" in refused(b, a)


def test_identical_predictions_betray_one_checkpoint_in_any_order_of_rows():
    a, b = seeds(0, 0.3), seeds(10, 0.5)
    b["seed-2"] = b["seed-2"]._replace(table=b["seed-0"].table.sample(frac=1, random_state=0))
    assert "seed-0 and seed-2 of B are one checkpoint (identical predictions)" in refused(a, b)
    last_bit = b["seed-2"].table.assign(
        age_predicted=np.nextafter(b["seed-2"].table.age_predicted, 0)
    )
    b["seed-2"] = b["seed-2"]._replace(table=last_bit)
    assert comparison.compare(a, b)["t_test"]["test"] == "welch"


def test_a_checkpoint_on_both_sides_is_refused():
    a, b = seeds(0, 0.3), seeds(10, 0.5)
    assert "seed-0 of A and seed-0 of B are one checkpoint" in refused(a, a)
    assert "seed-1 of A and run of B are one checkpoint" in refused(a, {"run": a["seed-1"]})
    b["seed-2"] = a["seed-1"]
    assert "seed-1 of A and seed-2 of B are one checkpoint" in refused(a, b)


def test_one_seed_twice_is_refused_but_for_folds():
    a = seeds(0, 0.3)
    a["seed-2"] = a["seed-2"]._replace(settings={"seed": 0})
    assert "seed-0 and seed-2 of A were both trained with seed 0" in refused(a, seeds(10, 0.5))
    repeats.check_independent(resplits(0, 0.3, "fold"), resplits(10, 0.5, "fold"))


def test_what_cannot_be_matched_is_refused():
    a, b = seeds(0, 0.3, 1), seeds(10, 0.5, 1)
    twice = pd.concat([a["seed-0"].table, a["seed-0"].table.iloc[4:5]], ignore_index=True)
    assert "4.jpg is twice in the predictions of seed-0 of A" in refused(
        {"seed-0": Repeat(twice)}, b
    )
    ages = a["seed-0"].table.filter(regex="^(name|gender|race|age|age_predicted)$")
    genders = b["seed-0"].table.drop(columns="age_predicted").filter(regex="^(?!race_)")
    assert "no task in common" in refused({"run": Repeat(ages)}, {"run": Repeat(genders)})


# ------------------------------------------------------------------- the whole comparison


def test_a_whole_comparison_against_metrics_scipy_and_itself_in_json():
    a, b = seeds(0, 0.3, rate=0.1), seeds(10, 0.5, 4, rate=0.2)
    compared = comparison.compare(a, b)
    assert json.loads(json.dumps(compared, allow_nan=False)) == compared
    assert compared["tasks"].keys() == {"gender", "race", "age"}
    assert compared["warnings"] == [
        "seed-3 of B has no counterpart in A: in the means, not in a test on the same images"
    ]
    evaluated = [[metrics.evaluate(repeat.table) for repeat in side.values()] for side in (a, b)]
    p = []
    for task, names in ((name, task.metrics) for name, task in TASKS.items()):
        assert compared["tasks"][task]["metrics"].keys() == set(names)
        for metric in names:
            values = [[figures[task][metric] for figures in side] for side in evaluated]
            result = compared["tasks"][task]["metrics"][metric]
            for letter, some in zip("ab", values, strict=True):
                assert result[letter] == {
                    "mean": pytest.approx(np.mean(some)),
                    "sd": pytest.approx(np.std(some, ddof=1)),
                    "n": len(some),
                    "values": some,
                }
            expected = stats.ttest_ind(values[1], values[0], equal_var=False)
            assert result["t"] == pytest.approx(expected.statistic, rel=1e-9)
            assert result["p"] == pytest.approx(expected.pvalue, rel=1e-9)
            p.append((result["p"], result["p_holm"]))
    assert compared["correction"] == {"method": "Holm", "tests": 7}
    raw, adjusted = (np.array(column) for column in zip(*sorted(p), strict=True))
    expected = np.minimum(1, np.maximum.accumulate(raw * np.arange(7, 0, -1)))
    np.testing.assert_allclose(adjusted, expected)


def test_differing_taxonomies_give_both_sides_the_same_classes():
    fine = {"run": Repeat(table(1, 0.5, races=labels.FAIRFACE_RACES))}
    compared = comparison.compare(fine, {"run": Repeat(table(2, 0.5))})
    race = compared["tasks"]["race"]
    assert race["labels"] == list(labels.UTKFACE_RACES)
    (test,) = race["same_images"]
    accuracy = race["metrics"]["accuracy"]
    assert test["difference"] == pytest.approx(accuracy["difference"])
    expected = metrics.evaluate(fine["run"].table)["race"]["accuracy"]
    assert accuracy["a"]["mean"] == pytest.approx(expected)


def test_a_task_without_true_labels_is_left_out():
    a, b = (
        {key: r._replace(table=r.table.assign(race=None)) for key, r in side.items()}
        for side in (seeds(0, 0.3), seeds(10, 0.5))
    )
    compared = comparison.compare(a, b)
    assert compared["tasks"]["race"] == {"reason": "no face has a true race label (seed-0 of A)"}
    assert compared["correction"]["tests"] == 4
    assert "race: left out, since no face has a true race label" in comparison_report.report(
        compared
    )


def test_what_makes_a_difference_doubtful_is_warned_of():
    a, b = seeds(0, 0.3), seeds(10, 0.5)
    b["seed-2"].settings["rate"] = 0.1
    elsewhere = {
        key: r._replace(table=table(i, 0.4, first=500)) for i, (key, r) in enumerate(b.items())
    }
    compared = comparison.compare(a, elsewhere)
    first, second = compared["warnings"]
    assert first.startswith("the repeats of B were trained with different settings (rate)")
    assert second.startswith("A and B are tested on different images")
    for task in compared["tasks"].values():
        assert all(
            "p" not in test and "in common" in test["reason"] for test in task["same_images"]
        )
    alone = comparison.compare({"run": a["seed-0"]}, elsewhere)["warnings"]
    assert alone[1:] == [first, second]
    assert "only run of A and seed-0 of B are tested on the same images" in alone[0]
    report = comparison_report.report(compared)
    assert first in report and second in report


def test_the_report_says_what_the_comparison_says():
    compared = comparison.compare(seeds(0, 0.3), seeds(10, 0.5))
    text = comparison_report.report(compared)
    assert compared["t_test"]["why"] in text
    for task, figures in compared["tasks"].items():
        part = text[text.index(f"{task}, as perceived") :].split(", as perceived", 2)[1]
        lines = part.splitlines()
        for metric, each in figures["metrics"].items():
            line = next(x for x in lines if x.strip().startswith(metric.replace("_", " ")))
            cells = line.split()
            assert f"{each['a']['mean']:.4f}" in cells and f"{each['difference']:+.4f}" in cells
            assert f"{each['interval'][0]:+.4f} to {each['interval'][1]:+.4f}" in line
            assert f"{each['t']:.2f}" in cells and f"{each['effect']:.2f}" in cells
        for test in figures["same_images"]:
            line = next(x for x in lines if x.split()[:2] == [test["a"], test["b"]])
            assert str(test["count"]) in line.split()
            assert f"{test['difference']:+.4f}" in line.split()
        block = part.split("\n\n")[1].splitlines()
        assert len({len(line) for line in block}) == 1  # all columns are flush right but the first


def test_a_side_that_was_trained_on_the_dataset_is_named():
    a, b = {"x": Repeat(table(1, 0.3))}, {"y": Repeat(table(2, 0.5))}
    assert comparison.compare(a, b)["warnings"] == []
    a["x"] = a["x"]._replace(is_in_domain=True)
    b["y"] = b["y"]._replace(is_in_domain=True)
    assert comparison.compare(a, b)["warnings"] == []
    b["y"] = b["y"]._replace(is_in_domain=False)
    (line,) = comparison.compare(a, b)["warnings"]
    assert "A is in-domain" in line and "B is cross-dataset" in line
    assert comparison_notes.describe("x", a) == "x (in-domain)"


def test_faces_that_one_side_was_trained_on_are_in_neithers_figures():
    marks = ["exact"] * 5 + ["near"] * 3 + [None] * 52
    a, b = table(1, 0.3), table(2, 0.5)
    marked = comparison.compare(
        {"x": Repeat(a.assign(overlap=marks))}, {"y": Repeat(b.assign(overlap=None))}
    )
    without = comparison.compare({"x": Repeat(a[5:])}, {"y": Repeat(b[5:])})
    assert marked["tasks"] == without["tasks"]
    assert "5 faces are left out" in marked["warnings"][0]
    assert marked["warnings"][1].startswith("3 faces are near-duplicates of training images of A")


def test_two_datasets_of_one_name_are_refused():
    made = [
        {"records": "a", "dataset": "/x/faces"},
        {"records": "b", "dataset": "/y/faces"},
        {"records": "a", "dataset": "/moved/faces"},
        {"records": "c", "dataset": "/x/faces"},  # of another split
        {"records": "d"},  # a named dataset's
        {},
    ]
    sides = [{"run": Repeat(table(k, 0.3 + k / 10), made_by=m)} for k, m in enumerate(made)]
    for other in (1, 4):
        with pytest.raises(InputError, match="two datasets of one name"):
            comparison.compare(sides[0], sides[other])
    for other in (2, 3, 5):
        comparison.compare(sides[0], sides[other])
