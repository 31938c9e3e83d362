"""A model's configuration, as Keras writes it, as a chain of layers in MatConvNet's terms."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vggface_gender.base.errors import InputError
from vggface_gender.weights.network import Layer

_BLOCKS = 5  # VGG's: layers after the fifth pooling are fully connected
_UNDERSTOOD = "convolutions, dense layers, ReLU, maximum pooling, dropout and softmax"


class Step(NamedTuple):
    """One layer of a chain."""

    kind: str  # its class
    name: str
    config: dict
    place: str  # where Keras 3 stores its variables: "layers/conv2d_1"


def chain(config: dict, path: Path) -> list[Step]:
    """A model's layers, each of which takes what the one before it gives; models within it opened.

    Args:
        config: as Keras 2 or 3 writes it.
        path: for errors.

    Raises:
        InputError: a layer takes something else than the output of the one before it.
    """
    return list(_steps(config, "layers", path, depth=0))


def _steps(model: dict, place: str, path: Path, *, depth: int) -> Iterator[Step]:
    if depth > 8:
        raise InputError(f"{path}: models within models, more than 8 deep; expected a chain")
    inner = model["config"]
    described = (
        inner["layers"] if isinstance(inner, dict) else inner
    )  # a list: Keras 1's Sequential
    is_functional = model.get("class_name") != "Sequential"
    used: Counter[str] = Counter()
    before: str | None = None
    for layer in described:
        kind, config = str(layer["class_name"]), layer["config"]
        name = str(config.get("name", layer.get("name")))
        if is_functional and before is not None:
            sources = list(_sources(layer.get("inbound_nodes", ())))
            if sources != [before]:
                taken = ", ".join(sources[:5]) or "nothing"
                raise InputError(
                    f"{path}: layer {name} takes {taken}; expected the layer before it, {before}:"
                    " VGG-Face is a chain of layers"
                )
        before = str(layer.get("name", name))
        key = _snake_case(kind)
        inside = f"{place}/{key}_{used[key]}" if used[key] else f"{place}/{key}"
        used[key] += 1
        if "layers" in config:
            yield from _steps(layer, f"{inside}/layers", path, depth=depth + 1)
        else:
            yield Step(kind, name, config, inside)


def layers(
    chain: Sequence[Step], kernels: Sequence[tuple[int, ...]], *, path: Path
) -> tuple[list[Layer], list[str]]:
    """A chain in MatConvNet's terms, layers named by their place ("conv1_1", "fc6").

    Args:
        chain: as `chain` gives it.
        kernels: the shapes of the arrays of those that have weights, in order.
        path: for errors.

    Returns:
        The layers, and what of the end is left out, such as an average over pool5.

    Raises:
        InputError: a layer is of a kind, or has a setting, that VGG-Face's have not.
    """
    made: list[Layer] = []
    shapes = iter(kernels)
    block, number, depth = 1, 0, 3
    pad = (0, 0, 0, 0)  # of padding layers, for the convolution that follows
    left_out: list[str] = []
    for kind, name, config, _ in chain:
        where = f"{path}: layer {name} ({kind})"
        if left_out:
            raise InputError(f"{where}: follows {left_out[0]}; expected it to be the last")
        activation = "linear"
        match kind:
            case "InputLayer" | "Flatten":
                pass
            case "ZeroPadding2D":
                (top, bottom), (left, right) = _sides(config["padding"])
                pad = (pad[0] + top, pad[1] + bottom, pad[2] + left, pad[3] + right)
            case "Conv2D" | "Convolution2D" | "Dense":
                stored = next(shapes, None)
                if stored is None:
                    raise InputError(f"{where}: no weights in the file; expected a kernel, a bias")
                if kind == "Dense":
                    shape, depth = _dense(stored, depth, sees_map=_sees_map(made))
                    around, stride = (0, 0, 0, 0), (1, 1)
                else:
                    around, stride = _convolution(config, stored, where)
                    shape, depth = stored, stored[-1]
                number += 1
                at = f"{block}_{number}" if block <= _BLOCKS else f"{_BLOCKS + number}"
                label = f"conv{at}" if block <= _BLOCKS else f"fc{at}"
                top, bottom, left, right = (a + p for a, p in zip(around, pad, strict=True))
                made.append(
                    Layer(label, "conv", shape, stride=stride, pad=(top, bottom, left, right))
                )
                pad = (0, 0, 0, 0)
                activation = _activation(config.get("activation", "linear"))
            case "MaxPooling2D":
                window = _pair(config["pool_size"])
                stride = _pair(config.get("strides") or window)
                made.append(Layer(f"pool{block}", "pool", window=window, stride=stride, pad=pad))
                block, number, pad = block + 1, 0, (0, 0, 0, 0)
            case "Dropout":
                made.append(Layer(f"dropout{_BLOCKS + number}", "dropout", rate=config["rate"]))
            case "Activation":
                activation = _activation(config["activation"])
            case "ReLU" if not any(
                config.get(key) for key in ("max_value", "negative_slope", "threshold")
            ):
                activation = "relu"
            case "Softmax":
                activation = "softmax"
            case "GlobalAveragePooling2D" | "GlobalMaxPooling2D":
                left_out.append(f"{name} ({kind})")
            case "Rescaling" | "Normalization" | "Lambda":
                raise InputError(
                    f"{where}: preprocessing of its own, or code; expected a network without it:"
                    f" {_UNDERSTOOD}"
                )
            case _:
                raise InputError(f"{where}: expected only {_UNDERSTOOD}")
        at = f"{block}_{number}" if block <= _BLOCKS else f"{_BLOCKS + number}"
        if activation == "relu":
            made.append(Layer(f"relu{at}", "relu"))
        elif activation == "softmax":
            made.append(Layer("prob", "softmax"))
        elif activation != "linear":
            raise InputError(f"{where}: activation {activation}; expected relu, softmax or none")
    if (more := next(shapes, None)) is not None:
        raise InputError(f"{path}: weights {more} that belong to no layer of the configuration")
    return made, left_out


def _sees_map(made: Sequence[Layer]) -> bool:
    """Whether what comes after these layers sees a map, not a vector."""
    return bool(made) and made[-1].type == "pool"


def _dense(stored: tuple[int, ...], depth: int, *, sees_map: bool) -> tuple[tuple[int, ...], int]:
    """A dense layer's kernel as that of a convolution as large as its input, and its channels."""
    inputs, outputs = stored
    # Keras flattens a map (rows, columns, channels) in this order.
    side = math.isqrt(inputs // depth) if sees_map else 1
    if side * side * depth != inputs:
        side, depth = 1, inputs
    return (side, side, depth, outputs), outputs


def _convolution(
    config: dict, stored: tuple[int, ...], where: str
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """A convolution's padding (top, bottom, left, right) and its stride."""
    for key, expected in (("dilation_rate", (1, 1)), ("groups", (1,))):
        found = config.get(key)
        if found is not None and _pair(found)[: len(expected)] != expected:
            raise InputError(f"{where}: {key} is {found}; expected 1")
    if config.get("data_format") not in (None, "channels_last"):
        raise InputError(
            f"{where}: channels come first; expected them last, as TensorFlow has them"
        )
    if "padding" not in config:
        raise InputError(
            f"{where}: no `padding`: written by Keras 1; save it with Keras 2 or later"
        )
    stride = _pair(config.get("strides", 1))
    if config["padding"] != "same":
        return (0, 0, 0, 0), stride
    down, across = ((size - 1) // 2 for size in stored[:2])
    return (down, stored[0] - 1 - down, across, stored[1] - 1 - across), stride


def _activation(setting: Any) -> str:
    """An activation's name, however Keras wrote it."""
    if isinstance(setting, dict):
        setting = setting.get("config") if isinstance(setting.get("config"), str) else "unknown"
    return "linear" if setting is None else str(setting)


def _pair(value: Any) -> tuple[int, int]:
    """Of rows and of columns, from a list or one number for both."""
    first, second = value if isinstance(value, list) else (value, value)
    return int(first), int(second)


def _sides(value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """(top, bottom), (left, right), from a list of one or two levels or one number for all."""
    down, across = value if isinstance(value, list) else (value, value)
    return _pair(down), _pair(across)


def _sources(nodes: Any) -> Iterator[str]:
    """The layers that a functional model's layer takes, as Keras 2 or Keras 3 names them."""
    if isinstance(nodes, dict):
        if "keras_history" in nodes:
            yield str(nodes["keras_history"][0])
        else:
            for value in nodes.values():
                yield from _sources(value)
    elif isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            yield nodes[0]
        else:
            for value in nodes:
                yield from _sources(value)


def _snake_case(kind: str) -> str:
    """A class's name as Keras 3 writes it in HDF5: ZeroPadding2D is zero_padding2d."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()
