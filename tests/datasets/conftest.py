"""What the tests of datasets share: plans, which no record is written of, and records."""

import importlib
from pathlib import Path

import pytest

from vggface_gender import datasets
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.sources import Labelled


@pytest.fixture
def plan(tmp_path):
    """A function that plans a dataset's records and writes none: (name, source, **options)."""
    import tensorflow_datasets as tfds

    def plan(name, source=None, **options):
        kind = catalogue.facts(str(name)).kind
        module = f"vggface_gender.datasets.{kind}.{kind}_dataset_builder"
        builder = importlib.import_module(module).Builder(
            config=tfds.core.BuilderConfig(name="planned"), data_dir=tmp_path / "unused", **options
        )
        return builder.plan(Path(name) if source is None else source)

    return plan


@pytest.fixture
def rows():
    """A function that gives a plan's records by name, `split` being where they stand."""

    def rows(plan) -> dict[str, Labelled]:
        placed = [
            image.item._replace(split=split)
            for split, part in plan.divided.items()
            for image in part
        ]
        assert len({item.name for item in placed}) == len(placed)
        return {item.name: item for item in placed}

    return rows


@pytest.fixture
def prepare(tmp_path):
    """`datasets.prepare` with its records in the test's own folder."""

    def prepare(name, source=None, **options):
        return datasets.prepare(str(name), source, data_dir=tmp_path / "tfrecords", **options)

    return prepare


@pytest.fixture
def stored():
    """A function that gives a dataset's records as they lie in the files, by name."""
    from vggface_gender.data import records

    def stored(dataset) -> dict[str, dict]:
        return {
            record["name"].decode(): record | {"split": split}
            for split in dataset.counts
            for record in records.records(dataset, split).as_numpy_iterator()
        }

    return stored
