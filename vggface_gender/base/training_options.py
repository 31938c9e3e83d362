"""Options that the training commands share; the settings that they fill in are returned by name."""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence

from vggface_gender.base import extras, numbers, options
from vggface_gender.base.errors import InputError
from vggface_gender.base.hosts import Place
from vggface_gender.base.tasks import TASKS

AGE_HEADS = ("distribution", "laplace")
SCHEDULES = ("cosine", "constant", "decay", "plateau")
TRACKERS = ("mlflow", "trackio")
DISTRIBUTE = ("none", "mirrored", "multihost")
SELECTIONS = ("loss", "balanced-accuracy", "worst-group")
# What `--sweep` may not change: what is learned from, and how a training is called and repeated.
LOSS_CHANGES = ("label-smoothing", "smoothing", "loss-weights")  # options that change its meaning
UNSWEPT = (
    *("dataset", "source", "data-dir", "init", "tasks", "teacher", "split-seed", "keep-going"),
    *("align", "frame"),
    *("seed", "repeats", "folds", "resplit", "run", "overwrite", "sweep", "find-learning-rate"),
    *("track", "coordinator", "hosts", "host-index"),
    *("select", "age-head"),  # of which validation's figures can't be compared
)


def add_run_arguments(parser: argparse.ArgumentParser, *, resplit: bool = False) -> None:
    """The options that say what a run is called, and how often it is trained.

    Args:
        resplit: whether every repeat may have a split of its own.
    """
    group = parser.add_argument_group("run")
    group.add_argument(
        "--seed",
        type=options.seed,
        default=0,
        metavar="N",
        help="the random seed of weights, order, augmentation and dropout",
    )
    group.add_argument(
        "--repeats",
        type=options.positive,
        default=1,
        metavar="N",
        help="train N times, with the seeds from --seed on, and write the spread to summary.json",
    )
    group.add_argument(
        "--folds",
        type=options.positive,
        metavar="N",
        help="cross-validation: train N times, each time tested on another of N folds (the "
        "dataset's own where it has N, else drawn with --split-seed, persons kept whole)",
    )
    if resplit:
        group.add_argument(
            "--resplit",
            action="store_true",
            help="with --repeats: draw train, validation and test anew for each seed, too",
        )
    group.add_argument(
        "--run",
        type=options.run_name,
        metavar="NAME",
        help="the run's folder in model_files (default: made of settings)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace a run of other settings in that folder"
    )
    group.add_argument(
        "--track",
        choices=TRACKERS,
        help="keep settings, every epoch's figures and the test's in MLflow or Trackio, too, on "
        "this machine unless their environment variables say otherwise",
    )
    options.add_precision_argument(group)


def check_tracker(arguments: argparse.Namespace) -> None:
    """Refuse a `--track` that can't be done, before anything is read.

    Raises:
        InputError: the package is not installed, or nothing is trained that could be tracked.
    """
    if arguments.track is None:
        return
    if getattr(arguments, "find_learning_rate", False):
        raise InputError("--find-learning-rate trains no run: leave --track out")
    extras.require(arguments.track)


def add_distribution_arguments(
    parser: argparse.ArgumentParser, *, choices: Sequence[str] = DISTRIBUTE
) -> None:
    """The options that say which devices share every batch of a training.

    Args:
        choices: what the command can do of `DISTRIBUTE`.
    """
    group = parser.add_argument_group("devices")
    mirrored = "mirrored: share every batch among this machine's GPUs; " * ("mirrored" in choices)
    group.add_argument(
        "--distribute",
        choices=choices,
        default="none",
        help=f"{mirrored}multihost: share it among several hosts, each of which is given this "
        "command, with the options below",
    )
    group.add_argument(
        "--coordinator",
        type=_address,
        metavar="HOST:PORT",
        help="host 0, as the others reach it, and a free port there",
    )
    group.add_argument(
        "--hosts", type=options.positive, metavar="N", help="how many hosts share a batch"
    )
    group.add_argument(
        "--host-index",
        type=options.count,
        metavar="I",
        help="which of them this one is, from 0; host 0 writes the run",
    )


def place(arguments: argparse.Namespace) -> Place | None:
    """This host's place among several, of `add_distribution_arguments`; None where it is alone.

    Raises:
        InputError: the options don't go together.
    """
    given = {
        "--coordinator": arguments.coordinator,
        "--hosts": arguments.hosts,
        "--host-index": arguments.host_index,
    }
    if arguments.distribute != "multihost":
        if stated := next((name for name, value in given.items() if value is not None), None):
            raise InputError(f"{stated} goes with --distribute multihost alone: leave it out")
        return None
    if missing := next((name for name, value in given.items() if value is None), None):
        raise InputError(f"--distribute multihost: give {missing}, too, on every host")
    its = Place(arguments.coordinator, arguments.hosts, arguments.host_index)
    if its.count < 2:
        raise InputError("--hosts 1: give 2 or more, or leave --distribute multihost out")
    if its.index >= its.count:
        raise InputError(
            f"--host-index {its.index}: of {its.count} hosts it is 0 to {its.count - 1}"
        )
    if getattr(arguments, "sweep", None) or getattr(arguments, "find_learning_rate", False):
        raise InputError(
            "--sweep and --find-learning-rate search on one host: leave --distribute multihost out"
        )
    return its


def _address(text: str) -> tuple[str, int]:
    """An argument's type: HOST:PORT."""
    name, _, port = text.rpartition(":")
    if not name or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT, such as 10.0.0.1:29500")
    return name, int(port)


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what is trained, of a head and of the backbone under it."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--unfreeze",
        metavar="LAYER",
        help="the first layer of the backbone that is trained, or the start of its name; `all`, or "
        "`none` for the head alone; of several networks a layer of each, such as "
        "dlib.block_2_1+faceres.conv_dw_4 (default: these two, conv5_1 of VGG-Face's, all of "
        "ResNet-50's)",
    )
    group.add_argument(
        "--batch-norm",
        choices=("frozen", "adapted"),
        help="whether the backbone's batch normalization stays as it is or is trained, with moving "
        "statistics (default: adapted of ResNet-50, else frozen)",
    )
    group.add_argument(
        "--dropout",
        type=options.below_one,
        default=0.4,
        metavar="S",
        help="share of the head's inputs and hidden units that a training step leaves out",
    )
    group.add_argument(
        "--age-head",
        choices=AGE_HEADS,
        default="distribution",
        help="how age is learned: as a distribution over years, whose mean is predicted, or as a "
        "regression with its own uncertainty (Laplace)",
    )
    group.add_argument(
        "--flip-tta",
        "--mirror",
        dest="mirror",
        action="store_true",
        help="test-time augmentation by flipping: the classifier's answers are means over a crop "
        "and its mirror image, which takes twice the time",
    )


def add_optimization_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say how long and how fast a network is fine-tuned."""
    group = parser.add_argument_group("optimization")
    group.add_argument(
        "--head-epochs",
        type=options.count,
        default=10,
        metavar="N",
        help="epochs of the first phase: the head alone, on frozen features",
    )
    group.add_argument(
        "--epochs",
        type=options.positive,
        default=8,
        metavar="N",
        help="epochs of the second phase at most: the backbone unfrozen, on augmented crops",
    )
    group.add_argument(
        "--patience",
        type=options.positive,
        default=4,
        metavar="N",
        help="stop the second phase after N epochs without improvement on validation",
    )
    group.add_argument(
        "--batch-size",
        "--batch",
        type=options.positive,
        metavar="N",
        help="images in a training step (default: 64 on dlib's network and FaceRes, else 32)",
    )
    group.add_argument(
        "--learning-rate",
        "--rate",
        type=options.positive_real,
        metavar="R",
        help="greatest learning rate of the head in the second phase; twice that in the first "
        "(default: 5e-4 on dlib's network, 3e-4 on FaceRes, 1e-4 on VGG-Face, 1e-3 on ResNet-50)",
    )
    group.add_argument(
        "--multipliers",
        "--rates",
        nargs="+",
        type=named_number,
        default=[],
        metavar="PART=SHARE",
        help="what the learning rate is multiplied by in a part: backbone, shared (the head's "
        "hidden layer), gender, race, age (default: backbone=0.16)",
    )
    group.add_argument(
        "--layer-decay",
        type=options.share,
        default=1.0,
        metavar="S",
        help="layer-wise decay of the learning rate: it is multiplied by S for every convolution "
        "that a layer of the backbone lies before the last (default: 1, none)",
    )
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="cosine",
        help="how the learning rate changes in the second phase: falls along a cosine to 0, stays, "
        "decays exponentially to a hundredth, or falls whenever validation stops improving",
    )
    group.add_argument(
        "--warmup",
        type=options.share,
        default=0.05,
        metavar="S",
        help="share of the steps in which the learning rate rises from 0, of the cosine schedule",
    )
    group.add_argument(
        "--weight-decay",
        type=options.amount,
        default=0.01,
        metavar="W",
        help="decoupled weight decay of AdamW; biases and normalization are not decayed",
    )
    group.add_argument(
        "--ema",
        "--average",
        type=options.below_one,
        metavar="M",
        help="momentum of the exponential moving average of the weights, which is what is "
        "validated and kept; 0 for none (default: averages over about a tenth of the steps, at "
        "most 0.998)",
    )
    group.add_argument(
        "--label-smoothing",
        "--smoothing",
        type=options.share,
        default=0.1,
        metavar="S",
        help="share of each gender or race label that is spread evenly over all labels",
    )
    group.add_argument(
        "--loss-weights",
        nargs="+",
        type=named_number,
        default=[],
        metavar="TASK=W",
        help="what each task's loss is multiplied by (default: 1, age 0.5)",
    )


def add_augmentation_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what crops are trained on."""
    group = parser.add_argument_group("crops")
    options.add_padding_argument(group)
    group.add_argument(
        "--augment",
        nargs="+",
        type=named_number,
        default=[],
        metavar="WHAT=AMOUNT",
        help="how far training crops are changed at random: flip (probability), rotation "
        "(degrees), scale, shift, brightness, contrast, saturation (shares), noise (standard "
        "deviation of 255), erasing (probability of a rectangle); `--augment all=0` for none",
    )


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which examples are drawn, mixed and weighted, in training alone."""
    group = parser.add_argument_group("sampling, of training alone")
    group.add_argument(
        "--views",
        type=options.count,
        default=0,
        metavar="N",
        help="compute what the frozen layers give once, for N augmented copies of every image, and "
        "draw from these: faster, less varied (default: augment and compute every time)",
    )
    group.add_argument(
        "--mixup",
        type=options.amount,
        default=0.0,
        metavar="A",
        help="blend pairs of images and labels (mixup), with a share drawn from Beta(A, A); 0 for "
        "none",
    )
    group.add_argument(
        "--balance",
        metavar="BY",
        help="draw images of rare groups more often: by race, gender, age or gender+race, at most "
        "4 times as often; or as stated, such as race:Black=2,Asian=3",
    )
    group.add_argument(
        "--group-loss",
        metavar="BY",
        help="weight the loss so that every group counts alike: by race, gender, age or "
        "gender+race",
    )
    group.add_argument(
        "--select",
        choices=SELECTIONS,
        default="loss",
        help="what chooses the epoch on validation: least loss, greatest balanced accuracy, or "
        "greatest accuracy of the worst gender x race group",
    )


def add_distillation_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which classifiers are learned from."""
    group = parser.add_argument_group("distillation")
    group.add_argument(
        "--teacher",
        nargs="+",
        default=[],
        metavar="RUN",
        help="learn from what these classifiers predict for the training images, too: runs' names, "
        "their folders, or .keras files; of several, from the mean. They may not have learned from "
        "this training's validation or test split",
    )
    group.add_argument(
        "--teacher-share",
        type=options.share,
        default=0.5,
        metavar="S",
        help="how much of a training target is the teachers' prediction, the rest being the label",
    )


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that look for settings on validation, in place of a training."""
    group = parser.add_argument_group("search, on validation alone; no test split is read")
    group.add_argument(
        "--sweep",
        nargs="+",
        action="extend",
        type=swept,
        default=[],
        metavar="OPTION=A,B",
        help="train once for every combination of some options' values, such as rate=2e-4,5e-4 "
        "unfreeze=block_2_1,block_3_1 augment.noise=0,0.03, and write what each validates to "
        "sweep.csv",
    )
    group.add_argument(
        "--find-learning-rate",
        action="store_true",
        help="raise the learning rate from step to step of the phase that is to be trained, write "
        "and draw the losses, and say which rate to take",
    )


def add_tuning_arguments(parser: argparse.ArgumentParser) -> None:
    """All options of a fine-tuning, but for its dataset and where it starts from."""
    add_network_arguments(parser)
    add_optimization_arguments(parser)
    add_distillation_arguments(parser)
    add_search_arguments(parser)
    add_augmentation_arguments(parser)
    add_sampling_arguments(parser)
    add_distribution_arguments(parser)
    add_run_arguments(parser, resplit=True)


def tuning_settings(arguments: argparse.Namespace) -> dict:
    """The settings of `add_tuning_arguments` that stand as they were given.

    They have the names of `training.config.Config`'s fields; None where nothing was given.
    """
    names = (
        "padding",
        "unfreeze",
        "batch_norm",
        "dropout",
        "age_head",
        "mirror",
        "head_epochs",
        "epochs",
        "patience",
        "batch_size",
        "learning_rate",
        "layer_decay",
        "schedule",
        "warmup",
        "weight_decay",
        "ema",
        "label_smoothing",
        "distribute",
        "views",
        "mixup",
        "balance",
        "group_loss",
        "select",
    )
    return {name: getattr(arguments, name) for name in names} | {
        "multipliers": dict(arguments.multipliers),
        "loss_weights": dict(arguments.loss_weights),
        "teacher_share": arguments.teacher_share if arguments.teacher else 0.0,
        "augment": dict(arguments.augment),
    }


def combinations(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, *, line: Sequence[str] | None
) -> list[tuple[dict[str, str], argparse.Namespace]]:
    """What a command's `--sweep` asks to try: options and values, and all arguments with them.

    Args:
        parser: the command's.
        arguments: what it made of `line`.
        line: the command's arguments; None for the process's.

    Returns:
        Of a command without a sweep, nothing chosen and its arguments.

    Raises:
        SystemExit: an option is not one that can be swept, or takes no such value.
    """
    if arguments.sweep and arguments.find_learning_rate:
        parser.error("--sweep and --find-learning-rate: give one of them")
    line = sys.argv[1:] if line is None else line
    actions = [_swept_action(parser, name, arguments) for name, _ in arguments.sweep]
    for place, ((name, _), action) in enumerate(zip(arguments.sweep, actions, strict=True)):
        part = name.partition(".")[2]
        for (other, _), its in zip(arguments.sweep[:place], actions, strict=False):
            # Of one option several parts are swept together, but not a part and the whole.
            if its is action and (not part or part == other.partition(".")[2] or "." not in other):
                parser.error(f"--sweep {other} and {name}: one option; give its values together")
    found: list[tuple[dict[str, str], argparse.Namespace]] = []
    names = [name for name, _ in arguments.sweep]
    for values in itertools.product(*(values for _, values in arguments.sweep)):
        chosen = dict(zip(names, values, strict=True))
        given: dict[str, list[str]] = {}
        for (option, value), action in zip(chosen.items(), actions, strict=True):
            name, _, part = option.partition(".")
            if not part:
                given[action.dest] = [f"--{name}={value}"]
                continue
            # An option that is given twice counts as it is given last, so all of it is given again.
            before = getattr(arguments, action.dest, None) or []
            again = [f"--{name}", *(f"{key}={number}" for key, number in before)]
            given.setdefault(action.dest, again).append(f"{part}={value}")
        added = [each for several in given.values() for each in several]
        its_own = parser.parse_args([*line, *added])
        if same := next((other for other, its in found if vars(its) == vars(its_own)), None):
            parser.error(f"--sweep: {_said(same)} and {_said(chosen)} are the same settings")
        found.append((chosen, its_own))
    return found


def _said(chosen: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in chosen.items())


def _swept_action(
    parser: argparse.ArgumentParser, name: str, arguments: argparse.Namespace
) -> argparse.Action:
    """The option that a sweep names, by any of its names but no abbreviation.

    Raises:
        SystemExit: there is none, or it can't be swept.
    """
    option, _, part = name.partition(".")
    action = next((each for each in parser._actions if f"--{option}" in each.option_strings), None)
    if action is None:
        parser.error(f"--sweep {name}: there is no option --{option}")
    names = [each.removeprefix("--") for each in action.option_strings]
    if set(names) & set(UNSWEPT):
        parser.error(f"--sweep {name}: it is for settings of a training alone")
    if action.nargs == 0:
        parser.error(f"--sweep {name}: it takes no value; train with and without it")
    if part and action.nargs != "+":
        parser.error(f"--sweep {name}: --{option} has no parts")
    if set(names) & set(LOSS_CHANGES) and arguments.select == "loss":
        parser.error(
            f"--sweep {name}: losses can't be compared then: add --select balanced-accuracy"
        )
    return action


def search(arguments: argparse.Namespace) -> str:
    """What a search adds to the name that a run has by default; "" where there is none."""
    if arguments.run:
        return ""
    if arguments.find_learning_rate:
        return "-learning-rates"
    return "-sweep" if arguments.sweep else ""


def add_tasks_argument(parser: argparse.ArgumentParser, *, default: list[str] | None) -> None:
    """The option that says which attributes are learned."""
    unless = "all three" if default else "the classifier's tasks that the dataset has labels of"
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=list(TASKS),
        default=default,
        help=f"the attributes to learn (default: {unless})",
    )


def swept(text: str) -> tuple[str, list[str]]:
    """An argument's type: OPTION=A,B, an option without its dashes and the values to try."""
    name, _, values = text.partition("=")
    name, each = name.strip(), [value.strip() for value in values.split(",")]
    if not name or not all(each) or len(set(each)) < len(each):
        raise argparse.ArgumentTypeError(f"{text} is not OPTION=A,B, each value once")
    return name.removeprefix("--"), each


def named_number(text: str) -> tuple[str, float]:
    """An argument's type: NAME=NUMBER, a number from 0 up."""
    name, _, number = text.partition("=")
    try:
        return name, numbers.amount(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=NUMBER") from None
