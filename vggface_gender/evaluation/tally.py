"""Counts that stand for a table of predictions: all that an audit of it needs.

Each cell is of faces that are alike in all that figures ask for, so a tally is small however many
faces it is of, figures from it are those from the faces, and tallies of a table's parts add up to
the table's. Confidence is kept in slices, cut at the edges of the calibration's bins and at the
thresholds of abstention, with its sum in each: neither loses anything by it.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION
from vggface_gender.evaluation import calibration, groups, metrics, predictions, unseen

MOST = 2**62  # combinations of keys, so that a number stands for each


class Tally(NamedTuple):
    """Faces counted by cell; both frames have a row for each cell that has faces."""

    # What true labels and groups its faces have: gender, race and age band (see `groups.keys`) and
    # groups of the table's own, of dtype category, missing where unknown.
    groups: pd.DataFrame
    # Of dtype category `is_copy` (of an image that was trained on), `predicted` (the likeliest
    # label, in the names that true labels and outputs are compared in; missing where there is no
    # prediction, as the next two), `bin` and `reached` (see `calibration.binned` and `reached`);
    # then sums: int64 `count`, of faces; `near`, of those that are marked as copies or
    # near-duplicates; `soft`, of those whose outputs are more than a label; and float64
    # `confidence`.
    cells: pd.DataFrame
    copies: list[str] | None  # names of the first copies; None where the table marks none at all

    @property
    def names(self) -> list[str]:
        """The labels that are compared."""
        return self.cells["predicted"].cat.categories.tolist()


def of(frame: pd.DataFrame, task: str, *, names: Sequence[str] | None = None) -> Tally:
    """The tally of a table, or of a part of one.

    Args:
        frame: see `predictions.table`.
        task: gender or race.
        names: the labels to compare in, where the frame is a part (see `metrics.compared_names`,
            of the whole table without copies); None: those of the frame.

    Raises:
        InputError: see `joined`.
    """
    names = metrics.compared_names(unseen.faces(frame), task) if names is None else tuple(names)
    given = predictions.probabilities(frame, task)
    is_predicted = ~np.isnan(given).any(axis=1)
    probability = metrics.projected(
        np.where(is_predicted[:, None], given, 0),
        predictions.output_labels(frame, task),
        into=names,
    )
    confidence = probability.max(axis=1, initial=0)
    marks = frame.get(predictions.OVERLAP, pd.Series(None, frame.index, dtype=object))
    is_copy = (marks == predictions.EXACT).to_numpy(bool)

    def category(places: np.ndarray, names: Sequence) -> pd.Categorical:
        return pd.Categorical.from_codes(np.where(is_predicted, places, -1), names)

    cells = pd.DataFrame(
        {
            "is_copy": pd.Categorical.from_codes(is_copy.astype(int), [False, True]),
            "predicted": category(probability.argmax(axis=1), names),
            "bin": category(calibration.binned(confidence), range(calibration.BINS)),
            "reached": category(
                calibration.reached(confidence), range(len(calibration.THRESHOLDS) + 1)
            ),
            "count": 1,
            "near": marks.notna().to_numpy(int),
            "soft": (is_predicted & ~((given == 0) | (given == 1)).all(axis=1)).astype(int),
            "confidence": confidence,
        }
    )
    overlap = unseen.overlap(frame)
    its = pd.concat([groups.keys(frame), frame.select_dtypes("category")], axis=1)
    copies = None if overlap is None else overlap["names"]
    return _merged(Tally(its.reset_index(drop=True), cells, copies))


def of_all(frame: pd.DataFrame) -> dict[str, Tally]:
    """The tallies of a table, by classification task that it has outputs of."""
    return {task: of(frame, task) for task in CLASSIFICATION if predictions.has(frame, task)}


def joined(tallies: Sequence[Tally]) -> Tally:
    """The tally of a table from those of its parts, in their order.

    Args:
        tallies: one at least; their columns are of the same categories.

    Raises:
        InputError: the groups of its own are too many together.
    """
    marked = [tally.copies for tally in tallies if tally.copies is not None]
    return _merged(
        Tally(
            pd.concat([tally.groups for tally in tallies], ignore_index=True),
            pd.concat([tally.cells for tally in tallies], ignore_index=True),
            list(itertools.chain(*marked))[: unseen.NAMED] if marked else None,
        )
    )


def _merged(tally: Tally) -> Tally:
    """Cells that are alike as one, in the order of their categories."""
    keyed = tally.cells.select_dtypes("category")
    keys = [
        frame.iloc[:, place] for frame in (tally.groups, keyed) for place in range(frame.shape[1])
    ]
    shape = tuple(len(key.cat.categories) + 1 for key in keys)
    if math.prod(shape) > MOST:
        raise InputError("groups by so many columns at once are too many: give fewer")
    places = np.ravel_multi_index([key.cat.codes.to_numpy() + 1 for key in keys], shape)
    sums = tally.cells.drop(columns=keyed.columns).groupby(places).sum()
    its = [
        pd.Series(pd.Categorical.from_codes(codes - 1, dtype=key.dtype), name=key.name)
        for codes, key in zip(np.unravel_index(sums.index, shape), keys, strict=True)
    ]
    width = tally.groups.shape[1]
    cells = pd.concat([*its[width:], sums.reset_index(drop=True)], axis=1)
    return tally._replace(groups=pd.concat(its[:width], axis=1), cells=cells)
