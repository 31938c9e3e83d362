"""The figures of a model card: those of a run's metrics files, and what of them is a test."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from vggface_gender.base import files, runs, text
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets.catalogue import NAMED
from vggface_gender.evaluation import card_sources, groups
from vggface_gender.evaluation.groups import Worst

STALE = (
    f"These figures are of another `{runs.CLASSIFIER}` than the one beside this page: evaluate "
    "this one."
)


def read(folder: Path) -> list[dict]:
    """The content of a run's metrics files, a `note` added, the training's own first.

    Of two on one split the training's counts: a later evaluation may have divided the dataset in
    another way, and have met faces that were trained on.
    """
    digest = files.digest(folder / runs.CLASSIFIER)
    found: dict[tuple[str, str], dict] = {}
    for path in (folder / runs.METRICS, *sorted(folder.glob("metrics-*.json"))):
        figures = runs.figures(path)
        evaluated = figures.get("made_by", {}).get("classifier", digest)
        figures["note"] = "" if evaluated == digest else STALE
        figures["dataset"] = _called(path, figures)
        found.setdefault((figures["dataset"], figures["split"]), figures)
    return list(found.values())


def _called(path: Path, figures: Mapping) -> str:
    """What a metrics file calls its dataset: of two tables of one name, the second by its file's.

    Not so where faces that were trained on would not have been recognized: the second may be the
    first, divided in another way.
    """
    dataset, is_checked = figures["dataset"], "exact" in figures.get("overlap", {})
    if path.name == runs.METRICS or dataset in NAMED or not is_checked:
        return dataset
    return path.name.removeprefix("metrics-").removesuffix(f"-{figures['split']}.json")


def split(figures: Mapping) -> tuple[str, str]:
    """The dataset's split, and how many dropout samples the predictions are the mean of, or ""."""
    name, _, samples = figures["split"].partition("-dropout")
    return name, samples


def is_unseen(figures: Mapping, own: Set[str]) -> bool:
    """Whether the training saw none of the faces that figures are of, as far as names tell.

    Args:
        own: the labels of the datasets that it was trained on.
    """
    if figures["dataset"] in own:
        return split(figures)[0] == "test"
    return _images(figures["dataset"]) not in map(_images, own)


def overview(found: Sequence[Mapping]) -> tuple[list[str], list[list[str]]]:
    """A table of each split's scores: its header and its rows."""
    tasks = [task for task in TASKS if any(task in its["tasks"] for its in found)]
    header = ["tested on", *(f"{task}, {TASKS[task].score_name}" for task in tasks)]
    rows = [
        [
            f"{its['dataset']}, {its['split']} ({its['count']:,} faces)",
            *(_cell(task, its["tasks"].get(task, {})) for task in tasks),
        ]
        for its in found
    ]
    return header, rows


def weakest(found: Sequence[Mapping]) -> list[str]:
    """The group with the worst score, of those that are not small, for every task and split."""
    lines = []
    for its in found:
        where = its["dataset"] + f" {its['split']}" * (its["split"] != "test")
        for task, figures in its["tasks"].items():
            if worst := _worst(task, figures):
                name, group = worst
                score = f"{TASKS[task].score_name} {_score(task, group)}"
                lines.append(f"{where}, {task}: {name}, {score}, {group['count']:,} faces")
    return lines


def tested_on(
    found: Sequence[Mapping], *, own: Set[str], init: str | None, is_known: bool
) -> dict[str, list[str]]:
    """What the figures are of, and what of it the training saw.

    Args:
        own: the labels of the datasets that the classifier was trained on.
        init: the classifier whose weights it began with.
        is_known: whether all that it learned from is public, so that it can be said what was not.

    Returns:
        The labels of `in_domain` datasets; sentences on each of the `cross_dataset` ones; and lines
        on splits that the training `saw`, which are no tests.
    """
    claim = "The training data do not name it"
    if init:
        claim = f"Whether `{init}` learned from it, the card of that one says"
    elif is_known:
        claim = "Nothing was learned from it"
    in_domain: dict[str, None] = {}
    cross_dataset: dict[str, None] = {}
    saw = []
    for its in found:
        dataset = its["dataset"]
        if not is_unseen(its, own):
            how = "what chose the epoch" if split(its)[0] == "validation" else "trained on"
            if dataset not in own:
                how = "in part trained on"
            saw.append(f"{dataset}, {its['split']}: {how}.")
        elif dataset in own:
            in_domain[dataset] = None
        else:
            cross_dataset[f"{card_sources.dataset(dataset).about}. {claim}."] = None
    return {"in_domain": list(in_domain), "cross_dataset": list(cross_dataset), "saw": saw}


def _images(dataset: str) -> str:
    """What stands for a dataset's images: of those divided in several ways, one name."""
    return (NAMED[dataset].same_images or dataset) if dataset in NAMED else dataset


def _worst(task: str, figures: Mapping) -> Worst | None:
    every = {
        f"{grouping}:{name}": group
        for grouping, members in figures.get("groups", {}).items()
        for name, group in members.items()
    }
    its = TASKS[task]
    worst = groups.worst(every, score=its.score, greater_is_better=its.greater_is_better)
    return worst and Worst(worst.name.partition(":")[2], worst.figures)


def _cell(task: str, figures: Mapping) -> str:
    if not figures.get("count"):
        return "no labels"
    score = _score(task, figures)
    return f"{score}, {len(figures['labels'])} classes" if "labels" in figures else score


def _score(task: str, figures: Mapping) -> str:
    """A score and its interval, to read."""
    its = TASKS[task]
    score = its.format(figures[its.score])
    if not figures["interval"]:
        return score
    return f"{score} ({text.interval(figures['interval'], its.format)})"
