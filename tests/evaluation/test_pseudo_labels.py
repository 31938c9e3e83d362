"""Pseudo-labels: what is accepted, thinned and drawn, and how that is scored."""

import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import FAIRFACE_RACES, GENDERS, UTKFACE_RACES
from vggface_gender.evaluation import (
    predictions,
    pseudo_label_results,
    pseudo_label_sweep,
    pseudo_labels,
)

# --- which faces are kept


def test_each_label_has_a_threshold_of_its_own():
    probability = np.array([[0.9, 0.1], [0.96, 0.04], [0.1, 0.9], [0.3, 0.7], [0.97, 0.03]])
    assert pseudo_labels.accept(probability, [0.97, 0.8]).tolist() == [False, False, True, False, 1]
    assert pseudo_labels.accept(probability, [0.5, 0.95]).tolist() == [True, True, False, False, 1]
    assert not pseudo_labels.accept(probability, [1, 1]).any()
    label, confidence = pseudo_labels.predicted(np.array([[0.5, 0.5], [0.2, 0.8]]))
    assert label.tolist() == [0, 1] and confidence.tolist() == [0.5, 0.8]


def hashes(rows):
    """Bits (n, 256) as hashes."""
    return np.packbits(np.asarray(rows, bool), axis=1).view(np.uint64)


def test_of_near_duplicates_the_most_confident_is_kept_and_others_are_left_alone():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 2, (2, 256))
    near, nearer = one.copy(), one.copy()
    near[:24] ^= 1
    nearer[100:110] ^= 1
    far = one.copy()
    far[:25] ^= 1
    planted = hashes([one, other, near, nearer])
    assert pseudo_labels.thin(planted, [0.9, 0.8, 0.95, 0.9], near=24).tolist() == [0, 1, 1, 1]
    assert pseudo_labels.thin(planted, [0.9, 0.8, 0.85, 0.99], near=24).tolist() == [0, 1, 1, 1]
    assert pseudo_labels.thin(planted, [0.99, 0.8, 0.85, 0.9], near=24).tolist() == [1, 1, 0, 0]
    assert pseudo_labels.thin(hashes([one, far]), [0.9, 0.8], near=24).tolist() == [1, 1]
    assert pseudo_labels.thin(hashes([one, far]), [0.9, 0.8], near=25).tolist() == [1, 0]
    assert pseudo_labels.thin(hashes([one, one]), [0.7, 0.7], near=0).tolist() == [1, 0]
    assert pseudo_labels.thin(np.zeros((0, 4), np.uint64), [], near=24).tolist() == []


def test_what_is_kept_is_apart_and_what_is_not_is_near_something_more_confident():
    rng = np.random.default_rng(1)
    bits = np.zeros((300, 256), int)
    bits[:, :40] = rng.integers(0, 2, (300, 40))
    confidence = rng.random(300)
    stays = pseudo_labels.thin(hashes(bits), confidence, near=12)
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    assert 10 < stays.sum() < 290
    among = apart[np.ix_(stays, stays)]
    assert (among[~np.eye(len(among), dtype=bool)] > 12).all()
    for gone in np.flatnonzero(~stays):
        assert (apart[gone][stays & (confidence > confidence[gone])] <= 12).any()


def test_draws_are_at_random_by_the_seed_and_not_the_most_confident():
    label = np.array([0] * 300 + [1] * 40 + [2] * 100)
    drawn = pseudo_labels.draw(label, 40, seed=3)
    assert np.bincount(label[drawn]).tolist() == [40, 40, 40]
    assert drawn.tolist() == pseudo_labels.draw(label, 40, seed=3).tolist()
    assert drawn.tolist() != pseudo_labels.draw(label, 40, seed=4).tolist()
    assert pseudo_labels.draw(label, 1000, seed=0).all()
    assert not pseudo_labels.draw(label, 0, seed=0).any()
    times = np.mean(
        [pseudo_labels.draw(label, 40, seed=seed)[:300] for seed in range(2000)], axis=0
    )
    assert abs(times - 40 / 300).max() < 0.04  # each of them alike: five standard errors


def predicted_as(label, confidence):
    """Probabilities (n, 2) of which the label's is the confidence."""
    probability = np.stack([1 - np.asarray(confidence)] * 2, axis=1)
    probability[np.arange(len(label)), label] = confidence
    return probability


def test_every_face_is_accounted_for():
    rng = np.random.default_rng(0)
    label = rng.choice(2, 500, p=(0.7, 0.3))
    probability = predicted_as(label, rng.uniform(0.5, 1, 500))
    codes = hashes(rng.integers(0, 2, (500, 256)))
    codes[10:40] = codes[50:80]
    given = (probability, [0.7, 0.8])
    near = {"hashes": codes, "near": 24}
    steps = pseudo_labels.choose(*given, **near, balanced=True, most=61, seed=1)
    accepted = pseudo_labels.accept(probability, [0.7, 0.8])
    assert steps["accepted"].tolist() == np.flatnonzero(accepted).tolist()
    assert 1 <= len(steps["accepted"]) - len(steps["thinned"]) <= 30
    rarest = np.bincount(label[steps["thinned"]]).min()
    assert np.bincount(label[steps["balanced"]]).tolist() == [rarest, rarest]
    assert np.bincount(label[steps["kept"]]).tolist() == [30, 30]
    again = pseudo_labels.choose(*given, **near, balanced=True, most=61, seed=1)
    assert again["kept"].tolist() == steps["kept"].tolist()
    assert len(pseudo_labels.choose(*given, **near, most=61)["kept"]) == 61
    everything = pseudo_labels.choose(*given, **near)
    assert everything["kept"].tolist() == everything["thinned"].tolist()
    for name, numbers in pseudo_labels.tally(probability, GENDERS, steps=steps).items():
        assert numbers["predicted"] == (label == GENDERS.index(name)).sum()
        away = sum(numbers[what] for what in ("near-duplicates", "balanced away", "beyond max"))
        assert numbers["accepted"] - away == numbers["kept"] == 30


def test_with_a_label_that_none_has_there_is_nothing_to_balance_with():
    probability = predicted_as([0, 0, 1], [0.9, 0.9, 0.6])
    codes = hashes(np.random.default_rng(0).integers(0, 2, (3, 256)))
    steps = pseudo_labels.choose(probability, [0.8, 0.8], hashes=codes, near=24, balanced=True)
    assert len(steps["thinned"]) == 2 and len(steps["kept"]) == 0
    by_label = pseudo_labels.tally(probability, GENDERS, steps=steps)
    with pytest.raises(InputError, match=" male "):
        pseudo_labels.check(by_label, probability, balanced=True)
    pseudo_labels.check(by_label, probability, balanced=False)


# --- those that are kept, scored


def frame(given, truth, names=GENDERS, task="gender", **others):
    """A predictions table of (label, confidence) and true labels; the rest is shared evenly."""
    outputs = np.zeros((len(given), len(names)))
    for row, (label, confidence) in zip(outputs, given, strict=True):
        row[:] = (1 - confidence) / (len(names) - 1)
        row[names.index(label)] = confidence
    return predictions.table(
        [f"{i}.jpg" for i in range(len(given))],
        {task: truth, **others},
        outputs={task: outputs},
        tasks={task: names},
    )


def wilson(hits, n, z=1.959963984540054):
    middle, half = hits + z * z / 2, z * np.sqrt(hits * (n - hits) / n + z * z / 4)
    return (middle - half) / (n + z * z), (middle + half) / (n + z * z)


def test_true_labels_score_those_kept_and_choose_nothing():
    given = [("female", 0.95)] * 4 + [("male", 0.9)] * 6 + [("male", 0.6)] * 5
    truth = ["female"] * 3 + ["male"] * 7 + [None] * 5
    codes = hashes(np.random.default_rng(0).integers(0, 2, (15, 256)))
    how = {"thresholds": [0.9, 0.8], "hashes": codes, "near": 24}
    kept, figures = pseudo_label_results.keep(frame(given, truth), "gender", **how)
    assert kept.tolist() == list(range(10))
    assert figures["thresholds"] == {"female": 0.9, "male": 0.8}
    assert figures["labels"]["male"]["accepted"] == 6
    score = figures["kept"]
    assert (score["count"], score["labelled"], score["accuracy"]) == (10, 10, 0.9)
    assert score["interval"] == pytest.approx(wilson(9, 10), abs=1e-9)
    assert "90.0%" in pseudo_label_results.describe(figures)
    blind, unscored = pseudo_label_results.keep(frame(given, [None] * 15), "gender", **how)
    assert blind.tolist() == kept.tolist() and unscored["labels"] == figures["labels"]
    assert unscored["kept"] == {"count": 10, "labelled": 0}
    assert "%" not in pseudo_label_results.describe(unscored)
    with pytest.raises(InputError, match=r"0\.950"):
        pseudo_label_results.keep(frame(given, truth), "gender", **how | {"thresholds": [1, 1]})


# --- the sweep


def test_the_sweep_against_figures_made_by_hand():
    given = [("female", 0.95)] * 40 + [("male", 0.8)] * 10 + [("male", 0.99)] * 50
    truth = ["female"] * 36 + ["male"] * 4 + ["female"] * 5 + ["male"] * 5
    truth += ["male"] * 45 + [None] * 5
    race = ["White"] * 50 + ["Black"] * 50
    swept = pseudo_label_sweep.sweep(
        frame(given, truth, race=race), "gender", thresholds=(0.7, 0.9, 0.97, 0.999)
    )
    row = swept.set_index(["threshold", "by", "group"])

    def check(at, faces, accepted, labelled, hits):
        one = row.loc[at]
        assert (one.faces, one.accepted, one.labelled) == (faces, accepted, labelled)
        assert one.acceptance == pytest.approx(accepted / faces, abs=1e-12)
        if labelled:
            assert one.accuracy == pytest.approx(hits / labelled, abs=1e-12)
            assert (one.low, one.high) == pytest.approx(wilson(hits, labelled), abs=1e-9)
        else:
            assert np.isnan([one.accuracy, one.low, one.high]).all()
        assert one.small == (labelled < 30)

    check((0.7, "all", "all"), 100, 100, 95, 36 + 5 + 45)
    check((0.9, "all", "all"), 100, 90, 85, 36 + 45)
    check((0.97, "all", "all"), 100, 50, 45, 45)
    check((0.999, "all", "all"), 100, 0, 0, 0)
    check((0.7, "predicted", "male"), 60, 60, 55, 50)
    check((0.9, "predicted", "male"), 60, 50, 45, 45)
    check((0.97, "predicted", "female"), 40, 0, 0, 0)
    check((0.7, "gender", "male"), 54, 54, 54, 50)
    check((0.9, "gender", "male"), 49 + 5, 49, 49, 45)
    check((0.9, "gender", "female"), 41, 36, 36, 36)
    check((0.9, "race", "White"), 50, 40, 40, 36)
    check((0.9, "gender x race", "male, White"), 9, 4, 4, 0)
    check((0.97, "gender x race", "male, Black"), 45, 45, 45, 45)
    check((0.97, "race", "White"), 50, 0, 0, 0)
    text = pseudo_label_sweep.describe(swept)
    assert "95.3% of 85" in text and "95.3% of 85*" not in text and "0.0% of 4*" in text
    assert "{:.1%} to {:.1%}".format(*wilson(81, 85)) in text


def test_without_true_labels_there_is_acceptance_alone():
    given = [("female", 0.6), ("male", 0.9), ("male", 0.7), ("male", 0.95)]
    swept = pseudo_label_sweep.sweep(frame(given, [None] * 4), "gender", thresholds=(0.5, 0.9))
    assert set(swept.by) == {"all", "predicted"} and not swept.labelled.any()
    assert swept.accepted.tolist() == [4, 1, 3, 2, 0, 2]
    assert "50.0%" in pseudo_label_sweep.describe(swept)


def test_what_is_scored_is_the_label_that_is_given():
    """Two of seven races share most of a face, but the label given is the third."""
    outputs = np.zeros((1, 7))
    third, *two = map(FAIRFACE_RACES.index, ("White", "East Asian", "Southeast Asian"))
    outputs[0, third], outputs[0, two] = 0.4, 0.3
    names = {"race": FAIRFACE_RACES}
    for true, accuracy in (("White", 1), ("Asian", 0)):
        table = predictions.table(["a"], {"race": [true]}, outputs={"race": outputs}, tasks=names)
        swept = pseudo_label_sweep.sweep(table, "race", thresholds=[0.35])
        assert swept.accuracy[0] == accuracy and swept.group[swept.by == "race"].tolist() == [true]


def test_five_races_are_scored_by_seven():
    given = [("Asian", 0.9), ("Asian", 0.9), ("Others", 0.9), ("White", 0.9)]
    truth = ["East Asian", "Indian", "Middle Eastern", "White"]
    swept = pseudo_label_sweep.sweep(
        frame(given, truth, UTKFACE_RACES, "race"), "race", thresholds=[0.5]
    )
    by_race = swept[swept.by == "race"].set_index("group").accuracy
    assert swept.accuracy[0] == 0.75
    assert by_race[["East Asian", "Indian", "Middle Eastern", "White"]].tolist() == [1, 0, 1, 1]
