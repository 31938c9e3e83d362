"""Learning from other classifiers' predictions beside the labels (Hinton, Vinyals and Dean 2015).

The teachers predict each training image once, as it is, and the training's targets are blended with
what they say: https://arxiv.org/abs/1503.02531, with a temperature of 1, the probabilities being
calibrated already. What a label leaves out, that a face looks a little like another group's, is
what there is to learn from them.
"""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vggface_gender.base import contract, files, runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets.mixes import Mix
from vggface_gender.evaluation import overlap, predictions, testing, trained_on
from vggface_gender.photos.prints import Prints
from vggface_gender.training.examples import Examples


def find(names: Sequence[str]) -> tuple[Path, ...]:
    """The teachers' files; of a run with repeats all of its classifiers.

    Args:
        names: of runs, their folders, or `.keras` files.

    Raises:
        InputError: there is no such run, or its file is no classifier's.
    """
    found = []
    for name in names:
        if Path(name).is_file():
            found.append(Path(name))
            continue
        each = runs.repeats(runs.folder(name)).values()
        found += [runs.find(str(folder)) for folder in each]
    for path in found:
        contract.read(path)
    return tuple(dict.fromkeys(found))


def about(teachers: Sequence[Path]) -> tuple[dict, ...]:
    """What is known of teachers, as settings hold it: `run`, `weights`, a hash, and its `about`."""
    return tuple(
        {
            "run": runs.called(path),
            "weights": files.digest(path),
            **contract.read(path)["about"],
        }
        for path in teachers
    )


def check(teachers: Sequence[Path], mix: Mix, *, tasks: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse teachers that can't teach, or that would tell what is to be predicted.

    Raises:
        InputError: a teacher predicts none of the tasks, or other labels; or it learned from images
            of the validation or the test split.
    """
    for path in teachers:
        its = {task: tuple(names) for task, names in contract.read(path)["tasks"].items()}
        if not its.keys() & tasks.keys():
            raise InputError(f"{path}: the teacher predicts none of {', '.join(tasks)}")
        for task in its.keys() & tasks.keys():
            if its[task] != tuple(tasks[task]):
                raise InputError(
                    f"{path}: the teacher's labels of {task} are {', '.join(its[task])}, and those "
                    f"to learn are {', '.join(tasks[task])}: leave {task} out with --tasks"
                )
        learned = trained_on.read(path)
        if learned is None:
            print(f"{path}: what the teacher was trained on is not known, nor whether it is tested")
        else:
            _check_unseen(path, learned.trained, mix)


def _check_unseen(path: Path, trained: Prints, mix: Mix) -> None:
    """Refuse a teacher that was trained on images of the validation or the test split."""
    for part, split in itertools.product(mix.parts, ("validation", "test")):
        if split not in part.dataset.counts:
            continue
        digests = overlap.of_split(part.dataset, split).digests
        if count := int(np.isin(digests, trained.digests).sum()):
            raise InputError(
                f"{path}: the teacher was trained on {count:,} of the {len(digests):,} images in "
                f"the {split} split of {part.dataset.name}: give a teacher of the same --split-seed"
            )


def taught(
    known: Examples,
    teachers: Sequence[Path],
    *,
    tasks: Collection[str],
    share: float,
) -> Examples:
    """Training examples whose targets are blended with the mean of the teachers' predictions.

    A label that is missing stays so: the example counts for nothing in that task. A task that a
    teacher does not predict is taught by the others.

    Args:
        teachers: classifiers' files, checked (see `check`).
        tasks: those that are learned.
        share: of a target that is predicted, 0 to 1.
    """
    if not teachers:
        return known
    each = [_predicted(known, path, tasks=tasks) for path in teachers]
    targets = dict(known.targets)
    for task, labels in known.targets.items():
        if predicted := [outputs[task] for outputs in each if task in outputs]:
            is_known = known.weights[task][:, None] > 0
            blended = (1 - share) * labels + share * np.mean(predicted, axis=0)
            targets[task] = np.where(is_known, blended, labels).astype(np.float32)
    return dataclasses.replace(known, targets=targets)


def _predicted(known: Examples, path: Path, *, tasks: Collection[str]) -> dict[str, np.ndarray]:
    """A teacher's predictions for examples, of those of the tasks that it has.

    Returns:
        By task, probabilities (n, classes), or years (n, 1).
    """
    shared = [task for task in contract.read(path)["tasks"] if task in tasks]
    outputs = {task: np.empty(known.targets[task].shape, np.float32) for task in shared}
    for place in np.unique(known.part):
        its = known.part == place
        table = testing.predicted(path, known.mix.parts[place].dataset, split=known.split)
        for task in shared:
            outputs[task][its] = _outputs(table, task)[known.row[its]]
    return outputs


def _outputs(table: pd.DataFrame, task: str) -> np.ndarray:
    if TASKS[task].is_classification:
        return predictions.probabilities(table, task)
    return table[f"{task}_predicted"].to_numpy()[:, None]
