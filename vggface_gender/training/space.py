"""The disk that a training takes, as far as it follows from the network."""

import math
from collections.abc import Iterable
from pathlib import Path

import keras

from vggface_gender.base import disk
from vggface_gender.training import run
from vggface_gender.training.config import Config

_OVERHEAD = 4096  # bytes that HDF5 needs for an array's name and place
_MOMENTS = 2  # arrays that AdamW keeps for every weight; with averaged weights one more


def of_weights(variables: Iterable[keras.Variable]) -> int:
    """About how many bytes variables take in a file of weights, at most."""
    return sum(
        math.prod(variable.shape) * (8 if str(variable.dtype).endswith("64") else 4) + _OVERHEAD
        for variable in variables
    )


def require(folder: Path, config: Config, *, head: keras.Model, backbone: keras.Model) -> None:
    """Refuse a training whose checkpoints and classifier its folder has no room for.

    Args:
        folder: the run's; what an unfinished training left there is reckoned in.
        head, backbone: to be trained.

    Raises:
        InputError: the disk has too little room.
    """
    of_head, of_backbone = (of_weights(part.variables) for part in (head, backbone))
    trained = of_head + of_backbone * (config.unfreeze != "none")
    state = trained * (1 + _MOMENTS + (config.ema != 0))
    # Of an epoch the last weights and the best, beside those of the epoch before.
    needed = 4 * state + of_head + of_backbone
    there = sum(path.stat().st_size for path in run.checkpoint(folder).rglob("*"))
    disk.require(folder, needed - there, what="a training's checkpoints and its classifier")
