"""A classifier's contract: what has to be known to use the model in its file.

It is a JSON member of the `.keras` archive that Keras passes over, and is read here without Keras.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

from vggface_gender.base import state
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.tasks import TASKS

NAME = "classifier.json"
FORM = 2  # of the model within the file: 1 had heads of probabilities, 2 of logits
_REQUIRED: state.Form = {
    "tasks": dict,
    "size": int,
    "padding": (int, float),
    "precision": str,
    "about": dict,
}
_OPTIONAL: state.Form = {"form": int, "mirror": bool, "temperatures": dict}
_SIZES, _PADDINGS = (8, 4096), (0, 5)  # what a crop's side and padding can be
_REMEDY = "train it again, or name another run"


def read(path: Path) -> dict[str, Any]:
    """The contract in a classifier's file.

    Returns:
        `form`; and, by their names, the fields of `inference.classifier.Classifier` that were
        written.

    Raises:
        InputError: the file is not there, is no classifier's, or of a newer form.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; train a classifier first, or name another run")
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(NAME)
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError) as error:
        raise InputError(
            f"{path}: not a classifier of this package ({first_line(error)}); {_REMEDY}"
        ) from None
    return parse(content, path)


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """The contract in a text, as `read` gives it.

    Args:
        path: the file that it was in, for errors.

    Raises:
        InputError: see `read`.
    """
    where = f"{path}: its {NAME}"
    found = {"form": 1} | state.parse(content, _REQUIRED, where=where, remedy=_REMEDY)
    if isinstance(found["form"], int) and found["form"] > FORM:
        raise InputError(
            f"{path}: of form {found['form']}, written by a newer version of this package, which "
            f"reads forms up to {FORM}; upgrade it"
        )
    form = {**_REQUIRED, **{key: kind for key, kind in _OPTIONAL.items() if key in found}}
    state.check(found, form, where=where, remedy=_REMEDY)
    # What is not known here may change what the outputs mean.
    problem = _unknown_key(found, form) or _unknown_task(found["tasks"]) or _odd_crop(found)
    if problem:
        raise InputError(f"{where} is damaged ({problem}): {_REMEDY}")
    return found


def _unknown_key(found: dict, form: state.Form) -> str | None:
    return next((f"unknown key {key}" for key in found if key not in form), None)


def _unknown_task(tasks: dict) -> str | None:
    """What is wrong with the tasks; None where nothing is."""
    if not tasks:
        return "no tasks"
    for task, names in tasks.items():
        if task not in TASKS:
            return f"unknown task {task}"
        known = TASKS[task].labels
        if not isinstance(names, list) or any(name not in known for name in names):
            return f"{task} has the labels {str(names)[:40]}"
        if TASKS[task].is_classification and len(names) < 2:
            return f"{task} has {len(names)} labels"
        if len(set(names)) < len(names):
            return f"{task} has a label twice"
    return None


def _odd_crop(found: dict) -> str | None:
    """What is wrong with the crops that it says it takes; None where nothing is."""
    for name, (least, most) in (("size", _SIZES), ("padding", _PADDINGS)):
        if not least <= found[name] <= most:  # NaN is neither
            return f"{name} is {str(found[name])[:40]}, not {least} to {most}"
    return None
