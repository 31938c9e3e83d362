"""Figures as text: aligned tables, shares, differences and intervals."""

import os
import re
import unicodedata
from collections.abc import Callable, Sequence

_DASHES = re.compile("[\u2010-\u2015\u2212]")
LONGEST = 300  # bytes of a name that are shown: a path's, not a table's cell of megabytes


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """Rows under a header as indented, aligned lines.

    Args:
        header: a name a column; "" for none.
        rows: cells of text, as many as the header has.
        text_columns: how many columns from the left are flush left; the others are flush right.

    >>> print(table(["group", "faces"], [["female", "1,131"], ["male", "98"]]))
      group   faces
      female  1,131
      male       98
    """
    import tabulate  # here, since a command's help needs none

    tabulate.MIN_PADDING = 0  # a header is as wide as its text
    sides = ["left"] * text_columns + ["right"] * (len(header) - text_columns)
    drawn = tabulate.tabulate(
        rows, header, tablefmt="plain", colalign=sides, disable_numparse=True, missingval="-"
    )
    return "\n".join(f"  {line}".rstrip() for line in drawn.splitlines())


def percent(share: float) -> str:
    """A share of 1 in percent.

    >>> percent(0.9357)
    '93.6%'
    """
    return f"{share:.1%}"


def interval(ends: Sequence[float] | None, form: Callable[[float], str] = percent) -> str:
    """An interval to read; "-" where there is none.

    >>> interval([0.925, 0.945])
    '92.5% to 94.5%'
    """
    return f"{form(ends[0])} to {form(ends[1])}" if ends else "-"


def listed(names: Sequence[str], most: int = 3, *, total: int | None = None) -> str:
    """The first few names, printable, and a count of the rest.

    Args:
        total: how many there are, where `names` are only the first of them.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 others'
    """
    shown = ", ".join(printable(cut(name, LONGEST)) for name in names[:most])
    rest = (len(names) if total is None else total) - len(names[:most])
    return shown if rest <= 0 else f"{shown} and {rest:,} other{'s' * (rest > 1)}"


def plain(words: str) -> str:
    """A text in one way of writing it: small letters, one kind of dash, single spaces.

    >>> plain(" 20 – 29 ")
    '20 - 29'
    """
    composed = unicodedata.normalize("NFKC", words).lower()
    return " ".join(_DASHES.sub("-", composed).split())


def shortened(words: str, most: int = 80) -> str:
    """A text with its middle cut out where it is longer than `most` characters.

    >>> shortened("a very long cell", 9)
    'a v … ell'
    """
    if len(words) <= most:
        return words
    end = most // 3
    return f"{words[: most - end - 3]} … {words[-end:]}"


def cut(name: str, most: int) -> str:
    """A name cut to at most so many bytes, as file systems count them, between two characters.

    >>> cut("Zoë", 3)
    'Zo'
    """
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name


def printable(name: str) -> str:
    """A name on one line: what can't be printed, such as a line break in it, is escaped.

    >>> printable("two\\nlines")
    'two\\\\nlines'
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
