"""What a dataset says of a face, read alike in tables, folders and named datasets."""

from collections.abc import Callable
from typing import NamedTuple

from vggface_gender.base import ages, labels
from vggface_gender.base.text import shortened


class Reading(NamedTuple):
    """How a task's labels are read."""

    read: Callable[[str], str | float | None]  # the label that a text stands for, else None
    allowed: str  # what a text may be


READINGS = {
    "gender": Reading(labels.gender, "female or male"),
    "race": Reading(
        labels.race, f"{', '.join(labels.UTKFACE_RACES)}, or one of FairFace's seven races"
    ),
    "age": Reading(
        ages.years, f"years from 0 to {ages.OLDEST}, or a band such as 20-29, (25, 32) or 70+"
    ),
}


def refusal(task: str, text: str, *, reading: Reading) -> str:
    """What is said of a text that stands for none of a task's labels."""
    is_code = task != "age" and text.strip().isdecimal()
    why = " (what a number stands for differs between datasets)" if is_code else ""
    return f"{shortened(text, 80)!r} is not a known {task}; give {reading.allowed}{why}"
