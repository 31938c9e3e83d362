"""Label names and the maps between taxonomies."""

import csv
import itertools
import math

import pytest

from vggface_gender.base import labels


@pytest.mark.parametrize(
    ("word", "name"),
    [("F", "female"), (" Woman ", "female"), ("girls", "female"), ("m", "male"), ("MEN", "male")],
)
def test_gender_words(word, name):
    assert labels.gender(word) == name


@pytest.mark.parametrize("word", ["", "0", "fe male", "unknown", "u"])
def test_other_words_are_no_gender(word):
    assert labels.gender(word) is None


def test_race_spellings_lead_to_the_taxonomies_names():
    for name in itertools.chain(*labels.RACES):
        for spelling in (name, name.upper(), name.lower().replace(" ", "_"), f" {name} "):
            assert labels.race(spelling) == name
    for word in ("latino-hispanic", "Latino/Hispanic", "Hispanic"):
        assert labels.race(word) == "Latino_Hispanic"
    assert labels.race("Caucasian") == "White"
    assert labels.race("martian") is None and labels.race("1") is None


def test_fairfaces_own_table_is_understood(faces_dir):
    with open(faces_dir / "FairFace" / "fairface_label_train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {labels.race(row["race"]) for row in rows} == set(labels.FAIRFACE_RACES)
    assert {labels.gender(row["gender"]) for row in rows} == set(labels.GENDERS)
    bands = {row["age"] for row in rows} - {"03-Sep", "Oct-19", "more than 70"}
    assert bands == set(labels.AGE_BAND_NAMES) - {"3-9", "10-19", "70+"}


def test_races_of_finds_the_smallest_taxonomy():
    assert labels.races_of([]) == ()
    assert labels.races_of(["Black", "White"]) == labels.UTKFACE_RACES
    assert labels.races_of(["Black", "Middle Eastern"]) == labels.FAIRFACE_RACES
    with pytest.raises(ValueError, match="Asian, East Asian"):
        labels.races_of(["East Asian", "Asian"])


def test_age_bands_cover_every_age_once():
    assert len(labels.AGE_BAND_NAMES) == len(set(labels.AGE_BAND_NAMES)) == 9
    for first, last in labels.AGE_BANDS[:-1]:
        assert labels.age_band(first) == labels.age_band(math.nextafter(last + 1, 0))
        assert labels.age_band(first) == f"{first}-{last}"
        assert labels.age_band(last + 1) != labels.age_band(last)
    assert labels.age_band(70) == labels.age_band(116) == labels.age_band(130) == "70+"


def test_a_missing_age_has_no_band():
    with pytest.raises(ValueError, match="missing"):
        labels.age_band(math.nan)


def test_projection_to_a_coarser_taxonomy_keeps_everyone():
    assert labels.project(labels.FAIRFACE_RACES, labels.UTKFACE_RACES) == {
        "White": "White",
        "Black": "Black",
        "Latino_Hispanic": "Others",
        "East Asian": "Asian",
        "Southeast Asian": "Asian",
        "Indian": "Indian",
        "Middle Eastern": "Others",
    }


def test_projection_to_a_finer_taxonomy_does_not_guess():
    projected = labels.project(labels.UTKFACE_RACES, labels.FAIRFACE_RACES)
    assert [name for name, into in projected.items() if into is None] == ["Asian", "Others"]


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (labels.GENDERS, labels.GENDERS, labels.GENDERS),
        (labels.UTKFACE_RACES, labels.FAIRFACE_RACES, labels.UTKFACE_RACES),
        (labels.FAIRFACE_RACES, labels.FAIRFACE_RACES, labels.FAIRFACE_RACES),
        (("White", "Black", "Asian"), labels.FAIRFACE_RACES, ("White", "Black", "Asian")),
        (("White", "East Asian", "Black"), ("White", "Asian", "Indian"), ("White", "Asian")),
        (("White",), ("Black",), ()),
    ],
)
def test_common_taxonomy_whichever_comes_first(one, other, common):
    assert set(labels.common(one, other)) == set(labels.common(other, one)) == set(common)
