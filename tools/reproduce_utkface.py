"""The published table `utkface-multitask` of `reproduce.py`: one network for gender, race and age
against one network a task, under the published protocol and under a clean one.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import compare_runs

from vggface_gender import multitask
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from vggface_gender.datasets import Dataset
    from vggface_gender.evaluation.comparison import Repeat
    from vggface_gender.inference.classifier import Classifier

OVERSAMPLED = "validation-oversampled"
TASKS = ("gender", "race")
DEFAULT_RUN = "reproduce-utkface-{}"
SEVERAL, BALANCED = "several tasks", "several, balanced"
KINDS = {  # of training, and the tasks of each
    "multitask": ("gender", "race", "age"),
    "gender": ("gender",),
    "race": ("race",),
    "balanced": ("gender", "race", "age"),
}
RECIPE = [  # what validated best; the README has what else was tried
    *("--dataset", "UTKFace+FairFace", "--epochs", "10", "--loss-weights", "race=2"),
    *("--augment", "noise=0", "erasing=0.1", "--mirror", "--resplit"),
]
DARKENED, DARK_NOISE = 0.75, 0.0625  # what a pixel is multiplied by, and the most that is added


def compare(arguments: argparse.Namespace, published: dict) -> dict:
    """One network for gender, race and age against one network a task, under both protocols."""
    if len(arguments.runs or KINDS) != len(KINDS):
        raise InputError(
            "utkface-multitask takes four --runs: of several tasks, of gender, of race, and of "
            "several tasks with races balanced as published"
        )
    names = dict(zip(KINDS, arguments.runs or map(DEFAULT_RUN.format, KINDS), strict=True))
    copies = published["protocol"]["copies"]
    if not arguments.runs:
        balance = "race:" + ",".join(f"{race}={times}" for race, times in copies.items())
        for kind, tasks in KINDS.items():
            more = ["--balance", balance] if kind == "balanced" else []
            _train(names[kind], [*more, "--tasks", *tasks], arguments)
    sides = {kind: compare_runs.repeats(name) for kind, name in names.items()}

    from vggface_gender import datasets
    from vggface_gender.base import device
    from vggface_gender.datasets import mixes
    from vggface_gender.evaluation import comparison

    device.start(0)
    source = arguments.source and arguments.source / "UTKFace"
    for folder in (folder for side in sides.values() for folder in side.values()):
        split = mixes.own_split(runs.settings(folder), "UTKFace")
        dataset = datasets.prepare("UTKFace", source, arguments.data_dir, **split)
        evaluate_oversampled(folder, dataset, copies)
    found = {}
    for split in (OVERSAMPLED, "test"):
        read = {
            kind: {key: compare_runs.read(at, "UTKFace", split) for key, at in side.items()}
            for kind, side in sides.items()
        }
        found[split] = {
            task: {
                "one task": _spread(read[task], task),
                SEVERAL: _spread(read["multitask"], task),
                BALANCED: _spread(read["balanced"], task),
            }
            for task in TASKS
        }
    print(report(found, published))
    for task in TASKS:
        compared = comparison.compare(read[task], read["multitask"])
        found[f"{task}, one task against several"] = compared
        print(
            f"\nclean test, A one task ({task}), B several tasks\n\n{comparison.report(compared)}"
        )
    return found


def _spread(side: "dict[str, Repeat]", task: str) -> dict:
    """The accuracy's mean, spread and values over a side's repeats."""
    from vggface_gender.evaluation import metrics

    figures = [{"tasks": metrics.evaluate(repeat.table)} for repeat in side.values()]
    return metrics.summarize(figures)["tasks"][task]["accuracy"]


def _train(name: str, more: list[str], arguments: argparse.Namespace) -> None:
    """Train a run, unless it is finished."""
    places = runs.trainings(seed=0, repeats=arguments.repeats)
    if all((runs.MODEL_FILES / name / place / runs.METRICS).is_file() for place in places):
        return
    options = [*RECIPE, "--data-dir", str(arguments.data_dir)]
    options += ["--source", str(arguments.source)] if arguments.source else []
    options += ["--run", name, "--repeats", str(arguments.repeats)]
    multitask.main([*options, *more])


def evaluate_oversampled(folder: Path, dataset: "Dataset", copies: dict[str, int]) -> None:
    """Write a run's predictions on UTKFace's validation split as the publication drew it.

    Nothing should be concluded from it but how it compares with the publication: the run was chosen
    on these faces, and those of some groups count several times.
    """
    import numpy as np

    from vggface_gender.base import labels
    from vggface_gender.data import records, sampling
    from vggface_gender.evaluation import predictions
    from vggface_gender.inference import classifier

    path = folder / f"predictions-UTKFace-{OVERSAMPLED}.csv"
    if runs.is_current(path, folder):
        return
    trained = classifier.load(folder / runs.CLASSIFIER)
    truth = records.labels(dataset, "validation")
    crops = np.concatenate(
        [
            part["image"].numpy()
            for part in records.batches(dataset, "validation", 64, trained.size, trained.padding)
        ]
    )
    times = sampling.factors(truth, "race", copies=copies).astype(int)
    rows = np.repeat(np.arange(len(truth)), times)
    outputs = _classify_changed(trained, crops, rows, truth.race.to_numpy()[rows] != "White")
    number = np.concatenate([np.arange(count) for count in times])
    names = [f"{name} copy {copy}" for name, copy in zip(truth.name[rows], number, strict=True)]
    true = truth[list(labels.TASKS)].iloc[rows].reset_index(drop=True)
    predictions.write(predictions.table(names, true, outputs, trained.tasks), path)


def _classify_changed(
    trained: "Classifier", crops: "np.ndarray", rows: "np.ndarray", changed: "np.ndarray"
) -> dict[str, "np.ndarray"]:
    """Answers for copies of crops, those marked as changed each with a change drawn at random."""
    import numpy as np

    rng = np.random.default_rng(0)
    parts = []
    for start in range(0, len(rows), 256):
        chosen = slice(start, start + 256)
        copies = crops[rows[chosen]]
        draws = np.where(changed[chosen], rng.integers(4, size=len(copies)), 0)
        mirrored, darkened = draws % 2 == 1, draws >= 2
        copies[mirrored] = copies[mirrored, :, ::-1]
        noise = rng.random((*copies.shape[:3], 1), np.float32)[darkened] * DARK_NOISE
        copies[darkened] = (copies[darkened] * DARKENED + noise + 0.5).astype(np.uint8)
        parts.append(trained.predict(copies))
    return {task: np.concatenate([part[task] for part in parts]) for task in trained.tasks}


def report(found: dict, published: dict) -> str:
    """The published accuracies beside ours, under both protocols."""
    titles = {
        OVERSAMPLED: "as published: validation, oversampled by race and changed at random",
        "test": "clean: the test split, each face once, as it is",
    }
    lines = []
    for split, tasks in found.items():
        heading = f"  {'':8}{'':18}published  ours (mean, sd of n)   difference"
        lines += ["", titles[split], heading]
        for task, kinds in tasks.items():
            theirs = published["figures"][task]["accuracy"]
            for kind, ours in kinds.items():
                # What was published of several tasks was trained balanced.
                their = theirs[SEVERAL if kind == BALANCED else kind]
                spread = f"({ours['sd']:.4f} of {ours['n']})" if ours["n"] > 1 else "(n = 1)"
                lines.append(
                    f"  {task:8}{kind:18}{their:9.4f}  {ours['mean']:.4f} {spread:16}"
                    f"{ours['mean'] - their:+.4f}"
                )
    return "\n".join(lines)
