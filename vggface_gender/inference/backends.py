"""Which library a classifier runs on: ONNX Runtime where there is a file for it, else Keras."""

import importlib.util
from pathlib import Path

from vggface_gender.base import extras, files
from vggface_gender.base.errors import InputError
from vggface_gender.inference.interface import Predictor

BACKENDS = ("auto", "onnx", "keras")


def load(path: Path, *, backend: str = "auto", device: str = "auto") -> Predictor:
    """A classifier from its file, in `float32`: the same answers on every machine.

    Args:
        path: a `.onnx` file, or a `.keras` file, in whose place the `.onnx` file beside it is
            taken, if there is one that was exported from just this.
        backend: one of `BACKENDS`; "keras" passes over the file beside.
        device: what ONNX Runtime computes on: see `onnx_classifier.load`.

    Raises:
        InputError: the file is not a classifier, or what it needs is not there.
    """
    if backend not in BACKENDS:
        raise InputError(f"no backend {backend}: give one of {', '.join(BACKENDS)}")
    exported = path if path.suffix == ".onnx" else path.with_suffix(".onnx")
    if backend != "keras" and exported.is_file():
        from vggface_gender.inference import onnx_classifier

        found = onnx_classifier.load(exported, device=device)
        if path == exported or found.made_from == files.digest(path):
            return found
    if path == exported and backend == "keras":
        raise InputError(f"{path}: Keras does not read it: name the run that it was exported from")
    if backend == "onnx" or path == exported:
        raise InputError(
            f"{path}: no {exported.name} that was exported from it: vggface-gender export --run "
            f"{path.parent}"
        )
    if device != "auto":
        raise InputError(f"device {device} goes with ONNX Runtime: export the run, or leave it out")
    if not importlib.util.find_spec("tensorflow"):
        raise InputError(
            f"{path}: to read it takes TensorFlow: {extras.remedy('train')}, or export the run to "
            "ONNX where that is installed"
        )
    from vggface_gender.base import device as machine

    machine.start()
    from vggface_gender.inference import classifier

    return classifier.load(path, precision="float32")
