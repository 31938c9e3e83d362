"""Whether two runs differ: t-tests over their repeats, and tests on the same images.

Two questions, two kinds of test. Would training again give the same difference? Only repeats can
tell: a t-test of their figures, repeat by repeat one number. Do these two classifiers differ on
images like the ones tested? One training of each can tell: McNemar's test of which faces each gets
right, or for age Wilcoxon's of the absolute errors. Neither answers the other's question.

A side is a dictionary from a repeat's name (`seed-0`, `fold-3`, or `run` where there is but one) to
a `Repeat`. Differences are B - A. Nothing here reads a file.
"""

import functools
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats
from statsmodels.stats.contingency_tables import mcnemar as _mcnemar
from statsmodels.stats.multitest import multipletests

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, predictions
from vggface_gender.evaluation.metrics import CONFIDENCE

METRICS = {
    **dict.fromkeys(
        predictions.CLASSIFICATION_TASKS, ("accuracy", "balanced_accuracy", "cross_entropy")
    ),
    "age": ("mae",),
}
LOWER_IS_BETTER = {"cross_entropy", "mae"}
# A spread below this share of the values is what rounding leaves of none.
_ROUNDING = 1e-12
# What the repeats of one training may differ in.
_VARYING = {"seed", "split_seed", "fingerprint", "counts", "fold", "folds"}


class Repeat(NamedTuple):
    """One training's answers, and what is known of the training."""

    table: pd.DataFrame  # see `predictions.table`
    settings: Mapping = {}  # those of its `config.json`
    checkpoint: str | None = None  # stands for its classifier's content (see `runs.digest`)


def compare(
    a: Mapping[str, Repeat], b: Mapping[str, Repeat], test_share: float | None = None
) -> dict:
    """Two sides compared in every task that all their tables have outputs of.

    Args:
        test_share: see `design`.

    Returns:
        What JSON can hold. `t_test`: see `design`. `correction`: how the p values of the t-tests
        are adjusted. `warnings`: lines to be read before the figures. `tasks`: for each task a
        `reason` why it is left out, or

        - `labels` (gender and race): the names compared. Where the outputs' taxonomies differ,
          all are projected to what they have in common;
        - `metrics`: for each, `a` and `b` (`mean`, `sd`, `n`, `values` over the repeats), the
          `difference` of the means and, where there is a t-test, what `paired` or `welch` gives,
          with `p_holm`;
        - `same_images`: for each pair of repeats (those of one name, else the first of each side)
          what `mcnemar` or `wilcoxon` gives, or the `reason` why there is no test.

    Raises:
        InputError: see `check_independent` and `design`; a name is twice in a table; no task is
            common to all tables; the same face's true labels differ.
    """
    check_independent(a, b)
    for where, repeat in _named(a, b):
        twice = repeat.table["name"].duplicated()
        if twice.any():
            raise InputError(
                f"{repeat.table['name'][twice].iloc[0]} is twice in the predictions of {where}: "
                "faces can't be matched; evaluate it again on a dataset of unique names"
            )
    tables = [repeat.table for _, repeat in _named(a, b)]
    tasks = [task for task in labels.TASKS if all(_outputs_of(table, task) for table in tables)]
    if not tasks:
        raise InputError("A and B have no task in common: compare runs that predict the same")
    chosen = design(a, b, test_share)
    compared = {task: _compare_task(a, b, task, chosen) for task in tasks}
    tests = [
        figures
        for task in compared.values()
        for figures in task.get("metrics", {}).values()
        if figures.get("p") is not None
    ]
    for figures, p in zip(tests, holm([each["p"] for each in tests]), strict=True):
        figures["p_holm"] = p
    return {
        "t_test": chosen,
        "correction": {"method": "Holm", "tests": len(tests)},
        "warnings": _warnings(a, b, chosen),
        "tasks": compared,
    }


def check_independent(a: Mapping[str, Repeat], b: Mapping[str, Repeat]) -> None:
    """Refuse repeats that are one and the same training.

    Two are, whatever their folders are called, if their classifiers have the same content, or their
    predictions are the same to the last bit (in any order of rows); within a side also if they were
    trained with the same seed.

    Raises:
        InputError: two are; they are named.
    """
    for (one, x), (other, y) in itertools.combinations(_named(a, b), 2):
        if x.checkpoint is not None and x.checkpoint == y.checkpoint:
            what = "identical classifier.keras"
        elif _sorted_outputs(x.table).equals(_sorted_outputs(y.table)):
            what = "identical predictions"
        else:
            continue
        if one[-1] != other[-1]:
            raise InputError(
                f"{one} and {other} are one checkpoint ({what}): a difference between them says "
                "nothing; give two runs that were trained apart"
            )
        raise InputError(
            f"{one.split()[0]} and {other} are one checkpoint ({what}): repeated evaluations of "
            "one checkpoint are not independent, so a t-test of them says nothing; train with "
            "--repeats"
        )
    for letter, side in (("A", a), ("B", b)):
        first = {}
        for key, repeat in side.items():
            seed = repeat.settings.get("seed")
            if key.startswith("fold-") or seed is None:
                continue  # folds may share a seed: it is their data that differ
            if seed in first:
                raise InputError(
                    f"{first[seed]} and {key} of {letter} were both trained with seed {seed}: they "
                    "are not independent, so a t-test of them says nothing; train with --repeats"
                )
            first[seed] = key


def design(
    a: Mapping[str, Repeat], b: Mapping[str, Repeat], test_share: float | None = None
) -> dict:
    """Which t-test two sides' repeats allow.

    Equal seeds on one split pair nothing: the seeds are independent draws of weights and order, and
    there is no third thing that makes A's and B's rise and fall together. Data do: the same fold,
    or the same split of a `--resplit`, is as hard for one as for the other. So the test is paired
    where both sides have the same folds or resplits, each with the same `split_seed`, `fingerprint`
    and test images on both sides; else it is Welch's.

    The training sets of folds or resplits overlap, which makes the repeats agree more than
    independent ones would. The variance of a mean is then taken as `(1/n + n_test/n_train) s²`
    instead of `s²/n` (C. Nadeau and Y. Bengio, Inference for the Generalization Error, Machine
    Learning 52, 2003: the corrected resampled t-test). They give it for paired differences; here it
    also goes into Welch's, for each side that it concerns. The numbers are those of the settings'
    `counts`, the greatest ratio among the repeats; the validation images count for neither. Where
    the tables are of a dataset that was not split, the ratio stays that of the split: it stands for
    how much the training sets have in common.

    Args:
        test_share: n_test / (n_test + n_train), for settings without `counts`.

    Returns:
        `test`: "paired", "welch", or None where a side has one repeat; `why`, in words; `overlap`:
        n_test / n_train of A and of B, 0 where repeats don't share training images in part.

    Raises:
        InputError: n_test / n_train is needed and not known, or `test_share` is not within (0, 1).
    """
    if test_share is not None and not 0 < test_share < 1:
        raise InputError(f"the test share is {test_share}: give a number between 0 and 1")
    few = [letter for letter, side in (("A", a), ("B", b)) if len(side) < 2]
    if few:
        return {
            "test": None,
            "why": f"none, since n=1 for {' and '.join(few)}: one training tells nothing of how "
            "much trainings differ; train with --repeats",
            "overlap": [0.0, 0.0],
        }
    overlap = [_overlap(letter, side, test_share) for letter, side in (("A", a), ("B", b))]
    if a.keys() != b.keys():
        test, why = "welch", f"nothing pairs {', '.join(a)} of A with {', '.join(b)} of B"
    elif not any(overlap):
        test, why = (
            "welch",
            "each side's seeds are independent draws on one split, and equal seeds pair nothing",
        )
    elif apart := [key for key in a if not _same_data(a[key], b[key])]:
        test, why = (
            "welch",
            f"{apart[0]} of A and of B are not of the same training and test images",
        )
    else:
        test, why = "paired", "each repeat of A has one of B with the same training and test images"
    name = {"welch": "Welch's", "paired": "paired"}[test]
    return {"test": test, "why": f"{name}, since {why}", "overlap": overlap}


def paired(a: Sequence[float], b: Sequence[float], overlap: float = 0.0) -> dict:
    """The paired t-test of b - a; without overlap that of `scipy.stats.ttest_rel`.

    Args:
        a, b: n >= 2 values each, the i-th of one belonging to the i-th of the other.
        overlap: n_test / n_train (see `design`).

    Returns:
        `difference` of the means, its 95% `interval`, `t`, `df`, the two-sided `p`, and `effect`,
        Cohen's d_z: the mean difference in standard deviations of the differences. Where the
        differences don't vary, all but `difference` are None and there is a `reason`.
    """
    differences = np.asarray(b, float) - np.asarray(a, float)
    n, mean, sd = len(differences), differences.mean(), differences.std(ddof=1)
    if sd <= _ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        return _no_spread(mean, "the differences do not vary")
    return _t_test(mean, sd * math.sqrt(1 / n + overlap), n - 1, mean / sd)


def welch(
    a: Sequence[float], b: Sequence[float], overlap: tuple[float, float] = (0.0, 0.0)
) -> dict:
    """Welch's t-test of b - a; without overlap `scipy.stats.ttest_ind(equal_var=False)`.

    Args:
        a, b: at least 2 values each.
        overlap: n_test / n_train of a and of b (see `design`).

    Returns:
        As `paired`, but `effect` is Hedges's g: the difference in pooled standard deviations, times
        his exact correction for small samples (L. Hedges, Distribution Theory for Glass's Estimator
        of Effect Size, Journal of Educational Statistics 6, 1981).
    """
    samples = [np.asarray(values, float) for values in (a, b)]
    n = np.array([len(values) for values in samples])
    mean = samples[1].mean() - samples[0].mean()
    variance = np.array([values.var(ddof=1) for values in samples])
    if math.sqrt(variance.max()) <= _ROUNDING * max(np.abs(each).max() for each in samples):
        return _no_spread(mean, "neither side's values vary")
    of_means = variance * (1 / n + np.asarray(overlap))
    df = of_means.sum() ** 2 / (of_means**2 / (n - 1)).sum()
    m = n.sum() - 2
    pooled = math.sqrt(((n - 1) * variance).sum() / m)
    small = math.exp(special.gammaln(m / 2) - special.gammaln((m - 1) / 2)) / math.sqrt(m / 2)
    return _t_test(mean, math.sqrt(of_means.sum()), df, small * mean / pooled)


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for their number (S. Holm, Scandinavian Journal of Statistics 6, 1979)."""
    return multipletests(p, method="holm")[1].tolist() if len(p) else []


def mcnemar(a: pd.DataFrame, b: pd.DataFrame, task: str) -> dict:
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
    tables = [_of_task(table, task) for table in (a, b)]
    figures = [metrics.evaluate(table)[task] for table in tables]
    names = _common_labels(tables, task, figures)
    one, other = (_projected(table, task, names) for table in tables)
    return _mcnemar_in_common_labels(one, other, task)


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
    one, other, reason = _joined(a, b, "age")
    if reason:
        return reason
    errors = [np.abs(t[predictions.AGE_OUTPUT] - t["age"]).to_numpy() for t in (one, other)]
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


def report(comparison: Mapping) -> str:
    """A plain-text report of what `compare` gives."""
    head = [f"t-test: {comparison['t_test']['why']}."]
    tested = comparison["t_test"]["test"] is not None
    if tested:
        tests = comparison["correction"]["tests"]
        effect = "d_z" if comparison["t_test"]["test"] == "paired" else "Hedges's g"
        head.append(
            f"  B - A with its {CONFIDENCE:.0%} interval; effect: {effect}; p (Holm): adjusted for "
            f"the {tests} t-test{'s' * (tests != 1)} shown."
        )
    head += [f"warning: {warning}." for warning in comparison["warnings"]]
    parts = ["\n".join(head)]
    for task, figures in comparison["tasks"].items():
        if "reason" in figures:
            parts.append(f"{task}: left out, since {figures['reason']}")
            continue
        describe = _describe_wilcoxon if task == "age" else _describe_mcnemar
        parts.append(
            f"{task}, as perceived\n\n{_describe_metrics(figures['metrics'], tested)}\n\n"
            + describe(figures["same_images"])
        )
    parts.append(
        "A t-test is about training again; a test on the same images is about the two classifiers "
        "in its\nrow, on images like these, and its p is not adjusted for the number of rows."
    )
    return "\n\n".join(parts) + "\n"


# --------------------------------------------------------------------------- the sides


def _named(a: Mapping[str, Repeat], b: Mapping[str, Repeat]) -> Iterator[tuple[str, Repeat]]:
    """Every repeat of both sides, with what it is called: "seed-0 of A"."""
    for letter, side in (("A", a), ("B", b)):
        for key, repeat in side.items():
            yield f"{key} of {letter}", repeat


def _outputs_of(table: pd.DataFrame, task: str) -> list[str]:
    """The columns of a task's outputs; [] where there are none."""
    if task == "age":
        return [predictions.AGE_OUTPUT] if predictions.AGE_OUTPUT in table else []
    return [f"{task}_{name}" for name in predictions.output_labels(table, task)]


def _sorted_outputs(table: pd.DataFrame) -> pd.DataFrame:
    columns = [column for task in labels.TASKS for column in _outputs_of(table, task)]
    return table[["name", *columns]].sort_values("name", ignore_index=True)


def _is_resampled(side: Mapping[str, Repeat]) -> bool:
    """Whether a side's repeats differ in their data: folds, or splits of their own."""
    splits = {
        json.dumps([repeat.settings.get(key) for key in ("split_seed", "fingerprint")])
        for repeat in side.values()
    }
    tested = {frozenset(repeat.table["name"]) for repeat in side.values()}
    return any(key.startswith("fold-") for key in side) or len(splits) > 1 or len(tested) > 1


def _overlap(letter: str, side: Mapping[str, Repeat], test_share: float | None) -> float:
    """n_test / n_train of a side's repeats (the greatest), 0 where they don't differ in data."""
    if not _is_resampled(side):
        return 0.0
    ratios = []
    for key, repeat in side.items():
        counts = repeat.settings.get("counts") or {}
        if counts.get("train") and counts.get("test"):
            ratios.append(counts["test"] / counts["train"])
        elif test_share is not None:
            ratios.append(test_share / (1 - test_share))
        else:
            raise InputError(
                f"{key} of {letter} has no counts of train and test in its settings, which the "
                "t-test of folds or resplits needs; give --test-share"
            )
    return max(ratios)


def _same_data(one: Repeat, other: Repeat) -> bool:
    """Whether two repeats were trained on the same split and tested on the same images."""
    return set(one.table["name"]) == set(other.table["name"]) and all(
        one.settings.get(key) == other.settings.get(key) for key in ("split_seed", "fingerprint")
    )


def _warnings(a: Mapping[str, Repeat], b: Mapping[str, Repeat], chosen: Mapping) -> list[str]:
    lines = []
    for letter, side, overlap in zip("AB", (a, b), chosen["overlap"], strict=True):
        if overlap:
            lines.append(
                f"the repeats of {letter} share training images, so they are not independent; the "
                f"variance of a mean is taken as (1/n + n_test/n_train) s², with 1/{len(side)} + "
                f"{overlap:.3f} (Nadeau and Bengio 2003, the corrected resampled t-test)"
            )
        every = [repeat.settings for repeat in side.values()]
        names = dict.fromkeys(name for settings in every for name in settings)
        differ = [
            name
            for name in names
            if name not in _VARYING and any(s.get(name) != every[0].get(name) for s in every)
        ]
        if differ:
            lines.append(
                f"the repeats of {letter} were trained with different settings "
                f"({', '.join(differ)}), so they are not repeats of one training"
            )
    if chosen["test"] != "paired":
        tested = [{name for r in side.values() for name in r.table["name"]} for side in (a, b)]
        if tested[0] != tested[1]:
            lines.append(
                "A and B are tested on different images, so a difference may be that of the images"
            )
    return lines


# ------------------------------------------------------------------------ the figures


def _compare_task(
    a: Mapping[str, Repeat], b: Mapping[str, Repeat], task: str, chosen: Mapping
) -> dict:
    tables = [_of_task(repeat.table, task) for _, repeat in _named(a, b)]
    figures = [metrics.evaluate(table)[task] for table in tables]
    for (where, _), each in zip(_named(a, b), figures, strict=True):
        if "reason" in each:
            return {"reason": f"{each['reason']} ({where})"}
    result = {}
    if task != "age":
        names = _common_labels(tables, task, figures)
        if len(names) < 2:
            return {"reason": "the tables' labels have fewer than two names in common"}
        result["labels"] = list(names)
        if any(predictions.output_labels(table, task) != names for table in tables):
            tables = [_projected(table, task, names) for table in tables]
            figures = [metrics.evaluate(table)[task] for table in tables]
    sides = [
        metrics.summarize([{"tasks": {task: each}} for each in some])["tasks"][task]
        for some in (figures[: len(a)], figures[len(a) :])
    ]
    result["metrics"] = {
        metric: _compare_metric(sides[0][metric], sides[1][metric], list(a), list(b), chosen)
        for metric in METRICS[task]
    }
    of_a = dict(zip(a, tables[: len(a)], strict=True))
    of_b = dict(zip(b, tables[len(a) :], strict=True))
    pairs = [(key, key) for key in a if key in b] or [(next(iter(a)), next(iter(b)))]
    result["same_images"] = [
        {"a": one, "b": other}
        | (
            wilcoxon(of_a[one], of_b[other])
            if task == "age"
            else _mcnemar_in_common_labels(of_a[one], of_b[other], task)
        )
        for one, other in pairs
    ]
    return result


def _compare_metric(
    a: Mapping, b: Mapping, keys_a: list[str], keys_b: list[str], chosen: Mapping
) -> dict:
    """Two sides' spreads of a metric (see `metrics.summarize`), and their t-test if any."""
    figures = {"a": a, "b": b, "difference": b["mean"] - a["mean"]}
    if chosen["test"] == "welch":
        figures |= welch(a["values"], b["values"], tuple(chosen["overlap"]))
    elif chosen["test"] == "paired":
        of_b = dict(zip(keys_b, b["values"], strict=True))
        figures |= paired(a["values"], [of_b[key] for key in keys_a], max(chosen["overlap"]))
    return figures


def _t_test(mean: float, error: float, df: float, effect: float) -> dict:
    """Student's test of a mean difference with its standard error."""
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, df) * error
    return {
        "difference": float(mean),
        "interval": [float(mean - margin), float(mean + margin)],
        "t": float(mean / error),
        "df": float(df),
        "p": float(2 * stats.t.sf(abs(mean / error), df)),
        "effect": float(effect),
    }


def _no_spread(mean: float, reason: str) -> dict:
    nothing = dict.fromkeys(("interval", "t", "df", "p", "effect"))
    return {"difference": float(mean), **nothing, "reason": reason}


def _mcnemar_in_common_labels(a: pd.DataFrame, b: pd.DataFrame, task: str) -> dict:
    """`mcnemar` of tables whose outputs are of the same names."""
    one, other, reason = _joined(a, b, task)
    if reason:
        return reason
    rights = [_right(table, task) for table in (one, other)]
    named = rights[0].notna() & rights[1].notna()
    right_a, right_b = (right[named].to_numpy(bool) for right in rights)
    if not len(right_a):
        return {"count": 0, "reason": "the outputs have no name for any true label"}
    counts = [
        [int((right_a & right_b).sum()), int((right_a & ~right_b).sum())],
        [int((~right_a & right_b).sum()), int((~right_a & ~right_b).sum())],
    ]
    return {
        "count": len(right_a),
        "both_right": counts[0][0],
        "only_a": counts[0][1],
        "only_b": counts[1][0],
        "both_wrong": counts[1][1],
        "difference": (counts[1][0] - counts[0][1]) / len(right_a),
        "p": float(_mcnemar(counts, exact=True).pvalue),
    }


def _joined(
    a: pd.DataFrame, b: pd.DataFrame, task: str
) -> tuple[pd.DataFrame | None, pd.DataFrame | None, dict | None]:
    """The faces that have a true label in both tables, in one order; or the reason for none."""
    a, b = a.set_index("name", drop=False), b.set_index("name", drop=False)
    common = a.index.intersection(b.index)
    if not len(a) == len(b) == len(common):
        reason = f"different test images: {len(a):,} and {len(b):,}, {len(common):,} in common"
        return None, None, {"reason": reason}
    b = b.loc[a.index]
    known = a[task].notna() & b[task].notna()
    a, b = a[known], b[known]
    differ = a[task] != b[task]
    if differ.any():
        name = a.index[differ][0]
        raise InputError(
            f"{name} has the true {task} {a[task][name]} in A and {b[task][name]} in B: the tables "
            "are of different data; evaluate both runs on one dataset"
        )
    if a.empty:
        return None, None, {"count": 0, "reason": "no face has a true label in both"}
    return a, b, None


def _of_task(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """A table of one task alone: no time goes into the others' figures, nor into groups by them."""
    others = {other: np.nan for other in labels.TASKS if other != task}
    return table[["name", task, *_outputs_of(table, task)]].assign(**others)


def _common_labels(
    tables: Sequence[pd.DataFrame], task: str, figures: Sequence[Mapping]
) -> tuple[str, ...]:
    """The finest label names that all tables, true labels and outputs, can be compared in."""
    # A table without a comparable face has its say by its outputs' names alone.
    compared = (
        tuple(each.get("labels", predictions.output_labels(table, task)))
        for table, each in zip(tables, figures, strict=True)
    )
    return functools.reduce(labels.common, compared)


def _projected(table: pd.DataFrame, task: str, names: tuple[str, ...]) -> pd.DataFrame:
    """A table with a task's probabilities summed into those of `names`."""
    known = predictions.output_labels(table, task)
    if known == names:
        return table
    into = labels.project(known, names)
    outputs = table[_outputs_of(table, task)]
    summed = {
        f"{task}_{name}": outputs[[f"{task}_{k}" for k in known if into[k] == name]].sum(axis=1)
        for name in names
    }
    return table.drop(columns=outputs.columns).assign(**summed)


def _right(table: pd.DataFrame, task: str) -> pd.Series:
    """By face, whether the likeliest label is the true one; None where that has no name."""
    names = predictions.output_labels(table, task)
    true = table[task].map(labels.project(set(table[task]), names))
    likeliest = np.array(names, dtype=object)[predictions.probabilities(table, task).argmax(axis=1)]
    return (true == likeliest).astype(object).where(true.notna(), None)


# ------------------------------------------------------------------------- the report


def _describe_metrics(figures: Mapping, tested: bool) -> str:
    header = ["", "A mean", "sd", "n", "B mean", "sd", "n", "B - A"]
    if tested:
        header += [f"{CONFIDENCE:.0%} interval", "t", "df", "p", "p (Holm)", "effect", ""]
    rows = [header]
    for metric, each in figures.items():
        lower = " (lower is better)" if metric in LOWER_IS_BETTER else ""
        row = [metric.replace("_", " ") + lower]
        for side in (each["a"], each["b"]):
            row += [_number(side["mean"]), _number(side["sd"]), str(side["n"])]
        row.append(f"{each['difference']:+.4f}")
        if tested:
            interval = each["interval"]
            row += [
                f"{interval[0]:+.4f} to {interval[1]:+.4f}" if interval else "-",
                _number(each["t"], 2),
                _number(each["df"], 1),
                _p(each["p"]),
                _p(each.get("p_holm")),
                _number(each["effect"], 2),
                each.get("reason", ""),
            ]
        rows.append(row)
    return metrics.aligned(rows, text_columns=(0, 14))


def _describe_mcnemar(tests: Sequence[Mapping]) -> str:
    columns = ("count", "both_right", "only_a", "only_b", "both_wrong")
    header = ["faces", "both right", "only A", "only B", "both wrong", "B - A", "p", ""]
    rows = [[*(_count(each.get(column)) for column in columns), *_outcome(each)] for each in tests]
    return "  McNemar's exact test on the same images\n" + _pairs(tests, header, rows)


def _describe_wilcoxon(tests: Sequence[Mapping]) -> str:
    header = ["faces", "A mae", "B mae", "A closer", "B closer", "B - A", "p", ""]
    rows = [
        [
            _count(each.get("count")),
            _number(each.get("mae_a")),
            _number(each.get("mae_b")),
            _count(each.get("closer_a")),
            _count(each.get("closer_b")),
            *_outcome(each),
        ]
        for each in tests
    ]
    title = "  Wilcoxon's signed-rank test of the absolute errors on the same images\n"
    return title + _pairs(tests, header, rows)


def _outcome(test: Mapping) -> list[str]:
    difference = test.get("difference")
    shown = "-" if difference is None else f"{difference:+.4f}"
    return [shown, _p(test.get("p")), test.get("reason", "")]


def _pairs(tests: Sequence[Mapping], header: list[str], rows: Sequence[list[str]]) -> str:
    table = [["A", "B", *header]]
    table += [[each["a"], each["b"], *row] for each, row in zip(tests, rows, strict=True)]
    return metrics.aligned(table, text_columns=(0, 1, len(table[0]) - 1))


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _number(number: float | None, digits: int = 4) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"
