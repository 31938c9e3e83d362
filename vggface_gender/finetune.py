"""Continue from a run's classifier on any dataset, the backbone unfrozen; test it; write a run.

    vggface-gender finetune --init UTKFace-multitask-dlib-seed0 --dataset FairFace
    vggface-gender finetune --init RUN --dataset "UTKFace[:20%]+FairFace" --tasks gender

A dataset's label names are mapped to the classifier's where each has a place there (FairFace's
seven races are mapped to UTKFace's five); else the head is replaced by a new one. Which it was is
printed.
"""

import argparse
import functools
import sys

from vggface_gender.base import console, contract, files, options, runs, training_options
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = options.Parser("finetune", __doc__, extra="train")
    made.add_argument(
        "--init",
        required=True,
        metavar="RUN",
        help="the classifier to continue from: a run's name under model_files, its folder, or a "
        ".keras file",
    )
    options.add_dataset_arguments(made, catalogue.NAMED, mixes=True)
    training_options.add_tasks_argument(made, default=None)
    made.add_argument(
        "--replace-head",
        action="store_true",
        help="begin with a new head, also where the dataset's labels could be mapped to the "
        "classifier's",
    )
    training_options.add_tuning_arguments(made)
    return made


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    training_options.check_tracker(arguments)
    place = training_options.place(arguments)
    wanted = training_options.combinations(parser(), arguments, line=argv)
    path = runs.find(arguments.init)
    contract.read(path)

    from vggface_gender.datasets import mixes

    mixes.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start(arguments.seed, place=place)
    from vggface_gender.backbones import onnx_network
    from vggface_gender.inference import classifier
    from vggface_gender.training import config, distillation, network, run, search, train

    each = run.trainings(
        arguments.seed,
        repeats=arguments.repeats,
        split_seed=arguments.split_seed,
        resplit=arguments.resplit,
        folds=arguments.folds,
    )
    precision = device.precision(arguments.precision)
    initial = classifier.load(path, precision)
    if arguments.folds and (seen := network.seen(initial, arguments.dataset)):
        raise InputError(
            f"--folds: the run was trained on {seen[0]} already, so that no fold of it is unseen; "
            "train by folds from the start, with multitask"
        )
    if onnx_network.is_one(initial.parts()[0]):
        raise InputError(
            f"{arguments.init}: it stands on an ONNX network, which has no gradients: train a new "
            "head on that with transfer or multitask"
        )
    origin = path.parent.name if path.name == runs.CLASSIFIER else path.name
    teachers = distillation.find(arguments.teacher)
    data = options.dataset_arguments(arguments)

    def planned(its: argparse.Namespace) -> dict[str, train.Training]:
        settings = config.tuning(
            initial.about.get("backbone") or "file",
            layer=initial.about.get("layer"),
            precision=precision,
            command="finetune",
            init=origin,
            init_weights=files.digest(path),
            before=tuple(network.learned_from(initial)),
            **training_options.tuning_settings(its),
        )

        def configure(mix: mixes.Mix) -> train.Plan:
            tasks, fresh, notes = network.choose(
                initial, mix, wanted=arguments.tasks, replace=its.replace_head
            )
            print("\n".join(notes))
            made = settings | {"fresh": fresh}
            if not fresh:
                made["head_epochs"] = 0  # the head is trained already: all of it is tuned together
            continued = functools.partial(network.continued, tasks=tasks, path=path)
            return train.Plan(tasks, made, continued, init=path, teachers=teachers)

        return train.plan(each, data=data, configure=configure)

    combinations = [search.Combination(chosen, planned(its)) for chosen, its in wanted]
    mix = next(iter(combinations[0].trainings.values())).mix
    name = arguments.run or f"{origin.removesuffix('.keras')}-then-{mix.label}-{run.label(each)}"
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
