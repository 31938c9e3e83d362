"""What chooses an epoch: by hand, for labels, groups and years."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.training import selection

TRUTH = pd.DataFrame({"gender": ["male"] * 40 + ["female"] * 20, "race": ["White"] * 60})
TRUE = (TRUTH.gender == "male").to_numpy().astype(int)
# Of 40 men 30 are right, of 20 women 10.
LOGITS = np.eye(2)[np.where(np.arange(60) % 40 < np.where(TRUE, 30, 10), TRUE, 1 - TRUE)]


def score(select, outputs, targets, weights=None):
    weights = weights or {task: np.ones(60) for task in targets}
    held_out = SimpleNamespace(truth=TRUTH, targets=targets, weights=weights)
    model = SimpleNamespace(predict=lambda validation, verbose: outputs)
    return selection.scorer(select, model, validation=[], held_out=held_out)()


def test_balanced_accuracy_is_the_mean_recall_of_the_known():
    right = LOGITS.argmax(axis=1) == TRUE
    expected = (right[:40].mean() + right[40:].mean()) / 2
    targets = {"gender": np.eye(2)[TRUE]}
    assert score("balanced-accuracy", {"gender": LOGITS}, targets) == pytest.approx(expected)
    known = {"gender": (np.arange(60) < 40).astype(float)}
    got = score("balanced-accuracy", {"gender": LOGITS}, targets, known)
    assert got == pytest.approx(right[:40].mean())


def test_the_worst_group_is_of_enough_faces():
    right = LOGITS.argmax(axis=1) == TRUE
    got = score("worst-group", {"gender": LOGITS}, {"gender": np.eye(2)[TRUE]})
    assert got == pytest.approx(right[:40].mean())  # the 20 women are too few
    with pytest.raises(InputError, match="no gender x race group has 30 faces"):
        selection.worst(right, np.array([None] * 60, object))


def test_of_ages_alone_it_is_the_mean_absolute_error():
    years = np.full((60, 1), 30.0)
    got = score("balanced-accuracy", {"age": years + 2.5}, {"age": years})
    assert got == pytest.approx(-2.5)


def test_the_least_loss_needs_no_score():
    assert selection.scorer("loss", None, validation=[], held_out=None) is None
