"""Classifiers by datasets: a matrix of figures, in-domain and cross-dataset.

Every figure comes from the predictions tables in the runs' folders, which are made where they are
missing or not of this classifier and these records. A dataset that a classifier was trained on
(in-domain) is tested on the split that was held out from it; any other (cross-dataset) on the split
of a given seed. Test images that nevertheless are among the training images, exactly or as
near-duplicates, are counted, and the figures given without them too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from vggface_gender import datasets, photos
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import Dataset, catalogue
from vggface_gender.evaluation import (
    detection,
    held_out,
    overlap,
    predictions,
    testing,
    trained_on,
)
from vggface_gender.evaluation.cells import of as of_table
from vggface_gender.evaluation.trained_on import Learned
from vggface_gender.photos import prints

SPLIT = "test"
DETECTION = ("count", "missed", "interval")  # of those of detection


class Test(NamedTuple):
    """One training's classifier on one dataset."""

    run: str  # as it was given
    repeat: str  # "seed-0", "fold-0"; "" of a run of one training
    folder: Path  # the training's
    dataset: Dataset
    label: str  # the dataset's, which no other dataset here has
    is_in_domain: bool  # whether it was trained on this dataset
    table: pd.DataFrame  # its predictions for the test split, training images among them marked

    @property
    def name(self) -> str:
        """The run and the repeat: "mine/seed-0"."""
        return f"{self.run}/{self.repeat}" if self.repeat else self.run


def trainings(names: Sequence[str]) -> dict[tuple[str, str], Path]:
    """The folder of every finished training, by run and repeat.

    Args:
        names: runs, as the commands take them.

    Raises:
        InputError: there is no such run, or one of its trainings has no classifier yet.
    """
    folders = {
        (name, repeat): folder
        for name in names
        for repeat, folder in runs.repeats(runs.folder(name)).items()
    }
    for (name, repeat), folder in folders.items():
        if not (folder / runs.CLASSIFIER).is_file():
            which = f"{name}/{repeat}" if repeat else name
            raise InputError(f"{which} has no {runs.CLASSIFIER}: finish its training first")
    return folders


def tests(
    folders: Mapping[tuple[str, str], Path],
    names: Sequence[str],
    *,
    source: Path | None = None,
    data_dir: Path = datasets.DATA_DIR,
    seed: int = 0,
    keep_going: bool = False,
    align: str | None = None,
) -> list[Test]:
    """Every classifier on every dataset.

    Args:
        folders: see `trainings`.
        names: datasets, as `datasets.prepare` takes them.
        source: the folder that holds one for each named dataset.
        seed: of the split of datasets that a classifier was not trained on.
        data_dir, keep_going: see `datasets.prepare`.
        align: see `held_out.prepare`.
    """
    where: dict[str, Any] = {"data_dir": data_dir, "keep_going": keep_going}
    called = catalogue.labels(names)
    found = []
    for (run, repeat), folder in folders.items():
        settings = runs.settings(folder)
        path = folder / runs.CLASSIFIER
        at_hand = None
        if trained_on.read(path) is None:
            learned = held_out.learned_from(settings)
            at_hand = _learned_from(folder, learned, source=source, seed=seed, **where)
        for name in names:
            dataset = _prepare(folder, name, source=source, seed=seed, align=align, **where)
            table = testing.predicted(path, dataset, split=SPLIT)
            if at_hand:
                marks = trained_on.marks(path, dataset, split=SPLIT, learned=at_hand)
                table = table.assign(**{predictions.OVERLAP: marks})
            is_in_domain = held_out.is_in_domain(path, name)
            found.append(Test(run, repeat, folder, dataset, called[name], is_in_domain, table))
    return found


def detections(tested: Sequence[Test], folder: Path, *, detector: str = "auto") -> dict[Path, dict]:
    """How many faces of each dataset's test split the face detector finds, by group.

    Not of aligned records, whose crops were cut around what it found.

    Args:
        folder: where the tables of detections are kept.
        detector: as `detect.detect` takes it.

    Returns:
        What `detection.measure` gives, and the `dataset`'s label, by the records' folder.
    """
    found = {}
    for test in tested:
        dataset = test.dataset
        if not dataset.is_aligned and dataset.directory not in found:
            one = detection.measure(
                dataset,
                split=SPLIT,
                folder=folder,
                detector=detector,
                threshold=photos.THRESHOLD,
            )
            found[dataset.directory] = {"dataset": test.label} | one
    return found


def cells(
    tested: Sequence[Test], detected: Mapping[Path, Mapping] = MappingProxyType({})
) -> list[dict]:
    """The figures of every classifier on every dataset, as JSON can hold them.

    Args:
        detected: see `detections`.

    Returns:
        For each: `run` (with the repeat's name), `dataset`, `trained_on` (whether it is in-domain),
        `count`; `overlap`: how many test images are among its training images, `exact` (those are
        left out of the figures) or `near` (those included), None where these are not known; by task
        `accuracy` or `mae`, `interval`, `count`, `dropped`, what it is `without_overlap`, and the
        score `by_gender`; and `detection`, the count of missed faces, where that was measured.
    """
    found = []
    for test in tested:
        cell = of_table(
            test.table, run=test.name, dataset=test.label, is_in_domain=test.is_in_domain
        )
        if one := detected.get(test.dataset.directory):
            cell["detection"] = {key: one[key] for key in DETECTION}
        found.append(cell)
    return found


def _prepare(folder: Path, name: str, *, source: Path | None, seed: int, **where) -> Dataset:
    """A dataset to test a training on, divided as then if it was trained on it."""
    own = held_out.own_split(runs.settings(folder), name)
    return held_out.prepare(
        folder / runs.CLASSIFIER,
        name,
        source=datasets.source_in(source, name),
        seed=None if own else seed,
        **where,
    )


def _learned_from(
    folder: Path, names: Sequence[str], *, source: Path | None, seed: int, **where
) -> Learned | None:
    """What a training that kept no hashes learned from, by the datasets that its settings name.

    None where some of it is not at hand. Of a slice or fold all training images are taken.
    """
    settings = runs.settings(folder)
    found = []
    for name in names:
        division = held_out.own_split(settings, name) or {"seed": seed}
        division["align"] = held_out.own_alignment(settings, name)
        try:
            dataset = datasets.prepare(
                name, datasets.source_in(source, name), **where, **division, say=lambda _: None
            )
        except InputError:
            return None
        found.append(overlap.of_split(dataset, "train"))
    return Learned(prints.joined(found), prints.NONE.digests)
