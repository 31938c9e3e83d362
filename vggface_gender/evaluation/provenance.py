"""What a result was made from: hashes of contents, in a file beside it.

Beside a table or picture that was made here lies `<stem>.made_by.json`. The result stands for a new
computation only if what it was made from is equal, never by its name or its date; and a result of
other records that happen to share a dataset's name is not written over.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vggface_gender.base import files
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import Dataset, catalogue

# Raised where the same classifier and records come to give other outputs.
VERSION = 1
TRAINED_ON = "trained_on.npz"  # beside a run's classifier: see `trained_on`


def made_by(classifier: Path, dataset: Dataset, *, split: str, **settings: Any) -> dict:
    """What a classifier's predictions on a dataset's split are made from, as hashes of contents.

    Args:
        classifier: its file.
        settings: whatever else changes the outputs, such as the number of dropout samples; None
            where it is as it is by default.
    """
    learned = classifier.parent / TRAINED_ON  # it says which faces are left out of the figures
    made = {
        "classifier": files.digest(classifier),
        "records": dataset.fingerprint,
        "split": split,
        "settings": {name: value for name, value in settings.items() if value is not None},
        "version": VERSION,
    }
    if learned.is_file():
        made["trained_on"] = files.digest(learned)
    if dataset.name not in catalogue.NAMED:
        made["dataset"] = place_of(dataset.name)
    return made


def place_of(name: str) -> str:
    """Where a folder or table of one's own lies, which tells it apart from others of its name."""
    return str(Path(name).resolve())


def is_of_place(path: Path, name: str) -> bool:
    """Whether the result at `path` may be on the folder or table `name`; True if not known."""
    made = (known(path) or {"made_by": {}})["made_by"]
    return made.get("dataset") in (None, place_of(name))


def is_current(path: Path, made_by: Mapping) -> bool:
    """Whether there is a result at `path` that was made from exactly this, and not changed since.

    One of unknown origin, without a file that says what made it, is not. What killed writers left
    beside it is swept: where all is current, nobody writes there, and would sweep it.
    """
    files.sweep(path.parent)
    found = known(path)
    # Both ways through JSON, where a tuple is a list.
    wanted = json.loads(json.dumps(dict(made_by)))
    return (
        found is not None
        and found["made_by"] == wanted
        and path.is_file()
        and found.get("table") == files.digest(path)
    )


def place(folder: Path, name: str, *, dataset: Dataset, made_by: Mapping) -> Path:
    """Where a result on a dataset belongs: its usual place, or beside that of other records.

    Args:
        name: of the file, `{}` in the place of the dataset's label.
        made_by: what the result is made from: a dictionary with the `records`' hash.
    """
    usual, beside = places(folder, name, dataset=dataset, made_by=made_by)
    return beside if is_of_others(usual, made_by) else usual


def places(folder: Path, name: str, *, dataset: Dataset, made_by: Mapping) -> tuple[Path, Path]:
    """The two places that a result on a dataset may have: the usual one, and the one beside it.

    In the second's name the label is followed by the start of the records' hash.
    """
    label = dataset.label
    return tuple(  # type: ignore[return-value]
        folder / name.format(each) for each in (label, f"{label}-{made_by['records'][:8]}")
    )


def is_of_others(path: Path, made_by: Mapping) -> bool:
    """Whether the result at `path` is known to be of other records than those in `made_by`."""
    found = known(path)
    return (
        found is not None
        and path.is_file()
        and found["made_by"].get("records") != made_by["records"]
    )


def check(path: Path, classifier: Path) -> None:
    """Refuse a result that is known to be of another classifier, or changed since it was written.

    Raises:
        InputError: it is.
    """
    found = known(path)
    if found and path.is_file() and found.get("table") not in (None, files.digest(path)):
        raise InputError(f"{path}: changed since it was written: evaluate again")
    made = found["made_by"].get("classifier") if found else None
    if made is not None and classifier.is_file() and made != files.digest(classifier):
        raise InputError(
            f"{path}: these are the predictions of another classifier than {classifier}: evaluate "
            "that again"
        )


def sign(path: Path, made_by: Mapping | None) -> None:
    """Say beside a result what it was made from.

    Args:
        made_by: None where that is not known: what another result left there is removed.
    """
    if made_by is None:
        _beside(path).unlink(missing_ok=True)
    else:
        files.write_json({"made_by": dict(made_by), "table": files.digest(path)}, _beside(path))


def known(path: Path) -> dict | None:
    """What is known of how a result was made; None where nothing is."""
    try:
        found = json.loads(_beside(path).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    is_one = isinstance(found, dict) and isinstance(found.get("made_by"), dict)
    return found if is_one else None


def _beside(path: Path) -> Path:
    return path.with_suffix(".made_by.json")
