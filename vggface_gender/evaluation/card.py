"""A run's model card: what it is, how good by group, what it is for, what binds whoever uses it
(Mitchell et al., "Model Cards for Model Reporting", FAT* 2019).

Written from what the run's folder holds, without Keras, so that every evaluation can write it anew.
It is plain Markdown. Hugging Face's header of metadata is left off: of most runs' licences it could
only say "other", and the figures lie beside the card as JSON.
"""

import json
import re
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2

from vggface_gender.base import contract, files, runs
from vggface_gender.datasets import catalogue
from vggface_gender.evaluation import card_figures, card_sources, metrics
from vggface_gender.evaluation.groups import SMALL

CARD = "model_card.md"
WIDTH = 100
SETTINGS = {"dataset": str, "backbone": str, "command": str, "counts": dict}  # that the card shows


def write(folder: Path) -> Path | None:
    """Write a finished run's `model_card.md`, whole or not at all.

    Args:
        folder: the run's.

    Returns:
        The card's place; None, and nothing is written, where the folder is not a finished run's
        but, say, that of a lone `.keras` file.

    Raises:
        InputError: `config.json` is not a run's.
        OSError: the disk refuses.
    """
    needed = (runs.CLASSIFIER, "config.json", runs.METRICS)
    if not all((folder / name).is_file() for name in needed):
        return None
    page = render(content(folder))
    with files.whole(folder / CARD) as part:
        part.write_text(page, encoding="utf-8")
    return folder / CARD


def render(found: Mapping) -> str:
    """A card in Markdown.

    Args:
        found: see `content`.
    """
    template = resources.files("vggface_gender.evaluation").joinpath("card.template.md")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["filled"] = _filled
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(template.read_text(encoding="utf-8")).render(found)


def content(folder: Path) -> dict:
    """What the card of a finished run says, by the names that its template has for it.

    It is made of the classifier's contract, `config.json`, and every metrics file of the folder.
    Figures of faces that the training saw are shown at the end alone, and said to be so.

    Raises:
        InputError: `config.json` is not a run's.
    """
    settings = runs.settings(folder, SETTINGS)
    config = runs.config(folder)
    said = contract.read(folder / runs.CLASSIFIER)
    names = card_sources.names(settings["dataset"])
    sources = card_sources.of(settings)
    init = settings.get("init")
    is_known = {*names} <= {*catalogue.NAMED} and all(
        source in card_sources.NETWORKS.values()
        for source in card_sources.networks(settings["backbone"])
    )
    run = _run_name(folder)
    return {
        "title": run,
        "run": run,
        "option": f" --run {shlex.quote(run)}",
        "opening": f"A classifier that `vggface-gender {settings['command']}` trained.",
        "made": "Every evaluation writes this page anew from the files beside it; every figure on "
        f"it is that of `{runs.CLASSIFIER}`.",
        "tasks": said["tasks"],
        "network": _network(settings, config.get("kept")),
        "continued": _continued(settings) if init else "",
        "taught": _taught(settings),
        "data": _training_data(settings, names),
        "file": f"{(folder / runs.CLASSIFIER).stat().st_size:,} bytes",
        "padding": said["padding"],
        "mirror": said.get("mirror") or settings.get("mirror"),
        "temperatures": said.get("temperatures") or {},
        "licences": card_sources.licences(sources, init),
        "is_for_research_only": card_sources.is_for_research_only(sources),
        "init": init,
        "small": SMALL,
        "config": card_sources.without_paths(config),
        **_figures(folder, names, init=init, is_known=is_known),
    }


def _figures(folder: Path, names: Sequence[str], *, init: str | None, is_known: bool) -> dict:
    """The figures of a run, those of unseen faces apart from the others."""
    found = card_figures.read(folder)
    own = {found[0]["dataset"], *map(catalogue.label, names)}
    found.sort(key=lambda its: (not card_figures.is_unseen(its, own), its["dataset"] not in own))
    unseen = [its for its in found if card_figures.is_unseen(its, own)]
    header, rows = card_figures.overview(unseen)
    evaluations = dict.fromkeys(_evaluation(its, names) for its in found)
    return {
        "header": header,
        "rows": rows,
        "weakest": card_figures.weakest(unseen),
        "evaluations": list(evaluations),
        "has_own": not all(its["dataset"] in catalogue.NAMED for its in found),
        "reports": [(its["note"], metrics.report(its)) for its in found],
        **card_figures.tested_on(found, own=own, init=init, is_known=is_known),
    }


def _run_name(folder: Path) -> str:
    """A run's name as commands take it: "mine", or of a repeat "mine/seed-0"."""
    folder = folder.resolve()
    is_repeat = re.fullmatch(r"(seed|fold)-\d+", folder.name)
    return f"{folder.parent.name}/{folder.name}" if is_repeat else folder.name


def _network(settings: Mapping, kept: Mapping | None) -> str:
    """What the network is.

    Args:
        kept: which phase's weights the classifier holds (see `training.run.keep`); None of an older
            run, which holds the last one's.
    """
    unfrozen = settings.get("unfreeze") or "none"  # the first layer trained, `all` or `none`
    note = ""
    if kept and kept["phase"] == "head" and unfrozen != "none":
        unfrozen = "none"
        note = " Fine-tuning it validated worse and is not kept."
    how = {"none": "It is frozen", "all": "All of it was fine-tuned"}.get(
        unfrozen, f"From its layer {unfrozen} on it was fine-tuned"
    )
    sources = card_sources.networks(settings["backbone"])
    about = "; beside it ".join(source.about for source in sources)
    return f"{about}. {how}, under a head of our own.{note}"


def _continued(settings: Mapping) -> str:
    before = ", then on ".join(
        f"`{card_sources.without_paths(text)}`" for text in settings.get("before") or ()
    )
    return (
        f"the classifier `{settings['init']}`, whose weights it began with"
        + (f"; that was trained on {before}" if before else "")
        + ". What that had learned from has a part in this one; its own card says what it was."
    )


def _taught(settings: Mapping) -> str:
    """Which classifiers it learned from; "" where there is none."""
    teachers = settings.get("teachers") or ()
    each = [
        f"`{teacher['run']}`"
        + (
            f" (on {card_sources.without_paths(teacher['backbone'])}, trained on "
            f"`{card_sources.without_paths(teacher['dataset'])}`)"
            if {"backbone", "dataset"} <= teacher.keys()
            else ""
        )
        for teacher in teachers
    ]
    if not each:
        return ""
    return (
        f"{', '.join(each)}: of every training target {settings['teacher_share']:.0%} is what "
        f"{'these predict' if len(each) > 1 else 'this predicts'} for the image, the rest its "
        "label. Their terms bind this one too."
    )


def _training_data(settings: Mapping, names: Sequence[str]) -> list[tuple[str, str]]:
    """The datasets, and how many records were for what: the items of a list, by their titles."""
    counts = settings["counts"]
    train, validation, test = (counts.get(it, 0) for it in ("train", "validation", "test"))
    used = (
        f"{train:,} were trained on, {validation:,} chose the epoch, and {test:,} were held out "
        "for the test."
    )
    if fold := settings.get("fold"):
        used += f" The test split is fold {fold[0]} of {fold[1]}, the first being 0."
    used += " `config.json` has every setting."
    described = [("Training data", f"{card_sources.dataset(name).about}.") for name in names]
    if names == [settings["dataset"]]:
        [(title, about)] = described
        return [(title, f"{about} Of its {train + validation + test:,} records {used}")]
    mixed = card_sources.without_paths(settings["dataset"])
    about = (
        f"of `{mixed}`, where brackets hold a slice of a training split and a factor is the weight "
        f"of its examples in the loss, {used}"
    )
    return [*described, ("Records", about)]


def _evaluation(figures: Mapping, names: Sequence[str]) -> str:
    """The options of the evaluation that gives these figures.

    Args:
        names: of the datasets that the classifier was trained on, as they were given.
    """
    dataset = figures["dataset"]
    given = next((name for name in names if catalogue.label(name) == dataset), dataset)
    split, samples = card_figures.split(figures)
    return (
        f"--dataset {shlex.quote(card_sources.without_paths(given))}"
        + f" --split {split}" * (split != "test")
        + f" --mc-dropout {samples}" * bool(samples)
    )


def _filled(text: str, indent: str = "") -> str:
    """Text in lines of no more than `WIDTH` characters where words allow it."""
    return textwrap.fill(
        " ".join(text.split()),
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
