"""TensorFlow.js's graph models, read into NumPy arrays.

Such a model is a JSON file and, beside it, shards of raw bytes. `modelTopology.node` is the graph,
a node an operation as TensorFlow calls it; `weightsManifest` has groups of weights (name, shape,
dtype, and how the numbers are quantized), whose bytes lie in the group's shards one after the
other, without a gap. The format is read off TensorFlow.js's `tfjs-core/src/io/io_utils.ts`.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vggface_gender.base.errors import InputError, first_line

# What numbers are stored as, by the dtype that they stand for; quantized ones by their own.
_STORED = {"float32": "<f4", "int32": "<i4", "bool": "|u1"}
_QUANTIZED = {"float16": "<f2", "uint8": "|u1", "uint16": "<u2"}
_LARGEST = 2**26  # bytes of a JSON file: a graph of thousands of nodes takes a few megabytes


class Node(NamedTuple):
    """One operation of the graph."""

    name: str
    op: str  # as TensorFlow calls it: "Conv2D"
    inputs: tuple[str, ...]  # names of nodes
    attributes: Mapping[str, Any]  # as the file has them


class Graph(NamedTuple):
    """A graph model."""

    path: Path
    nodes: dict[str, Node]  # by name
    arrays: dict[str, np.ndarray]  # weights by name: float32, int32 or bool


def read(path: str | os.PathLike) -> Graph:
    """Read a graph model's JSON file and the shards beside it.

    Args:
        path: the JSON file.

    Returns:
        All nodes, and all weights, none of which is infinite or no number. float16 is widened and
        uint8 and uint16 are scaled, as TensorFlow.js does.

    Raises:
        InputError: a file is missing, is cut short or goes on after its end, or what it says is not
            a graph model's: the message names the weight or the node.
    """
    path = Path(path)
    model = _json(path)
    groups = _member(model, "weightsManifest", list, f"{path}: its object")
    topology = _member(model, "modelTopology", dict, f"{path}: its object")
    nodes: dict[str, Node] = {}
    for each in _member(topology, "node", list, f"{path}: modelTopology"):
        node = _node(each, path)
        if node.name in nodes:
            raise InputError(f"{path}: two nodes are called {node.name}; expected one")
        nodes[node.name] = node
    arrays: dict[str, np.ndarray] = {}
    for group in groups:
        for name, array in _group(group, path):
            if name in arrays:
                raise InputError(f"{path}: two weights are called {name}; expected one")
            arrays[name] = array
    return Graph(path, nodes, arrays)


def _json(path: Path) -> Any:
    """The content of the JSON file."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a graph model's .json file") from None
    if len(text) > _LARGEST:
        raise InputError(f"{path}: more than {_LARGEST >> 20} MB; expected a graph model's JSON")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not whole JSON ({first_line(error)})") from None


def _member(value: Any, key: str, kind: type, where: str) -> Any:
    """A member of a JSON object, of the kind that it has to be."""
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        what = {"list": "a list", "dict": "an object", "str": "a text"}[kind.__name__]
        raise InputError(f"{where} has no `{key}` that is {what}; expected a TF.js graph model's")
    return found


def _node(value: Any, path: Path) -> Node:
    name = _member(value, "name", str, f"{path}: a node")
    where = f"{path}: node {name}"
    inputs = value.get("input", [])
    if not isinstance(inputs, list) or not all(isinstance(each, str) for each in inputs):
        raise InputError(f"{where}: `input` is no list of names")
    attributes = value.get("attr", {})
    if not isinstance(attributes, dict):
        raise InputError(f"{where}: `attr` is no object")
    # "name:0" is a node's first output; "^name" only has to run before.
    sources = tuple(each.removesuffix(":0") for each in inputs if not each.startswith("^"))
    return Node(name, _member(value, "op", str, where), sources, attributes)


def _group(group: Any, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The weights of a group and their names."""
    weights = _member(group, "weights", list, f"{path}: a group of weightsManifest")
    shards = _member(group, "paths", list, f"{path}: a group of weightsManifest")
    forms = [_form(weight, path) for weight in weights]
    expected = sum(form.bytes for form in forms)
    places = [_shard(shard, path) for shard in shards]
    # By the files' sizes, before anything is read: what is claimed is not to be believed.
    found = sum(place.stat().st_size for place in places)
    if found != expected:
        named = ", ".join(place.name for place in places)
        raise InputError(
            f"{path}: {named or 'no shard'}: {found:,} bytes for {len(forms)} weights of"
            f" {expected:,}; the files are not whole, or not this model's: get them again"
        )
    data = b"".join(place.read_bytes() for place in places)
    start = 0
    for form in forms:
        yield form.name, _numbers(data[start : start + form.bytes], form, path)
        start += form.bytes


class _Form(NamedTuple):
    """How a weight is stored."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # of `_STORED`
    stored: np.dtype
    scale: float
    least: float

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.stored.itemsize


def _form(weight: Any, path: Path) -> _Form:
    name = _member(weight, "name", str, f"{path}: a weight")
    where = f"{path}: weight {name}"
    shape = _member(weight, "shape", list, where)
    if not all(type(side) is int and 0 <= side < 2**31 for side in shape) or len(shape) > 8:
        raise InputError(f"{where}: its shape is {shape!s:.60}; expected up to 8 whole numbers")
    dtype = _member(weight, "dtype", str, where)
    if dtype not in _STORED:
        raise InputError(f"{where}: of dtype {dtype:.40}; expected one of {', '.join(_STORED)}")
    quantization = weight.get("quantization")
    if quantization is None:
        return _Form(name, tuple(shape), dtype, np.dtype(_STORED[dtype]), 1.0, 0.0)
    kind = _member(quantization, "dtype", str, f"{where}: its quantization")
    is_float = dtype == "float32"
    if kind not in _QUANTIZED or not (is_float or (dtype == "int32" and kind != "float16")):
        raise InputError(
            f"{where}: {dtype} quantized as {kind:.40}; expected float32 as one of"
            f" {', '.join(_QUANTIZED)}"
        )
    affine = [1.0, 0.0]
    if kind != "float16":
        affine = [quantization.get("scale"), quantization.get("min")]
        if not all(type(each) in (int, float) and abs(each) < 1e30 for each in affine):
            raise InputError(f"{where}: quantized without a `scale` and a `min` that are numbers")
    return _Form(name, tuple(shape), dtype, np.dtype(_QUANTIZED[kind]), *affine)


def _shard(name: Any, path: Path) -> Path:
    """A shard's place, which is beside the JSON file."""
    if not isinstance(name, str) or Path(name).name != name or "\0" in name:
        raise InputError(f"{path}: a shard is called {name!s:.60}; expected a file beside it")
    place = path.with_name(name)
    if not place.is_file():
        raise InputError(f"{place}: no such file; {path.name} names it: put both into one folder")
    return place


def _numbers(data: bytes, form: _Form, path: Path) -> np.ndarray:
    """A weight's numbers out of its bytes."""
    stored = np.frombuffer(data, form.stored).reshape(form.shape)
    if form.stored.kind == "u" and form.dtype != "bool":
        values = stored * np.float64(form.scale) + np.float64(form.least)
    else:
        values = stored
    if not np.isfinite(values).all():
        raise InputError(f"{path}: weight {form.name}: has numbers that are infinite or none")
    if form.dtype == "int32":
        values = np.round(values)
    return values.astype({"float32": np.float32, "int32": np.int32, "bool": bool}[form.dtype])
