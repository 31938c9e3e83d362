"""Audits of predictions, wherever they are from: a table in, figures by group out."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION
from vggface_gender.evaluation import audit, external, predictions


def audit_predictions(
    table: str | os.PathLike | pd.DataFrame,
    *,
    tasks: Sequence[str] | None = None,
    truth: str | os.PathLike | pd.DataFrame | None = None,
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    grouped_by: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """What `vggface-gender audit` computes, of a table of predictions.

    Args:
        table: a CSV or Parquet file, or a data frame, with a row a face: its name; true labels,
            None where not known; and predicted labels, with or without probabilities. What columns
            are is guessed: `y_true`, `y_pred` and `score` do, and so do the package's own `gender`,
            `gender_female` and `gender_male`.
        tasks: "gender", "race" or both; by default those that the table has predictions of.
        truth: another table, with the true labels and further columns.
        columns, values, grouped_by: see `evaluation.external.read`.

    Returns:
        By task: accuracy, recall and selection rate of every group with intervals, the gaps
        between groups, calibration, and what is left where uncertain predictions are withheld, as
        JSON can hold them. `evaluation.audit.report` makes text of a task's.

    Raises:
        InputError: the table is no such table, or has no predictions of a task.
    """
    as_frames = isinstance(table, pd.DataFrame)
    if truth is not None and isinstance(truth, pd.DataFrame) != as_frames:
        raise InputError("give the table and its truth both as files, or both as data frames")
    read = external.understood if as_frames else external.read
    frame = read(table, truth=truth, columns=columns, values=values, grouped_by=grouped_by).table
    has = [task for task in CLASSIFICATION if predictions.has(frame, task)]
    for task in tasks or ():
        if task not in has:
            raise InputError(f"the table has no predictions of {task}, only {', '.join(has)}")
    if not has:
        raise InputError("the table has predictions of neither gender nor race")
    return {task: audit.audit(frame, task) for task in tasks or has}
