"""Features files in the cache: the finished, the unfinished, the damaged, and room for more."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vggface_gender.base import disk, locks
from vggface_gender.data import features_file
from vggface_gender.data.features_file import FeaturesFile


class Place(NamedTuple):
    """Where features lie, finished and not, and in what form."""

    done: Path
    part: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def form(self) -> dict[str, Any]:
        """As `FeaturesFile` takes it."""
        return {"shape": self.shape, "dtype": self.dtype}


def whole(place: Place) -> FeaturesFile | None:
    """The finished features, if all of them are as they were written."""
    rows = _opened(place.done, place.form)
    return rows if rows is not None and rows.whole() == len(rows) else None


def unfinished(place: Place) -> FeaturesFile:
    """A file to go on with: what a kill left, the whole rows of a damaged file, or a new one.

    Raises:
        InputError: the disk has no room for it.
    """
    if place.done.exists():
        rows = _opened(place.done, place.form)
        place.done.replace(place.part)
        if rows is None:
            how = "can't be read, or is of an earlier version: its features are computed anew"
        else:
            how = f"is damaged: its features are computed anew from row {rows.whole() + 1:,} on"
        print(f"{place.done} {how}", file=sys.stderr)
    rows = _opened_part(place)
    if rows is None:
        place.part.unlink(missing_ok=True)
        _require_room([place])
        rows = _create(place)
    return rows


def reserve(places: Iterable[Place]) -> None:
    """Take the disk's space for all of these that are not there in any part.

    Raises:
        InputError: the disk has no room for all of them.
    """
    missing = [place for place in dict.fromkeys(places) if not _is_begun(place)]
    _require_room(missing)
    for place in missing:
        with locks.held(place.done):
            if not _is_begun(place):
                _create(place)


def _is_begun(place: Place) -> bool:
    return place.done.exists() or _opened_part(place) is not None


def _opened_part(place: Place) -> FeaturesFile | None:
    return _opened(place.part, place.form | {"writable": True})


def _opened(path: Path, form: Mapping[str, Any]) -> FeaturesFile | None:
    """A features file of this form; None where there is none that can be used."""
    try:
        return FeaturesFile(path, **form)
    except PermissionError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, TypeError):  # as HDF5 finds it damaged
        return None


def _require_room(places: Sequence[Place]) -> None:
    """Refuse what the disk has no room for.

    Raises:
        InputError: it says how much there is.
    """
    if places:
        needed = sum(features_file.size(**place.form) for place in places)
        disk.require(places[0].done.parent, needed, what="the features")


def _create(place: Place) -> FeaturesFile:
    """An unfinished file with space on the disk for all rows."""
    try:
        features_file.create(place.part, **place.form)
    except BaseException:
        place.part.unlink(missing_ok=True)
        raise
    return FeaturesFile(place.part, **place.form, writable=True)
