"""Learn gender, race and age, or any of them, with one network; test it; write a run.

    python -m vggface_gender.multitask --dataset UTKFace --source path/to/UTKFace
    python -m vggface_gender.multitask --dataset UTKFace --tasks race --balance race
    python -m vggface_gender.multitask --dataset "UTKFace+FairFace*0.5" --repeats 3

One backbone, one shared layer, a head a task: first the head on cached features, then the backbone
too, on augmented crops. An example that lacks a task's label leaves that task alone.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender import command, labels, tuning


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = command.Parser(
        prog="python -m vggface_gender.multitask", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--tasks", nargs="+", choices=labels.TASKS, default=list(labels.TASKS), help="what to learn"
    )
    parser.add_argument(
        "--backbone",
        default="dlib",
        metavar="NAME",
        help="dlib, vggface, resnet50 (from the start), resnet50:FILE, or a .keras file",
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="the backbone's layers whose outputs the features are, joined by + "
        "(default: map+block_4_3 of dlib's, else the last)",
    )
    tuning.add_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)

    from vggface_gender import device

    device.start(arguments.seed)
    from vggface_gender import runs
    from vggface_gender.datasets import mix
    from vggface_gender.evaluation import results

    precision = device.precision(arguments.precision)
    arguments.tasks = [task for task in labels.TASKS if task in arguments.tasks]
    seeds = range(arguments.seed, arguments.seed + arguments.repeats)
    trainings = {}
    for seed in seeds:
        split_seed = seed if arguments.resplit else arguments.split_seed
        if not trainings or arguments.resplit:
            mixed = mix.prepare(**command.dataset_arguments(arguments) | {"seed": split_seed})
        its = tuning.settings(arguments, mixed, precision) | {"split_seed": split_seed}
        trainings[seed] = mixed, {"command": "multitask", **its, "seed": seed}
    folder = runs.MODEL_FILES / (arguments.run or _name(arguments, mixed.label, seeds))
    each = {seed: folder if len(seeds) == 1 else folder / f"seed-{seed}" for seed in seeds}
    for seed, its_folder in each.items():
        runs.begin(its_folder, trainings[seed][1], arguments.overwrite)
    for seed, its_folder in each.items():
        mixed, its = trainings[seed]
        tasks = {task: mixed.classes(task) for task in arguments.tasks}
        tuning.train(its_folder, its, mixed, tasks, Path(arguments.data_dir) / "features")
    if len(seeds) > 1:
        results.publish_summary(folder, list(each.values()))


def _name(arguments: argparse.Namespace, dataset: str, seeds: range) -> str:
    """A run's name where the user gives none."""
    seed = f"seed{seeds[0]}" if len(seeds) == 1 else f"seeds{seeds[0]}-{seeds[-1]}"
    tasks = "multitask" if len(arguments.tasks) > 1 else f"{arguments.tasks[0]}-tuned"
    return "-".join([dataset, tasks, Path(arguments.backbone.replace(":", "-")).stem, seed])


if __name__ == "__main__":
    sys.exit(command.run(main))
