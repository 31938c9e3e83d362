"""Mitigation after training: predictions changed so that groups are treated more alike, and what
that costs.

Two ways that need nothing but predictions, fitted on a validation split, measured on test:

- `thresholds`: fairlearn's `ThresholdOptimizer` (M. Hardt, E. Price and N. Srebro, "Equality of
  opportunity in supervised learning", NeurIPS 2016): for each group its own threshold of one
  probability, some predictions drawn at random. Of two labels. It has to know each face's group.
- `reweighing`: a logistic regression on the classifier's log-probabilities, its examples weighted
  so that label and group are independent (F. Kamiran and T. Calders, "Data preprocessing techniques
  for classification without discrimination", KAIS 33, 2012). It doesn't ask for the group.

Trainings that mitigate (`--balance`, `--group-loss`) are runs of their own, and stand beside these.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from fairlearn.postprocessing import ThresholdOptimizer
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from vggface_gender.base import text
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import (
    fairness,
    groups,
    metrics,
    predictions,
    same_images,
    unseen,
)
from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE
from vggface_gender.evaluation.metrics import EPSILON, Compared

BEFORE = "before"
CONSTRAINTS = ("equalized_odds", "true_positive_rate_parity", "demographic_parity")


def mitigate(
    validation: pd.DataFrame,
    test: pd.DataFrame,
    *,
    task: str,
    by: str,
    constraint: str = CONSTRAINTS[0],
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """The test split's predictions before and after each way of mitigation.

    Args:
        validation, test: see `predictions.table`; one classifier's.
        task: gender or race.
        by: the grouping whose groups shall be treated alike (see `groups.names`).
        constraint: what `ThresholdOptimizer` makes equal (see `CONSTRAINTS`).
        seed: of its draws.

    Returns:
        By name (`before`, `thresholds` of two labels, `reweighing`) predictions tables of `task`,
        of the faces that are in a group and have a true label and a prediction. The mitigated ones
        hold labels alone, or new probabilities.

    Raises:
        InputError: the splits' outputs are not of the same labels; fewer than two groups have
            `SMALL` validation faces with each label to fit on.
    """
    fit, its_groups = _grouped(validation, task, by)
    held_out, test_groups = _grouped(test, task, by)
    if fit.names != held_out.names:
        raise InputError(f"validation has {task} labels {fit.names}, test {held_out.names}")
    if task in by.split(groups.CROSSED):
        raise InputError(
            f"groups by {by} are of one {task} each, and mitigation makes groups alike in "
            f"predicting {task}: group by something else"
        )
    large = _fit_on(fit, its_groups)
    if len(large) < 2:
        raise InputError(
            f"by {by}, {len(large)} groups have {SMALL} validation faces and every label of "
            f"{task}: mitigation takes two to fit on"
        )
    chosen = np.isin(its_groups, large)
    fit = Compared(fit.faces[chosen], fit.names, fit.true[chosen], fit.probability[chosen])
    fit_groups = its_groups[chosen]
    changed = {BEFORE: held_out.probability}
    if len(fit.names) == 2:
        changed["thresholds"] = _thresholds(
            fit,
            fit_groups,
            held_out.probability,
            called=test_groups,
            constraint=constraint,
            seed=seed,
        )
    changed["reweighing"] = _reweighing(fit, fit_groups, held_out.probability)
    return {name: _table(held_out, shares, task) for name, shares in changed.items()}


def _grouped(table: pd.DataFrame, task: str, by: str) -> tuple[Compared, np.ndarray]:
    """The faces of a table that are in a group and can be compared, and what their groups are."""
    compared = metrics.compared(unseen.faces(table), task)
    named = groups.names(compared.faces)
    if by not in named:
        raise InputError(f"there are no groups by {by}: give one of {', '.join(named)}")
    called = named[by].astype(object).to_numpy()
    known = pd.notna(called)
    kept = Compared(
        compared.faces[known],
        compared.names,
        compared.true[known],
        compared.probability[known],
    )
    return kept, called[known].astype(str)


def _fit_on(fit: Compared, called: np.ndarray) -> list[str]:
    """The groups with enough faces, and some of every label."""
    labels = range(len(fit.names))
    return [
        name
        for name in np.unique(called)
        if (called == name).sum() >= SMALL and set(fit.true[called == name]) == set(labels)
    ]


class _Given(BaseEstimator):
    """A classifier for fairlearn whose scores are its input."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> "_Given":
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0]


def _thresholds(
    fit: Compared,
    fit_groups: np.ndarray,
    probability: np.ndarray,
    *,
    called: np.ndarray,
    constraint: str,
    seed: int,
) -> np.ndarray:
    """Labels by a threshold of each group, as probabilities of 0 and 1; of other groups as is."""
    optimizer = ThresholdOptimizer(
        estimator=_Given(),
        constraints=constraint,
        objective="accuracy_score",
        prefit=True,
        predict_method="predict",
    )
    optimizer.fit(fit.probability[:, 1:], fit.true, sensitive_features=fit_groups)
    known = np.isin(called, fit_groups)
    labels = probability.argmax(axis=1)
    if known.any():
        labels[known] = optimizer.predict(
            probability[known, 1:], sensitive_features=called[known], random_state=seed
        )
    return np.eye(2)[labels]


def _reweighing(fit: Compared, fit_groups: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Probabilities by a logistic regression on log-probabilities, with reweighed examples."""
    regression = LogisticRegression(max_iter=1000)
    regression.fit(_logits(fit.probability), fit.true, sample_weight=weights(fit.true, fit_groups))
    return regression.predict_proba(_logits(probability))


def weights(true: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Kamiran and Calders's weights: P(label) P(group) / P(label and group) of every example, (n,).

    Args:
        true, called: (n,) each example's label and group.
    """
    _, label = np.unique(true, return_inverse=True)
    _, group = np.unique(called, return_inverse=True)
    both = np.zeros((label.max() + 1, group.max() + 1))
    np.add.at(both, (label, group), 1)
    expected = np.outer(both.sum(axis=1), both.sum(axis=0)) / len(true)
    return (expected / np.maximum(both, 1))[label, group]


def _logits(probability: np.ndarray) -> np.ndarray:
    return np.log(np.clip(probability, EPSILON, 1))


def _table(held_out: Compared, probability: np.ndarray, task: str) -> pd.DataFrame:
    """The faces' table with these probabilities."""
    its = TASKS[task]
    every = [column for name in TASKS for column in predictions.outputs_of(held_out.faces, name)]
    outputs = dict(zip(its.output_columns(held_out.names), probability.T, strict=True))
    # The names that are compared: a taxonomy that both true labels and outputs have.
    true = np.array(held_out.names, object)[held_out.true]
    made = held_out.faces.drop(columns=every).assign(**outputs, **{task: true})
    return made.reset_index(drop=True)


def figures(tables: Mapping[str, pd.DataFrame], *, task: str, by: str) -> dict[str, dict]:
    """What each table's predictions come to, for all faces and for every group.

    Args:
        tables: by name, `BEFORE` among them; of the same faces.

    Returns:
        By name: `count`, `accuracy` and its `interval`; the `price`, accuracy before less after in
        shares, with McNemar's `p`; `groups` of the grouping (each with `count`, `accuracy`,
        `interval`, `small`); the `gap` (see `groups.gap`); and the largest equalized odds
        difference of a label as `odds` (see `fairness.differences`), or None.
    """
    found = {}
    for name, table in tables.items():
        faces, names, true, probability = metrics.compared(table, task)
        predicted = probability.argmax(axis=1)
        group = groups.names(faces)[by]
        codes = group.cat.codes.to_numpy()
        members = {
            each: {
                "count": int((codes == code).sum()),
                "small": bool((codes == code).sum() < SMALL),
            }
            | metrics.accuracy((predicted == true)[codes == code])
            for code, each in enumerate(group.cat.categories)
        }
        apart = fairness.differences(true, predicted, names=names, called={by: group})
        odds = [
            each["equalized odds"]
            for each in apart.get(by, {"labels": {}})["labels"].values()
            if each["equalized odds"]
        ]
        test = same_images.mcnemar(tables[BEFORE], table, task=task)
        found[name] = {
            "count": len(faces),
            **metrics.accuracy(predicted == true),
            "price": -test["difference"],
            "p": test["p"],
            "groups": members,
            "gap": groups.gap(members),
            "odds": max(odds, key=lambda each: each["difference"], default=None),
        }
    return found


def report(found: Mapping[str, Mapping], *, task: str, by: str) -> str:
    """What `figures` gives, to read."""
    rows = []
    for name, each in found.items():
        gap, odds = each["gap"], each["odds"]
        price = "" if name == BEFORE else f"{100 * each['price']:+.1f} (p {each['p']:.2g})"
        rows.append(
            [
                name,
                text.percent(each["accuracy"]),
                text.interval(each["interval"]),
                price,
                *_points(gap),
                *_points(odds),
            ]
        )
    interval = f"{CONFIDENCE:.0%} interval"
    header = ["", "accuracy", interval, "price", "largest gap", interval]
    header += ["equalized odds", interval]
    counts = {group: one["count"] for group, one in found[BEFORE]["groups"].items()}
    by_group = [
        [
            group,
            f"{count:,}",
            *(
                f"{text.percent(each['groups'][group]['accuracy'])} "
                f"({text.interval(each['groups'][group]['interval'])})"
                for each in found.values()
            ),
            "small" if count < SMALL else "",
        ]
        for group, count in counts.items()
    ]
    parts = [
        f"{task} by {by}, {found[BEFORE]['count']:,} test faces",
        text.table(header, rows),
        "  price: accuracy before less after, in points (McNemar's p); gap and equalized odds: "
        "points\n  between the lowest and the highest group",
        text.table(["group", "faces", *found, ""], by_group),
    ]
    return "\n\n".join(parts) + "\n"


def _points(difference: Mapping | None) -> tuple[str, str]:
    if difference is None:
        return "-", "-"
    ends = [100 * end for end in difference["interval"]]
    return f"{100 * difference['difference']:.1f}", text.interval(ends, "{:.1f}".format)
