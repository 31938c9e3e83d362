"""A classifier on ONNX Runtime: the answers of `inference.classifier`, without TensorFlow."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vggface_gender.base import contract, runtime
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.runtime import onnxruntime
from vggface_gender.inference import arrays

# The metadata of a file, beside its contract.
MADE_FROM = "made_from"  # the hash of the .keras file
LICENCE = "licence"
FEATURES = "features"

CROP = "crop"  # the input

# ONNX Runtime's names of what it computes on, those that are taken first at the front.
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": runtime.CPU,
}


@dataclass(frozen=True)
class OnnxClassifier:
    """A model from crops to answers, with its contract: see `inference.interface.Classifier`."""

    session: onnxruntime.InferenceSession
    tasks: dict[str, tuple[str, ...]]
    size: int
    padding: float
    about: dict
    made_from: str | None  # the hash of the .keras file that it was exported from
    licence: str

    def predict(self, crops: np.ndarray, *, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Answers for crops: see `inference.interface.Classifier`."""
        outputs = self._run(tuple(self.tasks), crops, batch_size)
        arrays.require_finite(outputs)
        return outputs

    def embed(self, crops: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """The features (n, d) `float32` that the head works on; crops are as in `predict`."""
        return self._run((FEATURES,), crops, batch_size)[FEATURES]

    def _run(
        self, names: tuple[str, ...], crops: np.ndarray, batch_size: int
    ) -> dict[str, np.ndarray]:
        crops = arrays.crops(crops)
        count = len(crops)
        if not count:  # not every operation takes a batch of none
            crops = np.zeros((1, self.size, self.size, 3), np.uint8)
        parts = [
            self.session.run(names, {CROP: crops[start : start + batch_size].astype(np.float32)})
            for start in range(0, len(crops), batch_size)
        ]
        joined = (np.concatenate(each)[:count] for each in zip(*parts, strict=True))
        return dict(zip(names, joined, strict=True))


def load(path: str | os.PathLike, *, device: str = "auto") -> OnnxClassifier:
    """A classifier from its ONNX file.

    Args:
        device: one of `PROVIDERS`, or "auto" for the first of them that is there.

    Raises:
        InputError: the file is not there, or not a classifier; there is no such device.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; export a run, or name another file")
    try:
        session = runtime.session(path, providers=_providers(device))
        said = session.get_modelmeta().custom_metadata_map
    except InputError:
        raise
    except Exception as error:  # ONNX Runtime's are of many kinds
        raise InputError(
            f"{path}: not a model that ONNX Runtime {onnxruntime.__version__} can read "
            f"({first_line(error)}); export it again"
        ) from None
    if contract.NAME not in said:
        raise InputError(f"{path}: not a classifier of this package; export a run's, or name it")
    found = contract.parse(said[contract.NAME].encode(), path)
    if problem := _mismatch(session, found["tasks"]):
        raise InputError(f"{path}: {problem}; export it again")
    return OnnxClassifier(
        session,
        {task: tuple(names) for task, names in found["tasks"].items()},
        found["size"],
        found["padding"],
        found["about"],
        said.get(MADE_FROM),
        said.get(LICENCE, ""),
    )


def _mismatch(session: onnxruntime.InferenceSession, tasks: dict[str, list[str]]) -> str | None:
    """In what a model is not the one that its contract describes; None where it is."""
    if (named := [each.name for each in session.get_inputs()]) != [CROP]:
        return f"its inputs are {', '.join(named)[:80]}, not {CROP}"
    shapes = {output.name: output.shape for output in session.get_outputs()}
    for task, names in tasks.items():
        if task not in shapes:
            return f"no output {task}"
        sides = shapes[task][1:]  # after that of the batch; a side that is not known is no int
        expected = [len(names)] if names else []
        if len(sides) != len(expected) or (
            sides and isinstance(sides[0], int) and sides != expected
        ):
            return f"its output {task} is of shape {shapes[task]}, and it has {len(names)} labels"
    return None


def _providers(device: str) -> list[str]:
    """ONNX Runtime's names for a device, the processor last."""
    there = onnxruntime.get_available_providers()
    found = [
        provider
        for name, provider in PROVIDERS.items()
        if provider in there and device in ("auto", name)
    ]
    if not found:
        known = ", ".join(name for name, provider in PROVIDERS.items() if provider in there)
        raise InputError(f"no device {device} for ONNX Runtime here: give auto or {known}")
    return list(dict.fromkeys([*found, PROVIDERS["cpu"]]))
