"""The division of a dataset whose test split a run did not learn from.

A run that was trained on a dataset is tested on the division that it was trained with; of a dataset
that it was not trained on, every division is as good as another.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from vggface_gender import datasets
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import Dataset, catalogue, mixes
from vggface_gender.evaluation.provenance import TRAINED_ON


def prepare(
    classifier: Path,
    name: str,
    *,
    source: str | Path | None = None,
    data_dir: str | Path = datasets.DATA_DIR,
    seed: int | None = None,
    keep_going: bool = False,
    padding: float | None = None,
    align: str | None = None,
) -> Dataset:
    """A dataset's records, divided so that the classifier has not seen their test split.

    Args:
        classifier: its file; of a run, beside the run's settings.
        name, source, data_dir, keep_going, padding: see `datasets.prepare`.
        seed: of the split; None for the run's own division (see `division`).
        align: as `datasets.prepare` takes it; None for what the run's own data was aligned by (see
            `alignment`), or "auto" where a frame is stated.

    Raises:
        InputError: see `datasets.prepare`; the run was trained on other records of this dataset,
            so that its own division can't be made again, and has no hashes of them.
    """
    dataset = datasets.prepare(
        name,
        source,
        data_dir=data_dir,
        keep_going=keep_going,
        padding=padding,
        align=align or ("auto" if padding is not None else alignment(classifier, name)),
        **division(classifier, name, seed=seed),
    )
    if seed is None and (settings := _settings(classifier)):
        _check_is_what_was_learned(classifier.parent, settings, dataset)
    return dataset


def division(classifier: Path, name: str, *, seed: int | None = None) -> dict:
    """How to divide a dataset that a classifier is tested on: arguments of `datasets.prepare`.

    Args:
        classifier: its file; of a run, beside the run's settings.
        name: the dataset, as the commands take it.
        seed: as it was given; None for the run's own division (see `own_split`), or seed 0 of what
            it was not trained on.
    """
    if seed is not None:
        return {"seed": seed}
    settings = _settings(classifier)
    return (own_split(settings, name) if settings else {}) or {"seed": 0}


def alignment(classifier: Path, name: str) -> str:
    """How the faces of a dataset are aligned for a classifier: as those that it learned from.

    Args:
        classifier: its file; of a run, beside the run's settings.
        name: the dataset, as the commands take it.

    Returns:
        One of `geometry.ALIGN`.
    """
    settings = _settings(classifier)
    return own_alignment(settings, name) if settings else "auto"


def own_alignment(settings: Mapping, name: str) -> str:
    """The same of a run of these settings."""
    # Before faces were aligned on the way in, runs learned from images as they are.
    return settings.get("align", "never" if own_split(settings, name) else "auto")


def own_split(settings: Mapping, name: str) -> dict:
    """The division of a dataset that a run of these settings was trained with.

    Args:
        settings: a run's.
        name: a dataset, as the commands take it.

    Returns:
        `seed` and `fold`, as arguments of `datasets.prepare`; {} where the run was not trained on
        that dataset.
    """
    if not any(_is_same(name, other) for other in mixes.names(settings["dataset"])):
        return {}
    fold = settings.get("fold")
    return {"seed": settings.get("split_seed", 0), "fold": fold and tuple(fold)}


def is_in_domain(classifier: Path, name: str) -> bool:
    """Whether a classifier's run, or one before it, was trained on a dataset, by its name.

    Args:
        classifier: its file.
        name: a dataset, as the commands take it.
    """
    settings = _settings(classifier)
    return settings is not None and any(_is_same(name, other) for other in learned_from(settings))


def learned_of(settings: Mapping, called: str) -> bool | None:
    """Whether a run of these settings learned from the dataset that its tables call so.

    None where nothing says what it learned from. In the name of a dataset that was divided in
    another way stands the start of a hash (see `provenance.places`).
    """
    if not settings.get("dataset"):
        return None
    plain = re.sub("-[0-9a-f]{8}$", "", called)
    label = plain if plain in catalogue.NAMED else called
    return label in {catalogue.label(name) for name in learned_from(settings)}


def learned_from(settings: Mapping) -> list[str]:
    """The datasets that a run of these settings learned from, and those before it."""
    every = [*(settings.get("before") or ()), settings["dataset"]]
    return list(dict.fromkeys(name for text in every for name in mixes.names(text)))


def _settings(classifier: Path) -> dict | None:
    """The settings of the run that a classifier's file is of; None where it is of none."""
    is_run = (classifier.parent / "config.json").is_file()
    return runs.settings(classifier.parent) if is_run else None


def _is_same(one: str, other: str) -> bool:
    """Whether two names are of one dataset: equal, or paths of one folder or table."""
    return one == other or (
        datasets.is_own(one) and datasets.is_own(other) and os.path.samefile(one, other)
    )


def _check_is_what_was_learned(run: Path, settings: Mapping, dataset: Dataset) -> None:
    """Refuse records that a run was not trained on, where they should be those that it was.

    A dataset that has grown is divided anew, and faces that were trained on come into its test
    split. Where the run keeps hashes of what it was trained on, these faces are recognized (see
    `trained_on`) and nothing is refused. (Of a mix, the settings hold one fingerprint of all parts
    together: it is not checked.)
    """
    trained_on = settings.get("fingerprint")
    if not trained_on or not _is_same(dataset.name, settings["dataset"]):
        return
    if dataset.fingerprint != trained_on and not (run / TRAINED_ON).is_file():
        raise InputError(
            f"{dataset.directory}: not the records that {run} was trained on, so some of its test "
            "faces may be among those it learned from; train again on these records, or name a "
            "split seed to test on them all the same"
        )
