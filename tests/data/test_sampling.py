"""Balanced sampling: factors by hand and as published, epochs that keep to them."""

import collections

import numpy as np
import pandas as pd
import pytest

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.data import sampling


def truth(**columns) -> pd.DataFrame:
    """Labels as `records.labels` gives them."""
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame({"gender": [None] * count, "race": [None] * count, "age": np.nan})
    for name, values in columns.items():
        frame[name] = pd.Series(values, dtype=float if name == "age" else object)
    return frame


# Eight with both labels, in groups of 3, 1, 2 and 2; and three that lack one.
FACES = truth(
    gender=["female"] * 4 + ["male"] * 4 + ["male", None, None],
    race=["White"] * 3 + ["Black"] + ["White"] * 2 + ["Black"] * 2 + [None, "White", None],
    age=[1, 2, 2.9, 3, 9.5, 25, 80, 116, np.nan, 70, 29],
)


# --- groups


def test_groups_are_named_by_their_labels_and_none_where_one_is_missing():
    assert sampling.groups(FACES, "gender").tolist() == ["female"] * 4 + ["male"] * 5 + [None] * 2
    assert sampling.groups(FACES, "gender+race").tolist() == (
        ["female, White"] * 3
        + ["female, Black"]
        + ["male, White"] * 2
        + ["male, Black"] * 2
        + [None] * 3
    )
    assert sampling.groups(FACES, "age").tolist() == (
        ["0-2"] * 3 + ["3-9"] * 2 + ["20-29", "70+", "70+", None, "70+", "20-29"]
    )


def test_missing_is_missing_whether_it_is_none_or_nan():
    frame = FACES.assign(race=FACES.race.fillna(np.nan))
    assert sampling.groups(frame, "race").tolist() == sampling.groups(FACES, "race").tolist()


def test_no_rows_are_no_groups():
    assert sampling.groups(FACES.iloc[:0], "gender+age").shape == (0,)


def test_a_mixs_races_are_grouped_by_the_coarser_taxonomy():
    races = ["Asian", "East Asian", "Southeast Asian", "Others", "Latino_Hispanic", None, "White"]
    found = sampling.groups(truth(race=races), "race").tolist()
    assert found == ["Asian", "Asian", "Asian", "Others", "Others", None, "White"]
    fine = ["East Asian", "Southeast Asian", None]  # of one taxonomy: as they are
    assert sampling.groups(truth(race=fine), "race").tolist() == fine


@pytest.mark.parametrize("by", ["", "name", "race+", "race+race", "gender,race", "Race"])
def test_groups_by_nonsense_are_refused(by):
    for ask in (sampling.parse_balance, lambda by: sampling.groups(FACES, by)):
        with pytest.raises(InputError, match="give gender, race or age, or several"):
            ask(by)


# --- factors


def test_factors_by_hand():
    assert sampling.factors(FACES, "gender").tolist() == [1.25] * 4 + [1] * 5 + [1] * 2
    assert sampling.factors(FACES, "gender+race").tolist() == (
        [1] * 3 + [3] + [1.5] * 4 + [1] * 3  # of the three last, one label is missing
    )
    assert sampling.factors(FACES, "gender+race", most=2).tolist() == (
        [1] * 3 + [2] + [1.5] * 4 + [1] * 3
    )


def test_no_factor_is_above_four_unless_asked_for():
    frame = truth(race=["White"] * 100 + ["Black"] * 10)
    assert set(sampling.factors(frame, "race")) == {1, 4}
    assert set(sampling.factors(frame, "race", most=20)) == {1, 10}


def test_stated_factors_stand_as_stated():
    found = sampling.factors(FACES, "race", copies={"Black": 7.5})
    assert found.dtype == np.float64
    assert found.tolist() == [1] * 3 + [7.5] + [1] * 2 + [7.5] * 2 + [1] * 3


def test_a_factor_for_nobody_is_refused():
    with pytest.raises(InputError, match=r"no image is Asian or Others.* there are White; Black"):
        sampling.factors(FACES, "race", copies={"Black": 2, "Asian": 3, "Others": 4})


def test_nothing_to_balance_by_is_refused():
    for ask in (sampling.factors, sampling.group_weights):
        with pytest.raises(InputError, match="no image has the labels to balance by race"):
            ask(truth(gender=["male"]), "race")


def test_group_weights_give_every_group_one_total_and_a_mean_of_one():
    frame = truth(race=["White"] * 60 + ["Black"] * 20 + ["Asian"] * 30 + ["Others"] * 5)
    weights = sampling.group_weights(frame, "race")
    assert weights.dtype == np.float32 and weights.mean() == pytest.approx(1, abs=1e-6)
    totals = pd.Series(weights).groupby(frame.race).sum()
    assert totals["White"] == pytest.approx(totals["Black"]) == pytest.approx(totals["Asian"])
    assert totals["Others"] == pytest.approx(totals["White"] / 3)  # 4 times, not 12
    with_missing = truth(race=["White"] * 60 + ["Black"] * 20 + [None])
    weights = sampling.group_weights(with_missing, "race")
    assert weights[-1] == weights[0] and weights.mean() == pytest.approx(1, abs=1e-6)


# --- the command line


def test_a_balance_is_what_the_command_line_says():
    assert sampling.parse_balance("race") == ("race", None)
    assert sampling.parse_balance("gender+race") == ("gender+race", None)
    published = {"Black": 2, "Asian": 3, "Indian": 3, "Others": 4}
    assert sampling.parse_balance("race:Black=2,Asian=3,Indian=3,Others=4") == ("race", published)
    assert sampling.parse_balance("race:East Asian=1.5")[1] == {"East Asian": 1.5}
    assert sampling.parse_balance("age:70+=2,0-2=.5")[1] == {"70+": 2, "0-2": 0.5}
    by, copies = sampling.parse_balance("gender+age:female+70+=3,male+20-29=2")
    assert (by, copies) == ("gender+age", {"female, 70+": 3, "male, 20-29": 2})
    assert set(copies) <= set(sampling.groups(truth(gender=["female", "male"], age=[99, 20]), by))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("race:", "no race ''; give any of White, Black"),
        ("race:Blak=2", "no race 'Blak'; give any of White, Black"),
        ("race:female=2", "no race 'female'"),
        ("gender+race:Black=2", r"no gender\+race 'Black'; give any of female\+White"),
        ("race:Black", "Black has no number above 0; give it as Black=2"),
        ("race:Black=", "Black has no number"),
        ("race:Black=two", "Black has no number"),
        ("race:Black=0", "Black has no number above 0"),
        ("race:Black=inf", "Black has no number"),
        ("race:Black=2,", "no race ''"),
        ("race:Black=2,Black=3", "Black is there twice"),
        ("shoes:Black=2", "give gender, race or age"),
    ],
)
def test_a_balance_of_nonsense_is_told_in_one_line(text, reason):
    with pytest.raises(InputError, match=reason) as caught:
        sampling.parse_balance(text)
    assert "\n" not in str(caught.value)


# --- epochs


def test_an_epoch_without_weights_is_a_permutation():
    rows = sampling.epoch(None, 1000, seed=3, number=0)
    assert rows.dtype == np.int64
    assert sorted(rows) == list(range(1000)) and rows.tolist() != list(range(1000))
    assert sorted(sampling.epoch(np.full(1000, 0.3), 1000, seed=3, number=0)) == list(range(1000))


def test_an_epoch_follows_from_its_seed_and_number():
    weights = np.random.default_rng(0).uniform(0.5, 4, 500)
    one = sampling.epoch(weights, 500, seed=1, number=7)
    np.random.default_rng(5).random(10)
    assert (one == sampling.epoch(weights, 500, seed=1, number=7)).all()
    for seed, number in ((1, 8), (2, 7), (7, 1)):
        other = sampling.epoch(weights, 500, seed=seed, number=number)
        assert (one != other).mean() > 0.9 and sorted(one) != sorted(other)


@pytest.mark.parametrize("draws", [None, 1, 250, 501, 2000])
def test_a_row_is_drawn_its_share_rounded_up_or_down(draws):
    weights = np.random.default_rng(1).choice([0, 0.2, 1, 1.7, 4], 501)
    total = 501 if draws is None else draws
    for number in range(20):
        drawn = np.bincount(
            sampling.epoch(weights, 501, seed=0, number=number, draws=draws), minlength=501
        )
        expected = total * weights / weights.sum()
        assert drawn.sum() == total
        assert (np.floor(expected - 1e-9) <= drawn).all()
        assert (drawn <= np.ceil(expected + 1e-9)).all()


def test_a_group_is_drawn_its_share_within_one_draw_in_every_epoch():
    """While who of the group is drawn changes, and everybody comes as often in the long run."""
    weights = np.repeat([1, 2.3, 4], [700, 250, 53])
    expected = 1003 * weights / weights.sum()
    total = np.zeros(1003)
    for number in range(400):
        drawn = np.bincount(sampling.epoch(weights, 1003, seed=0, number=number), minlength=1003)
        for weight in (1, 2.3, 4):
            assert abs((drawn - expected)[weights == weight].sum()) < 1
        total += drawn
    # A row's count in an epoch is one of two neighbours, so its variance is at most 1/4.
    deviations = (total - 400 * expected) / np.sqrt(400 / 4)
    assert np.abs(deviations).max() < 5


def test_an_epochs_order_does_not_follow_the_groups():
    weights = np.repeat([1.0, 3.0], [900, 100])
    place = np.flatnonzero(sampling.epoch(weights, 1000, seed=0, number=0) >= 900)
    assert len(place) == 250
    assert place.mean() == pytest.approx(500, abs=100)  # its deviation is 16


# --- the table


def test_the_table_says_what_balancing_does():
    weights = sampling.factors(FACES, "race")  # Black, 3 of 9, twice
    lines = sampling.describe(FACES, weights, by="race", draws=22).splitlines()
    assert lines[0] == "drawn by race:"
    rows = [line.split() for line in lines[2:]]
    assert rows == [
        ["White", "6", "54.5%", "9", "42.9%"],
        ["Black", "3", "27.3%", "9", "42.9%"],
        ["no", "label", "2", "18.2%", "3", "14.3%"],
        ["all", "11", "100.0%", "22", "100.0%"],
    ]
    assert len({len(line) for line in lines[1:]}) == 1


def test_the_table_is_of_the_epochs_that_follow():
    frame = truth(race=["White"] * 260 + ["Black"] * 100 + ["Others"] * 7)
    weights = sampling.factors(frame, "race")
    drawn = collections.Counter(frame.race[sampling.epoch(weights, 367, seed=0, number=0)])
    rows = sampling.describe(frame, weights, by="race", draws=367).splitlines()[2:5]
    assert [row.split()[0] for row in rows] == ["White", "Black", "Others"]
    for row in rows:
        name, _, _, expected, _ = row.split()
        assert int(expected) == pytest.approx(drawn[name], abs=1.5)
    unweighted = sampling.describe(frame, None, by="race", draws=367).splitlines()[2].split()
    assert unweighted == ["White", "260", "70.8%", "260", "70.8%"]


# --- the published recipe


def test_the_published_recipe_on_the_published_dataset(faces_dir):
    """Copies of UTKFace's rarer groups: Black 2, Asian 3, Indian 3, Others 4 times."""
    codes = [path.name.split("_")[2] for path in (faces_dir / "UTKFace").glob("*.jpg")]
    races = [labels.UTKFACE_RACES[int(code)] for code in codes if len(code) == 1]
    counts = collections.Counter(races)
    if len(races) != 23704:
        pytest.skip(f"{len(races)} names with a race at {faces_dir}: not the full UTKFace")
    # Three more names lack the race.
    assert counts == {"White": 10078, "Black": 4525, "Asian": 3434, "Indian": 3975, "Others": 1692}

    frame = truth(race=races)
    by, copies = sampling.parse_balance("race:Black=2,Asian=3,Indian=3,Others=4")
    weights = sampling.factors(frame, by, copies=copies)
    recipe = {"White": 10078, "Black": 9050, "Asian": 10302, "Indian": 11925, "Others": 6768}
    assert weights.sum() == sum(recipe.values()) == 48123
    # An epoch as long as the copied dataset holds every copy once; one as long as the dataset
    # itself has the same shares.
    full = frame.race[sampling.epoch(weights, len(frame), seed=0, number=0, draws=48123)]
    assert collections.Counter(full) == recipe
    short = collections.Counter(frame.race[sampling.epoch(weights, len(frame), seed=0, number=0)])
    for name, count in recipe.items():
        # Asian and Indian have one weight: their sum is exact, each of them to within chance (21).
        within = 100 if name in ("Asian", "Indian") else 1.5
        assert short[name] == pytest.approx(count * 23704 / 48123, abs=within)
    both = (10302 + 11925) * 23704 / 48123
    assert short["Asian"] + short["Indian"] == pytest.approx(both, abs=1.5)
    table = sampling.describe(frame, weights, by=by, draws=48123)
    assert f"{10302:,}" in table and "21.4%" in table
