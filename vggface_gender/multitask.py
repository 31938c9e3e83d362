"""Learn gender, race and age, or any of them, with one network; test it; write a run.

    vggface-gender multitask --dataset UTKFace --source path/to/UTKFace
    vggface-gender multitask --dataset UTKFace --tasks race --balance race
    vggface-gender multitask --dataset "UTKFace+FairFace*0.5" --repeats 3
    vggface-gender multitask --dataset UTKFace --sweep rate=2e-4,5e-4 dropout=0.2,0.4
    vggface-gender multitask --dataset UTKFace --teacher GREATER_RUN

One backbone, one shared layer, a head a task: first the head on cached features, then the backbone
too, on augmented crops. An example that lacks a task's label leaves that task alone.
"""

import argparse
import functools
import sys

from vggface_gender.base import console, networks, options, runs, training_options
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets import catalogue


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = options.Parser("multitask", __doc__, extra="train")
    options.add_dataset_arguments(made, catalogue.NAMED, mixes=True)
    training_options.add_tasks_argument(made, default=list(TASKS))
    made.add_argument(
        "--backbone",
        default="dlib",
        metavar="NAME",
        help="the network: dlib, faceres, faceres:224, vggface (these converted first), resnet50 "
        "(random weights), resnet50:FILE, a .keras file, or FILE.onnx, of which the head alone is "
        "trained; or several side by side, such as dlib+faceres",
    )
    made.add_argument(
        "--layer",
        metavar="NAME",
        help="the backbone's layers whose outputs the features are, joined by + "
        "(default: map+block_4_3 of dlib's, FaceRes's pooled, else the last)",
    )
    training_options.add_tuning_arguments(made)
    return made


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    training_options.check_tracker(arguments)
    place = training_options.place(arguments)
    wanted = training_options.combinations(parser(), arguments, line=argv)
    for _, its in wanted:
        networks.check(its.backbone)

    from vggface_gender.datasets import mixes

    mixes.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start(arguments.seed, place=place)
    from vggface_gender.backbones import onnx_network
    from vggface_gender.training import config, distillation, network, run, search, train

    each = run.trainings(
        arguments.seed,
        repeats=arguments.repeats,
        split_seed=arguments.split_seed,
        resplit=arguments.resplit,
        folds=arguments.folds,
    )
    teachers = distillation.find(arguments.teacher)
    data = options.dataset_arguments(arguments)

    def planned(its: argparse.Namespace) -> dict[str, train.Training]:
        settings = config.tuning(
            onnx_network.named(its.backbone),
            layer=its.layer,
            precision=device.precision(its.precision),
            command="multitask",
            **training_options.tuning_settings(its),
        )

        def configure(mix: mixes.Mix) -> train.Plan:
            tasks = {task: mix.classes(task) for task in TASKS if task in arguments.tasks}
            new = functools.partial(network.new, tasks=tasks)
            return train.Plan(tasks, settings, new, teachers=teachers)

        return train.plan(each, data=data, configure=configure)

    combinations = [search.Combination(chosen, planned(its)) for chosen, its in wanted]
    mix = next(iter(combinations[0].trainings.values())).mix
    what = "multitask" if len(arguments.tasks) > 1 else f"{arguments.tasks[0]}-tuned"
    backbone = networks.label(arguments.backbone)
    name = arguments.run or f"{mix.label}-{what}-{backbone}-{run.label(each)}"
    search.train_or_search(
        combinations,
        runs.MODEL_FILES / (name + training_options.search(arguments)),
        cache=runs.features_folder(arguments.data_dir),
        find_learning_rate=arguments.find_learning_rate,
        overwrite=arguments.overwrite,
        track=arguments.track,
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
