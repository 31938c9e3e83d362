"""What a report says in sentences, against tables of which it is known who is failed, by whom."""

import numpy as np
import pytest
from scipy import stats

from vggface_gender.evaluation import findings, predictions, sections

GENDERS = ("female", "male")
RACES = ("White", "Black", "Indian")


def table(skill: float, *, failed: float = 0.0, seed: int = 0, count: int = 1500, confident=False):
    """Predictions that are right so often, and for women annotated Black so much less often."""
    truth = np.random.default_rng(0)
    gender, race = truth.choice(GENDERS, count), truth.choice(RACES, count)
    rng = np.random.default_rng([1, seed])
    chance = skill - failed * ((gender == "female") & (race == "Black"))
    right = rng.random(count) < chance
    confidence = np.full(count, 0.99) if confident else np.clip(chance, 0.5, 1)
    female = np.where((gender == "female") == right, confidence, 1 - confidence)
    return predictions.table(
        [f"{i}.jpg" for i in range(count)],
        {"gender": gender, "race": race},
        outputs={"gender": np.stack([female, 1 - female], axis=1)},
        tasks={"gender": GENDERS},
    )


def found(tables: dict, **domains) -> list[str]:
    shown = [
        section
        for (run, dataset), its in tables.items()
        for section in sections.of_table(
            its,
            run=run,
            dataset=dataset,
            images=sections.no_image,
            is_in_domain=domains.get(dataset),
        )
    ]
    return findings.most_important(shown, findings.differences(tables))


def test_who_is_failed_most_and_who_beats_whom_are_named_first():
    tables = {
        ("weak", "faces"): table(0.85, failed=0.3, seed=1),
        ("strong", "faces"): table(0.95, failed=0.3, seed=2),
    }
    most, beats, *_ = found(tables)
    assert most.startswith("Failed most, by gender x race, is female, Black:")
    audited = sections.of_table(
        tables["weak", "faces"], run="", dataset="", images=sections.no_image
    )[0]["audit"]
    gap = audited["gaps"]["gender x race"]
    assert f"{100 * gap['difference']:.1f} points below {gap['best']}" in most or "strong" in most
    assert "The same group is last for" in most and "may be chance" not in most
    assert "in gender, strong beats weak" in beats and "p < 0.0001" in beats


def test_what_can_not_be_told_apart_is_not_called_better():
    same = {("a", "faces"): table(0.9, seed=1), ("b", "faces"): table(0.9, seed=2)}
    (each,) = findings.differences(same)
    assert "a and b can't be told apart" in each["sentence"]
    right = [
        (its.gender == np.where(its.gender_female > 0.5, "female", "male")).to_numpy()
        for its in same.values()
    ]
    only = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    assert each["test"]["p"] == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
    assert each["scores"] == pytest.approx([one.mean() for one in right])


def test_the_third_is_of_answers_before_trust():
    lacking = table(0.9, seed=1)
    lacking.loc[:99, ["gender_female", "gender_male"]] = np.nan
    assert "a has no prediction for 6.7% of the 1,500 faces" in found({("a", "f"): lacking})[1]
    shifted = {("a", "home"): table(0.95, seed=1), ("a", "away"): table(0.8, seed=2)}
    (loses,) = (s for s in found(shifted, home=True, away=False) if "loses" in s)
    assert "from home, on which it was trained" in loses and "to away" in loses
    sure = found({("a", "f"): table(0.8, seed=1, confident=True)})
    assert "overconfident: a mean confidence of 99.0%" in sure[1]


def test_different_faces_are_said_not_to_be_comparable():
    other = table(0.9, seed=2).assign(name=[f"other {i}" for i in range(1500)])
    (each,) = findings.differences({("a", "f"): table(0.9, seed=1), ("b", "f"): other})
    assert each["scores"] is None and "different test images" in each["sentence"]


def test_the_question_names_classifiers_tasks_and_counts():
    question = findings.summary(
        sections.of_table(table(0.9), run="a", dataset="f", images=sections.no_image)
    )
    assert "One classifier (a) predicted the perceived gender of faces (1,500 of f)" in question


def test_the_folds_of_a_run_are_one_section_where_it_was_trained():
    """Each fold predicts the faces that it has not learned from: together all of the dataset."""
    from vggface_gender.evaluation import sections_of_runs
    from vggface_gender.evaluation.matrix import Test

    def tested(run: str, repeat: str, label: str, is_in_domain: bool) -> Test:
        return Test(run, repeat, None, None, label, is_in_domain, None)

    every = [tested("cv", f"fold-{k}", "home", True) for k in range(3)]
    every += [tested("cv", f"fold-{k}", "away", False) for k in range(3)]
    every += [tested("several", f"seed-{k}", "home", True) for k in range(2)]
    together = sections_of_runs.together(every)
    assert [len(tests) for tests in together] == [3, 1, 1, 1, 1, 1]
    assert {test.repeat for test in together[0]} == {"fold-0", "fold-1", "fold-2"}
