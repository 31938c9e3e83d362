"""Perceived gender, race and age from faces by transfer learning, in Keras 3 on TensorFlow.

    import vggface_gender as vg

    model = vg.load()
    result = model.predict("photo.jpg")

`load` gives a `Model`; a `PhotoAnswer` and its parts are what is predicted of a photo's faces, a
`VideoAnswer` that of the people in a video.
Importing the package is cheap: everything else loads with what needs it, and TensorFlow only to
train and to evaluate.
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
    from vggface_gender.api.audits import audit_predictions
    from vggface_gender.api.estimator import FaceClassifier
    from vggface_gender.api.model import Model, load
    from vggface_gender.base.errors import InputError
    from vggface_gender.inference.answers import FaceAnswer, Label, PhotoAnswer, Years, to_frame
    from vggface_gender.inference.track_answers import TrackAnswer, VideoAnswer

__version__ = "0.2.0"
__all__ = [
    "FaceAnswer",
    "FaceClassifier",
    "InputError",
    "Label",
    "Model",
    "PhotoAnswer",
    "TrackAnswer",
    "VideoAnswer",
    "Years",
    "audit_predictions",
    "load",
    "to_frame",
]

_HOMES = {
    **dict.fromkeys(("Model", "load"), "api.model"),
    **dict.fromkeys(
        ("FaceAnswer", "Label", "PhotoAnswer", "Years", "to_frame"), "inference.answers"
    ),
    **dict.fromkeys(("TrackAnswer", "VideoAnswer"), "inference.track_answers"),
    "InputError": "base.errors",
    "FaceClassifier": "api.estimator",
    "audit_predictions": "api.audits",
}


def __getattr__(name: str) -> Any:
    """The public names, imported with the module that they are of."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        from vggface_gender.base import extras

        extra = extras.of(error.name or "")
        hint = f"{name} takes {error.name}: {extras.remedy(extra)}" if extra else str(error)
        raise ModuleNotFoundError(hint, name=error.name) from None
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
