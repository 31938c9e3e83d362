"""Train a head on a frozen backbone's features; test it; write a run.

    vggface-gender transfer --dataset UTKFace --source path/to/UTKFace
    vggface-gender transfer --dataset FairFace --task race
    vggface-gender transfer --dataset GenderDataset --backbone vggface

Records and features are made once and found again. Validation chooses the epoch; the test split is
read once, at the end.
"""

import argparse
import sys

from vggface_gender.base import console, networks, options, runs, training_options
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets import catalogue


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = options.Parser("transfer", __doc__, extra="train")
    options.add_dataset_arguments(made, catalogue.NAMED, mixes=True)
    group = made.add_argument_group("training")
    group.add_argument("--task", choices=list(TASKS), default="gender", help="what to learn")
    group.add_argument(
        "--backbone",
        default="dlib",
        metavar="NAME",
        help="the pretrained network: dlib, faceres, faceres:224, vggface (these converted first), "
        "a .keras file, or FILE.onnx, which takes faces in ArcFace's frame; or several side by "
        "side, such as dlib+faceres",
    )
    group.add_argument(
        "--layer",
        metavar="NAME",
        help="the backbone's layer whose output the features are, such as dlib's embedding; of "
        "several networks dlib.embedding+faceres.pooled (default: dlib's map, FaceRes's pooled, "
        "else the last)",
    )
    group.add_argument(
        "--epochs",
        type=options.positive,
        default=10,
        metavar="N",
        help="epochs at most; one of a small dataset passes over its images several times",
    )
    group.add_argument(
        "--patience",
        type=options.positive,
        default=3,
        metavar="N",
        help="stop after N epochs without a lower validation loss",
    )
    group.add_argument(
        "--batch-size",
        "--batch",
        type=options.positive,
        metavar="N",
        help="images in a training step (default: 32 on VGG-Face, else 128)",
    )
    group.add_argument(
        "--learning-rate",
        "--rate",
        type=options.positive_real,
        metavar="R",
        help="Adam's learning rate (default: 1e-4 on VGG-Face; else 1e-3, falling along a cosine)",
    )
    options.add_padding_argument(group)
    training_options.add_distribution_arguments(made, choices=("none", "multihost"))
    training_options.add_run_arguments(made)
    return made


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    training_options.check_tracker(arguments)
    place = training_options.place(arguments)
    networks.check(arguments.backbone)
    padding = networks.padding(arguments.backbone, arguments.padding)

    from vggface_gender.datasets import mixes

    mixes.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start(arguments.seed, place=place)
    from vggface_gender import backbones
    from vggface_gender.backbones import onnx_network
    from vggface_gender.training import config, network, run, train

    each = run.trainings(
        arguments.seed,
        repeats=arguments.repeats,
        split_seed=arguments.split_seed,
        folds=arguments.folds,
    )
    precision = device.precision(arguments.precision)
    backbone = backbones.load(arguments.backbone, precision=precision, layer=arguments.layer)
    recipe = config.transfer_recipe(backbones.family(backbone))
    settings = {
        "command": "transfer",
        "backbone": onnx_network.named(arguments.backbone),
        "layer": arguments.layer,
        "padding": padding,
        "precision": precision,
        "head": recipe.head,
        "head_epochs": arguments.epochs,
        "head_patience": arguments.patience,
        "head_learning_rate": arguments.learning_rate or recipe.head_learning_rate,
        "head_schedule": recipe.head_schedule,
        "batch_size": arguments.batch_size or recipe.batch_size,
        "loss_weights": {},
        "distribute": arguments.distribute,
    }

    def configure(mix: mixes.Mix) -> train.Plan:
        tasks = {arguments.task: mix.classes(arguments.task)}
        return train.Plan(
            tasks, settings, lambda config: network.new(config, tasks, backbone=backbone)
        )

    data = options.dataset_arguments(arguments)
    trainings = train.plan(each, data=data, configure=configure)
    mix = next(iter(trainings.values())).mix
    parts = [mix.label, arguments.task, networks.label(arguments.backbone), arguments.layer]
    name = arguments.run or "-".join(filter(None, [*parts, run.label(each)]))
    train.train_all(
        trainings,
        runs.MODEL_FILES / name,
        cache=runs.features_folder(arguments.data_dir),
        overwrite=arguments.overwrite,
        track=arguments.track,
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
