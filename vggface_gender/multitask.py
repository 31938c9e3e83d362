"""Learn gender, race and age, or any of them, with one network; test it; write a run.

    vggface-gender multitask --dataset UTKFace --source path/to/UTKFace
    vggface-gender multitask --dataset UTKFace --tasks race --balance race
    vggface-gender multitask --dataset "UTKFace+FairFace*0.5" --repeats 3

One backbone, one shared layer, a head a task: first the head on cached features, then the backbone
too, on augmented crops. An example that lacks a task's label leaves that task alone.
"""

import argparse
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
    networks.check(arguments.backbone)

    from vggface_gender.datasets import mixes

    mixes.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start(arguments.seed)
    from vggface_gender.backbones import onnx_network
    from vggface_gender.training import config, network, run, train

    each = run.trainings(
        arguments.seed,
        repeats=arguments.repeats,
        split_seed=arguments.split_seed,
        resplit=arguments.resplit,
        folds=arguments.folds,
    )
    settings = config.tuning(
        onnx_network.named(arguments.backbone),
        layer=arguments.layer,
        precision=device.precision(arguments.precision),
        command="multitask",
        **training_options.tuning_settings(arguments),
    )

    def configure(mix: mixes.Mix) -> train.Plan:
        tasks = {task: mix.classes(task) for task in TASKS if task in arguments.tasks}
        return train.Plan(tasks, settings, lambda config: network.new(config, tasks))

    data = options.dataset_arguments(arguments)
    trainings = train.plan(each, data=data, configure=configure)
    mix = next(iter(trainings.values())).mix
    what = "multitask" if len(arguments.tasks) > 1 else f"{arguments.tasks[0]}-tuned"
    backbone = networks.label(arguments.backbone)
    name = arguments.run or f"{mix.label}-{what}-{backbone}-{run.label(each)}"
    train.train_all(
        trainings,
        runs.MODEL_FILES / name,
        cache=runs.features_folder(arguments.data_dir),
        overwrite=arguments.overwrite,
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
