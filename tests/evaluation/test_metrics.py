"""Metrics against scikit-learn, SciPy, Keras and figures worked out by hand."""

import csv
import json
import math
import re
import statistics

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from scipy import optimize, stats

from vggface_gender.base import labels
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import metrics, predictions

FEMALE, MALE = [0.9, 0.1], [0.2, 0.8]
NAMES = {"gender": labels.GENDERS, "race": labels.UTKFACE_RACES}


def random_table(seed: int, count: int, truths: tuple[str, ...], race_names: tuple[str, ...]):
    """A table of all three tasks with a tenth of the labels missing."""
    rng = np.random.default_rng(seed)

    def true(values):
        return [None if rng.random() < 0.1 else value for value in values]

    def probabilities(classes):
        """Often near 0 and 1, but not so near that they are clipped."""
        return 0.001 / classes + 0.999 * rng.dirichlet(np.full(classes, 0.2), count)

    return predictions.table(
        [f"{index}.jpg" for index in range(count)],
        {
            "gender": true(rng.choice(labels.GENDERS, count)),
            "race": true(rng.choice(truths, count)),
            "age": true(rng.integers(0, 100, count)),
        },
        outputs={
            "gender": probabilities(2),
            "race": probabilities(len(race_names)),
            "age": rng.normal(40, 20, count),
        },
        tasks={"gender": labels.GENDERS, "race": race_names},
    )


def gender_table(true: list, outputs: list, **truth: list) -> pd.DataFrame:
    names = [f"{index}.jpg" for index in range(len(true))]
    return predictions.table(
        names,
        {"gender": true, **truth},
        outputs={"gender": np.array(outputs, dtype=float)},
        tasks=NAMES,
    )


def age_table(true: list, predicted: list, **truth: list) -> pd.DataFrame:
    names = [f"{index}.jpg" for index in range(len(true))]
    return predictions.table(
        names, {"age": true, **truth}, outputs={"age": np.array(predicted)}, tasks=NAMES
    )


def wilson(successes: int, count: int) -> list[float]:
    """Wilson 1927, from the formula."""
    z, share = 1.959963984540054, successes / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return [centre - half, centre + half]


def compare_with_sklearn(
    figures: dict, true: np.ndarray, probability: np.ndarray, names: tuple[str, ...]
) -> None:
    """Check a task's figures; `true` holds indices into `names`, rows of `probability` sum to 1."""
    predicted = probability.argmax(axis=1)
    everything = np.arange(len(names))
    assert figures["labels"] == list(names)
    assert figures["count"] == len(true)
    assert figures["accuracy"] == pytest.approx(
        sklearn.metrics.accuracy_score(true, predicted), abs=1e-12
    )
    assert figures["interval"] == pytest.approx(
        wilson(int((true == predicted).sum()), len(true)), abs=1e-9
    )
    recall = sklearn.metrics.recall_score(true, predicted, average=None, labels=np.unique(true))
    assert figures["balanced_accuracy"] == pytest.approx(recall.mean(), abs=1e-12)
    assert figures["cross_entropy"] == pytest.approx(
        sklearn.metrics.log_loss(true, probability, labels=everything), abs=1e-9
    )
    np.testing.assert_array_equal(
        figures["confusion"],
        sklearn.metrics.confusion_matrix(true, predicted, labels=everything),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("races", labels.RACES, ids=len)
def test_classification_agrees_with_sklearn(seed, races):
    frame = random_table(seed, 300, races, races)
    figures = metrics.evaluate(frame)
    for task, names in (("gender", labels.GENDERS), ("race", races)):
        rows = frame.dropna(subset=task)
        assert figures[task]["missing"] == len(frame) - len(rows) > 0
        true = np.array([names.index(name) for name in rows[task]])
        probability = rows[[f"{task}_{name}" for name in names]].to_numpy()
        compare_with_sklearn(figures[task], true, probability, names)


@pytest.mark.parametrize(
    ("truths", "outputs"), [labels.RACES, labels.RACES[::-1]], ids=["finer outputs", "finer truth"]
)
def test_taxonomies_are_compared_in_the_coarser_one(truths, outputs):
    frame = random_table(7, 400, truths, outputs)
    figures = metrics.evaluate(frame)["race"]
    rows = frame.dropna(subset="race")
    into = {
        "East Asian": "Asian",
        "Southeast Asian": "Asian",
        "Latino_Hispanic": "Others",
        "Middle Eastern": "Others",
    }
    summed = {name: np.zeros(len(rows)) for name in labels.UTKFACE_RACES}
    for name in outputs:
        summed[into.get(name, name)] += rows[f"race_{name}"].to_numpy()
    true = [labels.UTKFACE_RACES.index(into.get(name, name)) for name in rows["race"]]
    compare_with_sklearn(
        figures, np.array(true), np.stack(list(summed.values()), axis=1), labels.UTKFACE_RACES
    )
    assert figures["dropped"] == 0
    assert list(figures["groups"]["race"]) == [
        name for name in TASKS["race"].labels if name in truths
    ]


def test_a_mixture_of_taxonomies_is_compared_in_the_coarser_one():
    frame = predictions.table(
        ["a", "b", "c"],
        {"race": ["Asian", "East Asian", "Middle Eastern"]},
        outputs={"race": np.eye(7)[[3, 4, 2]]},  # East Asian, Southeast Asian, Latino_Hispanic
        tasks={"race": labels.FAIRFACE_RACES},
    )
    figures = metrics.evaluate(frame)["race"]
    assert figures["labels"] == list(labels.UTKFACE_RACES)
    assert figures["accuracy"] == 1


def test_truths_that_the_outputs_name_are_not_made_coarser():
    """White and Black alone are of both taxonomies: the outputs' own is taken."""
    frame = random_table(8, 50, ("White", "Black"), labels.FAIRFACE_RACES)
    assert metrics.evaluate(frame)["race"]["labels"] == list(labels.FAIRFACE_RACES)


def test_faces_that_the_outputs_cannot_name_are_dropped_and_counted():
    names = ("White", "Black", "Asian")
    frame = random_table(9, 300, labels.FAIRFACE_RACES, names)
    figures = metrics.evaluate(frame)["race"]
    assert figures["missing"] == frame["race"].isna().sum() > 0
    named = frame[frame["race"].isin(["White", "Black", "East Asian", "Southeast Asian"])]
    assert figures["dropped"] == frame["race"].notna().sum() - len(named) > 0
    true = [
        names.index(name.removeprefix("Southeast ").removeprefix("East ")) for name in named.race
    ]
    probability = named[[f"race_{name}" for name in names]].to_numpy()
    compare_with_sklearn(figures, np.array(true), probability, names)
    assert "Indian" not in figures["groups"]["race"]

    nameless = metrics.evaluate(frame[frame["race"].isin(["Latino_Hispanic"])])["race"]
    assert nameless.keys() == {"count", "missing", "dropped", "reason"}
    assert nameless["count"] == 0 < nameless["dropped"]
    assert "no name for any true race label" in nameless["reason"]


def test_cross_entropy_is_kerass():
    import keras

    outputs = np.array([[1, 0], [1, 0], [0.3, 0.7], [0.6, 0.401], [1e-9, 1]])
    true = ["female", "male", "male", "female", "female"]
    expected = keras.ops.categorical_crossentropy(
        np.eye(2)[[labels.GENDERS.index(name) for name in true]], outputs
    )
    assert metrics.evaluate(gender_table(true, outputs))["gender"][
        "cross_entropy"
    ] == pytest.approx(float(np.mean(expected)), abs=1e-9)


def test_a_table_worked_out_by_hand():
    figures = metrics.evaluate(
        gender_table(
            ["female", "female", "male", None, "male"],
            [FEMALE, MALE, MALE, MALE, [0.5, 0.5]],
            race=["White", "Black", "White", "White", None],
            age=[2, None, 2.5, 4, 70],
        )
    )
    assert figures.keys() == {"gender"}
    gender = figures["gender"]
    assert (gender["count"], gender["missing"], gender["dropped"]) == (4, 1, 0)
    assert gender["accuracy"] == gender["balanced_accuracy"] == 0.5  # the tie goes to the first
    assert gender["cross_entropy"] == pytest.approx(-math.log(0.9 * 0.2 * 0.8 * 0.5) / 4)
    assert gender["confusion"] == [[1, 1], [1, 1]]

    def counts(grouping):
        return {
            name: (group["count"], group["accuracy"])
            for name, group in gender["groups"][grouping].items()
        }

    assert counts("gender") == {"female": (2, 0.5), "male": (2, 0.5)}
    assert counts("race") == {"White": (2, 1), "Black": (1, 0)}
    assert counts("age") == {"0-2": (2, 1), "70+": (1, 0)}
    assert counts("gender x race") == {
        "female, White": (1, 1),
        "female, Black": (1, 0),
        "male, White": (1, 1),
    }
    assert gender["groups"]["race"]["Black"]["interval"] == pytest.approx(wilson(0, 1))


def test_groups_are_the_figures_of_the_rows_in_them():
    frame = random_table(10, 1000, labels.FAIRFACE_RACES, labels.FAIRFACE_RACES)
    figures = metrics.evaluate(frame)
    bands = pd.cut(
        frame["age"],
        [0, 3, *range(10, 80, 10), np.inf],
        right=False,
        labels=["0-2", "3-9", *(f"{year}-{year + 9}" for year in range(10, 70, 10)), "70+"],
    )
    checked = 0
    for grouping, of_row in (
        ("gender", frame["gender"]),
        ("race", frame["race"]),
        ("age", bands),
        ("gender x race", frame["gender"] + ", " + frame["race"]),
    ):
        for name in of_row.dropna().unique():
            alone = metrics.evaluate(frame[of_row == name])
            for task, metric in (("gender", "accuracy"), ("race", "accuracy"), ("age", "mae")):
                group = figures[task]["groups"][grouping][name]
                assert group["count"] == alone[task]["count"]
                assert group[metric] == pytest.approx(alone[task][metric], abs=1e-12)
                assert group["interval"] == pytest.approx(alone[task]["interval"], abs=1e-12)
                checked += 1
        for task in ("gender", "race", "age"):
            assert len(figures[task]["groups"][grouping]) == of_row.nunique()
    assert checked == 3 * (2 + 7 + 9 + 14)


def test_small_groups_are_marked():
    frame = gender_table(["female"] * 29 + ["male"] * 30, [FEMALE] * 59)
    groups = metrics.evaluate(frame)["gender"]["groups"]["gender"]
    assert {name: group["small"] for name, group in groups.items()} == {
        "female": True,
        "male": False,
    }


def test_one_true_class_only():
    figures = metrics.evaluate(gender_table(["male"] * 3, [MALE, MALE, FEMALE]))["gender"]
    assert figures["accuracy"] == pytest.approx(2 / 3) and "balanced_accuracy" not in figures
    assert figures["confusion"] == [[0, 0], [1, 2]]


def test_all_correct():
    figures = metrics.evaluate(gender_table(["male", "female"], [[0, 1], [1, 0]]))["gender"]
    assert figures["accuracy"] == 1
    assert figures["interval"] == pytest.approx(wilson(2, 2))
    assert figures["cross_entropy"] == pytest.approx(0, abs=1e-6)


def test_no_labels_at_all():
    frame = predictions.table(
        ["a", "b"],
        {},
        outputs={"gender": np.array([FEMALE, MALE]), "age": np.array([1.0, 2.0])},
        tasks=NAMES,
    )
    figures = metrics.evaluate(frame)
    for task in ("gender", "age"):
        assert figures[task] == {
            "count": 0,
            "missing": 2,
            "dropped": 0,
            "reason": f"no face has a true {task} label",
        }


@pytest.mark.parametrize("seed", range(3))
def test_age_agrees_with_sklearn_and_scipy(seed):
    frame = random_table(seed, 200, labels.UTKFACE_RACES, labels.UTKFACE_RACES)
    figures = metrics.evaluate(frame)["age"]
    rows = frame.dropna(subset="age")
    absolute = np.abs(rows["age_predicted"] - rows["age"])
    # Hall's transformation of t, as the paper has it; at the interval's ends it is the quantile.
    count, error = len(absolute), stats.sem(absolute)
    skew, quantile = stats.skew(absolute, bias=False), stats.t.ppf(0.975, count - 1)

    def hall(t: float) -> float:
        a = skew / np.sqrt(count)
        return t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6

    ends = [optimize.brentq(lambda t, q=q: hall(t) - q, -50, 50) for q in (quantile, -quantile)]
    interval = [absolute.mean() - end * error for end in ends]
    assert figures["missing"] == len(frame) - len(rows) > 0
    assert figures["mae"] == pytest.approx(
        sklearn.metrics.mean_absolute_error(rows["age"], rows["age_predicted"]), abs=1e-9
    )
    assert figures["interval"] == pytest.approx(interval, abs=1e-9)
    assert figures["bias"] == pytest.approx(rows["age_predicted"].mean() - rows["age"].mean())


def test_ages_worked_out_by_hand():
    frame = age_table(
        [20, 30, None, 40], [25, 24.9, 1, 41], gender=["male", None, "male", "female"]
    )
    figures = metrics.evaluate(frame)["age"]
    assert (figures["count"], figures["missing"], figures["dropped"]) == (3, 1, 0)
    assert figures["mae"] == pytest.approx((5 + 5.1 + 1) / 3)
    assert figures["bias"] == pytest.approx((5 - 5.1 + 1) / 3)
    assert figures["within_5_years"] == pytest.approx(2 / 3)
    groups = figures["groups"]["gender"]
    assert {name: (group["count"], group["mae"]) for name, group in groups.items()} == {
        "female": (1, 1),
        "male": (1, 5),
    }
    assert groups["male"]["interval"] is None  # one face says nothing about the spread


def test_an_ages_interval_is_of_possible_errors():
    few = metrics.evaluate(age_table([20, 20], [20, 29]))["age"]
    assert few["interval"][0] == 0
    same = metrics.evaluate(age_table([20, 40], [23, 43]))["age"]
    assert same["interval"] == [3, 3]


def test_real_labels_group_as_counted_by_hand(faces_dir):
    """FairFace's own table against figures counted from it without our code."""
    with open(faces_dir / "FairFace" / "fairface_label_train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([1, 1], len(rows))
    frame = predictions.table(
        [row["file"] for row in rows],
        {
            "gender": [row["gender"].lower() for row in rows],
            "race": [row["race"] for row in rows],
        },
        outputs={"gender": probability},
        tasks=NAMES,
    )
    groups = metrics.evaluate(frame)["gender"]["groups"]["gender x race"]
    guess = np.where(probability[:, 0] > 0.5, "Female", "Male")
    for gender in ("Female", "Male"):
        for race in labels.FAIRFACE_RACES:
            members = [
                guessed == gender
                for row, guessed in zip(rows, guess, strict=True)
                if (row["gender"], row["race"]) == (gender, race)
            ]
            group = groups[f"{gender.lower()}, {race}"]
            assert group["count"] == len(members)
            assert group["accuracy"] == pytest.approx(statistics.fmean(members))
    assert len(groups) == 14


def run_metrics(seed: int) -> dict:
    frame = random_table(seed, 100, labels.FAIRFACE_RACES, labels.UTKFACE_RACES)
    tasks = metrics.evaluate(frame)
    return {"dataset": "FairFace", "split": "test", "count": len(frame), "tasks": tasks}


def test_metrics_survive_json():
    figures = run_metrics(0)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_summary_of_repeats():
    repeats = [run_metrics(seed) for seed in range(3)]
    summary = metrics.summarize(repeats)
    assert summary["tasks"].keys() == {"gender", "race", "age"}
    for task, names in (
        ("gender", {"accuracy", "balanced_accuracy", "cross_entropy"}),
        ("race", {"accuracy", "balanced_accuracy", "cross_entropy"}),
        ("age", {"mae", "bias", "within_5_years"}),
    ):
        assert summary["tasks"][task].keys() == names
        for metric, spread in summary["tasks"][task].items():
            values = [repeat["tasks"][task][metric] for repeat in repeats]
            assert spread["values"] == values
            assert spread["n"] == 3
            assert spread["mean"] == pytest.approx(np.mean(values), abs=1e-12)
            assert spread["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)


def test_summary_of_one_repeat_and_of_none_labelled():
    assert metrics.summarize([run_metrics(0)])["tasks"]["age"]["mae"]["sd"] is None
    unlabelled = {"tasks": metrics.evaluate(gender_table([None], [MALE]))}
    assert metrics.summarize([unlabelled, unlabelled]) == {"tasks": {}}
    mixed = metrics.summarize([unlabelled, run_metrics(0)])
    assert mixed["tasks"]["gender"]["accuracy"]["n"] == 1


def test_the_report_has_every_figure_in_a_row_of_its_group():
    figures = run_metrics(1)
    lines = metrics.report(figures).splitlines()
    for task in ("gender", "race", "age"):
        (start,) = [k for k, line in enumerate(lines) if line.startswith(f"{task}: ")]
        part = "\n".join(lines[start:])
        for grouping, groups in figures["tasks"][task]["groups"].items():
            for name, group in groups.items():
                line = re.search(rf"^  {grouping} +{re.escape(name)} +(\d.*)$", part, re.MULTILINE)
                assert line[1].split()[0] == str(group["count"])
                assert line[1].endswith("small") == group["small"]
    gender = figures["tasks"]["gender"]
    for name, row in zip(gender["labels"], gender["confusion"], strict=True):
        assert any(line.split() == [name, *map(str, row)] for line in lines)


def test_a_task_without_labels_has_a_report():
    unlabelled = {"dataset": "a", "split": "test", "count": 1}
    unlabelled["tasks"] = metrics.evaluate(gender_table([None], [MALE]))
    assert unlabelled["tasks"]["gender"]["reason"] in metrics.report(unlabelled)


def test_of_one_true_label_there_is_no_balanced_accuracy():
    frame = gender_table(["female"] * 3, [FEMALE, FEMALE, MALE])
    figures = metrics.evaluate(frame)
    assert "balanced_accuracy" not in figures["gender"]
    assert figures["gender"]["accuracy"] == pytest.approx(2 / 3)
    content = {"dataset": "Faces", "split": "test", "count": 3, "tasks": figures}
    report = metrics.report(content)
    assert "every face is female: that has no balanced accuracy" in report
    assert "balanced accuracy  " not in report
    two = metrics.evaluate(gender_table(["female", "male"], [FEMALE, MALE]))
    assert two["gender"]["balanced_accuracy"] == 1
    spread = metrics.summarize([content, content | {"tasks": two}])["tasks"]["gender"]
    assert spread["balanced_accuracy"]["n"] == 1 and spread["accuracy"]["n"] == 2


def test_a_report_names_labels_with_few_training_examples():
    frame = gender_table(["female", "male"], [FEMALE, MALE])
    content = {"dataset": "Faces", "split": "test", "count": 2, "tasks": metrics.evaluate(frame)}
    few = content | {"few": {"gender": {"male": 4}}}
    line = "  fewer than 10 training examples: male 4"
    assert line in metrics.report(few).splitlines()
    assert line not in metrics.report(content).splitlines()
