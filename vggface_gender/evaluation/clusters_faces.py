"""The faces of datasets that are clustered, and their features."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggface_gender import datasets
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import MISSING
from vggface_gender.data import features, records, targets
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import held_out
from vggface_gender.inference.feature_network import Network


class Faces(NamedTuple):
    """The faces of a dataset's split that are clustered."""

    dataset: Dataset
    label: str  # the dataset's, which tells it from others here
    split: str
    task: str  # whose labels the clusters are compared with
    is_in_domain: bool  # whether the run whose features they have was trained on this dataset
    names: tuple[str, ...]  # the labels that occur in the split
    rows: np.ndarray  # (n,) places in the split
    files: np.ndarray  # (n,) names of the faces
    true: np.ndarray  # (n,) places in `names`
    missing: int  # faces of the split without a label
    left_out: int  # faces with one that are not in the sample


def choose(
    name: str,
    split: str,
    *,
    task: str,
    count: int,
    seed: int = 0,
    run: Path | None = None,
    source: Path | None = None,
    data_dir: Path = datasets.DATA_DIR,
    split_seed: int = 0,
    keep_going: bool = False,
    align: str | None = None,
) -> Faces:
    """The faces of a dataset to cluster, its records written first where they are missing.

    Args:
        name, data_dir, keep_going: see `datasets.prepare`.
        task, count, seed: see `sample`.
        run: the classifier's file whose features they are to have; None for a backbone's. What it
            was trained on is split as then.
        source: the folder that holds one for each named dataset.
        split_seed: of the split of any other dataset.
        align: as `datasets.prepare` takes it; None for "auto", or as `run` was trained.

    Raises:
        InputError: see `datasets.prepare`, `held_out.prepare` and `sample`.
    """
    source = datasets.source_in(source, name)
    own = {} if run is None else _own_split(run, name)
    if run is not None and own:
        dataset = held_out.prepare(
            run, name, source=source, data_dir=data_dir, keep_going=keep_going, align=align
        )
    else:
        dataset = datasets.prepare(
            name,
            source,
            data_dir=data_dir,
            seed=split_seed,
            keep_going=keep_going,
            align=align or (held_out.alignment(run, name) if run else "auto"),
        )
    return sample(dataset, split, task=task, count=count, seed=seed, is_in_domain=bool(own))


def sample(
    dataset: Dataset,
    split: str,
    *,
    task: str,
    count: int,
    seed: int = 0,
    is_in_domain: bool = False,
) -> Faces:
    """The faces of a split that have a label of a classification task, or a sample of them.

    Args:
        task: gender or race.
        count: of how many faces at most.
        seed: of the sample.
        is_in_domain: see `Faces`.

    Raises:
        InputError: no such split, or too few labels or faces in it.
    """
    dataset.require(split)
    truth = records.labels(dataset, split)
    occurring = set(truth[task])
    names = tuple(label for label in dataset.classes(task) if label in occurring)
    if len(names) < 2:
        there = f"one {task} alone, {names[0]}" if names else f"no {task} labels"
        raise InputError(
            f"{dataset.name} has {there} in its {split} split: nothing to compare clusters with"
        )
    true = targets.indices(truth, task, names=names)
    known = np.flatnonzero(true != MISSING)
    rows = known
    if count < len(known):
        rows = np.sort(np.random.default_rng(seed).choice(known, count, replace=False))
    if len(rows) < len(names):
        raise InputError(
            f"{dataset.name}: {len(rows)} faces are fewer than the {len(names)} clusters, one for "
            f"each {task}: take more faces"
        )
    return Faces(
        dataset=dataset,
        label=dataset.label,
        split=split,
        task=task,
        is_in_domain=is_in_domain,
        names=names,
        rows=rows,
        files=truth["name"].to_numpy()[rows],
        true=true[rows],
        missing=len(truth) - len(known),
        left_out=len(known) - len(rows),
    )


def vectors(faces: Faces, network: Network, *, directory: Path) -> np.ndarray:
    """The faces' features (n, d), from the cache in `directory` or computed.

    Raises:
        InputError: they are all the same, or not finite.
    """
    every = features.extract(
        faces.dataset,
        faces.split,
        backbone=network.model,
        padding=network.padding,
        directory=directory,
    )
    found = every[faces.rows].reshape(len(faces.rows), -1)
    if not 0 < np.ptp(found, axis=0).max() < np.inf:
        raise InputError(
            f"{faces.dataset.name}: the features of all faces are the same, or not finite: "
            "name another layer"
        )
    return found


def _own_split(run: Path, name: str) -> dict:
    """See `held_out.own_split`; {} of a classifier's file that is not in a run's folder."""
    is_run = (run.parent / "config.json").is_file()
    return held_out.own_split(runs.settings(run.parent), name) if is_run else {}
