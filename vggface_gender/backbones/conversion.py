"""VGG-Face to a Keras backbone, and the written file's check against the original.

What is checked is what lies on disk: the file that was written is read back and run, and so is the
original, in NumPy and float64, on one image. They are compared after every layer.
"""

import gc
import itertools
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from vggface_gender.backbones import vggface
from vggface_gender.base import files, text
from vggface_gender.base.errors import InputError
from vggface_gender.weights import matconvnet, network
from vggface_gender.weights.network import Layer, Network

TOLERANCE = 1e-4  # float32 keeps 24 bits: over the layers errors of some 1e-6 add up


class Conversion(NamedTuple):
    """A converted network and how it compares with its file."""

    layers: tuple[Layer, ...]  # the file's
    parameters: dict[str, int]  # by layer, of those that have any
    differences: dict[str, float]  # by layer: see `compare`; layers beyond the output are absent
    left_out: tuple[str, ...]  # what else the file has, such as tensors that only training needs
    notes: tuple[str, ...]  # what the file was taken for
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
    """Write a file's network as a `.keras` file, which appears only if all is well.

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
    with files.whole(to) as part:
        found = read(original)
        model = vggface.from_network(found, output, **architecture or {})
        vggface.save(model, part, identities=found.identities if output == "identities" else ())
        del model, found
        gc.collect()  # Keras's models refer to themselves; this one may be of 580 MB

        conversion = _check(_reload(part), read(original))
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


def compare(model: keras.Model, original: Network) -> dict[str, float]:
    """The largest difference after each layer of a model, relative to the layer's largest value.

    Args:
        model: as `vggface.load` gives it.
        original: the one that it was made from, whole.

    Returns:
        By layer, from the image to the model's output.
    """
    probe = keras.Model(model.input, {layer.name: layer.output for layer in model.layers[1:]})
    image = np.random.default_rng(0).integers(0, 256, model.input.shape[1:]).astype(np.float32)
    outputs = probe(image[np.newaxis], training=False)
    for ours in ("normalization", "flatten"):  # which the file does not have
        outputs.pop(ours, None)

    differences = {}
    steps = itertools.islice(network.forward(original, image), len(outputs))
    for layer, expected in tqdm(steps, "checking", len(outputs), unit="layer", disable=None):
        found = np.asarray(outputs[layer.name]).reshape(expected.shape)
        scale = np.abs(expected).max() or 1.0
        differences[layer.name] = float(np.abs(found - expected).max() / scale)
    return differences


def report(conversion: Conversion) -> str:
    """A line a layer: its kernel, its parameters, and how far Keras is from NumPy after it."""
    rows = []
    for layer in conversion.layers:
        difference = conversion.differences.get(layer.name)
        rows.append(
            [
                layer.name,
                layer.type,
                network.times(layer.shape),
                f"{conversion.parameters.get(layer.name, 0):,}",
                "left out" if difference is None else f"{difference:.1e}",
            ]
        )
    header = ["layer", "type", "kernel", "parameters", "difference"]
    lines = [text.table(header, rows, text_columns=2)]
    if conversion.left_out:
        lines.append(f"left out of the file: {', '.join(conversion.left_out)}")
    lines += conversion.notes
    return "\n".join(lines)


def _check(model: keras.Model, original: Network) -> Conversion:
    """Model and file compared, with the figures of both."""
    differences = compare(model, original)
    return Conversion(
        layers=original.layers,
        parameters={
            name: sum(array.size for array in arrays) for name, arrays in original.weights.items()
        },
        differences=differences,
        left_out=original.left_out,
        notes=original.notes,
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
