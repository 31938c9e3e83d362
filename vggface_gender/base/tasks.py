"""The tasks: what a face can be read for, and all that sets one task apart from another.

Whatever depends on the kind of a task asks its `Task`; nothing compares a task's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vggface_gender.base import labels


@dataclass(frozen=True)
class Task:
    """A perceived attribute to predict: one of several labels, or a number of years."""

    name: str
    taxonomies: tuple[tuple[str, ...], ...]  # the label sets that datasets use; () for years
    score: str  # the metric that stands for the task, as `evaluation.metrics` names it
    score_name: str  # the same for people
    metrics: tuple[str, ...]  # those that two trainings are compared by
    greater_is_better: bool  # of the score
    loss_weight: float = 1.0  # of several tasks' losses, where nobody says otherwise

    @property
    def is_classification(self) -> bool:
        """Whether it has labels, and so probabilities, recalls and calibration."""
        return bool(self.taxonomies)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label of any taxonomy, each once; () for years."""
        return tuple(dict.fromkeys(label for names in self.taxonomies for label in names))

    def output_columns(self, names: Sequence[str] = ()) -> list[str]:
        """The columns of a predictions table that hold its outputs.

        Args:
            names: the classifier's labels; none for years.
        """
        if not self.is_classification:
            return [f"{self.name}_predicted"]
        return [f"{self.name}_{name}" for name in names]

    def format(self, score: float) -> str:
        """A score to read: "93.6%", or years "4.39"."""
        return f"{score:.1%}" if self.is_classification else f"{score:.2f}"

    def format_difference(self, difference: float) -> str:
        """A difference of two scores to read, in percentage points "+1.2", or years "-0.31"."""
        return f"{100 * difference:+.1f}" if self.is_classification else f"{difference:+.2f}"


def _classification(name: str, *taxonomies: tuple[str, ...]) -> Task:
    return Task(
        name=name,
        taxonomies=taxonomies,
        score="accuracy",
        score_name="accuracy",
        metrics=("accuracy", "balanced_accuracy", "cross_entropy"),
        greater_is_better=True,
    )


TASKS = {
    task.name: task
    for task in (
        _classification("gender", labels.GENDERS),
        _classification("race", *labels.RACES),
        Task(
            name="age",
            taxonomies=(),
            score="mae",
            score_name="mean absolute error (years)",
            metrics=("mae",),
            greater_is_better=False,
            loss_weight=0.5,  # so that errors in years do not outweigh the cross-entropies
        ),
    )
}
CLASSIFICATION = tuple(name for name, task in TASKS.items() if task.is_classification)
