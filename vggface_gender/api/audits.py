"""Audits of predictions, wherever they are from: a table in, figures by group out."""

import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION
from vggface_gender.evaluation import audit, predictions


def audit_predictions(
    table: str | os.PathLike | pd.DataFrame, *, tasks: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """What `vggface-gender audit` computes, of a table of predictions.

    Args:
        table: a CSV file or a data frame with a row a face: `name`; the true `gender`, `race` and
            `age`, None where not known (a column that is not known at all may lack); and for a
            task the probabilities of its labels, such as `gender_female` and `gender_male`.
        tasks: "gender", "race" or both; by default those that the table has predictions of.

    Returns:
        By task: accuracy, recall and selection rate of every group with intervals, the gaps
        between groups, calibration, and what is left where uncertain predictions are withheld, as
        JSON can hold them. `evaluation.audit.report` makes text of a task's.

    Raises:
        InputError: the table is no such table, or has no predictions of a task.
    """
    if isinstance(table, pd.DataFrame):
        frame = predictions.checked(table)
    else:
        frame = predictions.read_given(table)
    has = [task for task in CLASSIFICATION if predictions.has(frame, task)]
    for task in tasks or ():
        if task not in has:
            raise InputError(f"the table has no predictions of {task}, only {', '.join(has)}")
    if not has:
        raise InputError("the table has predictions of neither gender nor race")
    return {task: audit.audit(frame, task) for task in tasks or has}
