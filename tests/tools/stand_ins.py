"""What stands for trainings and classifiers: runs whose predictions are made up from pixels."""

import hashlib
import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from vggface_gender.backbones import onnx_network
from vggface_gender.base import labels, runs
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records
from vggface_gender.datasets import splits
from vggface_gender.datasets.mixes import prepare
from vggface_gender.evaluation import predictions, provenance
from vggface_gender.training import run


class Guess:
    """Stands for the classifier of a run: its outputs follow from a crop and the run's name."""

    size, padding, largest_batch = 32, 0.25, 64

    def __init__(self, path: Path, precision: str = "auto"):
        self.seed = int(hashlib.blake2b(path.read_bytes(), digest_size=4).hexdigest(), 16)
        names = {"gender": labels.GENDERS, "race": labels.UTKFACE_RACES, "age": ()}
        self.tasks = {task: names[task] for task in runs.settings(path.parent)["tasks"]}

    def predict(self, crops: np.ndarray, *, batch_size: int = 64) -> dict[str, np.ndarray]:
        """See `Classifier.predict`."""
        return self.outputs(crops.mean((1, 2)) / 32)

    def outputs(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Probabilities and years that follow from three numbers a face, (n, 3)."""
        found = {}
        for number, (task, names) in enumerate(self.tasks.items()):
            rng = np.random.default_rng([self.seed, number])
            scores = features @ rng.normal(size=(3, max(1, len(names))))
            odds = np.exp(scores - scores.max(1, keepdims=True))
            years = 40 + 10 * np.tanh(scores[:, 0])
            found[task] = odds / odds.sum(1, keepdims=True) if names else years
        return found


def starting(made: list[tuple[str, list[str]]]) -> Callable[..., None]:
    """A function that stands for `trainings.start`: it notes the command, and leaves its files."""

    def start(command: str, *options: str) -> None:
        made.append((command, list(options)))
        given = importlib.import_module(f"vggface_gender.{command}").parser().parse_args(options)
        if command == "pseudo_label":
            _label(given)
        else:
            _train(command, given)

    return start


def _train(command: str, given) -> None:
    tasks = [given.task] if command == "transfer" else given.tasks
    each = run.trainings(
        given.seed,
        repeats=given.repeats,
        split_seed=given.split_seed,
        resplit=getattr(given, "resplit", False),
        folds=given.folds,
    )
    for place, one in each.items():
        folder = runs.MODEL_FILES / given.run / place
        mix = prepare(
            given.dataset,
            given.source,
            data_dir=given.data_dir,
            seed=one.split_seed,
            fold=one.fold,
        )
        settings = one._asdict() | {"command": command, "dataset": given.dataset, "tasks": tasks}
        settings |= {"fingerprint": mix.fingerprint, "counts": mix.counts}
        if backbone := getattr(given, "backbone", None):
            settings["backbone"] = onnx_network.named(backbone)
        run.begin(folder, settings | {"init": getattr(given, "init", None)})
        path = folder / runs.CLASSIFIER
        path.write_text(f"{given.run} {place}")
        for part in mix.parts:
            for split in splits.SPLITS if one.fold else ("test",):
                if split in part.dataset.counts:
                    _predict(path, part.dataset, split)
        (folder / runs.METRICS).write_text("{}")


def _predict(path: Path, dataset, split: str) -> None:
    truth = _labels(dataset, split)
    guess = Guess(path)
    outputs = guess.outputs(np.random.default_rng(0).normal(size=(len(truth), 3)))
    table = predictions.table(truth.name, truth[list(TASKS)], outputs=outputs, tasks=guess.tasks)
    made_by = provenance.made_by(path, dataset, split=split)
    place = predictions.place(path.parent, dataset, split=split, made_by=made_by, table=table)
    predictions.write(table, place, made_by=made_by)


_KNOWN: dict = {}


def _labels(dataset, split: str) -> pd.DataFrame:
    """A split's labels, read once: there are many trainings, and few datasets."""
    key = dataset.directory, split
    if key not in _KNOWN:
        _KNOWN[key] = records.labels(dataset, split)
    return _KNOWN[key]


def _label(given) -> None:
    """A sweep's folder, or a table of FairFace's first faces with a label of their own."""
    given.out.mkdir(parents=True)
    if given.sweep is None:
        faces = sorted(Path("../FairFace/train").iterdir())[:30]
        for face in faces:
            shutil.copy(face, given.out)
        genders = [labels.GENDERS[i % 2] for i in range(len(faces))]
        table = {"file": [face.name for face in faces], "gender": genders, "split": "train"}
        pd.DataFrame(table).to_csv(given.out / "faces.csv", index=False)
