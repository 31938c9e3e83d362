"""VGG-Face and FaceRes to Keras backbones, and the written file's check against the original.

What is checked is what lies on disk: the file that was written is read back and run, and so is the
original, in NumPy and float64, on one image. They are compared after every layer.
"""

import functools
import gc
import itertools
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from vggface_gender.backbones import faceres, faceres_file, vggface
from vggface_gender.base import files, text
from vggface_gender.base.errors import InputError
from vggface_gender.weights import matconvnet, network, tfjs
from vggface_gender.weights.network import Layer, Network

TOLERANCE = 1e-4  # float32 keeps 24 bits: over the layers errors of some 1e-6 add up


class Original(NamedTuple):
    """A file's network, as it is compared with."""

    layers: tuple[Layer, ...]
    parameters: dict[str, int]  # by layer, of those that have any
    # Of an image (size, size, 3), RGB in [0, 255]: what each layer gives, one after the other.
    forward: Callable[[np.ndarray], Iterator[tuple[Layer, np.ndarray]]]
    left_out: tuple[str, ...] = ()  # what else the file has, such as tensors of training alone
    notes: tuple[str, ...] = ()  # what the file was taken for


class Conversion(NamedTuple):
    """A converted network and how it compares with its file."""

    original: Original
    differences: dict[str, float]  # by layer: see `compare`; layers beyond the output are absent
    total: int  # the model's parameters
    shape: tuple[int, ...]  # of what the model gives, without the batch
    worst: float  # the largest difference; NaN if any is


class DifferenceError(InputError):
    """The written file differs from the original by more than is allowed."""

    def __init__(self, message: str, conversion: Conversion):
        super().__init__(message)
        self.conversion = conversion


def convert(
    original: Path,
    to: Path,
    *,
    read: Callable[[Path], Network] = matconvnet.read,
    output: str = "pool5",
    tolerance: float = TOLERANCE,
    architecture: Mapping[str, Any] | None = None,
) -> Conversion:
    """Write a file's VGG-Face as a `.keras` file, which appears only if all is well.

    Args:
        original: the file of another framework.
        to: the `.keras` file.
        read: what reads it: `matconvnet.read`, or `vggface_keras.read` with its arguments.
        output: one of `vggface.OUTPUTS`.
        tolerance: the largest difference allowed after a layer, relative to its largest value.
        architecture: what differs from VGG-Face: `channels`, `size`, `dense`, `identities` as for
            `vggface.from_network`.

    Raises:
        InputError: the file is missing, damaged or not VGG-Face.
        DifferenceError: the two networks differ by more than `tolerance`.
    """
    if not original.is_file():
        raise InputError(
            f"{original}: no such file. Read the licence at {vggface.PAGE}, download and unpack"
            f" {vggface.SOURCE} and give its data/vgg_face.mat as --mat"
        )

    def write(part: Path) -> None:
        found = read(original)
        model = vggface.from_network(found, output, **architecture or {})
        vggface.save(model, part, identities=found.identities if output == "identities" else ())

    return _checked(
        original, to, write=write, again=lambda: of_network(read(original)), tolerance=tolerance
    )


def convert_faceres(
    original: Path,
    to: Path,
    *,
    size: int = faceres.SIZE,
    tolerance: float = TOLERANCE,
    architecture: Mapping[str, Any] | None = None,
) -> Conversion:
    """Write a file's FaceRes as a `.keras` file, which appears only if all is well.

    Args:
        original: the JSON file of TensorFlow.js, its shard beside it.
        to: the `.keras` file.
        size: rows and columns of the crops in pixels, a multiple of 32.
        tolerance: as for `convert`.
        architecture: what differs from FaceRes: `stem`, `blocks`, `embedding` as for
            `faceres.build`.

    Raises:
        InputError: a file is missing, damaged or not FaceRes.
        DifferenceError: the two networks differ by more than `tolerance`.
    """
    known = faceres_file.layers(**architecture or {})

    def write(part: Path) -> None:
        weights = faceres_file.weights(tfjs.read(original), list(known))
        faceres.build(weights, size, **architecture or {}).save(part)

    def again() -> Original:
        graph = tfjs.read(original)
        return Original(
            layers=tuple(known),
            parameters=_parameters(faceres_file.weights(graph, list(known))),
            forward=functools.partial(faceres_file.forward, graph, known=known),
            left_out=faceres_file.left_out(graph),
        )

    return _checked(original, to, write=write, again=again, tolerance=tolerance)


def of_network(found: Network) -> Original:
    """A network in MatConvNet's terms, as it is compared with."""
    return Original(
        layers=found.layers,
        parameters={name: sum(a.size for a in arrays) for name, arrays in found.weights.items()},
        forward=functools.partial(network.forward, found),
        left_out=found.left_out,
        notes=found.notes,
    )


def _checked(
    original: Path,
    to: Path,
    *,
    write: Callable[[Path], None],
    again: Callable[[], Original],
    tolerance: float,
) -> Conversion:
    """What `write` writes, kept at `to` if it agrees with what `again` reads of the original."""
    with files.whole(to) as part:
        write(part)
        gc.collect()  # Keras's models refer to themselves; this one may be of 580 MB

        conversion = _check(_reload(part), again())
        if not conversion.worst <= tolerance:  # a NaN is no success
            layer, value = next(
                (layer, value)
                for layer, value in conversion.differences.items()
                if not value <= tolerance
            )
            raise DifferenceError(
                f"{original}: the model differs by {conversion.worst:.1e}, first after layer"
                f" {layer} ({value:.1e}); allowed are {tolerance:.0e}; {to} is not written",
                conversion,
            )
    return conversion


def compare(model: keras.Model, original: Original) -> dict[str, float]:
    """The largest difference after each layer of a model, relative to the layer's largest value.

    Args:
        model: as `convert` and `convert_faceres` write it.
        original: the one that it was made from, whole.

    Returns:
        By layer, from the image to the model's output; to the first that is of another size, whose
        difference is infinite.
    """
    probe = keras.Model(model.input, {layer.name: layer.output for layer in model.layers[1:]})
    image = np.random.default_rng(0).integers(0, 256, model.input.shape[1:]).astype(np.float32)
    outputs = probe(image[np.newaxis], training=False)
    for ours in ("normalization", "flatten"):  # which the file does not have
        outputs.pop(ours, None)

    differences: dict[str, float] = {}
    steps = itertools.islice(original.forward(image), len(outputs))
    for layer, expected in tqdm(steps, "checking", len(outputs), unit="layer", disable=None):
        found = np.asarray(outputs[layer.name])
        if found.size != expected.size:  # another stride, say: what follows is another network
            return differences | {layer.name: float("inf")}
        found = found.reshape(expected.shape)
        scale = np.abs(expected).max() or 1.0
        differences[layer.name] = float(np.abs(found - expected).max() / scale)
    return differences


def report(conversion: Conversion) -> str:
    """A line a layer: its kernel, its parameters, and how far Keras is from NumPy after it."""
    rows = []
    original = conversion.original
    for layer in original.layers:
        difference = conversion.differences.get(layer.name)
        rows.append(
            [
                layer.name,
                layer.type,
                network.times(layer.shape),
                f"{original.parameters.get(layer.name, 0):,}",
                "left out" if difference is None else f"{difference:.1e}",
            ]
        )
    header = ["layer", "type", "kernel", "parameters", "difference"]
    lines = [text.table(header, rows, text_columns=2)]
    if original.left_out:
        lines.append(f"left out of the file: {', '.join(original.left_out)}")
    lines += original.notes
    return "\n".join(lines)


def _parameters(weights: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many there are of each layer, of arrays by `layer/variable`."""
    counts: dict[str, int] = {}
    for name, array in weights.items():
        layer = name.partition("/")[0]
        counts[layer] = counts.get(layer, 0) + array.size
    return counts


def _check(model: keras.Model, original: Original) -> Conversion:
    """Model and file compared, with the figures of both."""
    differences = compare(model, original)
    return Conversion(
        original=original,
        differences=differences,
        total=model.count_params(),
        shape=tuple(model.output.shape[1:]),
        worst=float(np.max(list(differences.values()))),
    )


def _reload(path: Path) -> keras.Model:
    """The model in a `.keras` file, without holding the whole file in memory.

    Keras would: it opens the archive there. It reads an unpacked one from disk.
    """
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        archive.extractall(folder, ("config.json", "metadata.json", "model.weights.h5"))
        return keras.models.load_model(folder, compile=False)
