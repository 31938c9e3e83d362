"""The catalogue: every fact is there, and each dataset has its folder."""

from pathlib import Path

import pytest

from vggface_gender import datasets
from vggface_gender.base import labels
from vggface_gender.datasets import catalogue

EVERY = [*catalogue.NAMED.values(), catalogue.FOLDER, catalogue.TABLE]


@pytest.mark.parametrize("facts", EVERY, ids=lambda facts: facts.kind)
def test_each_dataset_has_a_folder_with_a_builder_and_a_page(facts):
    folder = Path(datasets.__file__).parent / facts.kind
    assert (folder / f"{facts.kind}_dataset_builder.py").is_file()
    described = catalogue.NAMED[facts.same_images].kind if facts.same_images else facts.kind
    assert (folder / "README.md").is_file()
    assert facts.homepage in (folder.parent / described / "README.md").read_text()
    assert facts.title and facts.about and facts.terms
    assert set(facts.tasks) <= set(labels.TASKS)
    assert bool(facts.races) == ("race" in facts.tasks)
    assert facts.asks in (
        *(catalogue.RESEARCH, catalogue.ASK),
        *(catalogue.NAME, catalogue.NOTHING),
    )


def test_names_and_kinds_are_unique():
    assert len({facts.kind for facts in EVERY}) == len(EVERY)
    same = {facts.same_images for facts in EVERY} - {""}
    assert same <= set(catalogue.NAMED)


def test_ones_own_have_facts_and_a_label_too():
    assert catalogue.facts("UTKFace") is catalogue.NAMED["UTKFace"]
    assert catalogue.facts("some/faces.CSV") is catalogue.TABLE
    assert catalogue.facts("some/faces") is catalogue.FOLDER
    assert catalogue.label("UTKFace") == "UTKFace"
    assert catalogue.label("some/faces.csv") == catalogue.label("some/faces/") == "faces"


def test_datasets_of_one_label_are_told_apart_by_their_folders():
    found = catalogue.labels(["UTKFace", "a/faces.csv", "b/faces.csv", "c/others.csv"])
    assert [*found.values()] == ["UTKFace", "a/faces", "b/faces", "others"]
    alike = ["x/a/faces.csv", "y/a/faces.csv"]
    assert catalogue.labels(alike) == dict(zip(alike, alike, strict=True))
