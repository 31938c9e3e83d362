"""A classifier tested on a dataset's split: from records to a predictions table."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from vggface_gender.base import runs
from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import predictions, provenance, trained_on
from vggface_gender.inference import classifier, dropout
from vggface_gender.inference.classifier import Classifier


class Tested(NamedTuple):
    """What a classifier predicts for a split."""

    table: pd.DataFrame  # see `predictions.table`
    uncertainties: dict[str, np.ndarray] | None  # of sampled predictions: see `dropout.Sampled`


def test(
    path: Path,
    trained: Classifier,
    *,
    dataset: Dataset,
    split: str,
    batch_size: int = 64,
    samples: int | None = None,
) -> Tested:
    """Predict a split, beside the true labels; faces that were trained on are marked.

    Args:
        path: the classifier's file.
        samples: predict the mean of so many predictions with dropout left on.

    Raises:
        InputError: the dataset has no such split, or the head no dropout.
    """
    dataset.require(split)
    uncertainties = None
    if samples:
        truth, sampled = dropout.classify_sampled(
            trained, dataset, split=split, samples=samples, batch_size=batch_size
        )
        outputs, uncertainties = sampled
    else:
        truth, outputs = classifier.classify(trained, dataset, split=split, batch_size=batch_size)
    table = predictions.table(
        truth["name"],
        truth[list(TASKS)],
        outputs=outputs,
        tasks=trained.tasks,
        overlap=trained_on.marks(path, dataset, split=split),
    )
    return Tested(table, uncertainties)


def predicted(path: Path, dataset: Dataset, *, split: str) -> pd.DataFrame:
    """A classifier's predictions for a split, made first where there is no table of these.

    Args:
        path: the classifier's file; the table lies beside it (see `runs.results_folder`).

    Returns:
        See `predictions.read`; the rows are those of `records.labels`.

    Raises:
        InputError: the dataset has no such split.
    """
    key = provenance.made_by(path, dataset, split=split)
    within = runs.results_folder(path)
    place = predictions.current(within, dataset, split=split, made_by=key)
    if place is None:
        table = test(path, classifier.load(path), dataset=dataset, split=split).table
        place = predictions.place(within, dataset, split=split, made_by=key, table=table)
        predictions.write(table, place, made_by=key)
    return predictions.read(place)
