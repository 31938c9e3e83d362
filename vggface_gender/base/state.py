"""What this package keeps in JSON: read back, and refused in one line where it is damaged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vggface_gender.base.errors import InputError

Form = Mapping[str, type | tuple[type, ...]]  # keys that must be there, and their values' types


def read(path: Path, form: Form, *, remedy: str = "") -> dict[str, Any]:
    """The object in a JSON file; keys beyond its form are welcome.

    Args:
        remedy: what to do about a file that is not there or damaged, for the error; "" where the
            caller knows.

    Raises:
        InputError: it is not there, cut, or of another form.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}" + f"; {remedy}" * bool(remedy)) from None
    return parse(content, form, where=str(path), remedy=remedy)


def parse(content: bytes, form: Form, *, where: str, remedy: str = "") -> dict[str, Any]:
    """The object in a JSON text; see `read`.

    Args:
        where: what the error begins with.

    Raises:
        InputError: it is cut or of another form.
    """
    check(found := _parsed(content), form, where=where, remedy=remedy)
    return found


def check(found: Any, form: Form, *, where: str, remedy: str = "") -> None:
    """Refuse what is not an object of that form; see `parse`."""
    if problem := _problem(found, form):
        raise InputError(f"{where} is damaged ({problem})" + f": {remedy}" * bool(remedy))


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        return error if content.strip() else ValueError("empty")


def _problem(found: Any, form: Form) -> str | None:
    """What is wrong with what a JSON text holds; None where nothing is."""
    if isinstance(found, Exception):
        return " ".join(str(found).split())
    if not isinstance(found, dict):
        return "no object"
    for key, kind in form.items():
        if key not in found:
            return f"no {key}"
        if not isinstance(found[key], kind) or (isinstance(found[key], bool) and kind is not bool):
            return f"{key} is {str(found[key])[:40]!r}"
    return None
