"""Every form that a classifier is exported to, by its name, and what is asked of each."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vggface_gender.backbones import onnx_network
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.exports import folders, onnx, parity, tensorflow
from vggface_gender.inference import onnx_classifier
from vggface_gender.inference.classifier import Classifier
from vggface_gender.inference.interface import Answering

CALIBRATION = 300  # training crops by which the ranges of integers are set


def write(form: str, trained: Classifier, *, path: Path, out: Path, dataset: Dataset) -> Answering:
    """Write a classifier in a form, and return it read back.

    Args:
        form: "onnx", "saved_model", "litert", "litert-int8", "triton" or "hub".
        trained: loaded in `float32`.
        path: its `.keras` file.
        out: the file or folder to write.
        dataset: whose training crops set the ranges of 8-bit integers.

    Raises:
        InputError: its backbone is an ONNX network.
    """
    if onnx_network.is_one(trained.parts()[0]):
        raise InputError(
            f"{path}: it stands on an ONNX network, which runs within Keras and can't be exported"
        )
    if form == "onnx":
        onnx.save(trained, out, made_from=path)
        return onnx_classifier.load(out)
    if form == "saved_model":
        return tensorflow.save_saved_model(trained, out)
    if form == "triton":
        folders.save_triton(trained, out, path=path)
        return onnx_classifier.load(out / runs.called(path) / "1" / "model.onnx")
    if form == "hub":
        folders.save_hub(trained, out, path=path)
        return onnx_classifier.load(out / runs.ONNX)
    calibration = _crops(trained, dataset) if form == "litert-int8" else None
    return tensorflow.save_litert(trained, out, calibration=calibration)


def require_parity(found: Mapping[str, Mapping]) -> None:
    """Refuse an export whose answers are too far off.

    Args:
        found: see `cost.compared`.

    Raises:
        InputError: a label is another one, or an output differs by more than `parity.TOLERANCE`.
    """
    for task, figures in found.items():
        if figures["relabelled"] or not figures["largest"] <= parity.TOLERANCE[task]:
            raise InputError(
                f"the exported classifier's {task} differs by {figures['largest']:.1e}, allowed "
                f"are {parity.TOLERANCE[task]:.0e}: nothing is kept; report this with the run"
            )


def _crops(trained: Classifier, dataset: Dataset) -> Iterator[np.ndarray]:
    """The first training crops (size, size, 3) `uint8`."""
    batches = records.batches(
        dataset, "train", batch_size=50, size=trained.size, padding=trained.padding
    )
    crops = (crop for part in batches.as_numpy_iterator() for crop in part["image"])
    return itertools.islice(crops, CALIBRATION)
