"""Every setting of a training, in one flat list, each with what it does.

A command fills it in, `config.json` in the run's folder holds it, and it travels whole.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vggface_gender.base import networks, training_options
from vggface_gender.base.errors import InputError
from vggface_gender.base.geometry import PADDING
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import sampling
from vggface_gender.data.augmentation import NONE, Amounts

HEADS = ("compact", "vggface", "shared")
AGE_HEADS = ("years", *training_options.AGE_HEADS)
ORDERS = ("shuffled", "drawn")  # TensorFlow's stateless shuffle, or `sampling.epoch`
BACKBONE_MULTIPLIER = 0.16  # at more than a fifth of a fresh head's learning rate it forgets
PARTS = ("backbone", "shared", *TASKS)  # of a network, that a multiplier may name
LEAST_STEPS = 25  # in fewer a head learns too little for validation to tell one epoch from another


@dataclass(frozen=True)
class Config:
    """The settings of one training: a head on frozen features, then, if asked, the backbone too."""

    command: str  # that filled it in

    # Data. A dataset or a mix of several, as the commands take it; what its records were.
    dataset: str
    fingerprint: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)  # of images, by split
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # of training images
    split_seed: int = 0
    fold: tuple[int, int] | None = None  # which fold is the test split, and of how many
    align: str = "never"  # whether faces were aligned on the way in: see `datasets.prepare`

    # What is learned, and what each task's loss and its labels count for.
    tasks: tuple[str, ...] = ("gender",)
    loss_weights: Mapping[str, float] = field(
        default_factory=lambda: {task.name: task.loss_weight for task in TASKS.values()}
    )
    label_smoothing: float = 0.0  # of classification, Szegedy et al. 2016
    group_loss: str | None = None  # groups that count alike in the loss, such as "race"

    # The network. `init` is a classifier to continue from, in place of a backbone and a new head.
    backbone: str = "dlib"
    layer: str | None = None  # whose output the features are; several joined by "+"
    padding: float = PADDING  # the crops' frame, as `dlib.get_face_chip`'s
    precision: str = "float32"  # Keras's dtype policy, of the backbone
    head: str = "compact"
    age_head: str = "years"
    dropout: float | None = None  # of a shared head; the others have their own
    init: str | None = None
    init_weights: str | None = None  # a hash of its file
    before: tuple[str, ...] = ()  # the datasets that it learned from
    fresh: tuple[str, ...] = ()  # the tasks for which its head is replaced
    teachers: tuple[Mapping[str, Any], ...] = ()  # learned from, too (see `distillation.Teacher`)
    teacher_share: float = 0.0  # of a training target

    # First phase: the head alone, on cached features.
    head_epochs: int = 10
    head_patience: int | None = None  # epochs without improvement; None never stops early
    head_learning_rate: float = 1e-3
    head_schedule: str = "cosine"

    # Second phase: the network from one layer on, on augmented crops.
    unfreeze: str = "none"  # the first layer that is trained, "all", or "none" for no second phase
    epochs: int = 8
    patience: int = 4
    learning_rate: float = 5e-4  # of the head; other parts' is this times their multiplier
    multipliers: Mapping[str, float] = field(
        default_factory=lambda: {"backbone": BACKBONE_MULTIPLIER}
    )
    layer_decay: float = 1.0  # of the learning rate, from convolution to convolution downwards
    schedule: str = "cosine"
    batch_norm: str = "frozen"  # or "adapted": the backbone's is trained, its statistics moved
    views: int = 0  # augmented copies whose frozen features are cached; 0: computed every time
    augment: Mapping[str, float] = field(default_factory=NONE._asdict)

    # Both phases' optimization.
    batch_size: int = 128
    order: str = "shuffled"  # or "drawn": by what an epoch's order is made; either is uniform
    drop_remainder: bool = False  # leave out an epoch's last batch where it is not full
    least_steps: int = LEAST_STEPS  # an epoch's: a small dataset is passed over several times
    warmup: float = 0.0  # share of the steps
    weight_decay: float = 0.0
    clip: float = 0.0  # greatest norm of all gradients together; 0 for any
    ema: float | None = 0.0  # momentum of the weights' moving average; None: by the steps
    mixup: float = 0.0  # strength; 0 for none
    balance: str | None = None  # groups that are drawn more often where they are rare
    distribute: str = "none"  # "mirrored" over this machine's devices, or "multihost"

    # What is chosen on validation, and how the classifier then predicts.
    select: str = "loss"
    mirror: bool = False  # its answers are means over a crop and its mirror image

    seed: int = 0  # of weights, order, augmentation and dropout

    def __post_init__(self) -> None:
        """Refuse what no training can be made of.

        Raises:
            InputError: a value is not among those known; the message names it.
        """
        for name, value, known in (
            ("head", self.head, HEADS),
            ("age head", self.age_head, AGE_HEADS),
            ("schedule", self.schedule, training_options.SCHEDULES),
            ("order", self.order, ORDERS),
            ("select", self.select, training_options.SELECTIONS),
        ):
            if value not in known:
                raise InputError(f"no {name} {value}: give {', '.join(known)}")
        for name in self.tasks:
            if name not in TASKS:
                raise InputError(f"no task {name}: give {', '.join(TASKS)}")
        for by in filter(None, (self.balance, self.group_loss)):
            sampling.parse_balance(by)
        if self.views and self.unfreeze in ("all", "none"):
            raise InputError(
                f"{self.views} views keep what is frozen, and to unfreeze {self.unfreeze} leaves "
                "nothing to keep; name a layer, such as --unfreeze block_4_1"
            )

    def settings(self) -> dict:
        """The settings as `config.json` holds them."""
        return dataclasses.asdict(self)

    @property
    def amounts(self) -> Amounts:
        """How far training crops are changed."""
        return Amounts(**self.augment)


def flattened(settings: Mapping) -> dict[str, Any]:
    """Settings without those within others, which have both names.

    >>> flattened({"seed": 0, "augment": {"flip": 0.5}})
    {'seed': 0, 'augment.flip': 0.5}
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{within}": one for within, one in flattened(value).items()}
        else:
            flat[key] = value
    return flat


class Recipe(NamedTuple):
    """What a head is trained with where nobody says otherwise, as a part of a `Config`."""

    head: str
    batch_size: int
    head_learning_rate: float
    head_schedule: str


def transfer_recipe(backbone: str) -> Recipe:
    """The head that goes with a backbone (`backbones.family`): the published one for VGG-Face.

    The compact head's batch size and learning rate validated best on UTKFace with dlib's map.
    """
    if backbone == "vggface":
        return Recipe("vggface", 32, 1e-4, "constant")
    return Recipe("compact", 128, 1e-3, "cosine")


# What every fine-tuning has where nobody says otherwise, and what goes with a backbone.
_TUNING: dict[str, Any] = {
    "head": "shared",
    "age_head": "distribution",
    "dropout": 0.4,
    "label_smoothing": 0.1,
    "warmup": 0.05,
    "weight_decay": 0.01,
    "clip": 5.0,
    "ema": None,
    "order": "drawn",
    "drop_remainder": True,
}
_TUNED: dict[str, dict[str, Any]] = {
    "dlib": {
        "layer": "map+block_4_3",
        "unfreeze": "block_2_1",
        "batch_size": 64,
        "learning_rate": 5e-4,
    },
    # A prototype learned at a rate of 5e-5 in the backbone, and forgot at 2e-4.
    "faceres": {"unfreeze": "conv_dw_4", "batch_size": 64, "learning_rate": 3e-4},
    "vggface": {"unfreeze": "conv5_1", "batch_size": 32, "learning_rate": 1e-4},
    # Statistics that were never trained must not stay as they are.
    "resnet50": {
        "unfreeze": "all",
        "batch_size": 32,
        "learning_rate": 1e-3,
        "batch_norm": "adapted",
    },
}

_LEAST = ("batch_size", "learning_rate")


def tuning(backbone: str, **given: Any) -> dict[str, Any]:
    """The settings of a fine-tuning, as a part of a `Config`: those given, and what goes with them.

    Args:
        backbone: as `backbones.load` takes it.
        given: fields of `Config`; None for the backbone's own. Of `multipliers`, `loss_weights` and
            `augment` only what differs from the defaults.

    Raises:
        InputError: a multiplier, a weight or an amount has a name that there is not.
    """
    given = {name: value for name, value in given.items() if value is not None}
    its = _tuned(networks.parts(backbone))
    settings: dict[str, Any] = {"backbone": backbone, **_TUNING, **its, **given}
    settings["padding"] = networks.padding(backbone, given.get("padding"))
    if networks.onnx_file(backbone) and settings["unfreeze"] != "none":
        raise InputError(
            f"{backbone}: an ONNX network has no gradients, so only a head is trained: leave"
            " --unfreeze out"
        )
    # The head alone is small and new: it may learn faster than when all is trained together.
    settings["head_learning_rate"] = 2 * settings["learning_rate"]
    defaults = Config("", "")
    settings["multipliers"] = {
        **defaults.multipliers,
        **named(given.get("multipliers", {}), PARTS, what="multiplier"),
    }
    settings["loss_weights"] = {
        **defaults.loss_weights,
        **named(given.get("loss_weights", {}), tuple(TASKS), what="loss weight"),
    }
    settings["augment"] = augmentation(given.get("augment", {}))._asdict()
    return settings


def _tuned(names: list[str]) -> dict[str, Any]:
    """What goes with a network, or with several side by side: the least rate and batch of any."""
    if networks.onnx_file("+".join(names)):
        return {"unfreeze": "none", "batch_size": 128, "learning_rate": 5e-4}
    each = [_TUNED.get(name.partition(":")[0], _TUNED["resnet50"]) for name in names]
    if len(each) == 1:
        return each[0]
    together: dict[str, Any] = {key: min(its[key] for its in each) for key in _LEAST}
    for key in ("layer", "unfreeze"):
        layers = [
            f"{networks.called(name)}.{layer}"
            for name, its in zip(names, each, strict=True)
            for layer in its.get(key, "all").split("+")
            if layer != "all"  # of a layer: what the network has by default
        ]
        together[key] = "+".join(layers) or {"layer": None, "unfreeze": "all"}[key]
    if any(its.get("batch_norm") == "adapted" for its in each):
        together["batch_norm"] = "adapted"
    return together


def augmentation(given: Mapping[str, float]) -> Amounts:
    """The amounts of augmentation where some are given: the others are the defaults.

    Args:
        given: names of `Amounts` to numbers; "all": 0 makes the others 0.

    Raises:
        InputError: a name is not known.
    """
    given = named(given, ("all", *Amounts._fields), what="augmentation")
    if given.pop("all", 1):
        return Amounts()._replace(**given)
    return NONE._replace(**given)


def named(given: Mapping[str, float], known: tuple[str, ...], *, what: str) -> dict[str, float]:
    """What was given by name.

    Raises:
        InputError: a name is not among those known.
    """
    for name in given:
        if name not in known:
            raise InputError(f"no {what} {name}: give any of {', '.join(known)}")
    return dict(given)
