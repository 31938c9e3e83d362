"""Ages as datasets write them: years, bands of years, and bands that became dates.

A band stands for its middle year: 20-29 is 24.5, (25, 32) is 28.5; one without an end stands for
five years past its start: 70+ is 75.
"""

import datetime
import re

from vggface_gender.base.labels import ADIENCE_AGE_BINS, AGE_BANDS
from vggface_gender.base.text import plain

OLDEST = 130  # years

_NUMBER = r"(\d{1,3})(?:\.0)?"
_CLOSED = re.compile(
    rf"{_NUMBER} ?(?:-|_|to) ?{_NUMBER}"
    rf"|[(\[] ?{_NUMBER} ?[,;-] ?{_NUMBER} ?[)\]]"  # as Adience and pandas.cut write them
)
_OPEN = re.compile(
    rf"{_NUMBER} ?(?:\+|plus|(?:and|or) (?:over|older|above|more))"
    rf"|(?:more than|older than|over|above|at least|>=?|≥) ?{_NUMBER}"
)
_UNIT = re.compile(r" ?(?:years?|yrs?)(?: old)?$")

# A spreadsheet that takes 3-9 for a date shows the day and the month, in either order and with or
# without a year, or the count of days since 1899. What could be a month and a year (10-19) becomes
# that month's first day. Bands that datasets have and that could be dates:
_COULD_BE_DATES = {*AGE_BANDS, *ADIENCE_AGE_BINS, (8, 12), (5, 9), (10, 14)}
_MONTHS = {
    **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9},
    **{"oct": 10, "nov": 11, "dec": 12, "mrz": 3, "mär": 3, "mai": 5, "okt": 10, "dez": 12},
}
_GAP = r"[-/. ,]+"
_MONTH = rf"({'|'.join(_MONTHS)})[a-z]*"
_DATES = [  # groups: day, month, year, where the date has them
    re.compile(rf"(?P<day>\d{{1,2}}){_GAP}(?P<month>{_MONTH})(?:{_GAP}(?P<year>\d{{2,4}}))?"),
    re.compile(rf"(?P<month>{_MONTH}){_GAP}(?P<day>\d{{1,2}})(?:{_GAP}(?P<year>\d{{4}}))?"),
    re.compile(r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})(?:[ t]00:00(?::00)?)?"),
    re.compile(r"(?P<month>\d{1,2})[/.](?P<day>\d{1,2})[/.](?P<year>\d{2,4})"),
]
_SERIAL = re.compile(r"(\d{5})(?:\.0)?")
_SERIALS_FROM = datetime.date(1899, 12, 30)


def years(text: str) -> float | None:
    """The age in years that a text stands for, else None.

    >>> years("31.5"), years("20–29"), years("more than 70"), years("03-Sep"), years("old")
    (31.5, 24.5, 75.0, 6.0, None)
    """
    try:
        number = float(_UNIT.sub("", plain(text)))
    except ValueError:
        number = -1
    return number if 0 <= number <= OLDEST else of_band(text)


def of_band(text: str) -> float | None:
    """The years that a band stands for, also one that became a date; None for any other text."""
    found = _band(_UNIT.sub("", plain(text))) or _of_date(text)
    if found is None:
        return None
    first, last = found
    return first + 5.0 if last is None else (first + last) / 2


def mended(text: str) -> str | None:
    """The band that became a date, such as "3-9" for "03-Sep"; None for any other text.

    >>> [mended(date) for date in ("Oct-19", "2019-10-01", "43711", "3-9")]
    ['10-19', '10-19', '3-9', None]
    """
    band = None if _band(plain(text)) else _of_date(text)
    return band and f"{band[0]}-{band[1]}"


def _band(text: str) -> tuple[int, int | None] | None:
    """The first and the last year of a band, None for an open end."""
    if match := _CLOSED.fullmatch(text):
        first, last = (int(number) for number in match.groups() if number)
        return (first, last) if first <= last <= OLDEST else None
    if match := _OPEN.fullmatch(text):
        (first,) = (int(number) for number in match.groups() if number)
        return (first, None) if first <= OLDEST else None
    return None


def _of_date(text: str) -> tuple[int, int] | None:
    """The band that a spreadsheet made this date of."""
    text = plain(text)
    if match := _SERIAL.fullmatch(text):
        text = str(_SERIALS_FROM + datetime.timedelta(days=int(match[1])))
    match = next(filter(None, (form.fullmatch(text) for form in _DATES)), None)
    if match is None:
        return None
    day, month, year = match["day"], match["month"], match["year"]
    if year and len(year) == 4 and int(year) < 2000:
        return None  # rather a birth date than what a spreadsheet made
    numbers = [int(day), _MONTHS.get(month[:3]) or int(month)]
    could_be = [numbers]
    if year and 1 in numbers:
        could_be.append([max(numbers), int(year) % 100])
    for one, other in could_be:
        band = (min(one, other), max(one, other))
        if band in _COULD_BE_DATES:
            return band
    return None
