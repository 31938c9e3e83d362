"""A run's model card: what it is, how good by group, what it is for, what binds whoever uses it.

Written from what the run's folder holds, without Keras, so that every evaluation can write it anew.
It is plain Markdown. Hugging Face's header of metadata is left off: of most runs' licences it could
only say "other", and the figures lie beside the card as JSON.
"""

import json
import re
import shlex
import textwrap
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from vggface_gender import datasets
from vggface_gender.base import files, labels, runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import mixes
from vggface_gender.evaluation import metrics

CARD = "model_card.md"
CONTRACT = "classifier.json"  # `classifier.CONTRACT`, which can't be imported without Keras

# What terms ask of whoever uses what was learned from something.
RESEARCH, ASK, NAME, NOTHING = "research only", "ask", "name it", "nothing"


class Source(NamedTuple):
    """What is known of a dataset, or of a network's weights."""

    about: str
    terms: str
    asks: str  # RESEARCH, ASK, NAME or NOTHING
    homepage: str = ""
    cited: str = ""


# Terms and homepages are the builders' own, which can't be read without TensorFlow Datasets.
DATASETS = {
    "UTKFace": Source(
        "photos from the web whose labels a program gave and one person checked",
        "non-commercial research",
        RESEARCH,
        "https://susanqq.github.io/UTKFace/",
        "Zhang, Song and Qi, CVPR 2017",
    ),
    "FairFace": Source(
        "Flickr photos chosen to be balanced over seven races, whose gender, race and age band "
        "annotators judged. A band is learned as its middle year",
        "CC BY 4.0",
        NAME,
        "https://github.com/joojs/fairface",
        "Kärkkäinen and Joo, WACV 2021",
    ),
    "Adience": Source(
        "photos that phones uploaded to Flickr albums, whose gender and age group the publishers "
        "judged. A group is learned as its middle year; nothing tells race",
        "LICENSE.txt on its page; the photos are Flickr users', under Creative Commons",
        ASK,
        "https://talhassner.github.io/home/projects/Adience/Adience-data.html",
        "Eidinger, Enbar and Hassner, IEEE TIFS 2014",
    ),
    "AllAgeFaces": Source(
        "faces, mostly of Asian people, with gender and age; who labelled them is not published, "
        "and nothing tells race",
        "none published with it but to cite the paper",
        ASK,
        "https://github.com/JingchunCheng/All-Age-Faces-Dataset",
        "Cheng, Li, Wang, Yu and Wang, Tsinghua Science and Technology 2019",
    ),
    "GenderDataset": Source(
        'Matroid\'s archive "agegender_cleaned", with gender and age; where its photos are from '
        "and who labelled them is not published, and nothing tells race",
        "none published with it",
        ASK,
        "https://www.matroid.com",
    ),
    "GenderDataset_Small": Source(
        "a tenth of GenderDataset, where neither the photos' origin nor who labelled them is "
        "published, and nothing tells race",
        "none published with it",
        ASK,
        "https://www.matroid.com",
    ),
    "SyntheticFaces": Source(
        "drawings, not people, whose labels nobody judged: a figure on them says nothing about "
        "real faces, and what learned from them is not fit to read photos",
        "Apache-2.0",
        NOTHING,
    ),
}
SAME_IMAGES = {"GenderDataset", "GenderDataset_Small"}  # divided in other ways

# By the name that `backbones.load` takes: what the licences call it, and the rest.
RESNET50 = "ResNet-50 (He, Zhang, Ren and Sun, CVPR 2016)"
NETWORKS = {
    "dlib": (
        "dlib's network",
        Source(
            "dlib's face recognition ResNet (29 convolutions), which Davis King trained to tell "
            "7,485 people apart on about three million faces from FaceScrub, the VGG face dataset "
            "and the web, and put in the public domain",
            "public domain",
            NOTHING,
        ),
    ),
    "vggface": (
        "VGG-Face",
        Source(
            "[VGG-Face](https://www.robots.ox.ac.uk/~vgg/software/vgg_face/), the VGG-16 that "
            "Parkhi, Vedaldi and Zisserman (BMVC 2015) trained to tell 2,622 people apart, and "
            "publish for non-commercial research",
            "non-commercial research",
            RESEARCH,
        ),
    ),
    "resnet50": (
        "ResNet-50",
        Source(f"{RESNET50}, which began with random weights", "none: random weights", NOTHING),
    ),
}


class Words(NamedTuple):
    """How a card speaks of its classifier."""

    title: str
    opening: str  # a sentence
    made: str  # a paragraph
    licence: str  # an item
    run: str  # its name for `finetune`
    option: str = ""  # for `evaluate`
    inside: str = ""  # the file, after its size


def write(folder: Path, words: Words | None = None) -> Path | None:
    """Write a finished run's `model_card.md`, whole or not at all.

    Args:
        folder: the run's.
        words: see `card`.

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
    text = card(folder, words)
    with files.whole(folder / CARD) as part:
        part.write_text(text, encoding="utf-8")
    return folder / CARD


def card(folder: Path, words: Words | None = None) -> str:
    """The model card of a finished run, in Markdown.

    It is made of the classifier's contract, `config.json`, and every metrics file of the folder.
    Figures of faces that the training saw are shown at the end alone, and said to be so.

    Args:
        folder: the run's.
        words: of a classifier that is more than a run; else a run's, and all settings are listed.

    Raises:
        InputError: `config.json` is not a run's.
    """
    settings = runs.settings(folder)
    names = _datasets(settings["dataset"])
    before = [name for dataset in settings.get("before", ()) for name in _datasets(dataset)]
    sources = _sources(settings["backbone"], [*names, *before])
    figures = _figures(folder)
    own = {figures[0]["dataset"], *map(_label, names)}
    figures.sort(key=lambda its: (not _is_unseen(its, own), its["dataset"] not in own))
    unseen = [its for its in figures if _is_unseen(its, own)]
    abroad = "it was not tested on any"
    if any(its["dataset"] not in own for its in unseen):
        abroad = "compare the datasets below"
    with zipfile.ZipFile(folder / runs.CLASSIFIER) as archive:
        contract = json.loads(archive.read(CONTRACT))
    tasks = contract["tasks"]
    told = "; ".join(
        f"{task} ({', '.join(its)})" if its else f"{task} in years" for task, its in tasks.items()
    )
    every_setting = "" if words else _settings(folder)
    words = words or _words(folder, settings, sources)
    commands = "\n".join(dict.fromkeys(_command(its, names, words.option) for its in figures))
    if not all(its["dataset"] in DATASETS for its in figures):
        commands += "\n# a folder's or a table's name stands for its path"
    more_forbidden = ""
    if "race" in tasks:
        more_forbidden += " Race is told only where `--race` asks for it."
    if any(source.asks == RESEARCH for source in sources.values()):
        more_forbidden += "\nNor anything commercial: see the licences."
    reports = "\n".join(f"{its['note']}```\n{metrics.report(its)}```\n" for its in figures)
    return f"""# {words.title}

{words.opening} From a crop of a face it tells how the
face is **perceived**: {told}.
Labels are what annotators saw in a picture. They are not what a person is, or would say of
themselves.

{_filled(words.made)}

{_items(_about(folder, settings, names, contract, words))}

## Figures

{_overview(unseen)}

In brackets the interval that holds 95%: of these faces' sampling, not of another training.

{_weakest(unseen)}

The same is printed, and the table that it is computed from written, by

```
{commands}
```

## What it is for

{_filled(USES.format(run=words.run))}

## What it must not be used for

Decisions about a person: access, hiring, policing, credit, health, moderation, advertising.
Finding out or recording somebody's gender identity, ethnicity or age: the picture does not hold
them. Proof of age. Surveillance. Anything that the people shown have not agreed to, where they can
be asked, or that the law where you are forbids.{more_forbidden}

## Where it fails

- By group: see the weakest above and all of them below. An answer for a group that is small in
  the test says little, in either direction.
- On other data than it was trained on: {abroad}. Photos that people share are not
  a sample of the world's faces.
- Two genders and a handful of races are coarse, fixed boxes. Whoever fits none is still put in one,
  and often with a high probability; probabilities are not calibrated on other data.
- Babies and children, whose perceived gender a face shows little of, and the old, of whom there are
  few to learn from. Labelled ages are guesses: errors of a few years are the labels' own.
- Faces that are small (under about 50 pixels), turned away, covered, blurred, in odd light, or
  drawn. A face that the detector does not find gets no answer at all.

## All figures

{_tested(figures, own, settings, names)}

{reports}{every_setting}"""


USES = (
    "Research on and audits of face classifiers; statistics over many faces whose errors are "
    "known, as below, and accounted for; a start for a training on data of your own "
    "(`finetune --init {run}`)."
)

# An absolute path up to its last part. It may hold a plus, but a plus and an absolute path begin
# another part of a mix.
_ROOT = r"(?:[A-Za-z]:)?[/\\]"
_PLACE = re.compile(rf"(^|[+:]){_ROOT}(?:(?:(?!\+{_ROOT}).)*[/\\])?(?=[^/\\+*[])", re.DOTALL)


def without_places(content):
    """JSON content with absolute paths cut to their last part, as they are of one machine only."""
    if isinstance(content, Mapping):
        return {key: without_places(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_places(value) for value in content]
    if isinstance(content, str):  # in a mix of datasets a path may follow a + or a :
        return _PLACE.sub(r"\1", content)
    return content


def _datasets(text: str) -> list[str]:
    """The names of a mix's datasets, as they were given; of one that is gone, its last part."""
    try:
        return [name for name, _, _ in mixes.parse(text)]
    except InputError:
        return [re.split(r"[\[*]", part)[0].strip() for part in without_places(text).split("+")]


def _label(name: str) -> str:
    """What a dataset is called in metrics files (see `datasets.Dataset.label`)."""
    return name if name in datasets.NAMED else Path(name).resolve().stem


def _called(name: str) -> str:
    return name if name in DATASETS else f"`{without_places(name)}`"


def _described(name: str) -> str:
    """A dataset: where it is from, its terms, what is in it."""
    source = _source(name)
    linked = f"[{name}]({source.homepage})" if source.homepage else _called(name)
    return f"{linked} ({'; '.join(filter(None, (source.cited, source.terms)))}): {source.about}"


def _source(name: str) -> Source:
    about = "images of whoever uses them here, who knows where they are from and who labelled them"
    return DATASETS.get(name) or Source(about, "the owner's terms", ASK)


def _network(name: str) -> tuple[str, Source]:
    """What is known of a backbone, as in `NETWORKS`."""
    if name in NETWORKS:
        return NETWORKS[name]
    kind, _, file = without_places(name).partition(":")
    is_resnet = kind == "resnet50"
    called = f"`{file if is_resnet else without_places(name)}`"
    about = f"{called}, a file whose owner knows where it is from and what it learned from"
    if is_resnet:
        about = f"{RESNET50} with the weights of {about}"
    return called, Source(about, "the owner's terms", ASK)


def _sources(backbone: str, names: Sequence[str]) -> dict[str, Source]:
    """All that a classifier is made of, by what the licences call it."""
    called, network = _network(backbone)
    return {called: network} | {_called(name): _source(name) for name in names}


def _words(folder: Path, settings: Mapping, sources: Mapping[str, Source]) -> Words:
    """A run's."""
    folder = folder.resolve()
    is_repeat = re.fullmatch(r"(seed|fold)-\d+", folder.name)
    run = f"{folder.parent.name}/{folder.name}" if is_repeat else folder.name
    return Words(
        title=run,
        opening=f"A classifier that `python -m vggface_gender.{settings['command']}` trained.",
        made="Every evaluation writes this page anew from the files beside it; every figure on it "
        f"is that of `{runs.CLASSIFIER}`.",
        licence=_licence(sources, settings.get("init")),
        run=run,
        option=f" --run {shlex.quote(run)}",
    )


def _licence(sources: Mapping[str, Source], init: str | None) -> str:
    """The terms of all that a classifier is made of, and what follows for it."""
    terms = "; ".join(f"{name}: {source.terms}" for name, source in sources.items())

    def whose(asks: str) -> str:
        return ", ".join(name for name, source in sources.items() if source.asks == asks)

    follows = {
        f"it is for non-commercial research only ({whose(RESEARCH)})": RESEARCH,
        f"ask the owner or publisher before you use it ({whose(ASK)})": ASK,
        f"who passes it on names its source ({whose(NAME)})": NAME,
    }
    held = "; ".join(text for text, asks in follows.items() if whose(asks))
    return (
        f"**Licences:** this package: Apache-2.0; {terms}. A classifier inherits the strictest of "
        f"these: {held or 'none of them restricts it'}."
        + (f" What binds `{init}` binds it too: see the card of that one." if init else "")
    )


def _about(
    folder: Path, settings: Mapping, names: Sequence[str], contract: Mapping, words: Words
) -> list[str]:
    """What a classifier is made of and was trained on."""
    tuned = settings.get("unfreeze", "none")  # the first layer trained here, `all` or `none`
    how = {"none": "It is used as it is", "all": "All of it was trained further here"}.get(
        tuned, f"From its layer {tuned} on it was trained further here"
    )
    network = _network(settings["backbone"])[1].about
    about = [f"**Network:** {network}. {how}, under a head of our own."]
    if init := settings.get("init"):
        before = ", then on ".join(f"`{without_places(it)}`" for it in settings.get("before", ()))
        about.append(
            f"**Goes on from:** the classifier `{init}`, whose weights it began with"
            + (f"; that was trained on {before}" if before else "")
            + ". What that had learned from has a part in this one; its own card says what it was."
        )
    about += _training_data(settings, names)
    mirror = " It answers with the mean over a crop and its mirror image."
    about.append(
        f"**File:** {(folder / runs.CLASSIFIER).stat().st_size:,} bytes{words.inside}. It takes "
        "raw RGB crops in `[0, 255]`, framed as `dlib.get_face_chip` does with padding "
        f"{contract['padding']:g}; `keras.saving.load_model` opens it without this package."
        + (mirror if settings.get("mirror") else "")
    )
    if temperatures := contract.get("temperatures"):
        listed = ", ".join(f"{task} {value:.3g}" for task, value in temperatures.items())
        about.append(
            f"**Temperature:** {listed}, fitted on the validation split. The model divides its "
            "scores by it, which changes no answer, only how sure it is."
        )
    return [*about, words.licence]


def _training_data(settings: Mapping, names: Sequence[str]) -> list[str]:
    """The datasets, and how many records were for what."""
    counts = settings["counts"]
    train, validation, test = (counts.get(it, 0) for it in ("train", "validation", "test"))
    used = (
        f"{train:,} were trained on, {validation:,} chose the epoch, and {test:,} were kept for "
        "the test."
    )
    if fold := settings.get("fold"):
        used += f" The test split is fold {fold[0]} of {fold[1]}, the first being 0."
    described = [f"**Training data:** {_described(name)}." for name in names]
    if names == [settings["dataset"]]:
        total = train + validation + test
        return [f"{described[0]} Of its {total:,} records {used} `config.json` has every setting."]
    mixed = without_places(settings["dataset"])
    return [
        *described,
        f"**Records:** of `{mixed}`, where brackets hold a slice of a training split and a factor "
        f"is what its examples count for, {used} `config.json` has every setting.",
    ]


def _figures(folder: Path) -> list[dict]:
    """The content of a run's metrics files, a `note` added, the training's own first.

    Of two on one split the training's counts: a later evaluation may have divided the dataset in
    another way, and have met faces that were trained on.
    """
    training = folder / runs.METRICS
    found = {}
    for path in (training, *sorted(folder.glob("metrics-*.json"))):
        figures = json.loads(path.read_text())
        is_current = path == training or runs.is_current(path, folder)
        figures["note"] = "" if is_current else STALE
        found.setdefault((figures["dataset"], figures["split"]), figures)
    return list(found.values())


STALE = (
    f"These figures are older than `{runs.CLASSIFIER}`. If it was trained again since, they are of "
    "the one before: evaluate it again.\n\n"
)


def _split(figures: Mapping) -> tuple[str, str]:
    """The dataset's split, and how often dropout was drawn where `evaluate --dropout` was asked."""
    split, _, dropout = figures["split"].partition("-dropout")
    return split, dropout


def _is_unseen(figures: Mapping, own: Set[str]) -> bool:
    """Whether the training saw none of the faces that figures are of, as far as names tell.

    Args:
        own: the labels of the datasets that it was trained on.
    """
    if figures["dataset"] in own:
        return _split(figures)[0] == "test"
    return not (figures["dataset"] in SAME_IMAGES and SAME_IMAGES & own)


def _command(figures: Mapping, names: Sequence[str], option: str) -> str:
    """The evaluation that gives these figures."""
    dataset = figures["dataset"]
    given = next((without_places(name) for name in names if _label(name) == dataset), dataset)
    split, dropout = _split(figures)
    options = f" --split {split}" * (split != "test") + f" --dropout {dropout}" * bool(dropout)
    return f"python -m vggface_gender.evaluate{option} --dataset {shlex.quote(given)}{options}"


def _overview(figures: Sequence[Mapping]) -> str:
    """A Markdown table of each split's main figures."""
    tasks = [task for task in labels.TASKS if any(task in its["tasks"] for its in figures)]
    rows = [["tested on", *tasks], ["---"] * (1 + len(tasks))]
    for its in figures:
        cells = (_cell(task, its["tasks"].get(task, {})) for task in tasks)
        rows.append([f"{its['dataset']}, {its['split']} ({its['count']:,} faces)", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(task: str, figures: Mapping) -> str:
    if not figures.get("count"):
        return "no labels"
    value = _value(task, figures)
    return value if task == "age" else f"{value}, {len(figures['labels'])} classes"


def _weakest(figures: Sequence[Mapping]) -> str:
    """The group with the worst figure, of those that are not small, for every task and split."""
    weakest = []
    for its in figures:
        where = its["dataset"] + f" {its['split']}" * (its["split"] != "test")
        for task, of in its["tasks"].items():
            worst = max(_large_groups(of), key=lambda group: _badness(group[1]), default=None)
            if worst:
                group, value = worst[0], _value(task, worst[1])
                weakest.append(f"- {where}, {task}: {group}, {value}, {worst[1]['count']:,} faces")
    listed = "\n".join(weakest or ["- none has as many"])
    return f"The weakest groups of those with at least {metrics.SMALL} faces:\n\n{listed}"


def _large_groups(figures: Mapping) -> Iterator[tuple[str, Mapping]]:
    for groups in figures.get("groups", {}).values():
        yield from ((name, group) for name, group in groups.items() if not group["small"])


def _badness(figures: Mapping) -> float:
    return figures["mae"] if "mae" in figures else -figures["accuracy"]


def _value(task: str, figures: Mapping) -> str:
    """A figure and its interval, to read."""
    low, high = figures["interval"] or (None, None)
    if task == "age":
        span = "" if low is None else f" ({low:.2f} to {high:.2f})"
        return f"{figures['mae']:.2f} years off{span}"
    return f"{figures['accuracy']:.1%} ({low:.1%} to {high:.1%})"


def _tested(
    figures: Sequence[Mapping], own: Set[str], settings: Mapping, names: Sequence[str]
) -> str:
    """What the figures are of, and what of it the training saw."""
    init = settings.get("init")
    claim = "The training data do not name it"
    if init:
        claim = f"Whether `{init}` learned from it, the card of that one tells"
    elif {*names} <= {*DATASETS} and settings["backbone"] in NETWORKS:
        claim = "Nothing was learned from it"
    homes, others, seen = {}, {}, []  # the first two in order, each named once
    for its in figures:
        dataset = its["dataset"]
        if not _is_unseen(its, own):
            how = "what chose the epoch" if _split(its)[0] == "validation" else "trained on"
            if dataset not in own:
                how = "in part trained on"
            seen.append(f"{dataset}, {its['split']}: {how}.")
        elif dataset in own:
            homes[dataset] = dataset
        else:
            others[dataset] = f"{_described(dataset)}. {claim}."
    text = f"Tested on {' and '.join(homes)}, on the split held out from its training"
    if init:
        text += f" (whether `{init}` had seen it, the card of that one tells)"
    text = _filled(text + (", and on" if others else "."))
    if others:
        text += f"\n\n{_items(others.values())}"
    if seen:
        text += f"\n\nNo tests, and left out above, are\n\n{_items(seen)}"
    return text


def _settings(folder: Path) -> str:
    """Every setting of a run, and the versions of what trained it."""
    config = without_places(json.loads((folder / "config.json").read_text()))
    versions = ", ".join(f"{package} {it}" for package, it in config["versions"].items() if it)
    settings = "\n".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in config["settings"].items()
    )
    return f"\n## Settings\n\nTrained with {versions}:\n\n```\n{settings}\n```\n"


def _items(texts: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(_filled(f"- {text}", indent="  ") for text in texts)


def _filled(text: str, indent: str = "") -> str:
    """Text in lines of no more than 100 characters where words allow it."""
    return textwrap.fill(
        text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
