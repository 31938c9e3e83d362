"""The colours of charts, told apart by people of every colour vision.

Those of M. Okabe and K. Ito (Color Universal Design, 2008), with grey in place of their yellow,
which is faint on white. A gender has one colour in every picture.
"""

from collections.abc import Sequence

from vggface_gender.base import labels

LABELS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#555555")
GENDERS = dict(zip(labels.GENDERS, ("#d55e00", "#0072b2"), strict=True))
ALL = "#222222"  # of all faces together
SCORE, FAINT = "#1f4e79", "#c7d3e0"  # of a figure, and of one of few faces


def of(names: Sequence[str]) -> list[str]:
    """The colour of each of a task's labels.

    Args:
        names: at most `len(LABELS)`.
    """
    return [GENDERS.get(name, colour) for name, colour in zip(names, LABELS, strict=False)]
