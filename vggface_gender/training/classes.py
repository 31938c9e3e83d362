"""How many training examples each label has, and whether a classifier can be made of them."""

from collections import Counter
from collections.abc import Mapping

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records
from vggface_gender.datasets import mixes
from vggface_gender.datasets.mixes import Mix, Part


def counts(mix: Mix, tasks: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, int]]:
    """Training examples by classification task and label, in the names of the classifier.

    Args:
        tasks: task to label names; age, whose names are (), is left out.
    """
    found = {task: dict.fromkeys(names, 0) for task, names in tasks.items() if names}
    for part in mix.parts:
        if "train" not in part.dataset.counts:
            continue
        its = _counts(part)
        for task, names in found.items():
            for label, into in labels.project(its[task], tasks[task]).items():
                if into:
                    names[into] += its[task][label]
    return found


def check(name: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse a task with examples of one label alone: its classifier would give that for any face.

    Args:
        name: of the dataset.
        counts: see above.

    Raises:
        InputError: a task has one label.
    """
    for task, its in counts.items():
        present = [label for label, count in its.items() if count]
        if len(present) == 1:
            raise InputError(
                f"{name} has one {task} label to train on, {present[0]} "
                f"({its[present[0]]:,} images), and a classifier needs two: add images of another "
                f"label, or learn other tasks than {task}"
            )


def _counts(part: Part) -> Mapping[str, Mapping[str, int]]:
    """A dataset's training examples by task and label, "missing" among them."""
    if part.share is None:
        return part.dataset.summary["labels"]["train"]
    table = records.labels(part.dataset, "train")
    first, last = mixes.rows(part, "train", count=len(table))
    return {
        task: Counter(table[task].iloc[first:last].dropna())
        for task in TASKS
        if TASKS[task].is_classification
    }
