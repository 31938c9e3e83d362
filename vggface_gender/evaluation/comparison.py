"""Whether two runs differ: t-tests over their repeats, and tests on the same images.

Two questions, two kinds of test. Would training again give the same difference? Only repeats can
say: a t-test of their figures, repeat by repeat one number. Do these two classifiers differ on
images like the ones tested? One training of each can say: McNemar's test of which faces each gets
right, or for age Wilcoxon's of the absolute errors. Neither answers the other's question.

Differences are B - A. Nothing here reads a file (see `evaluation.repeats`).
"""

from collections.abc import Mapping

from vggface_gender.base import text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import (
    comparison_notes,
    metrics,
    predictions,
    repeats,
    same_images,
    significance,
)
from vggface_gender.evaluation.repeats import Side

LOWER_IS_BETTER = {"cross_entropy", "mae"}
OF_CONFIDENCE = {"cross_entropy"}  # of no meaning where outputs are labels alone


def compare(a: Side, b: Side, *, test_share: float | None = None) -> dict:
    """Two sides compared in every task that all their tables have outputs of.

    Args:
        test_share: see `repeats.design`.

    Returns:
        What JSON can hold. `t_test`: see `repeats.design`. `correction`: how the p values of the
        t-tests are adjusted. `warnings`: lines to be read before the figures. `tasks`: for each
        task a `reason` why it is left out, or

        - `unpredicted`, where there are any: the faces that one of the tables has no prediction
          of, which are left out of all;
        - `labels` (gender and race): the names compared. Where the outputs' taxonomies differ,
          all are projected to what they have in common;
        - `metrics`: for each, `a` and `b` (`mean`, `sd`, `n`, `values` over the repeats), the
          `difference` of the means and, where there is a t-test, what `significance.paired` or
          `welch` gives, with `p_holm`;
        - `same_images`: for each pair of repeats (those of one name, else the first of each side)
          what `same_images.mcnemar` or `wilcoxon` gives, or the `reason` why there is no test.

    Raises:
        InputError: see `repeats.check_one_dataset`, `check_independent` and `design`; a name is
            twice in a table; no task is common to all tables; the same face's true labels differ.
    """
    repeats.check_one_dataset(a, b)
    repeats.check_independent(a, b)
    _check_names(a, b)
    a, b, left_out = comparison_notes.unseen_faces(a, b)
    tables = [repeat.table for _, repeat in repeats.named(a, b)]
    tasks = [task for task in TASKS if all(predictions.has(table, task) for table in tables)]
    if not tasks:
        raise InputError("A and B have no task in common: compare runs that predict the same")
    chosen = repeats.design(a, b, test_share=test_share)
    compared = {task: _compare_task(a, b, task=task, chosen=chosen) for task in tasks}
    return {
        "t_test": chosen,
        "correction": {"method": "Holm", "tests": _correct(compared)},
        "warnings": [
            *left_out,
            *comparison_notes.domains(a, b),
            *comparison_notes.unpaired(a, b),
            *repeats.warnings(a, b, chosen=chosen),
        ],
        "tasks": compared,
    }


def _check_names(a: Side, b: Side) -> None:
    for where, repeat in repeats.named(a, b):
        twice = repeat.table["name"].duplicated()
        if twice.any():
            name = text.printable(text.shortened(repeat.table["name"][twice].iloc[0]))
            raise InputError(
                f"{name} is twice in the predictions of {where}: "
                "faces can't be matched; evaluate it again on a dataset of unique names"
            )


def _correct(compared: Mapping[str, Mapping]) -> int:
    """Add to every t-test its p adjusted for their number, which is returned."""
    tests = [
        figures
        for task in compared.values()
        for figures in task.get("metrics", {}).values()
        if figures.get("p") is not None
    ]
    adjusted = significance.holm([each["p"] for each in tests])
    for figures, p in zip(tests, adjusted, strict=True):
        figures["p_holm"] = p
    return len(tests)


def _compare_task(a: Side, b: Side, *, task: str, chosen: Mapping) -> dict:
    is_classification = TASKS[task].is_classification
    tables = [same_images.of_task(repeat.table, task) for _, repeat in repeats.named(a, b)]
    tables, unpredicted = same_images.all_predicted(tables, task)
    if unpredicted and tables[0].empty:
        return {"reason": "no face has a prediction by both"}
    for (where, _), table in zip(repeats.named(a, b), tables, strict=True):
        if reason := metrics.evaluate(table, by_group=False)[task].get("reason"):
            return {"reason": f"{reason} ({where})"}
    result: dict = {"unpredicted": unpredicted} if unpredicted else {}
    if is_classification:
        tables, names = same_images.in_common_labels(tables, task)
        if len(names) < 2:
            return {"reason": "the tables' labels have fewer than two names in common"}
        result["labels"] = list(names)
    are_hard = is_classification and any(predictions.are_hard(table, task) for table in tables)
    figures = [{"tasks": metrics.evaluate(table, by_group=False)} for table in tables]
    sides = [
        metrics.summarize(some)["tasks"][task] for some in (figures[: len(a)], figures[len(a) :])
    ]
    result["metrics"] = {
        metric: _compare_metric(
            sides[0][metric], sides[1][metric], keys=(list(a), list(b)), chosen=chosen
        )
        for metric in TASKS[task].metrics
        if metric in sides[0] and metric in sides[1] and not (are_hard and metric in OF_CONFIDENCE)
    }
    of_a = dict(zip(a, tables[: len(a)], strict=True))
    of_b = dict(zip(b, tables[len(a) :], strict=True))
    pairs = [(key, key) for key in a if key in b] or [(next(iter(a)), next(iter(b)))]
    result["same_images"] = [
        {"a": one, "b": other}
        | (
            same_images.mcnemar_in_common_labels(of_a[one], of_b[other], task=task)
            if is_classification
            else same_images.wilcoxon(of_a[one], of_b[other])
        )
        for one, other in pairs
    ]
    return result


def _compare_metric(
    a: Mapping, b: Mapping, *, keys: tuple[list[str], list[str]], chosen: Mapping
) -> dict:
    """Two sides' spreads of a metric (see `metrics.summarize`), and their t-test if any."""
    figures = {"a": a, "b": b, "difference": b["mean"] - a["mean"]}
    if chosen["test"] == "welch":
        figures |= significance.welch(a["values"], b["values"], overlap=tuple(chosen["overlap"]))
    elif chosen["test"] == "paired":
        of_b = dict(zip(keys[1], b["values"], strict=True))
        figures |= significance.paired(
            a["values"], [of_b[key] for key in keys[0]], overlap=max(chosen["overlap"])
        )
    return figures
