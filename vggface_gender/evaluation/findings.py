"""What a report comes to, in sentences: whom the classifiers fail, whether one beats another, and
what else is largest. Every figure in a sentence is one of the report's.
"""

import itertools
from collections.abc import Mapping, Sequence

import pandas as pd

from vggface_gender.base import text
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import groups, predictions, same_images, unseen

SIGNIFICANT = 0.05
FEWEST_UNPREDICTED = 0.005  # the share of faces without a prediction from which it is worth a word
LEAST_ERROR = 0.03  # the expected calibration error from which it is worth one
MOST_RUNS = 4  # of more, each is compared with the first alone


def differences(tables: Mapping[tuple[str, str], pd.DataFrame]) -> list[dict]:
    """Tests of every two classifiers on the same faces of a dataset.

    Args:
        tables: by classifier and dataset, see `predictions.table`. Copies of training images of
            either, and faces that one has no prediction of, are left out.

    Returns:
        For each dataset, pair and task that both predict: `a`, `b`, `dataset`, `task`, `scores`
        (theirs on these faces), what `same_images.mcnemar` or `wilcoxon` gives as `test`, and the
        `sentence`. Where the faces differ, `scores` is None and the sentence says so.
    """
    found = []
    for dataset in dict.fromkeys(dataset for _, dataset in tables):
        names = [run for run, its in tables if its == dataset]
        pairs = itertools.combinations(names, 2)
        for a, b in pairs if len(names) <= MOST_RUNS else ((names[0], b) for b in names[1:]):
            for task in TASKS:
                both = [tables[a, dataset], tables[b, dataset]]
                if all(predictions.has(table, task) for table in both):
                    found.append(_difference(a, b, both, dataset=dataset, task=task))
    return found


def _difference(a: str, b: str, tables: Sequence[pd.DataFrame], *, dataset: str, task: str) -> dict:
    seen = set().union(*map(unseen.copies, tables))
    kept = [table[~table["name"].isin(seen)] for table in tables]
    kept, _ = same_images.all_predicted(kept, task)
    kept = [same_images.of_task(table, task) for table in kept]
    about = {"a": a, "b": b, "dataset": dataset, "task": task}
    if TASKS[task].is_classification:
        test = same_images.mcnemar(*kept, task=task)
    else:
        test = same_images.wilcoxon(*kept)
    if "p" not in test:
        sentence = f"{a} and {b} can't be compared on {dataset} in {task}: {test['reason']}."
        return about | {"scores": None, "test": test, "sentence": sentence}
    if TASKS[task].is_classification:
        scores = [(test["both_right"] + test[f"only_{side}"]) / test["count"] for side in "ab"]
    else:
        scores = [test["mae_a"], test["mae_b"]]
    return about | {"scores": scores, "test": test} | {"sentence": _compared(about, scores, test)}


def _compared(about: Mapping, scores: Sequence[float], test: Mapping) -> str:
    """Whether one classifier beats another, with the figures that say so."""
    its = TASKS[about["task"]]
    if test["p"] >= SIGNIFICANT:
        how = f"{about['a']} and {about['b']} can't be told apart"
    else:
        is_b = (scores[1] > scores[0]) == its.greater_is_better
        better, worse = (about["b"], about["a"]) if is_b else (about["a"], about["b"])
        how = f"{better} beats {worse}"
    by = its.format_difference(abs(scores[1] - scores[0])).removeprefix("+")
    unit = " points" if its.is_classification else " years"
    what = its.score if its.is_classification else "mean absolute error in years"
    name = "McNemar's exact test" if its.is_classification else "Wilcoxon's signed-rank test"
    shown = "p < 0.0001" if test["p"] < 0.0001 else f"p = {test['p']:.2g}"
    return (
        f"On {about['dataset']}, in {its.name}, {how}: {what} {its.format(scores[0])} "
        f"({about['a']}) and {its.format(scores[1])} ({about['b']}) on the same "
        f"{test['count']:,} faces, {by}{unit} apart, "
        f"{name}, {shown}."
    )


def most_important(sections: Sequence[Mapping], compared: Sequence[Mapping]) -> list[str]:
    """The three findings that a reader should take along, in sentences.

    Args:
        sections: see `report.page`.
        compared: see `differences`.

    Returns:
        Whom the classifiers fail most; whether one beats another, of several; and what there is
        first of: faces without a prediction, accuracy lost from in-domain to cross-dataset, a
        confidence that is far from accuracy, labels that are likely wrong.
    """
    first = [section for section in sections if section["task"] == sections[0]["task"]]
    main = [each for each in compared if each["task"] == first[0]["task"]]
    found = [_failed_most(first), *_beaten(main)]
    others = (_unpredicted(first), _shift(first), _confidence(first), _labels(first))
    return [*found, *filter(None, others)][:3]


def _failed_most(sections: Sequence[Mapping]) -> str:
    """The gap that is most certain to be large, and where else the same group is last."""
    gaps = [
        (section, grouping, gap)
        for section in sections
        for grouping, gap in section["audit"]["gaps"].items()
        if gap
    ]
    if not gaps:
        return "No two groups are large enough to be compared."
    section, grouping, gap = max(gaps, key=lambda each: each[2]["interval"][0])
    group = section["audit"]["groups"][grouping][gap["worst"]]
    low, high = (100 * end for end in gap["interval"])
    same = [
        f"{other['run']} on {other['dataset']}"
        for other, its_grouping, its in gaps
        if other is not section and its_grouping == grouping and its["worst"] == gap["worst"]
    ]
    last = f" The same group is last for {text.listed(same, 4)}." if same else ""
    together = f", holding for all {gap['pairs']} pairs" if gap["pairs"] > 1 else ""
    certain = "" if low > 0 else " That may be chance."
    return (
        f"Failed most, by {grouping}, is {gap['worst']}: {section['run']} is right about the "
        f"{section['task']} of {text.percent(group['accuracy'])} of these {group['count']:,} faces "
        f"of {section['dataset']}, {100 * gap['difference']:.1f} points below {gap['best']} "
        f"(95% interval {low:.1f} to {high:.1f}{together})."
        f"{certain}{last}"
    )


def _beaten(compared: Sequence[Mapping]) -> list[str]:
    """Whether one classifier beats another, a dataset after the other; [] of one classifier."""
    tested = [each for each in compared if each["scores"]]
    if not tested:
        return [compared[0]["sentence"]] if compared else []
    pair = min(tested, key=lambda each: each["test"]["p"])
    return [
        " ".join(
            each["sentence"] for each in tested if (each["a"], each["b"]) == (pair["a"], pair["b"])
        )
    ]


def _unpredicted(sections: Sequence[Mapping]) -> str:
    having = [section for section in sections if "unpredicted" in section["audit"]]
    if not having:
        return ""
    section = max(having, key=lambda one: one["audit"]["unpredicted"]["all"]["all"]["share"])
    shares = section["audit"]["unpredicted"]
    every = shares["all"]["all"]
    if every["share"] < FEWEST_UNPREDICTED:
        return ""
    large = [
        (name, group)
        for grouping, members in shares.items()
        for name, group in members.items()
        if grouping != "all" and not group["small"]
    ]
    most = max(large, key=lambda each: each[1]["share"], default=None)
    worst = f", most of {most[0]} ({text.percent(most[1]['share'])})" if most else ""
    return (
        f"{section['run']} has no prediction for {text.percent(every['share'])} of the "
        f"{every['count']:,} faces of {section['dataset']}{worst}; no other figure counts them."
    )


def _shift(sections: Sequence[Mapping]) -> str:
    """How much accuracy a classifier loses on a dataset that it was not trained on."""
    drops = [
        (one["audit"]["accuracy"] - other["audit"]["accuracy"], one, other)
        for one, other in itertools.permutations(sections, 2)
        if one["run"] == other["run"] and one["is_in_domain"] and other["is_in_domain"] is False
    ]
    if not drops:
        return ""
    drop, one, other = max(drops, key=lambda each: each[0])
    audits = one["audit"], other["audit"]
    low, high = groups.newcombe(
        [round(each["accuracy"] * each["count"]) for each in audits],
        [each["count"] for each in audits],
    )
    if low <= 0:  # no more than chance
        return ""
    return (
        f"{one['run']} loses {100 * drop:.1f} points of accuracy in {one['task']} from "
        f"{one['dataset']}, on which it was trained "
        f"({text.percent(one['audit']['accuracy'])}), to {other['dataset']}, on which it wasn't "
        f"({text.percent(other['audit']['accuracy'])}; 95% interval {100 * low:.1f} to "
        f"{100 * high:.1f})."
    )


def _confidence(sections: Sequence[Mapping]) -> str:
    """Whose confidence is furthest from its accuracy, and in which direction."""
    having = [section for section in sections if section["audit"]["calibration"]]
    if not having:
        return ""
    section = max(having, key=lambda one: one["audit"]["calibration"]["ece"])
    calibration = section["audit"]["calibration"]
    if calibration["ece"] < LEAST_ERROR:
        return ""
    count = sum(one["count"] for one in calibration["bins"])
    mean = sum(one["count"] * one["confidence"] for one in calibration["bins"]) / count
    is_over = mean > section["audit"]["accuracy"]
    return (
        f"Confidence is furthest from accuracy for {section['run']} on {section['dataset']}, "
        f"which is {'over' if is_over else 'under'}confident: a mean confidence of "
        f"{text.percent(mean)} where {text.percent(section['audit']['accuracy'])} are right "
        f"(expected calibration error {calibration['ece']:.3f})."
    )


def _labels(sections: Sequence[Mapping]) -> str:
    """How many labels are likely wrong."""
    counts = [(len(section["suspects"]), section) for section in sections if section["suspects"]]
    if not counts:
        return ""
    number, section = max(counts, key=lambda each: each[0])
    return (
        f"{number:,} {section['task']} labels of {section['dataset']} are likely wrong, by the "
        f"confidence of {section['run']}."
    )


def summary(sections: Sequence[Mapping]) -> str:
    """What was asked, in a sentence."""
    runs = list(dict.fromkeys(section["run"] for section in sections))
    tasks = list(dict.fromkeys(section["task"] for section in sections))
    counts: dict[str, int] = {}
    for section in sections:
        dataset = section["dataset"]
        counts[dataset] = max(counts.get(dataset, 0), section["audit"]["count"])
    faces = text.listed([f"{count:,} of {name}" for name, count in counts.items()], 6)
    classifiers = f"{len(runs)} classifiers" if len(runs) > 1 else "One classifier"
    which = "How good is it" if len(runs) == 1 else "Which is better"
    return (
        f"{classifiers} ({text.listed(runs, 6)}) predicted the perceived {' and '.join(tasks)} of "
        f"faces ({faces}). {which}, for whom, and can the confidence be believed?"
    )
