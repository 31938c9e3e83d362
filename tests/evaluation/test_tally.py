"""Tallies: they add up, and give what the faces give."""

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn_tables import table as drawn
from fairlearn.metrics import MetricFrame, selection_rate
from sklearn.metrics import accuracy_score

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import (
    audit,
    calibration,
    fairness,
    groups,
    metrics,
    predictions,
    tally,
    unseen,
)

COUNT = 700


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Of all kinds of faces: copies, near-duplicates, without a label, without a prediction."""
    rng = np.random.default_rng(0)
    frame = drawn(0, 0.5, COUNT, races=labels.FAIRFACE_RACES)
    frame[predictions.OVERLAP] = rng.choice(["exact", "near", None], COUNT, p=[0.1, 0.2, 0.7])
    for task in ("gender", "race"):
        lacks = rng.random(COUNT) < 0.1
        frame.loc[lacks, predictions.outputs_of(frame, task)] = np.nan
    frame.loc[rng.random(COUNT) < 0.1, "age"] = np.nan
    # As the tally's own columns are called, and the one in parts more than there are.
    frame["count"] = pd.Categorical(rng.choice(["1", "2"], COUNT), ["1", "2", "3"], ordered=True)
    skin = rng.choice(["light", "dark", None], COUNT)
    return frame.assign(skin=pd.Categorical(skin, ["light", "dark"], ordered=True))


def near(one, other, at=()):
    """Whether two audits are equal, numbers to 1e-12."""
    if isinstance(one, dict):
        assert list(one) == list(other), at
        for key, value in one.items():
            near(value, other[key], (*at, key))
    elif isinstance(one, list):
        assert len(one) == len(other), at
        for place, value in enumerate(one):
            near(value, other[place], (*at, place))
    else:
        assert one == (pytest.approx(other, abs=1e-12) if isinstance(one, float) else other), at


@pytest.mark.slow
@pytest.mark.parametrize("task", ["gender", "race"])
def test_parts_add_up_to_the_whole(table, task):
    names = metrics.compared_names(unseen.faces(table), task)
    starts = [0, 1, 2, 40, 333, 334, COUNT]
    parts = [table[start:end] for start, end in itertools.pairwise(starts)]
    added = tally.joined([tally.of(part, task, names=names) for part in parts])
    whole = tally.of(table, task)
    pd.testing.assert_frame_equal(added.groups, whole.groups)
    pd.testing.assert_frame_equal(added.cells, whole.cells, rtol=0, atol=1e-12)
    near(audit.of_tally(added, task), audit.audit(table, task))
    assert added.copies == table.name[table.overlap == "exact"].head(3).tolist()


def test_what_is_counted_is_counted_once(table):
    cells = tally.of(table, "race").cells
    assert cells["count"].sum() == COUNT and len(cells) < COUNT
    assert cells.near.sum() == table.overlap.notna().sum()
    assert cells["count"][cells.is_copy.to_numpy(bool)].sum() == (table.overlap == "exact").sum()
    predicted = cells.predicted.notna()
    assert cells["count"][predicted].sum() == table.race_White.notna().sum()
    assert tally.of(drawn(0, 0.5), "race").copies is None


def test_calibration_and_abstention_on_the_very_edges_are_those_of_the_faces():
    rng = np.random.default_rng(1)
    edges = [*np.arange(8, 16) / 15, *calibration.THRESHOLDS]
    confidence = rng.choice([*edges, *np.nextafter(edges, 0), *np.nextafter(edges, 0.51)], 2000)
    confidence = np.maximum(confidence, 0.5)
    true = rng.integers(0, 2, 2000)
    probability = np.stack([confidence, 1 - confidence], axis=1)
    frame = predictions.table(
        [f"{place}" for place in range(2000)],
        {"gender": np.array(labels.GENDERS)[true]},
        outputs={"gender": probability},
        tasks={"gender": labels.GENDERS},
    )
    counted = tally.of(frame, "gender").cells
    right = counted.predicted.to_numpy() == "female"
    hits = sum(row["count"] for row in calibration.calibration(true, probability)["bins"])
    assert counted["count"].sum() == hits == 2000 and right.all()
    compared = metrics.compared(frame, "gender")
    confidences = compared.probability.max(axis=1)
    for threshold, place in zip(calibration.THRESHOLDS, range(7), strict=True):
        reached = counted["count"][counted.reached.astype(int) > place].sum()
        assert reached == (confidences >= threshold).sum()
    by_bin = counted.groupby("bin", observed=True)
    for place, row in zip(
        by_bin.groups, calibration.calibration(true, probability)["bins"], strict=True
    ):
        its = by_bin.get_group(place)
        assert its["count"].sum() == row["count"] and row["from"] == place / 15
        mean = its.confidence.sum() / row["count"]
        assert mean == pytest.approx(row["confidence"], abs=1e-12)


def test_counts_weigh_as_so_many_faces_do():
    rng = np.random.default_rng(2)
    true, predicted, code = rng.integers(0, 3, (3, 60))
    counts = rng.integers(1, 30, 60)
    group = pd.Series(pd.Categorical.from_codes(code, ["x", "y", "z"], ordered=True))
    names = ["a", "b", "c"]
    every = np.repeat(np.arange(60), counts)
    each = [true[every], predicted[every], group[every].reset_index(drop=True)]
    weighed = audit.rates(true, predicted, names=names, group=group, counts=counts)
    found = MetricFrame(
        metrics={
            "accuracy": accuracy_score,
            "selected": lambda t, p: selection_rate(t, p, pos_label=1),
        },
        y_true=each[0],
        y_pred=each[1],
        sensitive_features=each[2].astype(str),
    ).by_group
    for name, row in found.iterrows():
        assert weighed[name]["count"] == (each[2] == name).sum()
        assert weighed[name]["accuracy"] == pytest.approx(row["accuracy"], abs=1e-12)
        assert weighed[name]["selection_rate"]["b"] == pytest.approx(row["selected"], abs=1e-12)
    by_cell = fairness.differences(
        true, predicted, names=names, called={"by": group}, counts=counts, draws=50
    )
    by_face = fairness.differences(*each[:2], names=names, called={"by": each[2]}, draws=50)
    assert by_cell == by_face


def test_ages_fall_in_their_bands():
    ages = [0, 2.9, 3, 9.99, 10, 69.9, 70, 116, np.nan]
    faces = pd.DataFrame({"age": ages, "gender": None, "race": None})
    bands = groups.keys(faces)["age"]
    assert bands[:8].tolist() == [labels.age_band(years) for years in ages[:8]]
    assert pd.isna(bands[8])


def test_groups_that_are_too_many_to_number_are_refused():
    frame = drawn(0, 0.5)
    many = pd.Categorical(["0"] * len(frame), [f"{place}" for place in range(1000)])
    with pytest.raises(InputError, match="too many: give fewer"):
        tally.of(frame.assign(**{f"g{place}": many for place in range(6)}), "gender")
