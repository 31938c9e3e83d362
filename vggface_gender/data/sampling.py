"""How often each training example is drawn: rare groups more often, without copies on disk.

Balance is a matter of training alone. Groups are by perceived labels, as the datasets give them.
"""

import collections
import functools
import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from vggface_gender.base import labels as label_names
from vggface_gender.base import numbers, text
from vggface_gender.base.errors import InputError

MOST = 4.0  # a few faces drawn over and over are learnt by heart, not as a group
_NAMES = {
    "gender": label_names.GENDERS,
    "race": tuple(dict.fromkeys(itertools.chain(*label_names.RACES))),
    "age": label_names.AGE_BAND_NAMES,
}


def groups(truth: pd.DataFrame, by: str) -> np.ndarray:
    """The group that each row is of, such as "female, Asian"; None where a label is missing.

    Races of several taxonomies, as in a mix, are given their names in the coarser one.

    Args:
        truth: see `records.labels`; the columns that `by` names are used.
        by: "gender", "race", "age" (bands of `labels.age_band`), or several: "gender+race".

    Returns:
        (n,) of `object`.

    Raises:
        InputError: `by` is none of these.
    """
    columns = [_column(truth[task], task) for task in _tasks(by)]
    named = [None if None in row else ", ".join(row) for row in zip(*columns, strict=True)]
    return np.array(named, dtype=object)


def factors(
    truth: pd.DataFrame,
    by: str,
    *,
    most: float = MOST,
    copies: Mapping[str, float] | None = None,
) -> np.ndarray:
    """How often each row counts: the largest group's 1, a rarer one's as much more as it is rarer.

    Args:
        truth, by: see `groups`.
        most: what no factor goes above.
        copies: factors by group in place of these, as published recipes state them; a group that
            is not named has 1.

    Returns:
        (n,) `float64`; 1 where a label is missing.

    Raises:
        InputError: see `groups`; or no row has the labels, or none is of a group in `copies`.
    """
    named = groups(truth, by)
    counts = collections.Counter(name for name in named if name is not None)
    if not counts:
        raise InputError(f"no image has the labels to balance by {by}")
    if copies is None:
        copies = {name: min(most, max(counts.values()) / count) for name, count in counts.items()}
    elif absent := [name for name in copies if name not in counts]:
        raise InputError(
            f"no image is {' or '.join(absent)}, so that none can be drawn more often: "
            f"by {by} there are {'; '.join(_in_order(counts, by))}"
        )
    return np.array([copies.get(name, 1.0) for name in named], np.float64)


def group_weights(truth: pd.DataFrame, by: str) -> np.ndarray:
    """What each row counts in a loss in which every group counts alike, (n,) `float32`, mean 1.

    In proportion to `factors`, so that a group too rare for its cap still counts for less.

    Raises:
        InputError: see `factors`.
    """
    values = factors(truth, by)
    return (values / values.mean()).astype(np.float32)


def parse_balance(stated: str) -> tuple[str, dict[str, float] | None]:
    """What to balance by, and the factors that a command line states, keyed as `groups` names them.

    Args:
        stated: "race", "gender+race", or with factors "race:Black=2,Asian=3" and
            "gender+race:female+Black=2".

    >>> parse_balance("race:Black=2,Asian=3")
    ('race', {'Black': 2.0, 'Asian': 3.0})

    Raises:
        InputError: it is none of these, or names a label that there is not.
    """
    by, colon, listed = stated.partition(":")
    known = _known(by)
    if not colon:
        return by, None
    copies = {}
    for item in listed.split(","):
        name, _, number = item.partition("=")
        if name not in known:
            raise InputError(f"balance {stated}: no {by} {name!r}; give any of {', '.join(known)}")
        if known[name] in copies:
            raise InputError(f"balance {stated}: {name} is there twice; give each group once")
        try:
            copies[known[name]] = numbers.positive_real(number)
        except ValueError:
            raise InputError(
                f"balance {stated}: {name} has no number above 0; give it as {name}=2"
            ) from None
    return by, copies


def epoch(
    weights: np.ndarray | None,
    count: int,
    *,
    seed: int,
    number: int,
    draws: int | None = None,
) -> np.ndarray:
    """The rows that one epoch visits, shuffled; they follow from seed and epoch number alone.

    Drawn by systematic resampling: with e = draws * weight / sum of weights, a row comes floor(e)
    or ceil(e) times, and all rows of one weight together less than one draw off their sum of e.
    Independent draws would leave a third of the rows out of every epoch for nothing.

    Args:
        weights: (n,), how often each row counts; None for all alike.
        count: n.
        draws: how many rows; by default n, so that balancing makes an epoch no longer.

    Returns:
        (draws,) `int64`; a permutation of the n rows where weights and draws are left out.
    """
    rng = np.random.default_rng([seed, number])
    draws = count if draws is None else draws
    weights = np.ones(count) if weights is None else weights
    # By chance, then by weight: who is drawn once more is chance, how many of a weight is not.
    rows = rng.permutation(count)
    rows = rows[np.argsort(weights[rows], kind="stable")]
    edges = np.cumsum(weights[rows])
    edges *= draws / edges[-1]
    # Without the last edge, which rounding might leave below the last draw.
    drawn = rows[np.searchsorted(edges[:-1], np.arange(draws) + rng.random(), side="right")]
    return rng.permutation(drawn).astype(np.int64)


def shuffled(count: int, *, seed: int, number: int) -> np.ndarray:
    """The rows of one epoch, each once: TensorFlow's stateless shuffle by seed and epoch number.

    Returns:
        (count,) `int64`.
    """
    import tensorflow as tf

    rows = tf.range(count, dtype=tf.int64)
    return tf.random.experimental.stateless_shuffle(rows, seed=[seed, number]).numpy()


def describe(truth: pd.DataFrame, weights: np.ndarray | None, *, by: str, draws: int) -> str:
    """A table of what the weights do: each group's images, draws an epoch and both as shares.

    Args:
        truth, by: see `groups`.
        weights, draws: see `epoch`.
    """
    weights = np.ones(len(truth)) if weights is None else weights
    named = ["no label" if name is None else name for name in groups(truth, by)]
    drawn = draws * weights / weights.sum()
    sums = pd.DataFrame({"images": 1, "drawn": drawn}).groupby(named).sum()
    rows = [
        [name, *_counted(sums.images[name], len(truth)), *_counted(sums.drawn[name], draws)]
        for name in _in_order(sums.index, by)
    ]
    rows.append(["all", *_counted(len(truth), len(truth)), *_counted(draws, draws)])
    header = ["", "images", "share", "draws an epoch", "share"]
    return f"drawn by {by}:\n{text.table(header, rows)}"


def _counted(count: float, total: int) -> list[str]:
    return [f"{count:,.0f}", f"{count / total:.1%}"]


def _tasks(by: str) -> list[str]:
    tasks = by.split("+")
    if not set(tasks) <= set(_NAMES) or len(set(tasks)) < len(tasks):
        raise InputError(
            f"no groups by {by!r}: give gender, race or age, or several joined by +, "
            "such as gender+race"
        )
    return tasks


def _known(by: str) -> dict[str, str]:
    """Every group that there can be, in order: its name on a command line to that in `groups`."""
    combinations = itertools.product(*(_NAMES[task] for task in _tasks(by)))
    return {"+".join(names): ", ".join(names) for names in combinations}


def _in_order(names: Iterable[str], by: str) -> list[str]:
    """Groups as their labels are ordered, whatever else there is after them."""
    places = {name: place for place, name in enumerate(_known(by).values())}
    return sorted(names, key=lambda name: places.get(name, len(places)))


def _column(column: pd.Series, task: str) -> list[str | None]:
    """A task's label names row by row, None where missing."""
    if task == "age":
        return [None if pd.isna(years) else label_names.age_band(years) for years in column]
    names: list[str | None] = [None if pd.isna(name) else name for name in column]
    seen = {name for name in names if name is not None}
    if task == "race" and not any(seen <= set(taxonomy) for taxonomy in label_names.RACES):
        into = label_names.project(seen, functools.reduce(label_names.common, label_names.RACES))
        names = [None if name is None else into[name] for name in names]
    return names
