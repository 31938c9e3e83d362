"""MatConvNet's SimpleNN networks (`.mat`) as NumPy arrays, and the same networks run in NumPy.

The format is described in MatConvNet's manual (https://www.vlfeat.org/matconvnet/, chapter
"Wrappers and pre-trained models", and the help of `vl_simplenn`, `vl_nnconv` and `vl_nnpool`): a
struct whose cell `layers` holds one struct a layer. Fields are always found by name, because their
order differs between files.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pymatreader
import scipy.io

from vggface_gender.base.errors import InputError

TYPES = ("conv", "relu", "pool", "dropout", "softmax")

# What `cnn_train` leaves beside a layer's weights: as large as they are, and of no use without it.
_TRAINING_STATE = ("momentum", "filtersMomentum", "biasesMomentum")


@dataclass(frozen=True)
class Layer:
    """One layer without its weights. A fully connected layer is a `conv` as large as its input."""

    name: str
    type: str  # one of TYPES
    shape: tuple[int, ...] = ()  # conv: the kernel's (rows, columns, channels in, channels out)
    window: tuple[int, int] = (1, 1)  # pool: (rows, columns) over which the maximum is taken
    stride: tuple[int, int] = (1, 1)  # conv, pool: (down, across)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)  # conv, pool: (top, bottom, left, right)
    rate: float = 0.0  # dropout: the share of values set to zero in training


@dataclass(frozen=True, eq=False)
class MatConvNet:
    """A network and every tensor of its file."""

    path: Path
    layers: tuple[Layer, ...]
    weights: dict[str, tuple[np.ndarray, np.ndarray]]  # by layer: kernel as `shape`, bias (out,)
    mean: np.ndarray  # subtracted from an RGB image in [0, 255]: (1, 1, 3) or (rows, columns, 3)
    identities: tuple[str, ...]  # the classes' names; () where the file has none
    training_state: tuple[str, ...]  # the tensors not kept, such as "conv1_1.momentum{1}"


def read(path: Path) -> MatConvNet:
    """Read a SimpleNN network from a `.mat` file of version 5 to 7.3.

    Both published forms are read: the fields of the network at the top, or in a struct `net`;
    `normalization` and `classes` in the network itself, or in its `meta`.

    Raises:
        InputError: the file is damaged, is no such network, has a layer of a type not in `TYPES`,
            or holds an array, as large as weights are, in a field that we do not know.
    """
    contents = {name: value for name, value in _load(path).items() if not name.startswith("__")}
    network = contents.pop("net", contents)
    structs = network.pop("layers", None) if isinstance(network, dict) else None
    if not isinstance(structs, list) or not all(isinstance(struct, dict) for struct in structs):
        raise InputError(
            f"{path}: no cell array `layers` of structs, at the top or in `net`;"
            " expected a MatConvNet SimpleNN network"
        )
    meta = network.get("meta", network)
    try:
        # (1, 1, 3) has been squeezed to (3,).
        mean = _leading_ones(meta["normalization"].pop("averageImage"), 3)
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: no `normalization.averageImage`, the mean to subtract") from None

    layers: list[Layer] = []
    weights: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    training_state: list[str] = []
    for number, struct in enumerate(structs, 1):
        where = f"{path}: layer {struct.get('name', f'number {number}')}"
        for field in _TRAINING_STATE:
            state = struct.pop(field, ())
            training_state += [name for name, _ in _arrays(state, f"{struct.get('name')}.{field}")]
        layer, tensors = _layer(struct, where)
        if layer.name in weights:
            raise InputError(f"{where}: two layers have this name; expected one")
        layers.append(layer)
        if tensors:
            weights[layer.name] = tensors

    _refuse_unknown_tensors(path, {"layers": structs, "net": network, "others": contents}, weights)
    return MatConvNet(
        path=Path(path),
        layers=tuple(layers),
        weights=weights,
        mean=mean,
        identities=_identities(meta.get("classes")),
        training_state=tuple(training_state),
    )


def forward(network: MatConvNet, image: np.ndarray) -> Iterator[tuple[Layer, np.ndarray]]:
    """Run a network on one image by MatConvNet's own definitions, in float64 and in NumPy alone.

    Args:
        network: as `read` gives it.
        image: RGB in [0, 255], shape (rows, columns, 3).

    Yields:
        Each layer and what it gives in evaluation, shape (rows, columns, channels).
    """
    apply: dict[str, Callable[..., np.ndarray]] = {
        "conv": _conv,
        "relu": lambda x, *_: np.maximum(x, 0),
        "pool": _max_pool,
        "dropout": lambda x, *_: x,  # MatConvNet scales in training, so evaluation passes it on
        "softmax": _softmax,
    }
    x = image.astype(np.float64) - network.mean
    for layer in network.layers:
        x = apply[layer.type](x, layer, *network.weights.get(layer.name, ()))
        yield layer, x


def _conv(x: np.ndarray, layer: Layer, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """`vl_nnconv`: (rows, columns, in) to (rows, columns, out)."""
    # The kernel is not flipped. One of its positions at a time: all windows at once would be nine
    # copies of `x`, and fc6's kernel in float64 is 0.8 GB.
    windows = _windows(_padded(x, layer.pad, 0), kernel.shape[:2], layer.stride)
    products = (
        np.tensordot(windows[..., row, column], kernel[row, column].astype(np.float64), axes=1)
        for row, column in np.ndindex(kernel.shape[:2])
    )
    return bias + sum(products)


def _max_pool(x: np.ndarray, layer: Layer) -> np.ndarray:
    """`vl_nnpool`: the maximum of every window."""
    return _windows(_padded(x, layer.pad, -np.inf), layer.window, layer.stride).max(axis=(-2, -1))


def _softmax(x: np.ndarray, _: Layer) -> np.ndarray:
    """`vl_nnsoftmax`: over the channels."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _padded(x: np.ndarray, pad: tuple[int, int, int, int], value: float) -> np.ndarray:
    """A map with more rows and columns, filled with a value."""
    top, bottom, left, right = pad
    return np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=value)


def _windows(x: np.ndarray, window: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    """A view of all windows: (rows, columns, channels, window's rows, window's columns)."""
    every = np.lib.stride_tricks.sliding_window_view(x, window, axis=(0, 1))
    return every[:: stride[0], :: stride[1]]


def _load(path: Path) -> dict:
    """The file's variables: structs as dictionaries, cells as lists or arrays, axes of 1 gone."""
    try:
        try:
            return scipy.io.loadmat(path, simplify_cells=True)
        except NotImplementedError:  # version 7.3, which is HDF5
            return pymatreader.read_mat(path)
    except Exception as error:  # a damaged file makes their parsers raise nearly anything
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a whole MATLAB file ({type(error).__name__}: {reason});"
            " it may be truncated: download or unpack it again"
        ) from error


def _layer(struct: dict, where: str) -> tuple[Layer, tuple[np.ndarray, np.ndarray] | None]:
    """A layer and its (kernel, bias), if it has any; their fields leave `struct`."""
    for field in ("name", "type"):
        if not isinstance(struct.get(field), str):
            raise InputError(f"{where}: no `{field}`; expected a text")
    name, kind = struct.pop("name"), struct.pop("type")
    if kind not in TYPES:
        raise InputError(f"{where}: unknown type '{kind}'; expected one of {', '.join(TYPES)}")
    if _pair(struct.pop("dilate", 1), f"{where}: dilate") != (1, 1):
        raise InputError(f"{where}: the kernel is dilated; expected 1")
    if np.any(struct.pop("leak", 0)):
        raise InputError(f"{where}: the ReLU leaks; expected 0")
    method = struct.pop("method", "max")
    if kind == "pool" and method != "max":
        raise InputError(f"{where}: pools by '{method}'; expected 'max'")

    tensors = _weights(struct, where) if kind == "conv" else None
    layer = Layer(
        name=name,
        type=kind,
        shape=tensors[0].shape if tensors else (),
        window=_pair(struct.pop("pool", 1), f"{where}: pool"),
        stride=_pair(struct.pop("stride", 1), f"{where}: stride"),
        pad=_sides(struct.pop("pad", 0), f"{where}: pad"),
        rate=float(struct.pop("rate", 0.5)) if kind == "dropout" else 0.0,
    )
    return layer, tensors


def _weights(struct: dict, where: str) -> tuple[np.ndarray, np.ndarray]:
    """A conv layer's kernel and bias, out of its `weights` or its older `filters` and `biases`."""
    tensors = list(struct.pop("weights", ()))
    tensors += [struct.pop(field) for field in ("filters", "biases") if field in struct]
    if len(tensors) != 2:
        raise InputError(f"{where}: {len(tensors)} arrays of weights; expected a kernel and a bias")
    kernel, bias = (np.asarray(tensor) for tensor in tensors)
    if kernel.dtype.kind != "f" or bias.dtype.kind != "f" or not 2 <= kernel.ndim <= 4:
        raise InputError(
            f"{where}: the weights are {kernel.dtype} {kernel.shape} and {bias.dtype} {bias.shape};"
            " expected a kernel of up to 4 axes and a bias, of single or double precision"
        )
    kernel, bias = _leading_ones(kernel, 4), bias.ravel()
    if bias.size != kernel.shape[-1]:
        raise InputError(
            f"{where}: the bias has {bias.size} values; expected one for each of the kernel's"
            f" {kernel.shape[-1]} channels (the kernel is {times(kernel.shape)})"
        )
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise InputError(f"{where}: weights that are infinite or no number; expected finite ones")
    return kernel, bias


def _leading_ones(array: np.ndarray, axes: int) -> np.ndarray:
    """The array with the leading axes of 1 that reading squeezed away: 1x1 kernels, 1x1 means."""
    return array.reshape((1,) * (axes - array.ndim) + array.shape)


def _pair(value: Any, where: str) -> tuple[int, int]:
    """Of rows and of columns."""
    down, across = _numbers(value, 2, where)
    return down, across


def _sides(value: Any, where: str) -> tuple[int, int, int, int]:
    """Top, bottom, left and right."""
    top, bottom, left, right = _numbers(value, 4, where)
    return top, bottom, left, right


def _numbers(value: Any, count: int, where: str) -> tuple[int, ...]:
    """`count` whole numbers out of a scalar, which stands for them all, or a vector."""
    numbers = np.ravel(value)
    if numbers.size not in (1, count) or numbers.dtype.kind not in "fiu":
        raise InputError(f"{where} is {value!r}; expected 1 or {count} numbers")
    return tuple(int(number) for number in np.broadcast_to(numbers, count))


def _identities(classes: Any) -> tuple[str, ...]:
    fields = classes if isinstance(classes, dict) else {}
    names = fields["description"] if "description" in fields else fields.get("name", ())
    return tuple(str(name) for name in names)


def _arrays(value: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every array of numbers in nested structs and cells, with its name as MATLAB would say it."""
    if isinstance(value, dict):
        for field, inner in value.items():
            yield from _arrays(inner, f"{name}.{field}")
    elif isinstance(value, (list, tuple)) or getattr(value, "dtype", np.dtype(int)).kind == "O":
        for index, inner in enumerate(value, 1):
            yield from _arrays(inner, f"{name}{{{index}}}")
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
        yield name, value


def _refuse_unknown_tensors(path: Path, left: dict, weights: dict) -> None:
    """Fail on an array that nobody took and that is large enough to be some layer's weights."""
    smallest = min((bias.size for _, bias in weights.values()), default=1)
    for name, array in (found for key in left for found in _arrays(left[key], key)):
        if array.size >= smallest:
            raise InputError(
                f"{path}: {name}: an array of {times(array.shape)} in a field that we do not know;"
                " expected weights in `weights`, or in `filters` and `biases`"
            )


def times(shape: tuple[int, ...]) -> str:
    """A shape as text: (3, 3, 64, 64) is "3x3x64x64"."""
    return "x".join(str(side) for side in shape)
