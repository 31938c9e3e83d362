"""The division of a dataset that a run did not learn from."""

import pandas as pd
import pytest

from vggface_gender import datasets
from vggface_gender.base import files
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import held_out


@pytest.fixture
def table(workplace, draw_table):
    """A table of drawn faces in a folder to work in."""
    (workplace / "faces").mkdir()
    return draw_table(workplace / "faces", 12, 40)


def run(folder, **settings):
    """The classifier's file of a run of these settings."""
    files.write_json({"settings": settings}, folder / "run" / "config.json")
    return folder / "run" / "classifier.keras"


def test_a_run_is_tested_on_the_division_that_it_was_trained_with(workplace):
    classifier = run(workplace, dataset="UTKFace+FairFace[:10%]", split_seed=3, fold=[1, 5])
    own = {"seed": 3, "fold": (1, 5)}
    assert held_out.division(classifier, "UTKFace") == own
    assert held_out.division(classifier, "FairFace") == own
    assert held_out.division(classifier, "Adience") == {"seed": 0}
    assert held_out.division(classifier, "UTKFace", seed=7) == {"seed": 7}
    assert held_out.division(workplace / "alone.keras", "UTKFace") == {"seed": 0}


def test_one_table_is_the_same_by_any_path(table):
    settings = {"dataset": "faces/faces.csv", "split_seed": 2}
    for name in ("faces/faces.csv", "faces/../faces/faces.csv", str(table)):
        assert held_out.own_split(settings, name) == {"seed": 2, "fold": None}
    assert held_out.own_split(settings, "faces") == {}


def test_records_that_changed_since_the_training_are_refused(workplace, table):
    learned = datasets.prepare("faces/faces.csv", seed=2)
    settings = {"dataset": "faces/faces.csv", "split_seed": 2, "fingerprint": learned.fingerprint}
    classifier = run(workplace, **settings)
    assert held_out.prepare(classifier, "faces/faces.csv") == learned
    pd.read_csv(table)[:-1].to_csv(table, index=False)
    with pytest.raises(InputError, match="trained on"):
        held_out.prepare(classifier, "faces/faces.csv")
    assert sum(held_out.prepare(classifier, str(table), seed=2).counts.values()) == 11
