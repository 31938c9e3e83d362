"""Records: found again, written anew, never half-written; and how a dataset is asked for."""

import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import trees
from PIL import Image

from vggface_gender import datasets, records
from vggface_gender.base import locks
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import builder, catalogue, summary
from vggface_gender.datasets.sources import Labelled

BUILD = """
import sys
from vggface_gender import datasets
datasets.prepare(sys.argv[1], data_dir=sys.argv[2])
"""


@pytest.fixture
def utk_face(tmp_path):
    return trees.utk_face(tmp_path, 30)


def state(folder) -> dict:
    """When each file below a folder was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_records_are_found_again_and_written_anew_when_the_source_changes(
    prepare, utk_face, monkeypatch
):
    monkeypatch.delenv("FACES_DIR", raising=False)
    said: list[str] = []
    first = prepare("UTKFace", utk_face, say=said.append)
    assert said == [datasets.describe(first)]
    written = state(first.directory)
    for source in (utk_face, None):  # also without its source
        assert prepare("UTKFace", source).fingerprint == first.fingerprint
    assert state(first.directory) == written

    trees.write(utk_face / "44_0_1_20170116174500044.jpg.chip.jpg", 44)
    second = prepare("UTKFace", utk_face)
    assert sum(second.counts.values()) == 33 and second.fingerprint != first.fingerprint


def test_records_are_read_where_nothing_may_be_written(prepare, utk_face, tmp_path, unwritable):
    first = prepare("UTKFace", utk_face)
    tree = sorted(tmp_path.rglob("*"))
    assert prepare("UTKFace").fingerprint == first.fingerprint
    with unwritable(tmp_path / "tfrecords"):
        assert prepare("UTKFace").fingerprint == first.fingerprint
    assert sorted(tmp_path.rglob("*")) == tree  # no lock is left behind


def test_a_second_build_waits_for_the_first(prepare, tmp_path):
    source = trees.folder(tmp_path, {"female": 4})
    config = prepare(source).directory.parent
    shutil.rmtree(config)
    with locks.held(tmp_path / "tfrecords" / f"folder-{config.name}"):
        second = threading.Thread(target=prepare, args=[source])
        second.start()
        second.join(0.3)
        assert second.is_alive() and not config.exists()
    second.join()
    assert len(list((tmp_path / "tfrecords").glob("folder/*"))) == 1


def test_records_are_found_without_tensorflow(prepare, tmp_path):
    source = trees.folder(tmp_path, {"female": 4})
    prepare(source)
    code = f"{BUILD}print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, source, tmp_path / "tfrecords"], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_another_split_seed_has_its_own_records(prepare, stored, utk_face):
    one, other = prepare("UTKFace", utk_face), prepare("UTKFace", utk_face, seed=1)
    assert one.directory != other.directory
    places = [{n: r["split"] for n, r in stored(dataset).items()} for dataset in (one, other)]
    assert places[0] != places[1] and places[0].keys() == places[1].keys()


def test_two_folders_of_one_name_have_their_own_records(prepare, tmp_path):
    sources = [trees.folder(tmp_path / part, {"female": 4}) for part in "ab"]
    directories = {prepare(source).directory for source in sources}
    assert len(directories) == 2


def test_records_of_a_folder_that_is_gone_are_used(prepare, tmp_path):
    source = trees.folder(tmp_path, {"female": 10})
    stored = prepare(source)
    shutil.rmtree(source)
    assert prepare(source) == stored


def test_a_folders_name_may_be_as_long_as_names_can_be(prepare, tmp_path):
    trees.folder(tmp_path, {"female": 10}).rename(tmp_path / ("é" * 127))
    dataset = prepare(tmp_path / ("é" * 127))
    assert dataset.counts["train"] == 8
    assert dataset.label == "é" * 40 and len(os.fsencode(dataset.slug)) < 120


@pytest.mark.parametrize("name", catalogue.NAMED)
def test_a_dataset_that_is_not_there_says_how_to_get_it(name, prepare, tmp_path, monkeypatch):
    monkeypatch.delenv("FACES_DIR", raising=False)
    facts = catalogue.NAMED[name]
    if not facts.files:
        pytest.skip("it needs no source")
    for source in (tmp_path / "nowhere", None):
        with pytest.raises(InputError) as caught:
            prepare(name, source)
        text = str(caught.value)
        said = (facts.homepage, facts.terms, facts.files, f"records --dataset {name}")
        assert all(part in text for part in said) and "\n" not in text


@pytest.mark.parametrize("name", ["Imaginary", "", "nowhere.csv", "nowhere/", "UTKFace[:20%]"])
def test_no_such_dataset(name, prepare):
    with pytest.raises(InputError, match="UTKFace, FairFace"):
        prepare(name)


def test_a_folder_is_its_own_source(prepare, tmp_path):
    with pytest.raises(InputError, match="mine"):
        prepare(trees.folder(tmp_path, {"female": 4}), tmp_path)


def test_faces_dir_is_where_named_datasets_are_looked_for(prepare, utk_face, monkeypatch):
    monkeypatch.setenv("FACES_DIR", str(utk_face.parent))
    assert sum(prepare("UTKFace").counts.values()) == 32


def test_a_source_may_be_the_folder_that_holds_one_for_each_dataset(prepare, utk_face):
    assert prepare("UTKFace", utk_face.parent) == prepare("UTKFace", utk_face)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(prepare, tmp_path):
    dataset = prepare(trees.folder(tmp_path, {"female": 20}))
    for split in ("test", "all"):
        dataset.require(split)
    assert dataset.count("all") == 20 and dataset.count("test") == 2
    with pytest.raises(InputError, match="train, validation, test, or all"):
        dataset.require("holdout")


def test_editing_a_tables_split_or_confidence_makes_its_records_anew(prepare, tmp_path):
    def rows(**changes) -> list[str]:
        said = {f"r{i}": ("train" if i % 4 else "test", "") for i in range(40)} | changes
        return [f"images/{row[1:]}.jpg,f,{','.join(cells)}" for row, cells in said.items()]

    table = trees.table(tmp_path, "file,gender,split,confidence", rows())
    counts = [prepare(table).counts]
    trees.table(tmp_path, "file,gender,split,confidence", rows(r1=("test", "")))
    counts.append(prepare(table).counts)
    trees.table(tmp_path, "file,gender,split,confidence", rows(r1=("test", ""), r2=("", "0.9")))
    counts.append(prepare(table).counts)
    assert [each["test"] for each in counts] == [10, 11, 11]
    assert "validation" in counts[1] and "validation" not in counts[2]  # none drawn of predictions


def test_a_listing_without_splits_and_predictions_has_the_hash_that_it_had():
    items = [Labelled(f"train/{i}.jpg", b"", "female", age=float(i)) for i in range(9)]
    before = summary.listing_hash(items, with_splits=True)
    assert before == "2833eb08800f35d9932fd98e78ae9cdf"
    with_split = [item._replace(split="train") for item in items]
    assert summary.listing_hash(with_split) == before  # where the names show the splits
    changed = [with_split, [item._replace(split="test") for item in items]]
    hashes = {summary.listing_hash(each, with_splits=True) for each in changed}
    hashes.add(summary.listing_hash([item._replace(is_predicted=True) for item in items]))
    assert len(hashes) == 3 and before not in hashes


def test_a_frame_is_stated_once_for_every_split(prepare, tmp_path):
    source = trees.folder(tmp_path, {"female": 20})
    unknown = prepare(source)
    written = state(unknown.directory)
    known = prepare(source, padding=0.4)
    assert (unknown.padding, known.padding) == (None, 0.4)
    assert known.fingerprint != unknown.fingerprint and state(known.directory) == written
    assert prepare(source).fingerprint == known.fingerprint
    trees.write(source / "female" / "more.jpg", 99)
    assert prepare(source, seed=1).padding == prepare(source).padding == 0.4
    assert "frame: padding 0.4" in datasets.describe(known)
    assert prepare(source, padding=0.1).fingerprint != prepare(source, padding=0.4).fingerprint


def test_a_frame_that_is_known_is_not_stated(prepare, utk_face):
    with pytest.raises(InputError, match="frame is known"):
        prepare("UTKFace", utk_face, padding=0.4)


def test_what_is_not_a_dataset_leaves_no_records(prepare, tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", trees.folder(tmp_path, {"cats": 2})):
        with pytest.raises(InputError):
            prepare(source)
    assert not list((tmp_path / "tfrecords").glob("[!.]*"))
    assert not list((tmp_path / "tfrecords").glob(".part-*"))


def test_a_build_that_fails_keeps_what_was_there(prepare, tmp_path, monkeypatch):
    from vggface_gender.datasets import checks

    source = trees.folder(tmp_path, {"female": 20})
    first = prepare(source)
    written = state(first.directory)
    trees.write(source / "female" / "more.jpg", 99)
    with monkeypatch.context() as patched:

        def fail(image):
            raise OSError(28, "No space left on device")

        patched.setattr(checks, "encoded", fail)
        with pytest.raises(OSError, match="No space"):
            prepare(source)
    assert state(first.directory) == written
    assert not list((tmp_path / "tfrecords").glob(".part-*"))
    assert sum(prepare(source).counts.values()) == 21


def test_what_a_killed_build_left_is_swept(prepare, tmp_path):
    source = trees.folder(tmp_path, {"female": 10})
    left = tmp_path / "tfrecords" / ".part-killed"
    left.mkdir(parents=True)
    (left / "part").write_bytes(b"0")
    prepare(source)
    assert not left.exists()


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_and_the_next_one_is_as_if_undisturbed(tmp_path, stored):
    source = trees.folder(tmp_path, {"female": 1500, "male": 1500})
    records = tmp_path / "tfrecords"
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, source, records], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(records.glob(".part-*/**/*incomplete*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(records.glob("folder/*"))
    assert list(records.glob(".part-*"))

    dataset = datasets.prepare(str(source), data_dir=records)
    assert not list(records.glob(".part-*"))
    undisturbed = datasets.prepare(str(source), data_dir=tmp_path / "other")
    assert undisturbed.fingerprint == dataset.fingerprint
    assert stored(undisturbed) == stored(dataset) and len(stored(dataset)) == 3000


@pytest.mark.slow
def test_a_full_disk_leaves_no_dataset(tmp_path, utk_face):
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)); import signal"
    code += "; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)" + BUILD
    done = subprocess.run(
        [sys.executable, "-c", code, "UTKFace", tmp_path / "records"],
        env=os.environ | {"FACES_DIR": str(utk_face.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert not list((tmp_path / "records").glob("[!.]*"))


# --- the command


def test_the_command_writes_records_and_says_what_is_in_them(tmp_path, capsys):
    source = trees.folder(tmp_path, {"female": 20, "male": 20})
    where = ["--dataset", str(source), "--data-dir", str(tmp_path / "tfrecords")]
    where += ["--align", "never"]
    records.main(where)
    first = capsys.readouterr().out
    assert "40" in first and "female 16, male 16" in first
    records.main([*where, "--split-seed", "1"])
    assert len(list((tmp_path / "tfrecords").glob("folder/*/*/metadata.json"))) == 2
    with pytest.raises(InputError):
        records.main(["--dataset", "Imaginary", *where[2:]])


def test_the_fingerprint_tells_crops_apart_that_were_squeezed(prepare, tmp_path):
    """What was computed from crops squeezed to squares is not that of their central squares."""
    square = prepare(trees.folder(tmp_path / "square", {"female": 10}))
    assert square.fingerprint == square.summary["fingerprint"]
    source = trees.folder(tmp_path / "wide", {"female": 10})
    Image.open(source / "female" / "0.jpg").resize((20, 16)).save(source / "female" / "0.jpg")
    wide = prepare(source)
    assert wide.fingerprint != wide.summary["fingerprint"]


def test_what_is_left_out_is_said_by_reason(tmp_path, capsys):
    source = trees.folder(tmp_path, {"female": 200, "male": 200})
    for i in range(5):
        (source / "male" / f"{i + 200}.jpg").write_bytes(b"")
    (source / "male" / "notes.txt").write_text("")
    (source / "@eaDir").mkdir()
    records.main(
        ["--dataset", str(source), "--data-dir", str(tmp_path / "tfrecords"), "--align", "never"]
    )
    said = capsys.readouterr().out
    assert "left out: 5\n    zero bytes: 5 (male/200.jpg, male/201.jpg, male/202.jpg and 2 " in said
    assert "    hidden, or a tool's: 1\n    not named as an image: 1 (male/notes.txt)\n" in said


# --- the real faces


@pytest.mark.slow
def test_utkface_itself(prepare, faces_dir):
    dataset = prepare("UTKFace", faces_dir / "UTKFace")
    assert sum(dataset.counts.values()) == 23707
    totals = collections.Counter()
    for split in dataset.summary["labels"].values():
        totals.update(split["gender"])
        totals.update(split["race"])
    assert totals == {
        **{"male": 12391, "female": 11316},
        **{"White": 10078, "Black": 4527, "Asian": 3434, "Indian": 3976, "Others": 1692},
    }
    assert dataset.summary["skipped"] == {}
    shares = [dataset.counts[s] / 23707 for s in ("train", "validation", "test")]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.002)
    assert len(list(dataset.directory.glob("*-train.tfrecord-*"))) == builder.SHARDS
    json.dumps(dataset.summary)


def test_fairface_itself(plan, faces_dir, tmp_path):
    # Its label file alone: that images are read is tested above.
    from vggface_gender.datasets.fair_face import fair_face_dataset_builder as fair_face

    source = tmp_path / "FairFace"
    (source / "train").mkdir(parents=True)
    table = "fairface_label_train.csv"
    shutil.copy(faces_dir / "FairFace" / table, source / table)
    ages = collections.Counter(item.age for item in fair_face.Builder.labelled(source))
    assert sum(ages.values()) == 5000 and None not in ages
    assert ages[6.0] == 602 and ages[14.5] == 553 and ages[75.0] == 44


def test_room_for_all_splits_is_asked_for_before_an_image_is_read(tmp_path, full_disk, monkeypatch):
    from vggface_gender.datasets import checks

    monkeypatch.setattr(checks, "check", lambda *_: pytest.fail("images were read"))
    source = trees.folder(tmp_path, {"female": 4, "male": 4})
    (source / "male" / "large.jpg").write_bytes(bytes(3_000_000))
    with pytest.raises(
        InputError, match=r"the records of all its splits need 3\.0 MB and 2\.\d MB"
    ):
        datasets.prepare(str(source), data_dir=full_disk / "tfrecords")
    assert not list((full_disk / "tfrecords").rglob("*"))
