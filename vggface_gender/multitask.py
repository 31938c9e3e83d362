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

from vggface_gender.base import console, labels, options
from vggface_gender.training import tuning


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(
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
    parser.set_defaults(command="multitask")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)

    from vggface_gender.base import device

    device.start(arguments.seed)
    wanted = [task for task in labels.TASKS if task in arguments.tasks]
    tuning.repeat(
        arguments,
        lambda mixed: tuning.Plan({task: mixed.classes(task) for task in wanted}),
        name=lambda dataset: f"{dataset}-{_what(arguments)}",
    )


def _what(arguments: argparse.Namespace) -> str:
    """What a run's name says of the training, where the user gives none."""
    tasks = arguments.tasks
    what = "multitask" if len(tasks) > 1 else f"{tasks[0]}-tuned"
    return f"{what}-{Path(arguments.backbone.replace(':', '-')).stem}"


if __name__ == "__main__":
    sys.exit(console.run(main))
