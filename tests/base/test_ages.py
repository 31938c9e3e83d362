"""Ages as people and spreadsheets write them."""

import pytest

from vggface_gender.base import ages, labels


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("31", 31.0),
        ("31.5", 31.5),
        ("31 years", 31.0),
        ("0-2", 1.0),
        ("3–9", 6.0),
        ("20 - 29", 24.5),
        ("20 to 29", 24.5),
        ("(25, 32)", 28.5),
        ("(60, 100)", 80.0),
        ("(20.0, 30.0]", 25.0),
        ("70+", 75.0),
        ("more than 70", 75.0),
        ("60 and over", 65.0),
    ],
)
def test_years_and_bands(text, years):
    assert ages.years(text) == years
    assert ages.mended(text) is None


@pytest.mark.parametrize("band", ["3-9", "10-19"])
def test_every_date_that_a_spreadsheet_makes_of_a_band(band):
    dates = {
        "3-9": "9-Mar 03-Sep 3-Sep Mar-09 Sep-03 3-Sep-25 2025-09-03 2025-03-09 9/3/2025 43711",
        "10-19": "19-Oct Oct-19 2019-10-01 2025-10-19 10/19/2025 01-Oct-19 43739 43739.0",
    }
    for date in dates[band].split():
        assert ages.mended(date) == band
        assert ages.years(date) == ages.of_band(date) == ages.years(band)


@pytest.mark.parametrize(
    "text",
    ["", "old", "-1", "131", "nan", "inf", "29-20", "25,32", "43717", "1985-09-03", "May-85"],
)
def test_what_is_no_age(text):
    assert ages.years(text) is None


def test_a_number_is_no_band():
    assert ages.of_band("3") is None


def test_bands_of_published_datasets_stand_for_their_middle():
    for first, last in labels.AGE_BANDS[:-1] + labels.ADIENCE_AGE_BINS:
        assert (
            ages.years(f"{first}-{last}") == ages.years(f"({first}, {last})") == (first + last) / 2
        )
