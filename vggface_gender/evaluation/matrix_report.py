"""The matrix of classifiers by datasets, as text."""

from collections.abc import Mapping, Sequence

from vggface_gender.base import labels, text
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation.intervals import CONFIDENCE


def report(found: Sequence[Mapping], averaged: Sequence[Mapping] = ()) -> str:
    """The matrix as text: a line for each classifier and dataset, then the means over repeats."""
    interval = f"{CONFIDENCE:.0%} interval"
    header = ["run", "dataset", "faces", "gender", interval, *labels.GENDERS, "race", "races"]
    header += ["age MAE", "overlap", "gender, no overlap"]
    detected = any("detection" in cell for cell in found)
    rows = [_row(cell) for cell in found]
    notes = (
        ["races: labels that its accuracy is of"] if any("race" in cell for cell in found) else []
    )
    if any(cell["trained_on"] for cell in found):
        notes.insert(0, "*: in-domain, tested on the split held out from training")
    if any(cell["overlap"] is not None for cell in found):
        notes.append(
            "overlap: test images that are, exactly or as near-duplicates, among the training "
            "images (?: these are not at hand); beside it the accuracy without them"
        )
    if detected:
        header.append("missed")
        rows = [[*row, _missed(cell)] for row, cell in zip(rows, found, strict=True)]
        notes.append("missed: test images in which no face is detected")
    notes += dropped(found)
    parts = [text.table(header, rows, text_columns=2), "\n".join(notes)]
    if any(spread["n"] > 1 for row in averaged for spread in _spreads(row).values()):
        parts.append(_describe_means(averaged))
    return "\n\n".join(parts)


def dropped(found: Sequence[Mapping]) -> list[str]:
    """A line for each cell and task with faces that its figures leave out: whose label the
    classifier has no name for, or that it gives no prediction."""
    said = {
        "dropped": "{} faces have a {} that the classifier has no name for",
        "unpredicted": "{} faces have no prediction of {}, and are in none of its figures",
    }
    return [
        f"{cell['run']} on {cell['dataset']}: {line.format(f'{cell[task][why]:,}', task)}"
        for cell in found
        for task in labels.TASKS
        for why, line in said.items()
        if cell.get(task, {}).get(why)
    ]


def _row(cell: Mapping) -> list[str]:
    gender, race, age = (cell.get(task) for task in labels.TASKS)
    by = gender["by_gender"] if gender else {}
    without = gender.get("without_overlap") if gender else None
    return [
        cell["run"],
        cell["dataset"] + ("*" if cell["trained_on"] else ""),
        f"{cell['count']:,}",
        text.percent(gender["accuracy"]) if gender else "-",
        text.interval(gender["interval"] if gender else None),
        *(text.percent(by[name]["accuracy"]) if name in by else "-" for name in labels.GENDERS),
        text.percent(race["accuracy"]) if race else "-",
        str(len(race["labels"])) if race else "-",
        TASKS["age"].format(age["mae"]) if age else "-",
        "?" if cell["overlap"] is None else f"{cell['overlap']['near']:,}",
        "-" if without is None else text.percent(without),
    ]


def _missed(cell: Mapping) -> str:
    return f"{cell['detection']['missed']:,}" if "detection" in cell else "-"


def _spreads(row: Mapping) -> dict[str, Mapping]:
    return {task: row[task] for task in TASKS if task in row}


def _describe_means(averaged: Sequence[Mapping]) -> str:
    """The means over repeats, with their standard deviations in brackets."""
    header = ["run", "dataset", "repeats", *(f"{its.name} {its.score}" for its in TASKS.values())]
    rows = []
    for row in averaged:
        spreads = _spreads(row)
        listed = []
        for task, its in TASKS.items():
            spread = spreads.get(task)
            if spread is None:
                listed.append("-")
            else:
                sd = ""
                if spread["sd"] is not None:
                    sd = f" ({its.format_difference(spread['sd']).removeprefix('+')})"
                listed.append(its.format(spread["mean"]) + sd)
        repeats = max((spread["n"] for spread in spreads.values()), default=0)
        dataset = row["dataset"] + ("*" if row["trained_on"] else "")
        rows.append([row["run"], dataset, str(repeats), *listed])
    table = text.table(header, rows, text_columns=2)
    title = "Means over repeats (standard deviations in brackets, in percentage points or years)"
    return f"{title}\n\n{table}"
