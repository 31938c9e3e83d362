"""Comparisons of runs against SciPy, statsmodels and figures worked out by hand."""

import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import comparison, metrics, predictions
from vggface_gender.evaluation.comparison import Repeat

A, B = [0.91, 0.93, 0.90, 0.94], [0.95, 0.94, 0.93, 0.97]
NAMES = {"gender": labels.GENDERS, "race": labels.UTKFACE_RACES}
FEMALE, MALE = [0.9, 0.1], [0.2, 0.8]


def table(
    seed: int,
    skill: float,
    count: int = 60,
    first: int = 0,
    races: tuple[str, ...] = labels.UTKFACE_RACES,
) -> pd.DataFrame:
    """A table of all tasks; the truth depends on a face's name alone, a tenth of it missing."""
    names = [f"{index}.jpg" for index in range(first, first + count)]
    truth = {"gender": [], "race": [], "age": []}
    for index in range(first, first + count):
        rng = np.random.default_rng(index)
        truth["gender"].append(None if rng.random() < 0.1 else str(rng.choice(labels.GENDERS)))
        truth["race"].append(str(rng.choice(labels.UTKFACE_RACES)))
        truth["age"].append(float(rng.integers(0, 90)))
    rng = np.random.default_rng([seed, 1000])

    def probabilities(task: str, classes: tuple[str, ...]) -> np.ndarray:
        true = np.array([[name == label for name in classes] for label in truth[task]], float)
        drawn = rng.gamma(0.5 + 3 * skill * true)
        return drawn / drawn.sum(axis=1, keepdims=True)

    outputs = {
        "gender": probabilities("gender", labels.GENDERS),
        "race": probabilities("race", races),
        "age": np.array(truth["age"]) + rng.normal(0, 10 * (1 - skill) + 1, count),
    }
    return predictions.table(names, truth, outputs, {"gender": labels.GENDERS, "race": races})


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


def gender_table(true: list, outputs: list, names: list | None = None) -> pd.DataFrame:
    names = names or [f"{index}.jpg" for index in range(len(true))]
    return predictions.table(names, {"gender": true}, {"gender": np.array(outputs)}, NAMES)


# ------------------------------------------------------------------------------ t-tests


def check_against(result: dict, expected, sign: float = 1) -> None:
    interval = expected.confidence_interval(0.95)
    assert result["t"] == pytest.approx(expected.statistic, rel=1e-9)
    assert result["df"] == pytest.approx(expected.df, rel=1e-9)
    assert result["p"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert result["interval"] == pytest.approx([interval.low, interval.high], rel=1e-9)


def test_the_paired_test_is_scipys():
    result = comparison.paired(A, B)
    check_against(result, stats.ttest_rel(B, A))
    differences = [b - a for a, b in zip(A, B, strict=True)]
    assert result["difference"] == pytest.approx(statistics.fmean(differences))
    assert result["effect"] == pytest.approx(
        statistics.fmean(differences) / statistics.stdev(differences)
    )


@pytest.mark.parametrize("b", [B, B[:2], [*B, 0.99]])
def test_welchs_test_is_scipys(b):
    result = comparison.welch(A, b)
    check_against(result, stats.ttest_ind(b, A, equal_var=False))
    assert result["difference"] == pytest.approx(statistics.fmean(b) - statistics.fmean(A))


def test_hedgess_g_by_hand():
    # Means 2 and 5, both variances 1, so d = 3. With m = 4 the correction is
    # gamma(2) / (sqrt(2) gamma(3/2)) = 1 / (sqrt(2) sqrt(pi) / 2) = sqrt(2 / pi).
    result = comparison.welch([1, 2, 3], [4, 5, 6])
    assert result["effect"] == pytest.approx(3 * math.sqrt(2 / math.pi))


def test_the_corrected_test_by_hand():
    # Differences 1, 2, 3: mean 2, variance 1. With n_test/n_train = 2/3 the variance of the mean is
    # 1/3 + 2/3 = 1, so t = 2 on 2 degrees, of which p is 1 - t / sqrt(t^2 + 2).
    result = comparison.paired([0, 0, 0], [1, 2, 3], 2 / 3)
    assert result["t"] == pytest.approx(2)
    assert result["p"] == pytest.approx(1 - 2 / math.sqrt(6))
    assert result["effect"] == pytest.approx(2)
    # Welch's, by the same: each side's mean has the variance 1, the degrees are 2 x 2.
    result = comparison.welch([1, 2, 3], [4, 5, 6], (2 / 3, 2 / 3))
    assert result["t"] == pytest.approx(3 / math.sqrt(2))
    assert result["df"] == pytest.approx(4)


@pytest.mark.parametrize("test", [comparison.paired, comparison.welch])
def test_without_spread_there_is_no_test(test):
    result = test([0.1 + 0.2, 0.3, 0.3], [0.9, 0.9, 0.9])
    assert result["difference"] == pytest.approx(0.6)
    assert result["p"] is result["t"] is result["interval"] is result["effect"] is None
    assert "vary" in result["reason"]


def test_welchs_p_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(0)
    p = [comparison.welch(rng.normal(0, 1, 12), rng.normal(0, 3, 8))["p"] for _ in range(1000)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_correction_makes_up_for_overlapping_training_sets():
    """Differences with Nadeau and Bengio's correlation n_test / (n_test + n_train), here 0.2."""
    rng = np.random.default_rng(0)
    correlation, n = 0.2, 5
    covariance = np.full((n, n), correlation) + (1 - correlation) * np.eye(n)
    draws = rng.multivariate_normal(np.zeros(n), covariance, 1000)
    zeros = np.zeros(n)
    corrected = [comparison.paired(zeros, draw, 0.2 / 0.8)["p"] for draw in draws]
    assert stats.kstest(corrected, "uniform").pvalue > 0.01
    uncorrected = [comparison.paired(zeros, draw)["p"] for draw in draws]
    assert np.mean(np.array(uncorrected) < 0.05) > 0.1


def test_holm_by_hand():
    # Sorted 0.01, 0.03, 0.04 times 3, 2, 1, and never less than the one before.
    assert comparison.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert comparison.holm([]) == []


# ------------------------------------------------------------------------ same images


def test_mcnemar_by_hand():
    # Both right 2, only A 1, only B 5, both wrong 1; p = 2 (C(6,0) + C(6,1)) / 2^6.
    true = ["female"] * 9
    a = gender_table(true, [FEMALE] * 3 + [MALE] * 6)
    b = gender_table(true, [FEMALE] * 2 + [MALE] + [FEMALE] * 5 + [MALE])
    result = comparison.mcnemar(a, b, "gender")
    assert result == {
        "count": 9,
        "both_right": 2,
        "only_a": 1,
        "only_b": 5,
        "both_wrong": 1,
        "difference": pytest.approx(4 / 9),
        "p": pytest.approx(2 * (1 + 6) / 64),
    }
    swapped = comparison.mcnemar(b, a, "gender")
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
    result = comparison.mcnemar(a, b.sample(frac=1, random_state=0), task)
    assert result["p"] == pytest.approx(expected.pvalue)
    assert result["count"] == a[task].notna().sum()
    assert result["only_a"] == (rights[0] & ~rights[1]).sum()
    evaluated = [metrics.evaluate(frame)[task]["accuracy"] for frame in (a, b)]
    assert result["difference"] == pytest.approx(evaluated[1] - evaluated[0])


def test_only_faces_labelled_in_both_count():
    a = gender_table(["female", None, "male", "male"], [FEMALE, FEMALE, MALE, MALE])
    b = gender_table(["female", "female", None, "male"], [FEMALE, MALE, FEMALE, FEMALE])
    result = comparison.mcnemar(a, b, "gender")
    assert (result["count"], result["both_right"], result["only_a"]) == (2, 1, 1)
    assert result["p"] == 1
    nobody = comparison.mcnemar(
        gender_table([None, "male"], [MALE, MALE]),
        gender_table(["male", None], [MALE, MALE]),
        "gender",
    )
    assert nobody == {"count": 0, "reason": "no face has a true label in both"}


def test_labels_that_contradict_each_other_are_refused():
    a, b = gender_table(["female", "male"], [MALE] * 2), gender_table(["female"] * 2, [MALE] * 2)
    with pytest.raises(InputError, match=r"1\.jpg has the true gender male in A and female in B"):
        comparison.mcnemar(a, b, "gender")
    b = table(2, 0.5)
    with pytest.raises(InputError, match=r"7\.jpg has the true age"):
        comparison.wilcoxon(table(1, 0.5), b.assign(age=b.age.where(b.name != "7.jpg", 99.0)))


def test_other_images_have_no_test():
    a, b = table(1, 0.5, 10), table(2, 0.5, 12, first=7)
    expected = {"reason": "different test images: 10 and 12, 3 in common"}
    assert comparison.mcnemar(a, b, "gender") == expected
    assert comparison.wilcoxon(a, b) == expected


def test_taxonomies_are_compared_in_what_they_have_in_common():
    true = ["Asian", "Others", "White"]
    fine, coarse = np.full((3, 7), 0.02), np.eye(5)[[0, 4, 0]]
    # East and Southeast Asian together are likelier than White, though neither alone is.
    fine[0, [3, 4, 0]] = 0.3, 0.3, 0.32
    fine[1, 2] = fine[2, 1] = 0.88
    a = predictions.table(list("abc"), {"race": true}, {"race": fine}, {"race": labels.RACES[1]})
    b = predictions.table(list("abc"), {"race": true}, {"race": coarse}, {"race": labels.RACES[0]})
    result = comparison.mcnemar(a, b, "race")
    assert [result[key] for key in ("both_right", "only_a", "only_b", "both_wrong")] == [1, 1, 1, 0]


def test_wilcoxon_agrees_with_scipy():
    a, b = table(1, 0.5), table(2, 0.7)
    a.loc[3, "age"] = np.nan
    errors = [(frame.age_predicted - a.age).abs().dropna() for frame in (a, b)]
    result = comparison.wilcoxon(a, b.sample(frac=1, random_state=0))
    assert result["count"] == 59
    assert result["p"] == pytest.approx(stats.wilcoxon(errors[1], errors[0]).pvalue)
    assert result["mae_a"] == pytest.approx(errors[0].mean())
    assert result["difference"] == pytest.approx(errors[1].mean() - errors[0].mean())
    assert result["closer_a"] == (errors[0] < errors[1]).sum()
    assert comparison.wilcoxon(a, a)["p"] == 1


# ------------------------------------------------------------------------ which test


def test_seeds_on_one_split_are_not_paired():
    chosen = comparison.design(seeds(0, 0.3), seeds(10, 0.5))
    assert chosen["test"] == "welch" and chosen["overlap"] == [0, 0]
    assert "equal seeds pair nothing" in chosen["why"]


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
    assert "Nadeau and Bengio 2003" in compared["warnings"][0]
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
    chosen = comparison.design(a, other)
    assert chosen["test"] == "welch" and chosen["overlap"] == [1 / 8, 1 / 8]
    assert "seed-0 of A and of B are not of the same" in chosen["why"]
    chosen = comparison.design(a, seeds(10, 0.5))
    assert chosen["test"] == "welch" and chosen["overlap"] == [1 / 8, 0]
    chosen = comparison.design(a, {key: b[key] for key in ("seed-0", "seed-2")})
    assert chosen["test"] == "welch" and "nothing pairs" in chosen["why"]


def test_the_share_of_test_images_is_asked_for_where_it_is_unknown():
    a, b = (
        {
            key: r._replace(settings={k: v for k, v in r.settings.items() if k != "counts"})
            for key, r in side.items()
        }
        for side in (resplits(0, 0.3), resplits(10, 0.5))
    )
    with pytest.raises(InputError, match=r"seed-0 of A has no counts.*--test-share"):
        comparison.design(a, b)
    assert comparison.design(a, b, 0.2)["overlap"] == [pytest.approx(0.25)] * 2
    with pytest.raises(InputError, match="between 0 and 1"):
        comparison.design(a, b, 1.0)


def test_one_repeat_has_no_t_test_but_mcnemars():
    a, b = {"run": Repeat(table(1, 0.3))}, seeds(10, 0.5)
    compared = comparison.compare(a, b)
    assert compared["t_test"]["test"] is None
    assert "n=1 for A:" in compared["t_test"]["why"]
    accuracy = compared["tasks"]["gender"]["metrics"]["accuracy"]
    assert "p" not in accuracy and accuracy["a"]["n"] == 1 and accuracy["b"]["n"] == 3
    (test,) = compared["tasks"]["gender"]["same_images"]
    expected = comparison.mcnemar(a["run"].table, b["seed-0"].table, "gender")
    assert test == {"a": "run", "b": "seed-0", **expected}
    text = comparison.report(compared)
    assert "n=1 for A" in text and "McNemar" in text and "Holm" not in text


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
    assert "not independent" in message and "--repeats" in message
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
    comparison.check_independent(resplits(0, 0.3, "fold"), resplits(10, 0.5, "fold"))


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
    assert compared["warnings"] == []
    evaluated = [[metrics.evaluate(repeat.table) for repeat in side.values()] for side in (a, b)]
    p = []
    for task, names in comparison.METRICS.items():
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
            check_against(result, stats.ttest_ind(values[1], values[0], equal_var=False))
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
    assert "race: left out, since no face has a true race label" in comparison.report(compared)


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
    assert comparison.compare({"run": a["seed-0"]}, elsewhere)["warnings"] == [first, second]
    text = comparison.report(compared)
    assert f"warning: {first}." in text and "60 and 60, 0 in common" in text


def test_the_report_says_what_the_comparison_says():
    compared = comparison.compare(seeds(0, 0.3), seeds(10, 0.5))
    text = comparison.report(compared)
    assert compared["t_test"]["why"] in text
    assert "adjusted for the 7 t-tests shown" in text
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
