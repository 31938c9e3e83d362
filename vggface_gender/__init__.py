"""Perceived gender, race and age from faces by transfer learning, in Keras 3 on TensorFlow.

`load` gives a classifier, `PhotoAnswer` and its parts are what is predicted of a photo's faces
(`inference.answers`). Importing the package is cheap: Keras and TensorFlow load with what needs
them.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- said here, before newer syntax is met
    sys.stderr.write(
        f"error: Python 3.11 or newer is needed, and this is {sys.version.split()[0]} "
        f"({sys.executable}): install another, and make the environment with it\n"
    )
    raise SystemExit(2)

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vggface_gender.inference.answers import FaceAnswer, Label, PhotoAnswer, Years
    from vggface_gender.inference.classifier import Classifier

__version__ = "0.2.0"
__all__ = ["Classifier", "FaceAnswer", "Label", "PhotoAnswer", "Years", "load"]

_HOMES = {
    "Classifier": "inference.classifier",
    **dict.fromkeys(("FaceAnswer", "Label", "PhotoAnswer", "Years"), "inference.answers"),
}


def load(run: str | None = None, *, precision: str = "auto") -> "Classifier":
    """A run's classifier.

    Args:
        run: its name under `model_files`, its folder, or a `.keras` file; by default the classifier
            that comes with the package.
        precision: see `inference.classifier.load`.

    Raises:
        InputError: there is no such run, or its file is not a classifier.
    """
    from vggface_gender.base import device, runs

    path = runs.find(run)
    device.start()
    from vggface_gender.inference import classifier

    return classifier.load(path, precision)


def __getattr__(name: str) -> Any:
    """The public names, imported with the module that they are of."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
