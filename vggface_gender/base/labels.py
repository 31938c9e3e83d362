"""Label names, and the maps between datasets' taxonomies.

A label says how a face is perceived by those who labelled it. Labels are text everywhere but inside
a batch, where a label is its index in the task's tuple of names and `MISSING` where there is none.
"""

import math
import re
from collections.abc import Iterable

from vggface_gender.base.text import plain

MISSING = -1  # a label's index where the dataset gives none
TASKS = ("gender", "race", "age")  # their names, in order; `base.tasks` describes them

GENDERS = ("female", "male")
UTKFACE_RACES = ("White", "Black", "Asian", "Indian", "Others")
FAIRFACE_RACES = (
    "White",
    "Black",
    "Latino_Hispanic",
    "East Asian",
    "Southeast Asian",
    "Indian",
    "Middle Eastern",
)
RACES = (UTKFACE_RACES, FAIRFACE_RACES)

# UTKFace's own page defines its Others as "like Hispanic, Latino, Middle Eastern".
_COARSER_RACE = {
    "East Asian": "Asian",
    "Southeast Asian": "Asian",
    "Latino_Hispanic": "Others",
    "Middle Eastern": "Others",
}

# FairFace's nine bands: (first year, last year), the last one open.
AGE_BANDS = tuple(
    [(0, 2), (3, 9)] + [(first, first + 9) for first in range(10, 70, 10)] + [(70, 116)]
)

# Adience's eight age labels, years apart from one another: (first year, last year). Its page names
# them so; its files write the third (8, 12), and (60, 100) for what the page calls "60-".
ADIENCE_AGE_BINS = ((0, 2), (4, 6), (8, 13), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))

_GENDER_WORDS = {
    "female": ("female", "f", "woman", "women", "girl", "girls", "females"),
    "male": ("male", "m", "man", "men", "boy", "boys", "males"),
}


def _spaced(text: str) -> str:
    return " ".join(re.sub("[-_/]", " ", plain(text)).split())


_RACE_WORDS = {
    **{_spaced(name): name for taxonomy in RACES for name in taxonomy},
    # Other words that datasets have for one of these.
    "caucasian": "White",
    "african": "Black",
    "african american": "Black",
    "other": "Others",
    **dict.fromkeys(("latino", "hispanic", "hispanic latino"), "Latino_Hispanic"),
}


def gender(text: str) -> str | None:
    """The gender's name for a word that people use for it, else None.

    >>> gender("F"), gender(" men "), gender("unknown")
    ('female', 'male', None)
    """
    word = plain(text)
    return next((name for name, words in _GENDER_WORDS.items() if word in words), None)


def race(text: str) -> str | None:
    """The race's name as a known taxonomy spells it, else None.

    >>> race("east_asian"), race("Latino/Hispanic"), race("Caucasian"), race("1")
    ('East Asian', 'Latino_Hispanic', 'White', None)
    """
    return _RACE_WORDS.get(_spaced(text))


def races_of(names: Iterable[str]) -> tuple[str, ...]:
    """The smallest known taxonomy that holds all `names`; () where there are none.

    Raises:
        ValueError: no known taxonomy holds them all.
    """
    names = set(names)
    if not names:
        return ()
    for taxonomy in RACES:
        if names <= set(taxonomy):
            return taxonomy
    raise ValueError(f"no one race taxonomy holds {', '.join(sorted(names))}")


def age_band(years: float) -> str:
    """The name of the band that an age falls in.

    >>> age_band(29.9), age_band(70)
    ('20-29', '70+')

    Raises:
        ValueError: the age is NaN.
    """
    if math.isnan(years):  # it compares as less than nothing, so would come out as the oldest
        raise ValueError("a missing age has no band")
    for first, last in AGE_BANDS[:-1]:
        if years < last + 1:
            return f"{first}-{last}"
    return f"{AGE_BANDS[-1][0]}+"


def age(years: float) -> str:
    """An age to read: whole years, or the band where it is the middle of one.

    >>> age(31.0), age(14.5)
    ('31', '10-19')
    """
    return f"{years:.0f}" if float(years).is_integer() else age_band(years)


AGE_BAND_NAMES = tuple(age_band(first) for first, _ in AGE_BANDS)


def project(names: Iterable[str], taxonomy: tuple[str, ...]) -> dict[str, str | None]:
    """For each name its own or its coarser name in `taxonomy`, None where it has no place there.

    >>> project(["White", "East Asian"], UTKFACE_RACES)
    {'White': 'White', 'East Asian': 'Asian'}
    """
    coarser = {name: name if name in taxonomy else _COARSER_RACE.get(name) for name in names}
    return {name: into if into in taxonomy else None for name, into in coarser.items()}


def common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """The finest label names that both taxonomies can be projected to.

    The same tuple where they are equal; the coarser one where it takes all of the finer (FairFace's
    seven races go into UTKFace's five); else the names that both have in common.
    """
    for target, names in ((one, other), (other, one)):
        if None not in project(names, target).values():
            return target
    reached, also_reached = ({*names, *map(_COARSER_RACE.get, names)} for names in (one, other))
    return tuple(name for name in dict.fromkeys((*one, *other)) if name in reached & also_reached)
