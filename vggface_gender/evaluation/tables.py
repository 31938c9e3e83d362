"""Which of a run's predictions tables is meant by a dataset's name."""

import re
from collections.abc import Mapping
from pathlib import Path

from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue
from vggface_gender.evaluation import predictions, provenance, repeats


def of_run(run: str, dataset: str, *, split: str) -> tuple[Path, str]:
    """A run's predictions table, and what its name calls the dataset.

    Raises:
        InputError: the run has several repeats, or no such table that is its classifier's.
    """
    folders = repeats.folders(run)
    if len(folders) > 1:
        raise InputError(f"{run} holds {', '.join(folders)}: give one of these folders")
    (folder,) = folders.values()
    found = predictions.tables(folder, split)
    named = _named(dataset, found)
    if named is None:
        there = f" (it has those of {', '.join(found)})" if found else ""
        raise InputError(
            f"{run} has no {split} predictions of {dataset}{there}: make them with "
            f"vggface-gender evaluate --run {run} --dataset {dataset}"
        )
    provenance.check(found[named], folder / runs.CLASSIFIER)
    return found[named], named


def _named(wanted: str, found: Mapping[str, Path]) -> str | None:
    """What the run's files call a dataset; None if they have none of it.

    Raises:
        InputError: a folder or table was named, and there are predictions of several of its name.
    """
    if wanted in found:
        return wanted
    label = catalogue.label(wanted)
    # Tables of other records under one name have a hash in theirs (see `predictions.place`).
    alike = [name for name in found if re.fullmatch(re.escape(label) + "(-[0-9a-f]{8})?", name)]
    if Path(wanted).exists():
        alike = [name for name in alike if provenance.is_of_place(found[name], wanted)]
    if len(alike) > 1:
        raise InputError(
            f"{wanted}: the run has predictions of several datasets of that name: give one of "
            f"{', '.join(alike)}, as `vggface-gender evaluate` printed it"
        )
    return alike[0] if alike else None
