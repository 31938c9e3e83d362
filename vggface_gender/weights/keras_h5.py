"""Networks of one chain of layers in Keras's files: `.h5`, `.weights.h5` and `.keras`.

They are read with h5py alone: Keras is not asked to build anything, so nothing of the file is run.
Three forms of HDF5 are met:

- Keras 1 and 2, weights alone (`save_weights`): the attribute `layer_names` orders the groups, and
  each group's `weight_names` its arrays (`keras.src.legacy.saving.legacy_h5_format`);
- Keras 1 and 2, a whole model (`save`): the same in a group `model_weights`, and the layers'
  settings as JSON in the attribute `model_config`;
- Keras 3: `layers/<class>_<n>/vars/<k>`, numbered in the order of the layers within each class
  (`keras.src.saving.saving_lib`). A `.keras` file is a zip archive of that and of `config.json`.
"""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.weights import isolated, keras_config
from vggface_gender.weights.network import Layer, times

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # the second: Keras 2.13 to 2.15
_OPTIMIZER = ("optimizer", "optimizer_weights")  # groups that only training needs
_VALUES = 300_000_000  # more than any array of VGG-Face has: fc6's kernel has 103 million


class KerasFile(NamedTuple):
    """What a file has, in the order of its layers."""

    path: Path
    names: tuple[str, ...]  # of the layers that have weights, as the file says them
    tensors: tuple[tuple[np.ndarray, np.ndarray], ...]  # each layer's kernel and bias
    # All layers in MatConvNet's terms, named by their place ("conv1_1", "fc6"); None where the file
    # has weights alone.
    layers: tuple[Layer, ...] | None
    model: str  # the model's name, where the file has a configuration
    left_out: tuple[str, ...]  # what the file has besides: an optimizer, a pooling at the end


def read(path: Path) -> KerasFile:
    """Read a chain of convolutions and dense layers, in a process of its own (see `isolated`).

    A kernel is (rows, columns, channels in, channels out), or (in, out) of a dense layer.

    Raises:
        InputError: the file is missing, damaged, not Keras's, or no such network.
    """
    return _file(path, *isolated.read(_stream, path))


def parse(path: Path) -> KerasFile:
    """As `read`, but in this process, which a file that was made to do harm may crash."""
    return _file(path, *isolated.here(_stream, path))


def _file(path: Path, facts: dict, arrays: list[np.ndarray]) -> KerasFile:
    """What `isolated` carried, put together."""
    layers = facts["layers"]
    return KerasFile(
        path=Path(path),
        names=tuple(facts["names"]),
        tensors=tuple(zip(arrays[::2], arrays[1::2], strict=True)),
        layers=None if layers is None else tuple(Layer.from_json(fields) for fields in layers),
        model=facts["model"],
        left_out=tuple(facts["left_out"]),
    )


def check(path: Path) -> None:
    """Have every part of a Keras file read once, in a process of its own.

    Keras reads files in the caller's process, where HDF5's parser can crash or run for ever on a
    damaged one; what has passed here can be given to it.

    Raises:
        InputError: the file is missing or damaged.
    """
    isolated.read(_visit, path)


def _visit(path: Path) -> isolated.Arrays:
    """Read all of a file, and give nothing."""

    def visit(_: str, item: h5py.HLObject) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset) and not item.external and item.dtype.kind in "fiub":
            item[()]

    with _opened(path) as (file, _):
        visit("", file)
        file.visititems(visit)
    return None
    yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, Any]]:
    """The HDF5 part of a file, and the model's configuration where it has one."""
    with open(path, "rb") as file:
        start = file.read(len(_HDF5))
    config: Any = None
    if start.startswith(_ZIP):
        with zipfile.ZipFile(path) as archive:
            if "model.weights.h5" not in archive.namelist():
                raise InputError(f"{path}: a zip archive without Keras's model.weights.h5")
            config = json.loads(archive.read("config.json"))
            source: Any = io.BytesIO(archive.read("model.weights.h5"))  # all: so its CRC is checked
    elif start == _HDF5:
        source = path
    else:
        raise InputError(f"{path}: neither HDF5 nor a .keras file; expected Keras's weights")
    with h5py.File(source, "r") as file:
        if "model_config" in file.attrs:
            config = json.loads(_text(file.attrs["model_config"]))
        yield file, config


def _stream(path: Path) -> isolated.Arrays:
    """A file as `isolated` carries it."""
    with _opened(path) as (file, config):
        chain = None if config is None else keras_config.chain(config, path)
        group = _member(file, "model_weights") if "model_weights" in file else file
        if _attribute(group, "layer_names"):
            found = _by_name(group)
        else:
            found = _by_class(group, chain, path)
        pairs = list(_pairs(found, path))
        layers, left_out = None, [name for name in _OPTIMIZER if name in file]
        if chain is not None:
            layers, beyond = keras_config.layers(chain, [k.shape for _, k, _ in pairs], path=path)
            left_out += beyond
        for name, *datasets in pairs:
            for dataset in datasets:
                yield _values(dataset, f"{path}: layer {name}")
    return {
        "names": [name for name, _, _ in pairs],
        "layers": None if layers is None else [asdict(layer) for layer in layers],
        "model": "" if config is None else _name(config),
        "left_out": left_out,
    }


def _name(config: dict) -> str:
    """A model's name."""
    inner = config["config"]
    return str(inner.get("name", "")) if isinstance(inner, dict) else ""


def _by_name(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """The arrays of Keras 1 and 2 with their layers' names, in order."""
    for layer in _attribute(group, "layer_names"):
        for weight in _attribute(_member(group, layer), "weight_names"):
            # Within a model that is a layer, the weight's name has its own layer's before it.
            name = weight.split("/")[-2] if "/" in weight else layer
            yield name, _member(group, f"{layer}/{weight}")


def _by_class(
    group: h5py.Group, chain: list[keras_config.Step] | None, path: Path
) -> Iterator[tuple[str, h5py.Dataset]]:
    """The arrays of Keras 3 with their layers' names (or groups', where nothing names them)."""
    root = next((name for name in _CONTAINERS if name in group), None)
    if root is None:
        raise InputError(f"{path}: HDF5, but not Keras's: it has neither layer names nor layers")
    if chain is None:
        named = [(place.split("/")[-1], place) for place in _places(_member(group, root), root)]
    else:
        named = [(step.name, step.place.replace("layers", root)) for step in chain]
    for name, place in named:
        if f"{place}/vars" in group:
            variables = _member(group, f"{place}/vars")
            for key in sorted(variables, key=_naturally):
                yield name, _member(variables, key)


def _places(group: h5py.Group, place: str) -> Iterator[str]:
    """Where groups of Keras 3 may have variables, layers within layers too."""
    for key in sorted(group, key=_naturally):
        inner = _member(group, key)
        yield f"{place}/{key}"
        for root in _CONTAINERS:
            if isinstance(inner, h5py.Group) and root in inner:
                yield from _places(_member(inner, root), f"{place}/{key}/{root}")


def _naturally(name: str) -> tuple[str, int]:
    """A key by which conv2d_2 comes before conv2d_10, and conv2d before both."""
    stem, _, number = name.rpartition("_")
    return (
        (stem, int(number))
        if number.isdigit() and stem
        else (name, int(name) if name.isdigit() else 0)
    )


def _pairs(
    found: Iterable[tuple[str, h5py.Dataset]], path: Path
) -> Iterator[tuple[str, h5py.Dataset, h5py.Dataset]]:
    """Kernel and bias, layer by layer."""
    waiting: tuple[str, h5py.Dataset] | None = None
    for name, dataset in found:
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
            raise InputError(
                f"{path}: layer {name}: its weights are not in the file; expected them"
            )
        is_kernel = waiting is None
        axes = (2, 4) if is_kernel else (1,)
        if dataset.dtype.kind != "f" or dataset.ndim not in axes or dataset.size > _VALUES:
            expected = "a kernel of 2 or 4 axes" if is_kernel else "a bias"
            raise InputError(
                f"{path}: layer {name}: an array {times(dataset.shape)} of {dataset.dtype};"
                f" expected {expected} of floating-point numbers: convolutions and dense layers"
            )
        if waiting is None:
            waiting = name, dataset
            continue
        kernel, waiting = waiting[1], None
        if dataset.size != kernel.shape[-1]:
            raise InputError(
                f"{path}: layer {name}: the bias has {dataset.size} values; expected one for"
                f" each of the kernel's {kernel.shape[-1]} channels ({times(kernel.shape)})"
            )
        yield name, kernel, dataset
    if waiting is not None:
        raise InputError(f"{path}: layer {waiting[0]}: a kernel without a bias; expected both")


def _values(dataset: h5py.Dataset, where: str) -> np.ndarray:
    values = dataset[()]
    if not np.isfinite(values).all():
        raise InputError(f"{where}: weights that are infinite or no number; expected finite ones")
    return values


def _member(group: h5py.Group, place: str) -> Any:
    """What lies at a place within this very file: no link leads out of it."""
    for name in place.split("/"):
        if not isinstance(group, h5py.Group) or name not in group:
            raise InputError(f"{group.file.filename}: nothing at {place}; the file is incomplete")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise InputError(f"{group.file.filename}: {place} is a link, which is not followed")
        group = group[name]
    return group


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """A list of names, which Keras cuts into `name0`, `name1`, ... where it is long."""
    values = list(group.attrs.get(name, ()))
    number = 0
    while (part := f"{name}{number}") in group.attrs:
        values += list(group.attrs[part])
        number += 1
    return [_text(value) for value in values]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
