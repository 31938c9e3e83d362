"""Tests of two predictions tables on the same images: McNemar's, and Wilcoxon's for ages."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats import contingency_tables

from vggface_gender.base import labels, text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import metrics, predictions


def mcnemar(a: pd.DataFrame, b: pd.DataFrame, *, task: str) -> dict:
    """McNemar's exact test of two predictions tables of the same images: is one right more often?

    Args:
        a, b: see `predictions.table`; unique names, the rows in any order. Only faces with a true
            label in both count, and of those the ones that both tables' outputs have a name for.
        task: gender or race. Where the labels that the tables can be compared in differ, both are
            projected to what they have in common.

    Returns:
        `count` of faces; `both_right`, `only_a`, `only_b`, `both_wrong`; the `difference` of the
        accuracies and the two-sided `p`. Without such faces, `count` 0 and a `reason`; where the
        tables' names are not the same, only a `reason`.

    Raises:
        InputError: the tables' true labels of a face differ.
    """
    tables, _ = in_common_labels([of_task(table, task) for table in (a, b)], task)
    return mcnemar_in_common_labels(*tables, task=task)


def wilcoxon(a: pd.DataFrame, b: pd.DataFrame) -> dict:
    """Wilcoxon's signed-rank test of two tables' absolute errors of age on the same images.

    Args:
        a, b: see `predictions.table`; unique names, the rows in any order. Only faces with a true
            age in both count; those that both are equally far off are left out of the ranks.

    Returns:
        `count` of faces; `mae_a`, `mae_b` and their `difference`, in years; `closer_a` and
        `closer_b`, the faces that one is closer to than the other; the two-sided `p`. Without such
        faces, `count` 0 and a `reason`; where the tables' names are not the same, only a `reason`.

    Raises:
        InputError: the tables' true ages of a face differ.
    """
    both = _joined(a, b, "age")
    if isinstance(both, dict):
        return both
    errors = [np.abs(predictions.years(t) - t["age"]).to_numpy() for t in both]
    change = errors[1] - errors[0]
    return {
        "count": len(change),
        "mae_a": float(errors[0].mean()),
        "mae_b": float(errors[1].mean()),
        "difference": float(change.mean()),
        "closer_a": int((change > 0).sum()),
        "closer_b": int((change < 0).sum()),
        # SciPy's is NaN where nothing can be ranked.
        "p": float(stats.wilcoxon(change).pvalue) if change.any() else 1.0,
    }


def mcnemar_in_common_labels(a: pd.DataFrame, b: pd.DataFrame, *, task: str) -> dict:
    """`mcnemar` of tables whose outputs are of the same names."""
    both = _joined(a, b, task)
    if isinstance(both, dict):
        return both
    rights = [_right(table, task) for table in both]
    named = rights[0].notna() & rights[1].notna()
    right_a, right_b = (right[named].to_numpy(int) for right in rights)
    if not len(right_a):
        return {"count": 0, "reason": "the outputs have no name for any true label"}
    counts = metrics.confusion(1 - right_a, 1 - right_b, classes=2).tolist()
    return {
        "count": len(right_a),
        "both_right": counts[0][0],
        "only_a": counts[0][1],
        "only_b": counts[1][0],
        "both_wrong": counts[1][1],
        "difference": (counts[1][0] - counts[0][1]) / len(right_a),
        "p": float(contingency_tables.mcnemar(counts, exact=True).pvalue),
    }


class _Both(NamedTuple):
    """Two tables' rows of the same faces, in one order."""

    a: pd.DataFrame
    b: pd.DataFrame


def _joined(a: pd.DataFrame, b: pd.DataFrame, task: str) -> _Both | dict:
    """The faces that have a true label in both tables; or, as figures, the reason for none."""
    a, b = a.set_index("name", drop=False), b.set_index("name", drop=False)
    common = a.index.intersection(b.index)
    if not len(a) == len(b) == len(common):
        reason = f"different test images: {len(a):,} and {len(b):,}, {len(common):,} in common"
        return {"reason": reason}
    b = b.loc[a.index]
    known = a[task].notna() & b[task].notna()
    a, b = a[known], b[known]
    differ = a[task] != b[task]
    if differ.any():
        name = a.index[differ][0]
        shown = text.printable(text.shortened(name))
        raise InputError(
            f"{shown} has the true {task} {a[task][name]} in A and {b[task][name]} "
            "in B: the tables are of different data; evaluate both runs on one dataset"
        )
    if a.empty:
        return {"count": 0, "reason": "no face has a true label in both"}
    return _Both(a, b)


def of_task(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """A table's names, and one task's labels and outputs."""
    return table[["name", task, *predictions.outputs_of(table, task)]]


def all_predicted(tables: Sequence[pd.DataFrame], task: str) -> tuple[list[pd.DataFrame], int]:
    """Tables without the faces that one of them has no prediction of, and how many these are."""
    lacking: set[str] = set()
    for table in tables:
        lacking |= set(table["name"][~predictions.is_predicted(table, task)])
    if not lacking:
        return list(tables), 0
    kept = [table[~table["name"].isin(lacking)].reset_index(drop=True) for table in tables]
    return kept, len(lacking)


def in_common_labels(
    tables: Sequence[pd.DataFrame], task: str
) -> tuple[list[pd.DataFrame], tuple[str, ...]]:
    """Tables with a task's probabilities summed into the finest names that all can be compared in.

    Args:
        tables: of one classification task (see `of_task`).

    Returns:
        The tables, and the names, that true labels and outputs of all have in common.
    """
    names = functools.reduce(labels.common, (_compared_in(table, task) for table in tables))
    return [_projected(table, task, names) for table in tables], names


def _compared_in(table: pd.DataFrame, task: str) -> tuple[str, ...]:
    """The names that a table's true labels and outputs are compared in."""
    compared = metrics.compared(table, task)
    # A table without a comparable face has its say by its outputs' names alone.
    return predictions.output_labels(table, task) if compared.faces.empty else compared.names


def _projected(table: pd.DataFrame, task: str, names: tuple[str, ...]) -> pd.DataFrame:
    """A table with a task's probabilities summed into those of `names`."""
    known = predictions.output_labels(table, task)
    if known == names:
        return table
    columns = predictions.outputs_of(table, task)
    summed = table[columns].to_numpy() @ metrics.belonging(known, names)
    return table.drop(columns=columns).assign(
        **dict(zip(TASKS[task].output_columns(names), summed.T, strict=True))
    )


def _right(table: pd.DataFrame, task: str) -> pd.Series:
    """By face, whether the likeliest label is the true one; None where that has no name."""
    names = predictions.output_labels(table, task)
    true = table[task].map(labels.project(set(table[task]), names))
    likeliest = np.array(names, dtype=object)[predictions.probabilities(table, task).argmax(axis=1)]
    return (true == likeliest).astype(object).where(true.notna(), None)
