"""Continue from a run's classifier on any dataset, the backbone unfrozen; test it; write a run.

    python -m vggface_gender.finetune --init UTKFace-multitask-dlib-seed0 --dataset FairFace
    python -m vggface_gender.finetune --init RUN --dataset "UTKFace[:20%]+FairFace" --tasks gender

A dataset's label names are mapped to the classifier's where each has a place there (FairFace's
seven races go into UTKFace's five); else the head is replaced by a fresh one. Which it was is said.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, labels, options, runs
from vggface_gender.base.errors import InputError
from vggface_gender.training import tuning

if TYPE_CHECKING:
    import keras

    from vggface_gender.inference.classifier import Classifier


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(
        prog="python -m vggface_gender.finetune", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--init", required=True, metavar="RUN", help="a run's name, its folder, or a .keras file"
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=labels.TASKS,
        help="what to learn (default: the classifier's tasks that the dataset has labels of)",
    )
    parser.add_argument(
        "--replace-head",
        action="store_true",
        help="a fresh head, also where labels could be mapped",
    )
    tuning.add_arguments(parser)
    parser.set_defaults(command="finetune")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    path = runs.find(arguments.init)

    from vggface_gender.base import device

    device.start(arguments.seed)
    from vggface_gender.inference import classifier

    precision = device.precision(arguments.precision)
    initial = classifier.load(path, precision)
    if arguments.folds:
        _check_folds(initial, arguments.dataset)
    arguments.backbone = initial.about.get("backbone") or "file"
    arguments.layer = initial.about.get("layer")
    origin = {
        "init": _stated(path),
        "init_weights": runs.digest(path),
        "before": _learned_from(initial),
    }

    def plan(mixed: "mixes.Mix") -> tuning.Plan:
        tasks, fresh = choose(initial, mixed, arguments.tasks, arguments.replace_head)
        more = origin | {"fresh": fresh}
        if not fresh:
            more["head_epochs"] = 0  # the head is trained already: all goes on together
        return tuning.Plan(tasks, more)

    def start(settings: dict, tasks: dict) -> "tuple[keras.Model, keras.Model]":
        return continued(classifier.load(path, precision), tasks, settings)

    stem = _stated(path).removesuffix(".keras")
    tuning.repeat(arguments, plan, lambda dataset: f"{stem}-then-{dataset}", start)


def choose(
    initial: "Classifier", mixed: "mixes.Mix", wanted: list[str] | None, replace: bool
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The tasks with their label names, and those of them that need a fresh head; both are said.

    Args:
        wanted: the tasks; None for all of the classifier's that the dataset has labels of.
        replace: every head is to be fresh.

    Raises:
        InputError: the dataset has no labels of a wanted task, or of any.
    """
    tasks, fresh = {}, []
    for task in wanted or initial.tasks:
        try:
            names = mixed.classes(task)
        except InputError:
            if wanted:
                raise
            print(f"{task}: {mixed.name} has no such labels; left out")
            continue
        known = initial.tasks.get(task)
        if known is None or replace:
            how = "a fresh head"
        elif known == names:
            how = "the classifier's head goes on"
        elif None not in (mapped := labels.project(names, known)).values():
            how = "the classifier's head goes on; mapped: " + ", ".join(
                f"{name} to {into}" for name, into in mapped.items() if name != into
            )
            names = known
        else:
            how = f"a fresh head, since the classifier's has no name for every label: {names}"
        if how.startswith("a fresh"):
            fresh.append(task)
        tasks[task] = names
        print(f"{task}: {how}")
    if 0 < len(fresh) < len(tasks):
        print("the tasks share a layer, so all of the head is fresh")
    if not tasks:
        raise InputError(
            f"{mixed.name} has labels of none of the classifier's tasks "
            f"({', '.join(initial.tasks)}): name others with --tasks"
        )
    return tasks, fresh


def continued(
    initial: "Classifier", tasks: dict[str, tuple[str, ...]], settings: dict
) -> "tuple[keras.Model, keras.Model]":
    """The classifier's backbone, and its head with fresh layers for the tasks that need them.

    Where any task needs one the whole head is fresh: a shared layer that was trained for other
    tasks would be thrown off by the first steps of the new layers.
    """
    import keras

    from vggface_gender.training import heads

    backbone, head = initial.parts()
    keras.utils.set_random_seed(settings["seed"])
    if settings["fresh"]:
        head = heads.shared(
            backbone.output_shape[1:], tasks, settings["age_head"], dropout=settings["dropout"]
        )
    else:
        head = heads.trainable(head)
        head = keras.Model(head.input, {task: head.output[task] for task in tasks}, name="head")
    return backbone, head


def _learned_from(initial: "Classifier") -> list[str]:
    """All that a classifier learned from, datasets and mixes, the first first."""
    dataset = initial.about.get("dataset")
    return [*initial.about.get("before", ()), *([dataset] if dataset else ())]


def _check_folds(initial: "Classifier", dataset: str) -> None:
    """Refuse folds of what the classifier was trained on: it has seen faces of every one."""
    from vggface_gender.datasets import mixes

    for name, _, _ in mixes.parse(dataset):
        if any(name in dataset for dataset in _learned_from(initial)):
            raise InputError(
                f"--folds: the run was trained on {name} already, so that no fold of it is unseen; "
                "train by folds from the start, with multitask"
            )


def _stated(path: Path) -> str:
    """A classifier's place as the settings keep it: a run's name, or a file's."""
    return path.parent.name if path.name == runs.CLASSIFIER else path.name


if __name__ == "__main__":
    sys.exit(console.run(main))
