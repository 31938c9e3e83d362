"""A comparison of two runs to read."""

from collections.abc import Mapping, Sequence

from vggface_gender.base import text
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation.comparison import LOWER_IS_BETTER
from vggface_gender.evaluation.intervals import CONFIDENCE


def report(comparison: Mapping) -> str:
    """A plain-text report of what `comparison.compare` gives."""
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
        lacking = figures.get("unpredicted", 0)
        left_out = (
            f" ({lacking:,} faces left out, without a prediction by A or B)" if lacking else ""
        )
        describe = _describe_mcnemar if TASKS[task].is_classification else _describe_wilcoxon
        parts.append(
            f"{task}, as perceived{left_out}\n\n"
            f"{_describe_metrics(figures['metrics'], tested=tested)}\n\n"
            + describe(figures["same_images"])
        )
    parts.append(
        "A t-test is about training again; a test on the same images is about the two classifiers "
        "in its\nrow, on images like these, and its p is not adjusted for the number of rows."
    )
    return "\n\n".join(parts) + "\n"


def _describe_metrics(figures: Mapping, *, tested: bool) -> str:
    header = ["", "A mean", "sd", "n", "B mean", "sd", "n", "B - A"]
    if tested:
        header += [f"{CONFIDENCE:.0%} interval", "t", "df", "p", "p (Holm)", "effect", ""]
    rows = []
    for metric, each in figures.items():
        lower = " (lower is better)" if metric in LOWER_IS_BETTER else ""
        row = [metric.replace("_", " ") + lower]
        for side in (each["a"], each["b"]):
            row += [_number(side["mean"]), _number(side["sd"]), str(side["n"])]
        row.append(f"{each['difference']:+.4f}")
        if tested:
            row += [
                text.interval(each["interval"], "{:+.4f}".format),
                _number(each["t"], 2),
                _number(each["df"], 1),
                _p(each["p"]),
                _p(each.get("p_holm")),
                _number(each["effect"], 2),
                each.get("reason", ""),
            ]
        rows.append(row)
    return text.table(header, rows)


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
    named = [[each["a"], each["b"], *row] for each, row in zip(tests, rows, strict=True)]
    return text.table(["A", "B", *header], named, text_columns=2)


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _number(number: float | None, digits: int = 4) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"
