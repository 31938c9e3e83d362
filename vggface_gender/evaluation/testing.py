"""A classifier tested on a dataset's split: from records to a predictions table."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from vggface_gender.base.tasks import TASKS
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import predictions, trained_on
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
