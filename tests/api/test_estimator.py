"""FaceClassifier: scikit-learn's conventions, and what it learns from real faces."""

import pickle

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from vggface_gender import FaceClassifier, InputError


@pytest.fixture(scope="module")
def faces(faces_dir):
    """The first 300 UTKFace faces in a random order: crops (300, 150, 150, 3), genders."""
    paths = sorted((faces_dir / "UTKFace").rglob("*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(paths))[:300]
    paths = [paths[i] for i in chosen]
    crops = np.stack(
        [np.array(Image.open(path).convert("RGB").resize((150, 150))) for path in paths]
    )
    return crops, np.array([["m", "f"][int(path.name.split("_")[1])] for path in paths])


def test_it_learns_gender_from_real_faces(faces):
    crops, labels = faces
    trained = FaceClassifier(task="gender").fit(crops[:200], labels[:200])
    assert list(trained.classes_) == ["f", "m"]
    assert trained.score(crops[200:], labels[200:]) > 0.8
    probability = trained.predict_proba(crops[200:])
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    again = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(again.predict_proba(crops[200:]), probability)


@pytest.mark.slow
def test_it_goes_into_searches(faces):
    crops, labels = (part[:60] for part in faces)
    search = GridSearchCV(FaceClassifier(), {"C": [1e-3, 1e-2]}, cv=3).fit(crops, labels)
    assert search.best_score_ > 0.6
    assert cross_val_score(FaceClassifier(), crops, labels, cv=3).mean() > 0.6


def test_scikit_learns_conventions():
    made = FaceClassifier(task="race", C=2.0)
    assert clone(made).get_params() == made.get_params()
    assert repr(made) == "FaceClassifier(C=2.0, task='race')"
    with pytest.raises(NotFittedError):
        made.predict(np.zeros((1, 40, 40, 3), np.uint8))


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_scikit_learns_own_checks_as_far_as_they_take_no_table():
    for check in check_estimator(FaceClassifier()):
        assert check["status"] == "passed", check


def test_what_cannot_be_learned_is_refused():
    crops = np.random.default_rng(0).integers(0, 255, (4, 40, 40, 3), np.uint8)
    for given, labels, options, said in (
        (crops, ["f", "m", "f", "x"], {"task": "gender"}, "'x' is not a known gender"),
        (crops, ["f", "m", "female", "m"], {"task": "gender"}, "'f' and 'female' are both"),
        (crops, ["f"] * 4, {}, "only one class"),
        (crops[:0], [], {}, "no crops"),
        (crops[:0], [], {"task": "gender"}, "no crops"),
        (crops, ["f", "m"], {}, "4 crops and 2 labels"),
        (crops / 255, ["f", "m"] * 2, {}, "as if in"),
        (crops, ["f", "m"] * 2, {"task": "age"}, "no task age"),
    ):
        with pytest.raises(InputError, match=said):
            FaceClassifier(**options).fit(given, labels)


def test_none_are_answered_by_none():
    crops = np.random.default_rng(0).integers(0, 255, (4, 40, 40, 3), np.uint8)
    trained = FaceClassifier().fit(crops, ["f", "m"] * 2)
    assert trained.predict(crops[:0]).shape == (0,)
    assert trained.predict_proba(crops[:0]).shape == (0, 2)
