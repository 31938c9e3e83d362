"""Make the classifier that comes with the package from a finished run, and write its model card.

    python tools/make_default.py --run RUN --datasets FairFace UTKFace --source FACES_DIR

Writes model_files/default: the classifier in half precision, its settings, its figures, and a card
computed from them. The figures are those of the file that is written, not of the run.
"""

import dataclasses
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender import command, evaluate, labels, runs

if TYPE_CHECKING:
    from vggface_gender.classifier import Classifier
    from vggface_gender.datasets import Dataset

LARGEST = 12_000_000  # bytes of the classifier's file, which is kept in the repository
TOLERANCE = {"gender": 2e-3, "race": 2e-3, "age": 0.1}  # of probabilities, and of years
CROPS = 256  # that the file is compared with the run on

# What the card says of the network and of the datasets. The default classifier is for everyone, so
# it is trained only on what everyone may use.
BACKBONES = {
    "dlib": "dlib's face recognition ResNet (29 convolutions), which Davis King trained to tell "
    "7,485 people apart on about three million faces from FaceScrub, the VGG face dataset and the "
    "web, and put in the public domain"
}
TRAINING_DATA = {
    "FairFace": "[FairFace](https://github.com/joojs/fairface) (Kärkkäinen and Joo, WACV 2021; "
    "CC BY 4.0): Flickr photos chosen to be balanced over seven races, whose gender, race and age "
    "band annotators judged. A band is learned as its middle year",
}
TEST_DATA = TRAINING_DATA | {
    "UTKFace": "[UTKFace](https://susanqq.github.io/UTKFace/) (Zhang, Song and Qi, CVPR 2017; "
    "non-commercial research): photos from the web whose labels a program gave and one person "
    "checked. Nothing was learned from it"
}


def main(argv: list[str] | None = None) -> None:
    parser = command.Parser(
        prog="python tools/make_default.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--run", required=True, help="a finished run's name, or its folder")
    parser.add_argument(
        "--datasets",
        nargs="+",
        choices=TEST_DATA,
        default=["FairFace", "UTKFace"],
        metavar="NAME",
        help=f"whose test splits it is evaluated on, of {', '.join(TEST_DATA)}; that of its "
        "training among them",
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="the datasets' folders' folder, as $FACES_DIR"
    )
    parser.add_argument("--data-dir", default="tfrecords", metavar="DIR", help="where records lie")
    arguments = parser.parse_args(argv)
    path = runs.find(arguments.run)
    settings = finished(path.parent)
    home = settings["dataset"]
    if home not in arguments.datasets:
        raise command.InputError(f"it was trained on {home}: name that among --datasets too")

    from vggface_gender import device

    device.start()
    from vggface_gender import classifier, datasets

    sources = {
        name: str(arguments.source / name) if arguments.source else None
        for name in arguments.datasets
    }
    dataset = datasets.prepare(home, sources[home], arguments.data_dir, settings["split_seed"])
    if dataset.fingerprint != settings["fingerprint"]:
        raise command.InputError(
            f"{dataset.directory}: not the records that {path} was trained on; some of its test "
            "faces may be among those; train again on these"
        )
    trained = classifier.load(path, "float32")
    to = runs.MODEL_FILES / runs.DEFAULT
    with command.whole(to) as part:
        part.mkdir()
        file = part / runs.CLASSIFIER
        # The same figures on every machine: 16 bits are for those who ask for them.
        about = without_places(trained.about)
        classifier.save(
            dataclasses.replace(trained, precision="float32", about=about), file, half=True
        )
        check(file, trained, dataset)
        tables = runs.MODEL_FILES / f"{runs.DEFAULT}-evaluation"
        figures = {}
        for name in sorted(arguments.datasets, key=lambda name: name != home):
            line = ["--run", str(file), "--out", str(tables), "--dataset", name]
            line += ["--data-dir", arguments.data_dir]
            line += ["--split-seed", str(settings["split_seed"])]
            evaluate.main(line + (["--source", sources[name]] if sources[name] else []))
            written = tables / f"metrics-{name}-test.json"
            shutil.copy(written, part / (runs.METRICS if name == home else written.name))
            figures[name] = json.loads(written.read_text())
        config = json.loads((path.parent / "config.json").read_text())
        command.write_json(without_places(config), part / "config.json")
        words = card(settings, trained, dataset.counts, file.stat().st_size, figures)
        (part / "model_card.md").write_text(words)
        shutil.rmtree(to, ignore_errors=True)
    print(f"\nthe default classifier: {to}\nits card: {to / 'model_card.md'}")


def finished(folder: Path) -> dict:
    """The settings of a finished run that the card has the words for.

    Raises:
        InputError: it is not finished, or learned from other weights or data than those.
    """
    for file in ("config.json", runs.METRICS):
        if not (folder / file).is_file():
            raise command.InputError(f"{folder}: no {file}: give a finished run's folder as --run")
    settings = runs.settings(folder)
    for key, known in (("backbone", BACKBONES), ("dataset", TRAINING_DATA)):
        if settings[key] not in known:
            raise command.InputError(
                f"{folder}: its {key} is {settings[key]}; the default classifier is for everyone, "
                f"so give a run with {' or '.join(known)}"
            )
    if init := settings.get("init"):
        raise command.InputError(
            f"{folder}: it goes on from {init}, and the card has no words for what that learned "
            "from; give a run that began with a backbone"
        )
    return settings


def check(file: Path, trained: "Classifier", dataset: "Dataset") -> None:
    """Compare the written file with the run on test crops, and print how far they are apart.

    Raises:
        SystemExit: the file is too large, or an answer is off by more than `TOLERANCE`.
    """
    import numpy as np

    from vggface_gender import classifier, input_pipeline

    size = file.stat().st_size
    if size > LARGEST:
        sys.exit(f"error: the classifier's file has {size:,} bytes; allowed are {LARGEST:,}")
    batches = input_pipeline.batches(dataset, "test", CROPS, trained.size, trained.padding)
    crops = next(batches.as_numpy_iterator())["image"]
    expected, got = (it.predict(crops) for it in (trained, classifier.load(file)))
    print(f"\nthe file has {size:,} bytes; on {len(crops)} crops its answers differ by at most")
    for task, answers in expected.items():
        off = float(np.abs(answers - got[task]).max())
        print(f"  {task}: {off:.1e} (allowed: {TOLERANCE[task]:.0e})")
        if not off <= TOLERANCE[task]:  # a NaN is no success
            sys.exit(f"error: in half precision {task} is off by {off:.1e}")
    print()


def without_places(content):
    """JSON content with absolute paths cut to their last part, as they are of one machine only."""
    if isinstance(content, Mapping):
        return {key: without_places(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_places(value) for value in content]
    if isinstance(content, str):  # in a mix of datasets a path may follow a + or a :
        return re.sub(r"(^|[+:])(?:[A-Za-z]:)?[/\\][^+*[]*[/\\]", r"\1", content)
    return content


def card(
    settings: Mapping,
    trained: "Classifier",
    counts: Mapping[str, int],
    size: int,
    figures: Mapping[str, Mapping],
) -> str:
    """The model card, in Markdown.

    Args:
        settings: the run's.
        counts: its dataset's records by split.
        size: of the classifier's file, in bytes.
        figures: dataset to the content of its metrics file; that of the training first.
    """
    from vggface_gender.evaluation import metrics

    home = settings["dataset"]
    tasks = "; ".join(
        f"{task} ({', '.join(names)})" if names else f"{task} in years"
        for task, names in trained.tasks.items()
    )
    tuned = settings.get("unfreeze", "none")  # the first layer trained here, `all` or `none`
    how = {"none": "It is used as it is", "all": "All of it was trained further here"}.get(
        tuned, f"From its layer {tuned} on it was trained further here"
    )
    network = _item(
        f"**Network:** {BACKBONES[settings['backbone']]}. {how}, under a head of our own."
    )
    data = _item(
        f"**Training data:** {TRAINING_DATA[home]}. Of its {sum(counts.values()):,} records "
        f"{counts['train']:,} were trained on, {counts['validation']:,} chose the epoch, and "
        f"{counts['test']:,} were kept for the test. `config.json` has every setting."
    )
    contents = _item(
        f"**File:** {size:,} bytes; {trained.model.count_params():,} numbers, the large arrays in "
        "half precision. It takes raw RGB crops in `[0, 255]`, framed as `dlib.get_face_chip` does "
        f"with padding {trained.padding:g}; `keras.saving.load_model` opens it without this "
        "package."
    )
    commands = "\n".join(
        f"python -m vggface_gender.evaluate --dataset {name}"
        + (f" --split-seed {settings['split_seed']}" if settings["split_seed"] else "")
        for name in figures
    )
    tested = "\n".join(_item(f"{TEST_DATA[name]}.") for name in figures if name != home)
    reports = "\n".join(f"```\n{metrics.report(its)}```\n" for its in figures.values())
    return f"""# The default classifier

What `predict` and `evaluate` use where no `--run` is given. From a crop of a face it tells how the
face is **perceived**: {tasks}.
Labels are what annotators saw in a picture. They are not what a person is, or would say of
themselves.

Made by `tools/make_default.py`, which also wrote this page; every figure on it is that of the file
`classifier.keras` beside it, on faces held out from training.

{network}
{data}
{contents}
- **Licence:** Apache-2.0, as the package. The network's own weights are in the public domain; who
  passes this file on names its training data as above.

## Figures

{_overview(figures)}

In brackets the interval that holds 95%: of these faces' sampling, not of another training.

{_weakest(figures)}

The same is printed, and the table that it is computed from written, by

```
{commands}
```

## What it is for

Research on and audits of face classifiers; statistics over many faces whose errors are known, as
below, and accounted for; a start for a training on data of your own (`finetune --init default`).

## What it must not be used for

Decisions about a person: access, hiring, policing, credit, health, moderation, advertising.
Finding out or recording somebody's gender identity, ethnicity or age: the picture does not hold
them. Proof of age. Surveillance. Anything that the people shown have not agreed to, where they can
be asked, or that the law where you are forbids. Race is told only where `--race` asks for it.

## Where it fails

- By group: see the weakest above and all of them below. An answer for a group that is small in
  the test says little, in either direction.
- On other data than it was trained on: compare the datasets below. Photos that people share are not
  a sample of the world's faces.
- Two genders and a handful of races are coarse, fixed boxes. Whoever fits none is still put in one,
  and often with a high probability; probabilities are not calibrated on other data.
- Babies and children, whose perceived gender a face shows little of, and the old, of whom there are
  few to learn from. Labelled ages are guesses: errors of a few years are the labels' own.
- Faces that are small (under about 50 pixels), turned away, covered, blurred, in odd light, or
  drawn. A face that the detector does not find gets no answer at all.

## All figures

Tested on {home}, on the split held out from its training{", and on" if tested else "."}

{tested}

{reports}"""


def _item(text: str) -> str:
    """A Markdown list's item, in lines of no more than 100 characters where words allow it."""
    return textwrap.fill(
        f"- {text}", 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _overview(figures: Mapping[str, Mapping]) -> str:
    """A Markdown table of each dataset's main figures."""
    tasks = [task for task in labels.TASKS if any(task in its["tasks"] for its in figures.values())]
    rows = [["tested on", *tasks], ["---"] * (1 + len(tasks))]
    for name, its in figures.items():
        cells = (_cell(task, its["tasks"].get(task, {})) for task in tasks)
        rows.append([f"{name}, {its['split']} ({its['count']:,} faces)", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(task: str, figures: Mapping) -> str:
    if not figures.get("count"):
        return "no labels"
    value = _value(task, figures)
    return value if task == "age" else f"{value}, {len(figures['labels'])} classes"


def _weakest(figures: Mapping[str, Mapping]) -> str:
    """The group with the worst figure, of those that are not small, for every task and dataset."""
    lines = ["The weakest groups of those with at least 30 faces:", ""]
    for name, its in figures.items():
        for task, of in its["tasks"].items():
            worst = max(_large_groups(of), key=lambda group: _badness(group[1]), default=None)
            if worst:
                group, value = worst[0], _value(task, worst[1])
                lines.append(f"- {name}, {task}: {group}, {value}, {worst[1]['count']:,} faces")
    return "\n".join(lines)


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


if __name__ == "__main__":
    sys.exit(command.run(main))
