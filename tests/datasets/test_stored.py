"""Damaged records: seen before they are used, written anew and said."""

import json
import os

import pytest
import trees

from vggface_gender.base.errors import InputError
from vggface_gender.data import records


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def emptied(path):
    os.truncate(path, 0)


def changed(**members):
    def change(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | members))

    return change


def replaced(text):
    return lambda path: path.write_text(text)


SHARD = "folder-train.tfrecord-00001-of-*"
DAMAGE = [
    *((name, how) for name in ("metadata.json", "features.json", "dataset_info.json", SHARD)
      for how in (cut, emptied, os.remove)),
    *((name, replaced(text)) for name in ("metadata.json", "features.json", "dataset_info.json")
      for text in ("{}", "[]", "null")),
    ("metadata.json", changed(counts={"train": 1})),
    ("dataset_info.json", changed(splits=[])),
    ("dataset_info.json", changed(splits=[{"name": "train"}])),
    ("dataset_info.json", changed(splits="train")),
]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder's records, and a function that prepares them anew and gives what is said."""
    from vggface_gender import datasets

    base = tmp_path_factory.mktemp("built")
    source = trees.folder(base, {"female": 20, "male": 20})

    def prepare():
        said = []
        dataset = datasets.prepare(str(source), data_dir=base / "tfrecords", say=said.append)
        return dataset, said

    return prepare


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        one if number % 3 == 0 else pytest.param(*one, marks=pytest.mark.slow)
        for number, one in enumerate(DAMAGE)
    ],
)
def test_damaged_records_are_written_anew_and_that_is_said(built, stored, name, damage):
    first, _ = built()
    whole = stored(first)
    (path,) = first.directory.glob(name)
    damage(path)
    second, said = built()
    assert said[0].startswith(str(first.directory)) and said[0].endswith(": writing it anew")
    assert "is damaged" in said[0] or "No such file" in said[0]
    assert stored(second) == whole and second.fingerprint == first.fingerprint
    assert "writing" not in built()[1][0]


def test_without_their_source_damaged_records_are_one_line(tmp_path, monkeypatch):
    from vggface_gender import datasets

    monkeypatch.delenv("FACES_DIR", raising=False)
    first = datasets.prepare("UTKFace", trees.utk_face(tmp_path), data_dir=tmp_path / "records")
    emptied(first.directory / "metadata.json")
    for source in (None, tmp_path / "gone"):
        with pytest.raises(InputError) as caught:
            datasets.prepare("UTKFace", source, data_dir=tmp_path / "records")
        told = str(caught.value)
        assert "metadata.json is damaged (empty)" in told and "--source DIR" in told
        assert "\n" not in told
    assert first.directory.exists()


def test_a_flipped_bit_in_a_record_is_one_line(built):
    dataset, _ = built()
    (path,) = dataset.directory.glob(SHARD)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for read in (records.labels, records.jpegs):
        with pytest.raises(
            InputError, match=r"is damaged \(.*corrupted record.*delete that folder"
        ):
            read(dataset, "train")
