"""What multitask and finetune share: their options, a training in two phases, its run.

Phase "head" trains the head alone on the frozen backbone's cached features; phase "backbone" goes
on with the backbone unfrozen from a named layer on, on augmented crops. With `--views N` what lies
before that layer is computed once for N augmented copies of every crop and kept: every epoch then
trains the rest alone, on N pictures of a face in place of endless ones.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vggface_gender.base import labels, options
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from vggface_gender.data.augmentation import Amounts
    from vggface_gender.datasets import Dataset, mixes

SELECT = ("loss", "balanced-accuracy", "worst-group")
SCHEDULES = ("cosine", "constant", "decay", "plateau")
SMALLEST_GROUP = 30  # faces in validation that a group must have to be the worst
PLATEAU = (0.3, 2, 1e-7)  # factor, epochs without anything better, least rate


class Layers(NamedTuple):
    """What goes with a backbone where the command line says nothing."""

    features: str | None  # see `backbones.load`
    unfreeze: str | None  # the first layer to train; None for all
    batch: int
    rate: float  # of the heads; the backbone's share of it is RATES
    batch_norm: str = "frozen"  # statistics that were never trained must not be


LAYERS = {
    "dlib": Layers("map+block_4_3", "block_2_1", 64, 5e-4),
    "vggface": Layers(None, "conv5_1", 32, 1e-4),
    "resnet50": Layers(None, None, 32, 1e-3, "adapted"),
}
# Shares of the base rate by depth. A backbone at more than a fifth of a fresh head's rate forgets.
RATES = {"backbone": 0.16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both commands, all but where a training starts from."""
    options.add_dataset_arguments(parser)
    group = parser.add_argument_group("training")
    group.add_argument(
        "--unfreeze",
        metavar="LAYER",
        help="the first of the backbone's layers to train, or the start of its name; `all`, or "
        "`none` for the head alone (default: block_2_1 of dlib's, conv5_1 of VGG-Face's, all of "
        "ResNet-50's)",
    )
    group.add_argument(
        "--views",
        type=options.count,
        default=0,
        metavar="N",
        help="keep what is frozen computed for N augmented copies (default: compute it each time)",
    )
    group.add_argument(
        "--epochs", type=options.positive, default=8, metavar="N", help="with the backbone unfrozen"
    )
    group.add_argument(
        "--head-epochs", type=options.count, default=10, metavar="N", help="of the head alone"
    )
    group.add_argument("--patience", type=options.positive, default=4, metavar="N")
    group.add_argument("--batch", type=options.positive, metavar="N", help="examples a step")
    group.add_argument(
        "--rate", type=options.positive_real, metavar="R", help="the heads' learning rate"
    )
    group.add_argument(
        "--rates",
        nargs="+",
        type=_named_number,
        default=[],
        metavar="PART=SHARE",
        help="shares of it by depth: backbone, shared, gender, race, age "
        "(default: backbone=0.16; as published: backbone=0.01 gender=0.1)",
    )
    group.add_argument("--schedule", choices=SCHEDULES, default="cosine")
    group.add_argument(
        "--warmup", type=options.share, default=0.05, metavar="S", help="share of the steps"
    )
    group.add_argument("--weight-decay", type=options.amount, default=0.01, metavar="W")
    group.add_argument(
        "--average",
        type=options.share,
        metavar="M",
        help="momentum of the weights' moving average; 0 for none (default: it reaches back over a "
        "tenth of the steps, at most 0.998)",
    )
    group.add_argument(
        "--smoothing", type=options.share, default=0.1, metavar="S", help="of labels"
    )
    group.add_argument("--dropout", type=options.share, default=0.4, metavar="S")
    group.add_argument(
        "--age-head", choices=("distribution", "laplace"), default="distribution", help="see heads"
    )
    group.add_argument(
        "--loss-weights",
        nargs="+",
        type=_named_number,
        default=[],
        metavar="TASK=W",
        help="what each task's loss counts for (default: 1, age 0.5)",
    )
    group.add_argument(
        "--batch-norm",
        choices=("frozen", "adapted"),
        help="the backbone's batch normalization: as it is, or trained, its statistics moved "
        "(default: adapted of ResNet-50, else frozen)",
    )
    group.add_argument(
        "--distribute",
        choices=("none", "mirrored"),
        default="none",
        help="over this machine's GPUs",
    )
    group.add_argument(
        "--mirror",
        action="store_true",
        help="the classifier answers with the mean over a crop and its mirror image, at twice the "
        "time",
    )
    add_augmentation_arguments(parser)
    group = parser.add_argument_group("mixing and balance, of training alone")
    group.add_argument("--mixup", type=options.amount, default=0.0, metavar="A", help="0 for none")
    group.add_argument(
        "--balance",
        metavar="BY",
        help="draw rare groups more often: race, gender, age, gender+race, or by hand as "
        "race:Black=2,Asian=3,Indian=3,Others=4",
    )
    group.add_argument(
        "--group-loss", metavar="BY", help="let every group count alike in the loss: race, ..."
    )
    group.add_argument(
        "--select",
        choices=SELECT,
        default="loss",
        help="what chooses the epoch on validation: least loss, greatest balanced accuracy, or "
        "greatest accuracy of the worst gender x race group",
    )
    options.add_run_arguments(parser)
    parser.add_argument(
        "--resplit",
        action="store_true",
        help="with --repeats: a split of its own for each seed too",
    )


def add_augmentation_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what crops are trained on."""
    group = parser.add_argument_group("crops")
    options.add_padding_argument(group)
    group.add_argument(
        "--augment",
        nargs="+",
        type=_named_number,
        default=[],
        metavar="WHAT=AMOUNT",
        help="of training crops: flip, rotation (degrees), scale, shift, brightness, contrast, "
        "saturation, noise, erasing; `--augment all=0` for none",
    )


def _named_number(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(options.amount(number))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=NUMBER") from None


def named(pairs: list[tuple[str, float]], known: tuple[str, ...], option: str) -> dict[str, float]:
    """Pairs of an option as a dictionary.

    Raises:
        InputError: a name is not among those known.
    """
    for name, _ in pairs:
        if name not in known:
            raise InputError(f"{option} {name}: give any of {', '.join(known)}")
    return dict(pairs)


def amounts(pairs: list[tuple[str, float]]) -> "Amounts":
    """The augmentation that the command line asks for."""
    from vggface_gender.data.augmentation import NONE, Amounts

    given = named(pairs, ("all", *Amounts._fields), "--augment")
    if given.pop("all", 1):
        return Amounts()._replace(**given)
    return NONE._replace(**given)


class Plan(NamedTuple):
    """What a command makes of a dataset."""

    tasks: dict[str, tuple[str, ...]]  # each with its label names
    settings: Mapping = {}  # beyond those of `settings`, or in their place


def repeat(
    arguments: argparse.Namespace,
    plan: "Callable[[mixes.Mix], Plan]",
    name: Callable[[str], str],
    start: "Callable[[dict, dict], tuple[keras.Model, keras.Model]] | None" = None,
) -> None:
    """Train once for each seed or fold, each in a run of its own, and sum up their spread.

    Args:
        arguments: of the command line (see `add_arguments`), and `backbone` and `layer`.
        plan: a dataset to what is to be learned of it.
        name: a dataset's label to what the run is called where the user gives no name.
        start: settings and tasks to what a training continues from (see `train`).
    """
    from vggface_gender.base import device, runs
    from vggface_gender.datasets import mixes, splits
    from vggface_gender.evaluation import results

    each = runs.trainings(
        arguments.seed,
        arguments.repeats,
        arguments.split_seed,
        arguments.resplit,
        arguments.folds,
    )
    precision = device.precision(arguments.precision)
    prepared, trainings = {}, {}
    for place, training in each.items():
        split = training.split_seed, training.fold
        if split not in prepared:
            division = dict(zip(("seed", "fold"), split, strict=True))
            mixed = mixes.prepare(**options.dataset_arguments(arguments) | division)
            if missing := {*splits.SPLITS} - {*mixed.counts}:
                raise InputError(f"{mixed.name} has too few images for a {min(missing)} split")
            prepared[split] = mixed, plan(mixed)
        mixed, planned = prepared[split]
        its = settings(arguments, mixed, list(planned.tasks), precision) | planned.settings
        its |= {"command": arguments.command} | training.settings
        trainings[place] = mixed, planned.tasks, its
    folder = runs.MODEL_FILES / (arguments.run or f"{name(mixed.label)}-{runs.label(each)}")
    for place, (_, _, its) in trainings.items():
        runs.begin(folder / place, its, arguments.overwrite)
    cache = Path(arguments.data_dir) / "features"
    for place, (mixed, tasks, its) in trainings.items():
        with device.scope(arguments.distribute):
            begun = start(its, tasks) if start else None
        train(folder / place, its, mixed, tasks, cache, begun)
    if len(each) > 1:
        results.publish_summary(folder, [folder / place for place in each])


def settings(
    arguments: argparse.Namespace, mixed: "mixes.Mix", tasks: list[str], precision: str
) -> dict:
    """Every setting of a training, all defaults filled in, as `config.json` keeps it."""
    from vggface_gender.data import sampling

    for by in filter(None, (arguments.balance, arguments.group_loss)):
        sampling.parse_balance(by)
    defaults = LAYERS.get(arguments.backbone.partition(":")[0], LAYERS["resnet50"])
    unfreeze = arguments.unfreeze or defaults.unfreeze or "all"
    if arguments.views and unfreeze in ("all", "none"):
        raise InputError(
            f"--views keeps what is frozen, and --unfreeze {unfreeze} leaves nothing to keep; "
            "name a layer, such as --unfreeze block_4_1"
        )
    return {
        "dataset": mixed.name,
        "fingerprint": mixed.fingerprint,
        "counts": dict(mixed.counts),
        "tasks": tasks,
        "backbone": arguments.backbone,
        "layer": arguments.layer or defaults.features,
        "unfreeze": unfreeze,
        "views": arguments.views,
        "padding": arguments.padding,
        "epochs": arguments.epochs,
        "head_epochs": arguments.head_epochs,
        "patience": arguments.patience,
        "batch": arguments.batch or defaults.batch,
        "rate": arguments.rate or defaults.rate,
        "rates": RATES | named(arguments.rates, ("backbone", "shared", *labels.TASKS), "--rates"),
        "schedule": arguments.schedule,
        "warmup": arguments.warmup,
        "weight_decay": arguments.weight_decay,
        "average": arguments.average,
        "smoothing": arguments.smoothing,
        "dropout": arguments.dropout,
        "age_head": arguments.age_head,
        "loss_weights": {"age": 0.5}
        | named(arguments.loss_weights, labels.TASKS, "--loss-weights"),
        "batch_norm": arguments.batch_norm or defaults.batch_norm,
        "augment": amounts(arguments.augment)._asdict(),
        "mixup": arguments.mixup,
        "balance": arguments.balance,
        "group_loss": arguments.group_loss,
        "select": arguments.select,
        "distribute": arguments.distribute,
        "mirror": arguments.mirror,
        "precision": precision,
    }


class Examples(NamedTuple):
    """A split of a mix, its parts one after the other."""

    truth: "pd.DataFrame"  # see `records.labels`; and `part`, the part's place
    rows: list[slice | None]  # of each part, which of its split's records; None: it has no such
    targets: "dict[str, np.ndarray]"  # see `records.soft_targets`
    weights: "dict[str, np.ndarray]"


def examples(
    mixed: "mixes.Mix", split: str, tasks: Mapping[str, tuple[str, ...]], group_loss: str | None
) -> Examples:
    """A split's labels and targets, the parts' weights and those of groups multiplied in.

    Raises:
        InputError: nothing in the split has a label of a task, or a part has nothing to train on.
    """
    import numpy as np
    import pandas as pd

    from vggface_gender.data import records, sampling
    from vggface_gender.datasets import mixes

    tables, rows = [], []
    for place, part in enumerate(mixed.parts):
        if split not in part.dataset.counts:
            if split == "train":
                raise InputError(f"{part.dataset.name} has too few images to train on")
            rows.append(None)  # as a table of pseudo-labels
            continue
        table = records.labels(part.dataset, split)
        first, last = mixes.rows(part, split, len(table))
        tables.append(table.iloc[first:last].assign(part=place))
        rows.append(slice(first, last))
    truth = pd.concat(tables, ignore_index=True)
    targets, weights = records.soft_targets(truth, dict(tasks))
    for task, known in weights.items():
        if not known.any():
            raise InputError(f"{mixed.name} has no {task} labels in its {split} split")
    if split == "train":
        by_part = np.array([part.weight for part in mixed.parts], np.float32)[truth.part]
        by_group = sampling.group_weights(truth, group_loss) if group_loss else np.float32(1)
        weights = {task: known * by_part * by_group for task, known in weights.items()}
    return Examples(truth, rows, targets, weights)


def train(
    folder: Path,
    settings: Mapping,
    mixed: "mixes.Mix",
    tasks: dict[str, tuple[str, ...]],
    cache: Path,
    start: "tuple[keras.Model, keras.Model] | None" = None,
) -> None:
    """Train in two phases, test on each part's test split, and write the run.

    Args:
        folder: the run's, begun.
        settings: see `settings`; and the `seed`.
        cache: where features are kept.
        start: backbone and head (see `heads.trainable`) to continue from; by default the backbone
            that the settings name and a fresh head.
    """
    import keras
    import numpy as np

    from vggface_gender import backbones
    from vggface_gender.base import device, runs
    from vggface_gender.data import features, records, sampling
    from vggface_gender.data.augmentation import Amounts
    from vggface_gender.training import heads, loop

    seed, batch = settings["seed"], settings["batch"]
    change = Amounts(**settings["augment"])
    known, held_out = (
        examples(mixed, split, tasks, settings["group_loss"]) for split in ("train", "validation")
    )
    count = len(known.truth)
    steps = count // batch
    if not steps:
        raise InputError(
            f"{mixed.name} has {count} images to train on: fewer than a batch; lower --batch"
        )
    draw = _draws(settings["balance"], known.truth)
    padding = settings["padding"]
    keras.utils.set_random_seed(seed)
    with device.scope(settings["distribute"]):
        if start is None:
            backbone = backbones.load(
                settings["backbone"], settings["precision"], settings["layer"]
            )
            head = heads.shared(
                backbone.output_shape[1:], tasks, settings["age_head"], dropout=settings["dropout"]
            )
        else:
            backbone, head = start
        size = backbone.input_shape[1]

    def order(epoch: int) -> np.ndarray:
        return sampling.epoch(draw, count, seed, int(epoch))

    def describe(epoch: int, place: int) -> str:
        names = known.truth.name[order(epoch)[place * batch : (place + 1) * batch]]
        return f"{names.iloc[0]} and {len(names) - 1} others"

    def cached(model: "keras.Model", split: str, part: Examples, **options) -> np.ndarray:
        arrays = [
            features.extract(each.dataset, split, model, padding, cache, **options)[rows]
            for each, rows in zip(mixed.parts, part.rows, strict=True)
            if rows
        ]
        # One part stays mapped from its file; several have to be copied into memory.
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def batches(read, first: int) -> "Iterable":
        return records.training_batches(
            read, order, known.targets, known.weights, batch, seed, first, settings["mixup"]
        )

    def fixed(inputs: np.ndarray) -> "Iterable":
        return records.fixed_batches(
            inputs, np.arange(len(inputs)), held_out.targets, held_out.weights, 256
        )

    def fit(model: "keras.Model", phase: str, read, validation, before) -> "pd.DataFrame":
        is_head = phase == "head"
        epochs = settings["head_epochs" if is_head else "epochs"]
        with device.scope(settings["distribute"]):
            compile(model, settings, backbone, steps * epochs, is_head)
        history = loop.fit(
            model,
            lambda first: batches(read, first),
            steps,
            validation,
            folder,
            epochs,
            epochs if is_head else settings["patience"],
            seed,
            phase=phase,
            before=before,
            score=_scorer(settings["select"], model, validation, held_out),
            plateau=PLATEAU if settings["schedule"] == "plateau" and not is_head else None,
            extras=lambda: _rates(model.optimizer, settings),
            describe=describe,
        )
        best = history[(history.phase == phase) & history.is_best].iloc[0]
        print(f"{phase}: best of {(history.phase == phase).sum()} epochs: {best.epoch}\n")
        return history

    history = None
    if settings["head_epochs"]:
        seen = cached(backbone, "train", known)
        history = fit(
            head,
            "head",
            records.read_views([seen]),
            fixed(cached(backbone, "validation", held_out)),
            None,
        )
    if settings["unfreeze"] != "none":
        first = None if settings["unfreeze"] == "all" else settings["unfreeze"]
        backbones.freeze_before(backbone, first)
        if settings["views"]:
            trunk, top = backbones.split(backbone, first)
            read = records.read_views(
                [
                    cached(trunk, "train", known, view=view, amounts=change, dtype="float16")
                    for view in range(settings["views"])
                ]
            )
            validation = fixed(cached(trunk, "validation", held_out, dtype="float16"))
        else:
            top = backbone
            read = crop_reader(mixed, known, size, padding, change)
            validation = _validation_crops(mixed, held_out, size, padding)
            records.log_batch(
                read(order(0)[:32], np.random.default_rng(seed)),
                "crops as trained on",
                folder / runs.TENSORBOARD,
            )
        with device.scope(settings["distribute"]):
            model = joined(top, head, settings["batch_norm"])
        fit(model, "backbone", read, validation, history)

    _publish(folder, settings, mixed, tasks, backbone, head)


def _publish(
    folder: Path,
    settings: Mapping,
    mixed: "mixes.Mix",
    tasks: dict[str, tuple[str, ...]],
    backbone: "keras.Model",
    head: "keras.Model",
) -> None:
    """Calibrate the classifier on validation, write it, test it on each part's test split, end."""
    import pandas as pd

    from vggface_gender.base import runs
    from vggface_gender.data import records
    from vggface_gender.evaluation import calibration, predictions, results
    from vggface_gender.inference import classifier
    from vggface_gender.training import heads

    def predicted(dataset: "Dataset", split: str) -> "pd.DataFrame":
        truth, outputs = classifier.classify(trained, dataset, split)
        return predictions.table(truth.name, truth[list(labels.TASKS)], outputs, tasks)

    kept = ("backbone", "layer", "dataset", "unfreeze", "before")
    about = {key: settings[key] for key in kept if key in settings}
    trained = classifier.build(
        backbone,
        heads.answers(head),
        tasks,
        settings["padding"],
        settings["precision"],
        about,
        settings["mirror"],
    )
    held_out = pd.concat(
        predicted(part.dataset, "validation")
        for part in mixed.parts
        if "validation" in part.dataset.counts
    )
    trained = classifier.calibrated(trained, calibration.temperatures(held_out, tasks))
    classifier.save(trained, folder / runs.CLASSIFIER)

    tested = [part for part in mixed.parts if "test" in part.dataset.counts]
    for place, part in enumerate(tested):
        label = part.dataset.label
        if "fold" in settings:  # whose table of results has all three splits
            for split in ("train", "validation"):
                table = predicted(part.dataset, split)
                predictions.write(table, folder / f"predictions-{label}-{split}.csv")
        table = predicted(part.dataset, "test")
        name = runs.METRICS if place == 0 else f"metrics-{label}-test.json"
        figures = results.publish(table, label, "test", folder, folder / name)
        if place == 0:
            records.log_hparams(settings, _scalars(figures), folder / runs.TENSORBOARD)
    runs.end(folder)


def _draws(balance: str | None, truth: "pd.DataFrame") -> "np.ndarray | None":
    """How often each example is drawn; what that does to the counts is printed."""
    from vggface_gender.data import sampling

    if balance is None:
        return None
    by, copies = sampling.parse_balance(balance)
    draw = sampling.factors(truth, by, copies=copies)
    print(f"{sampling.describe(truth, draw, by, len(truth))}\n")
    return draw


def crop_reader(
    mixed: "mixes.Mix", known: Examples, size: int, padding: float, change: "Amounts"
) -> "Callable[[np.ndarray, np.random.Generator], np.ndarray]":
    """What reads a mix's training crops, augmented, for `records.training_batches`."""
    import numpy as np

    from vggface_gender.data import records

    images = [
        image
        for part, rows in zip(mixed.parts, known.rows, strict=True)
        for image in records.jpegs(part.dataset, "train")[rows]
    ]
    frames = [records.frame_of(part.dataset, padding) for part in mixed.parts]
    return records.read_crops(images, np.array(frames)[known.truth.part], size, change)


def joined(backbone: "keras.Model", head: "keras.Model", batch_norm: str) -> "keras.Model":
    """Backbone, or the top of one, and head as one model to train.

    Args:
        batch_norm: "frozen" or "adapted": whether the backbone's batch normalization stays as it
            is, statistics, scale and shift.
    """
    import keras

    if batch_norm == "frozen":
        # Not by calling the backbone with training=False: within a functional model Keras 3.15 puts
        # the outer call's argument in the place of that one.
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    inputs = keras.Input(backbone.input_shape[1:], dtype=backbone.inputs[0].dtype, name="input")
    return keras.Model(inputs, head(backbone(inputs)), name="tuned")


def compile(
    model: "keras.Model", settings: Mapping, backbone: "keras.Model", steps: int, is_head: bool
) -> None:
    """Give a model the optimizer with its rates by depth, and the losses.

    Args:
        model: the head, or what `joined` gives.
        settings: see `settings`.
        steps: of the whole phase.
        is_head: whether the head is trained alone.
    """
    from vggface_gender.training import losses, optimizers

    shares = settings["rates"]
    multipliers = {
        f"{layer.name}/": shares.get("backbone", 1.0) for layer in backbone.layers if layer.weights
    }
    multipliers |= {"shared/": shares.get("shared", 1.0)}
    for task in settings["tasks"]:
        multipliers[task] = shares.get(task, 1.0)
    schedule, average = settings["schedule"], settings["average"]
    optimizer = optimizers.adamw(
        # The head alone is small and new: it may learn faster than when all is trained together.
        2 * settings["rate"] if is_head else settings["rate"],
        steps,
        {} if is_head else multipliers,
        warmup=settings["warmup"],
        weight_decay=settings["weight_decay"],
        # An average that reaches back over much of a short training keeps what was unlearnt.
        ema=max(0.0, min(0.998, 1 - 10 / steps)) if average is None else average,
        schedule="cosine" if is_head else "constant" if schedule == "plateau" else schedule,
    )
    losses.compile(model, optimizer, settings["loss_weights"], settings["smoothing"])


def _rates(optimizer: "keras.Optimizer", settings: Mapping) -> dict[str, float]:
    """The learning rates by depth as they are now, for the history and TensorBoard."""
    base = float(optimizer.learning_rate)
    shares = settings["rates"] if optimizer.multipliers else {}
    return {"rate": base} | {f"rate_{part}": base * share for part, share in shares.items()}


def _validation_crops(
    mixed: "mixes.Mix", held_out: Examples, size: int, padding: float
) -> "Iterable":
    from vggface_gender.data import records

    parts = [
        records.batches(part.dataset, "validation", 64, size, padding).map(
            lambda part: part["image"]
        )
        for part, rows in zip(mixed.parts, held_out.rows, strict=True)
        if rows
    ]
    return records.with_targets(parts, held_out.targets, held_out.weights)


def _scorer(select: str, model: "keras.Model", validation: "Iterable", held_out: Examples):
    """What chooses the epoch; None for the validation loss."""
    if select == "loss":
        return None
    import numpy as np

    from vggface_gender.data import sampling
    from vggface_gender.training import losses

    groups = sampling.groups(held_out.truth, "gender+race")

    def score() -> float:
        outputs = model.predict(validation, verbose=0)
        tasks = [task for task in outputs if task != "age"]
        if not tasks:
            years = np.asarray(losses.years(outputs["age"]))
            known = held_out.weights["age"] > 0
            return -float(np.abs(years - held_out.targets["age"][:, 0])[known].mean())
        means = []
        for task in tasks:
            known = held_out.weights[task] > 0
            true = held_out.targets[task].argmax(axis=1)
            right = outputs[task].argmax(axis=1) == true
            by = groups if select == "worst-group" else true
            accuracies = [
                right[known & (by == one)].mean()
                for one in sorted(set(by[known]) - {None})
                if select != "worst-group" or (known & (by == one)).sum() >= SMALLEST_GROUP
            ]
            if not accuracies:
                raise InputError(
                    f"no gender x race group has {SMALLEST_GROUP} faces in validation: "
                    "--select balanced-accuracy"
                )
            means.append(min(accuracies) if select == "worst-group" else np.mean(accuracies))
        return float(np.mean(means))

    return score


def _scalars(figures: Mapping) -> dict[str, float]:
    wanted = ("accuracy", "balanced_accuracy", "mae")
    return {
        f"test/{task}_{metric}": one[metric]
        for task, one in figures["tasks"].items()
        for metric in wanted
        if metric in one
    }
