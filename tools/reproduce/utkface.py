"""The published table `utkface-multitask`: one network for gender, race and age against one network
a task, under the published protocol and under a clean one.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from reproduce import figures, trainings
from reproduce.figures import Compared
from reproduce.request import Request
from vggface_gender.base import runs, text
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records, sampling
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import (
    comparison,
    comparison_report,
    held_out,
    metrics,
    predictions,
    provenance,
    repeats,
)
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier

OVERSAMPLED = "validation-oversampled"
VERSION = 1  # of how that split is drawn
PUBLISHED = ("gender", "race")  # the tasks
ACCURACY = "accuracy on validation"
COUNTED = {"faces by gender": "gender", "faces by race": "race"}  # titles, and what is counted
SEVERAL, BALANCED = "several tasks", "several, balanced"
KINDS = {  # of training, and the tasks of each
    "multitask": ("gender", "race", "age"),
    "gender": ("gender",),
    "race": ("race",),
    "balanced": ("gender", "race", "age"),
}
DARKENED, DARK_NOISE = 0.75, 0.0625  # what a pixel is multiplied by, and the most that is added
AT_ONCE = 256  # changed copies in memory

Tables = Mapping[str, list[pd.DataFrame]]  # a kind of training to its repeats' predictions


def utkface_multitask(request: Request, published: dict) -> dict:
    """One network for gender, race and age against one network a task, under both protocols."""
    names = request.runs_of(tuple(KINDS)) or _trained(request, published)
    sides = {kind: repeats.folders(run) for kind, run in names.items()}
    copies = published["protocol"]["copies"]
    oversampled = {
        kind: [evaluate_oversampled(at, _utkface(request, at), copies=copies) for at in its]
        for kind, its in ((kind, side.values()) for kind, side in sides.items())
    }
    tested = {
        kind: {key: repeats.read(at, "UTKFace", split="test") for key, at in side.items()}
        for kind, side in sides.items()
    }
    clean = {kind: [each.table for each in side.values()] for kind, side in tested.items()}
    found: dict = {OVERSAMPLED: accuracies(oversampled), "test": accuracies(clean)}
    print(report(found, published))
    first = next(iter(sides["multitask"].values()))
    found["faces"] = counts(_utkface(request, first), copies=copies)
    print(f"\n{describe_counts(found['faces'], published)}")
    for task in PUBLISHED:
        compared = comparison.compare(tested[task], tested["multitask"])
        found[f"{task}, one task against several"] = compared
        print(
            f"\nclean test, A one task ({task}), B several tasks\n\n"
            f"{comparison_report.report(compared)}"
        )
    return found


def _trained(request: Request, published: dict) -> dict[str, str]:
    """The run of each kind."""
    copies = published["protocol"]["copies"]
    balance = "race:" + ",".join(f"{race}={times}" for race, times in copies.items())
    options = [*published["training"], "--repeats", str(request.repeats)]
    return {
        kind: trainings.train(
            request,
            f"reproduce-utkface-{kind}",
            command="multitask",
            dataset=published["trained_on"],
            options=[
                *options,
                *(["--balance", balance] if kind == "balanced" else []),
                *("--tasks", *tasks),
            ],
            trainings=request.repeats,
        )
        for kind, tasks in KINDS.items()
    }


def _utkface(request: Request, folder: Path) -> Dataset:
    """UTKFace as a training divided it."""
    return held_out.prepare(
        folder / runs.CLASSIFIER,
        "UTKFace",
        source=request.source_of("UTKFace"),
        data_dir=request.data_dir,
    )


def accuracies(tables: Tables) -> dict:
    """By task and kind of network, the spread of the accuracy over repeats."""
    found: dict[str, dict] = {}
    for task in PUBLISHED:
        kinds = {"one task": task, SEVERAL: "multitask", BALANCED: "balanced"}
        found[task] = {
            what: figures.spread(
                [
                    metrics.evaluate(table, by_group=False)[task]["accuracy"]
                    for table in tables[kind]
                ]
            )
            for what, kind in kinds.items()
        }
    return found


def evaluate_oversampled(
    folder: Path, dataset: Dataset, *, copies: Mapping[str, int]
) -> pd.DataFrame:
    """A run's predictions on UTKFace's validation split as the publication drew it, made once.

    Nothing should be concluded from it but how it compares with the publication: the run was chosen
    on these faces, and those of some groups count several times.

    Args:
        folder: the training's.
        copies: how often a face of each race is there; once where a race is not named.
    """
    path = folder / runs.CLASSIFIER
    key = provenance.made_by(path, dataset, split=OVERSAMPLED, copies=copies, drawn=VERSION)
    if there := predictions.current(folder, dataset, split=OVERSAMPLED, made_by=key):
        return predictions.read(there)
    trained = classifier.load(path)
    truth = records.labels(dataset, "validation")
    crops = np.concatenate(
        list(classifier.crops_of(trained, dataset, split="validation", batch_size=64))
    )
    times = sampling.factors(truth, "race", copies=copies).astype(int)
    rows = np.repeat(np.arange(len(truth)), times)
    is_changed = truth.race.to_numpy()[rows] != "White"
    outputs = predict_changed(trained, crops, rows=rows, is_changed=is_changed)
    number = np.concatenate([np.arange(count) for count in times])
    names = [f"{name} copy {copy}" for name, copy in zip(truth.name[rows], number, strict=True)]
    true = truth[list(TASKS)].iloc[rows].reset_index(drop=True)
    table = predictions.table(names, true, outputs=outputs, tasks=trained.tasks)
    place = predictions.place(folder, dataset, split=OVERSAMPLED, made_by=key, table=table)
    predictions.write(table, place, made_by=key)
    return table


def predict_changed(
    trained: Classifier, crops: np.ndarray, *, rows: np.ndarray, is_changed: np.ndarray
) -> dict[str, np.ndarray]:
    """Outputs for copies of crops, those marked as changed each with a change drawn at random.

    Args:
        crops: (n, size, size, 3) `uint8` RGB.
        rows: (m,) the crop that each copy is of.
        is_changed: (m,) bool.

    Returns:
        See `Classifier.predict`, of m copies.
    """
    rng = np.random.default_rng(0)
    parts = []
    for start in range(0, len(rows), AT_ONCE):
        chosen = slice(start, start + AT_ONCE)
        copies = crops[rows[chosen]]
        draws = np.where(is_changed[chosen], rng.integers(4, size=len(copies)), 0)
        is_mirrored, is_darkened = draws % 2 == 1, draws >= 2
        copies[is_mirrored] = copies[is_mirrored, :, ::-1]
        noise = rng.random((*copies.shape[:3], 1), np.float32)[is_darkened] * DARK_NOISE
        copies[is_darkened] = (copies[is_darkened] * DARKENED + noise + 0.5).astype(np.uint8)
        parts.append(trained.predict(copies))
    return {task: np.concatenate([part[task] for part in parts]) for task in trained.tasks}


def counts(dataset: Dataset, *, copies: Mapping[str, int]) -> dict[str, dict[str, dict[str, int]]]:
    """Our UTKFace counted as the published tables count theirs: by title, row and label.

    Args:
        dataset: divided as ours is, into train, validation and test.
        copies: how often a face of each race is there; once where a race is not named.
    """
    truth = {split: records.labels(dataset, split) for split in dataset.counts}
    rows = {"raw": pd.concat(truth.values(), ignore_index=True)}
    for split in ("train", "validation"):
        times = truth[split].race.map(copies).fillna(1).astype(int)
        rows[f"{split}, rarer races copied"] = truth[split].loc[truth[split].index.repeat(times)]
    return {
        title: {row: faces[task].value_counts().to_dict() for row, faces in rows.items()}
        for title, task in COUNTED.items()
    }


def describe_counts(found: Mapping, published: Mapping) -> str:
    """The published counts beside ours."""
    rows = [
        [f"{row}: {label}", f"{theirs:,d}", f"{found[title][row].get(label, 0):,d}"]
        for title in COUNTED
        for row, its in published["figures"][title]["rows"].items()
        for label, theirs in its.items()
    ]
    table = text.table(["faces", "published", "ours"], rows)
    return f"{table}\n\nours is split 80/10/10, theirs 90/10: train and validation differ by it"


def report(found: Mapping, published: Mapping) -> str:
    """The published accuracies beside ours, under both protocols."""
    titles = {
        OVERSAMPLED: "as published: validation, oversampled by race and changed at random",
        "test": "clean: the test split, each face once, as it is",
    }
    parts = []
    for split, title in titles.items():
        rows = []
        for task, kinds in found[split].items():
            theirs = published["figures"][ACCURACY]["rows"][task]
            for kind, ours in kinds.items():
                # What was published of several tasks was trained balanced.
                their = theirs[SEVERAL if kind == BALANCED else kind]
                rows.append(Compared(f"{task}, {kind}", their, ours))
        parts.append(f"\n{title}\n{figures.side_by_side(rows)}")
    return "\n".join(parts)
