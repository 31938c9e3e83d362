"""Numbers as people write them, each kind with what is said of any other text."""

import math
from collections.abc import Callable

SCORES = (-1, 10)  # that a least detection score may be from and to


def positive(text: str) -> int:
    """A whole number from 1 up.

    Raises:
        ValueError: the text is none, here and below; its message says what was expected.
    """
    return _whole(text, 1)


def count(text: str) -> int:
    """A whole number from 0 up."""
    return _whole(text, 0)


def seed(text: str) -> int:
    """A whole number from 0 to 2**32 - 1, which is what NumPy takes as a seed."""
    number = _whole(text, 0)
    if number >= 2**32:
        raise ValueError(f"{text} is not a whole number from 0 to {2**32 - 1}")
    return number


def amount(text: str) -> float:
    """A finite number from 0 up."""
    return _real(text, lambda number: 0 <= number < math.inf, "from 0 up")


def positive_real(text: str) -> float:
    """A finite number above 0."""
    return _real(text, lambda number: 0 < number < math.inf, "above 0")


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _real(text, lambda number: 0 <= number <= 1, "from 0 to 1")


def below_one(text: str) -> float:
    """A number from 0 up to, but not, 1."""
    return _real(text, lambda number: 0 <= number < 1, "from 0 to under 1")


def score(text: str) -> float:
    """A least detection score, from -1 to 10."""
    least, most = SCORES
    return _real(text, lambda number: least <= number <= most, f"from {least} to {most}")


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise ValueError(f"{text} is not a whole number from {least} up")
    return number


def _real(text: str, is_one: Callable[[float], bool], what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not is_one(number):
        raise ValueError(f"{text} is not a number {what}")
    return number
