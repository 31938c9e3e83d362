"""Classifier files in half precision, which stock Keras reads as it reads any other."""

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

from vggface_gender.base import files
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier

SMALL = 1_000  # numbers of a weight that half precision would save little on


def save(trained: Classifier, path: Path) -> None:
    """Write a classifier as `classifier.save` does, its large weights in `float16`.

    Keras reads them into `float32` variables as before. What half precision can't hold to 11 bits
    stays as it is, and so do weights of under `SMALL` numbers; states of optimizers are left out. A
    probability moves by less than 1e-3 (dlib's network: a test).

    Args:
        path: where the file goes, whole or not at all.
    """
    with files.whole(path) as part:
        classifier.save(trained, part)
        _halve(part)


def _halve(path: Path) -> None:
    """Rewrite a `.keras` file as `save` says."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    for layer in config["config"]["layers"]:
        layer.pop("compile_config", None)
    members["config.json"] = json.dumps(config).encode()
    members["model.weights.h5"] = _rounded(members["model.weights.h5"])
    # The archive's compression is better than HDF5's own, which goes array by array.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _rounded(weights: bytes) -> bytes:
    """Keras's HDF5 file of weights with `float16` for `float32`, and without optimizers' states."""
    rounded = io.BytesIO()
    with h5py.File(io.BytesIO(weights)) as source, h5py.File(rounded, "w") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if "optimizer" in name.split("/"):
                return
            if isinstance(item, h5py.Group):
                target.create_group(name)
            else:
                values = item[()]
                target[name] = _in_half(values) if values.dtype == np.float32 else values
            target[name].attrs.update(item.attrs)

        source.visititems(copy)
    return rounded.getvalue()


def _in_half(values: np.ndarray) -> np.ndarray:
    """The array in `float16`; as it is if small, or if its largest number is not within range."""
    if values.size < SMALL:
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    off = np.abs(half.astype(np.float32) - values).max()
    return half if off <= np.abs(values).max() * 2**-11 else values  # NaN: as it is
