"""Labels that a classifier had hardly any examples of: their recalls say little, so they are named.

A run's `config.json` has the number of training examples of every label.
"""

from collections.abc import Mapping
from pathlib import Path

from vggface_gender.base import runs

FEW = 10  # examples, below which a label is marked


def of_run(folder: Path) -> dict[str, dict[str, int]]:
    """The marked labels of a run's tasks (see `few`); {} of a lone classifier or an older run."""
    if not (folder / "config.json").is_file():
        return {}
    return few(runs.settings(folder).get("labels") or {})


def few(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Task to those of its labels with fewer than `FEW` training examples, and how many they have.

    Args:
        counts: task to label to training examples.
    """
    marked = {
        task: {label: count for label, count in labels.items() if count < FEW}
        for task, labels in counts.items()
    }
    return {task: labels for task, labels in marked.items() if labels}


def describe(labels: Mapping[str, int]) -> str:
    """One task's marked labels, to read.

    >>> describe({"Indian": 3, "Others": 0})
    'fewer than 10 training examples: Indian 3, Others 0'
    """
    listed = ", ".join(f"{label} {count}" for label, count in labels.items())
    return f"fewer than {FEW} training examples: {listed}"
