"""The colours of charts, told apart by people of every colour vision.

Those of M. Okabe and K. Ito (Color Universal Design, 2008), with grey in place of their yellow,
which is faint on white. A gender has one colour in every picture.
"""

from collections.abc import Sequence

from vggface_gender.base import labels

LABELS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#555555")
GENDERS = dict(zip(labels.GENDERS, ("#d55e00", "#0072b2"), strict=True))
ALL = "#222222"  # of all faces together
RUNS = ("#1f4e79", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # none of a gender's
MARKS = ("o", "s", "^", "D", "v", "P", "X")
SCORE = RUNS[0]  # of a figure of one classifier


def of(names: Sequence[str]) -> list[str]:
    """The colour of each of a task's labels.

    Args:
        names: at most `len(LABELS)`.
    """
    return [GENDERS.get(name, colour) for name, colour in zip(names, LABELS, strict=False)]


def run(place: int) -> tuple[str, str]:
    """The colour and the mark of a classifier, by its place among those that are shown."""
    return RUNS[place % len(RUNS)], MARKS[place % len(MARKS)]
