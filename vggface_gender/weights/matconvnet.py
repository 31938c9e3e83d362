"""MatConvNet's SimpleNN networks (`.mat`) as NumPy arrays, and the same networks run in NumPy.

The format is described in MatConvNet's manual (https://www.vlfeat.org/matconvnet/, chapter
"Wrappers and pre-trained models", and the help of `vl_simplenn`, `vl_nnconv` and `vl_nnpool`): a
struct whose cell `layers` holds one struct a layer. Fields are always found by name, because their
order differs between files.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from vggface_gender.base.errors import InputError
from vggface_gender.weights import isolated
from vggface_gender.weights.network import TYPES, Layer, Network, times

# What a layer that only training has is in evaluation.
_IN_EVALUATION = {"softmaxloss": "softmax"}

# What `cnn_train` leaves beside a layer's weights: as large as they are, and of no use without it.
_TRAINING_STATE = ("momentum", "filtersMomentum", "biasesMomentum")

# What people have where they expect a .mat file, by its first bytes, and what to do about it.
_OTHER_FORMS = {
    b"# Created by Octave": "Octave's text form; in Octave, save it with `save -v7`",
    b"Octave-1-": "Octave's binary form; in Octave, save it with `save -v7`",
    b"\x89HDF\r\n": "HDF5 without MATLAB's header: if Octave's `save -hdf5` wrote it, save it with "
    "`save -v7`; if it is Keras's, give it as --h5",
    b"\x1f\x8b": "a gzip archive; unpack it and give the .mat file in it",
    b"PK\x03\x04": "a zip archive; unpack it, or give a .keras file as --h5",
    b"<": "a web page or XML, not a network; download it again",
}


def read(path: Path) -> Network:
    """Read a SimpleNN network from a `.mat` file of version 5 to 7.3, in a process of its own.

    Both published forms are read: the fields of the network at the top, or in a struct `net`;
    `normalization` and `classes` in the network itself, or in its `meta`. A last `softmaxloss`,
    which a network in training ends in, is a `softmax` in evaluation.

    Raises:
        InputError: the file is damaged, is no such network, has a layer of a type not in `TYPES`,
            or holds an array, as large as weights are, in a field that we do not know; or it
            crashed MATLAB's reader, or took more time or memory than it may (see `isolated`).
    """
    facts, (mean, *tensors) = isolated.read(_stream, path)
    return Network(
        path=Path(path),
        layers=tuple(Layer.from_json(fields) for fields in facts["layers"]),
        weights=dict(
            zip(facts["weights"], zip(tensors[::2], tensors[1::2], strict=True), strict=True)
        ),
        mean=mean,
        identities=tuple(facts["identities"]),
        left_out=tuple(facts["left_out"]),
    )


def _stream(path: Path) -> isolated.Arrays:
    """A network as `isolated` carries it."""
    network = parse(path)
    yield network.mean
    for kernel, bias in network.weights.values():
        yield kernel
        yield bias
    return {
        "layers": [asdict(layer) for layer in network.layers],
        "weights": list(network.weights),
        "identities": network.identities,
        "left_out": network.left_out,
    }


def parse(path: Path) -> Network:
    """As `read`, but in this process, which a file that was made to do harm may crash."""
    contents = {name: value for name, value in _load(path).items() if not name.startswith("__")}
    network = contents.pop("net", contents)
    structs = network.pop("layers", None) if isinstance(network, dict) else None
    if isinstance(structs, dict):  # a cell of one
        structs = [structs]
    if not isinstance(structs, list) or not all(isinstance(struct, dict) for struct in structs):
        raise InputError(
            f"{path}: no cell array `layers` of structs, at the top or in `net`;"
            " expected a MatConvNet SimpleNN network"
        )
    meta = network.get("meta", network)
    mean = _mean(meta, path)

    layers: list[Layer] = []
    weights: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    left_out: list[str] = []
    for number, struct in enumerate(structs, 1):
        where = f"{path}: layer {struct.get('name', f'number {number}')}"
        for field in _TRAINING_STATE:
            state = struct.pop(field, ())
            left_out += [name for name, _ in _arrays(state, f"{struct.get('name')}.{field}")]
        layer, tensors = _layer(struct, where)
        if layer.name in weights:
            raise InputError(f"{where}: two layers have this name; expected one")
        layers.append(layer)
        if tensors:
            weights[layer.name] = tensors

    _refuse_unknown_tensors(path, {"layers": structs, "net": network, "others": contents}, weights)
    return Network(
        path=Path(path),
        layers=tuple(layers),
        weights=weights,
        mean=mean,
        identities=_identities(meta.get("classes")),
        left_out=tuple(left_out),
    )


def _load(path: Path) -> dict:
    """The file's variables: structs as dictionaries, cells as lists or arrays, axes of 1 gone."""
    with open(path, "rb") as file:
        start = file.read(32)
    for signature, form in _OTHER_FORMS.items():
        if start.startswith(signature):
            raise InputError(f"{path}: {form}")
    try:
        try:
            return scipy.io.loadmat(path, simplify_cells=True)
        except NotImplementedError:  # version 7.3, which is HDF5
            import pymatreader

            return pymatreader.read_mat(path)
    except MemoryError:
        raise
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
    kind = _IN_EVALUATION.get(kind, kind)
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
        window=_pair(struct.pop("pool", 1), f"{where}: pool", least=1),
        stride=_pair(struct.pop("stride", 1), f"{where}: stride", least=1),
        pad=_sides(struct.pop("pad", 0), f"{where}: pad"),
        rate=_rate(struct.pop("rate", 0.5), where) if kind == "dropout" else 0.0,
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


def _mean(meta: Any, path: Path) -> np.ndarray:
    """The mean to subtract, (1, 1, 3) or (rows, columns, 3)."""
    normalization = meta.get("normalization") if isinstance(meta, dict) else None
    if not isinstance(normalization, dict) or "averageImage" not in normalization:
        raise InputError(f"{path}: no `normalization.averageImage`, the mean to subtract")
    found = np.asarray(normalization.pop("averageImage"))
    mean = _leading_ones(found, 3) if found.ndim in (1, 3) else found  # (1, 1, 3) was squeezed
    if mean.ndim != 3 or mean.shape[-1] != 3 or mean.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: averageImage is {times(found.shape) or 'a single value'} of {found.dtype};"
            " expected three numbers, or an image of three channels"
        )
    if not np.isfinite(mean).all():
        raise InputError(f"{path}: averageImage is infinite or no number; expected finite values")
    return mean


def _rate(value: Any, where: str) -> float:
    """The share that a dropout layer sets to zero."""
    rate = np.asarray(value)
    if rate.size != 1 or rate.dtype.kind not in "fiu" or not 0 <= rate.item() < 1:
        raise InputError(f"{where}: rate is {_shown(value)}; expected a share, at least 0, below 1")
    return float(rate.item())


def _pair(value: Any, where: str, *, least: int = 0) -> tuple[int, int]:
    """Of rows and of columns."""
    down, across = _numbers(value, 2, where, least=least)
    return down, across


def _sides(value: Any, where: str) -> tuple[int, int, int, int]:
    """Top, bottom, left and right."""
    top, bottom, left, right = _numbers(value, 4, where)
    return top, bottom, left, right


def _numbers(value: Any, count: int, where: str, *, least: int = 0) -> tuple[int, ...]:
    """`count` whole numbers out of a scalar, which stands for them all, or a vector."""
    numbers = np.ravel(value)
    if numbers.size not in (1, count) or numbers.dtype.kind not in "fiu":
        raise InputError(f"{where} is {_shown(value)}; expected 1 or {count} numbers")
    # A comparison with NaN is false.
    if not ((numbers >= least) & (numbers < 2**31) & (numbers == np.floor(numbers))).all():
        shown = ", ".join(f"{number:g}" for number in numbers)
        raise InputError(f"{where} is {shown}; expected whole numbers of at least {least}")
    return tuple(int(number) for number in np.broadcast_to(numbers, count))


def _shown(value: Any) -> str:
    """A value on a line of its own, cut."""
    return " ".join(repr(value).split())[:60]


def _identities(classes: Any) -> tuple[str, ...]:
    fields = classes if isinstance(classes, dict) else {}
    names = fields["description"] if "description" in fields else fields.get("name", ())
    return tuple(str(name) for name in ([names] if isinstance(names, str) else names))


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
