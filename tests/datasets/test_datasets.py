"""Datasets: every builder on a made-up tree of its true layout, and what goes wrong in the wild."""

import collections
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vggface_gender import datasets
from vggface_gender.base.errors import InputError
from vggface_gender.data import records


@pytest.fixture
def prepare(tmp_path):
    """`datasets.prepare` with its records in the test's own folder."""
    return lambda name, source=None, **kwargs: datasets.prepare(
        str(name), source, tmp_path / "tfrecords", **kwargs
    )


def labels_by_name(dataset) -> dict[str, dict]:
    rows = {}
    for split in dataset.counts:
        table = records.labels(dataset, split).astype(object)
        for row in table.where(table.notna(), None).to_dict("records"):
            assert row["name"] not in rows
            rows[row.pop("name")] = row | {"split": split}
    return rows


def images_by_name(dataset) -> dict[str, bytes]:
    return {
        record["name"].decode(): record["image"]
        for split in dataset.counts
        for record in records.records(dataset, split).as_numpy_iterator()
    }


@pytest.fixture
def utk_tree(tmp_path, write_image):
    names = [f"{20 + i}_{i % 2}_{i % 5}_201701161745{i:05d}.jpg.chip.jpg" for i in range(30)]
    names += ["39_1_20170116174525125.jpg.chip.jpg", "61_1_20170109150557335.jpg.chip.jpg"]
    for i, name in enumerate(names):
        write_image(tmp_path / "UTKFace" / name, i)
    return tmp_path / "UTKFace"


def test_utkface_labels_are_its_names_and_the_published_corrections(prepare, utk_tree):
    dataset = prepare("UTKFace", utk_tree)
    rows = labels_by_name(dataset)
    assert len(rows) == 32
    row = rows["23_1_3_20170116174500003.jpg.chip.jpg"]
    assert (row["age"], row["gender"], row["race"]) == (23, "female", "Indian")
    row = rows["39_1_20170116174525125.jpg.chip.jpg"]
    assert (row["age"], row["gender"], row["race"]) == (39, "male", "Black")
    row = rows["61_1_20170109150557335.jpg.chip.jpg"]
    assert (row["age"], row["gender"], row["race"]) == (61, "female", "Indian")
    assert dataset.classes("gender") == ("female", "male")
    assert dataset.classes("race") == ("White", "Black", "Asian", "Indian", "Others")


def test_a_name_that_holds_no_labels_is_left_out_and_listed(prepare, utk_tree, write_image):
    write_image(utk_tree / "somebody.jpg", 99)
    dataset = prepare("UTKFace", utk_tree)
    assert sum(dataset.counts.values()) == 32
    assert list(dataset.summary["skipped"]) == ["somebody.jpg"]


def test_jpeg_bytes_are_copied_not_encoded_again(prepare, utk_tree):
    stored = images_by_name(prepare("UTKFace", utk_tree))
    assert stored == {path.name: path.read_bytes() for path in utk_tree.iterdir()}


def fairface(tmp_path, write_image, halves):
    for half, count in halves.items():
        rows = ["file,age,gender,race,service_test"]
        for i in range(1, count + 1):
            age = ["0-2", "03-Sep", "Oct-19", "20-29", "more than 70"][i % 5]
            race = ["White", "Latino_Hispanic", "Middle Eastern", "East Asian"][i % 4]
            rows.append(f"{half}/{i}.jpg,{age},{['Male', 'Female'][i % 2]},{race},TRUE")
            write_image(tmp_path / "FairFace" / half / f"{i}.jpg", hash((half, i)) % 2**31)
        (tmp_path / "FairFace" / f"fairface_label_{half}.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "FairFace"


def test_fairface_mends_its_ages_and_cuts_test_from_train_where_val_is_absent(
    prepare, tmp_path, write_image, capsys
):
    dataset = prepare("FairFace", fairface(tmp_path, write_image, {"train": 40}))
    rows = labels_by_name(dataset)
    ages = {rows[f"train/{i}.jpg"]["age"] for i in range(1, 41)}
    assert ages == {1, 6, 14.5, 24.5, 75}  # the bands' middles
    assert rows["train/1.jpg"]["age"] == 6 and rows["train/2.jpg"]["age"] == 14.5
    assert rows["train/1.jpg"]["gender"] == "female"
    assert set(dataset.counts) == {"train", "validation", "test"}
    assert dataset.counts["train"] == pytest.approx(32, abs=4)
    assert "split: validation and test drawn with seed 0" in capsys.readouterr().out
    assert len(dataset.classes("race")) == 7


def test_fairface_keeps_its_published_half_as_the_test_split(
    prepare, tmp_path, write_image, capsys
):
    dataset = prepare("FairFace", fairface(tmp_path, write_image, {"train": 40, "val": 8}))
    rows = labels_by_name(dataset)
    assert {n for n, row in rows.items() if row["split"] == "test"} == {
        f"val/{i}.jpg" for i in range(1, 9)
    }
    assert dataset.counts["validation"] == pytest.approx(4, abs=4)
    assert "split: validation drawn with seed 0" in capsys.readouterr().out


@pytest.fixture(params=["", "combined"])
def gender_tree(tmp_path, write_image, request):
    for i in range(100):
        part = Path(request.param, "aligned" if i % 4 else "valid")
        folder = f"{i // 2:03d}_{20 + i % 40}_{'FM'[i % 2]}"
        write_image(tmp_path / "agegender_cleaned" / part / folder / f"{i}.jpg", i)
    return tmp_path / "agegender_cleaned"


def test_gender_dataset_reads_leaf_folders_and_divides_60_20_20_by_gender(prepare, gender_tree):
    rows = labels_by_name(prepare("GenderDataset", gender_tree))
    assert len(rows) == 100
    for name, row in rows.items():
        leaf = Path(name).parent.name
        assert row["gender"] == {"F": "female", "M": "male"}[leaf[-1]]
        assert row["age"] == int(leaf[-4:-2])
        assert row["race"] is None
    got = collections.Counter((row["split"], row["gender"]) for row in rows.values())
    for gender in ("female", "male"):
        assert [got[s, gender] for s in ("train", "validation", "test")] == [30, 10, 10]


def test_gender_dataset_small_is_a_tenth_of_each_gender(prepare, gender_tree):
    rows = labels_by_name(prepare("GenderDataset_Small", gender_tree))
    assert collections.Counter(row["gender"] for row in rows.values()) == {"female": 5, "male": 5}
    assert rows.keys() < labels_by_name(prepare("GenderDataset", gender_tree)).keys()


def test_a_folder_of_class_folders(prepare, tmp_path, write_image):
    for i in range(40):
        write_image(tmp_path / "mine" / ("women", "men")[i % 2] / f"{i}.png", i)
    dataset = prepare(tmp_path / "mine")
    rows = labels_by_name(dataset)
    assert rows["women/0.png"]["gender"] == "female" and rows["men/1.png"]["gender"] == "male"
    assert dataset.counts == {"train": 32, "validation": 4, "test": 4}
    assert dataset.summary["reencoded"] == 40
    assert all(image.startswith(b"\xff\xd8") for image in images_by_name(dataset).values())


def test_a_folder_with_splits_keeps_them_and_loses_copies_of_test_from_train(
    prepare, tmp_path, write_image
):
    for part, start, count in (("train", 0, 20), ("val", 100, 4), ("test", 200, 4)):
        for i in range(start, start + count):
            write_image(tmp_path / "mine" / part / ("Asian", "Black")[i % 2] / f"{i}.jpg", i)
    write_image(tmp_path / "mine" / "train" / "Asian" / "copy.jpg", 200)
    dataset = prepare(tmp_path / "mine")
    assert dataset.counts == {"train": 20, "validation": 4, "test": 4}
    assert list(dataset.summary["skipped"]) == ["train/Asian/copy.jpg"]
    assert dataset.classes("race") == ("White", "Black", "Asian", "Indian", "Others")


def test_a_folder_of_unknown_classes_says_what_classes_may_be_called(
    prepare, tmp_path, write_image
):
    write_image(tmp_path / "mine" / "cats" / "1.jpg")
    with pytest.raises(InputError, match="cats: a class folder is named after a gender"):
        prepare(tmp_path / "mine")


def table(tmp_path, write_image, header, row):
    lines = [header] + [row(i) for i in range(40)]
    for i in range(40):
        write_image(tmp_path / "images" / f"{i}.jpg", i)
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "faces.csv"


def test_a_table_keeps_people_on_one_side_and_leaves_gaps_missing(prepare, tmp_path, write_image):
    path = table(
        tmp_path,
        write_image,
        "file,gender,race,age,subject",
        lambda i: f"images/{i}.jpg,{'fm'[i // 4 % 2] if i else ''},east asian,{i}.5,p{i // 4}",
    )
    rows = labels_by_name(prepare(path))
    assert rows["images/0.jpg"]["gender"] is None
    assert rows["images/1.jpg"]["gender"] == "female"
    assert rows["images/7.jpg"]["race"] == "East Asian"
    assert rows["images/7.jpg"]["age"] == 7.5
    sides = collections.defaultdict(set)
    for row in rows.values():
        sides[row["subject"]].add(row["split"])
    assert len(sides) == 10 and all(len(s) == 1 for s in sides.values())


def test_a_table_from_a_spreadsheet_has_a_mark_before_its_first_column(
    prepare, tmp_path, write_image
):
    path = table(tmp_path, write_image, "file,gender", lambda i: f"images/{i}.jpg,f\r")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert sum(prepare(path).counts.values()) == 40


def test_races_of_two_taxonomies_are_told(prepare, tmp_path, write_image):
    path = table(
        tmp_path,
        write_image,
        "file,race",
        lambda i: f"images/{i}.jpg,{('Asian', 'East Asian')[i % 2]}",
    )
    with pytest.raises(InputError, match="no one race taxonomy holds Asian, East Asian"):
        prepare(path).classes("race")


def test_people_whom_a_tables_own_splits_tear_apart_are_told(
    prepare, tmp_path, write_image, capsys
):
    path = table(
        tmp_path,
        write_image,
        "file,gender,subject,split",
        lambda i: f"images/{i}.jpg,f,p{i // 4},{['train', 'validation', 'test'][i // 13 % 3]}",
    )
    dataset = prepare(path)
    assert dataset.summary["subjects on two sides"] == ["p3", "p6", "p9"]
    assert "3 people on two sides" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("header", "row", "complaint"),
    [
        ("file,gender", lambda i: f"images/{i}.jpg,{'x' if i == 3 else 'f'}", "line 5: 'x' is not"),
        ("file,age", lambda i: f"images/{i}.jpg,{-3 if i == 0 else 4}", "line 2: '-3' is not"),
        ("path,gender", lambda i: f"images/{i}.jpg,f", "no column file"),
        ("file,mood", lambda i: f"images/{i}.jpg,good", "no labels"),
        ("file,gender", lambda i: "images/1.jpg,f", "listed twice"),
        ("file,gender", lambda i: f"elsewhere/{i}.jpg,f", "listed, but not there"),
    ],
)
def test_a_table_that_cannot_be_used_names_the_line(
    prepare, tmp_path, write_image, header, row, complaint
):
    with pytest.raises(InputError, match=complaint):
        prepare(table(tmp_path, write_image, header, row))


def test_duplicates_stand_on_one_side_of_the_split(prepare, tmp_path, write_image):
    for i in range(60):
        write_image(tmp_path / "mine" / ("female", "male")[i % 2] / f"{i}.jpg", i // 6)
    dataset = prepare(tmp_path / "mine")
    sides = collections.defaultdict(set)
    for split in dataset.counts:
        for record in records.records(dataset, split).as_numpy_iterator():
            sides[record["image"]].add(split)
    assert len(sides) == 10 and all(len(s) == 1 for s in sides.values())
    assert dataset.summary["duplicates"] == {
        "images": 60,
        "contents": 10,
        "with different labels": 10,
    }


def broken_images(folder: Path, good: Path) -> dict[str, str]:
    """Put one file of each kind of damage into `folder`; returns name to a word of the reason."""
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is not an image")
    (folder / "cut.jpg").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "header.jpg").write_bytes(good.read_bytes()[:30])
    return {"empty.jpg": "zero", "text.jpg": "identify", "cut.jpg": "truncated", "header.jpg": ""}


def test_damaged_files_are_left_out_and_listed(prepare, tmp_path, write_image):
    for i in range(100):
        write_image(tmp_path / "mine" / ("female", "male")[i % 2] / f"{i}.jpg", i)
    female = tmp_path / "mine" / "female"
    reasons = broken_images(female, female / "0.jpg")
    dataset = prepare(tmp_path / "mine")
    assert sum(dataset.counts.values()) == 100
    skipped = dataset.summary["skipped"]
    assert skipped.keys() == {f"female/{name}" for name in reasons}
    for name, word in reasons.items():
        assert word in skipped[f"female/{name}"]


def test_over_five_percent_damaged_stops_unless_told_to_go_on(prepare, tmp_path, write_image):
    for i in range(40):
        write_image(tmp_path / "mine" / ("female", "male")[i % 2] / f"{i}.jpg", i)
    female = tmp_path / "mine" / "female"
    broken_images(female, female / "0.jpg")
    with pytest.raises(InputError, match=r"4 of 44 images can't be used .*--keep-going"):
        prepare(tmp_path / "mine")
    assert not list((tmp_path / "tfrecords").glob("[!.]*"))  # nothing half-built
    assert sum(prepare(tmp_path / "mine", keep_going=True).counts.values()) == 40


def test_a_turned_jpeg_is_stored_upright(prepare, tmp_path, write_image):
    for i in range(20):
        write_image(tmp_path / "mine" / ("female", "male")[i % 2] / f"{i}.jpg", i)
    upright = cv2.imread(str(tmp_path / "mine/female/0.jpg"))
    turned = Image.fromarray(cv2.cvtColor(cv2.rotate(upright, cv2.ROTATE_90_CLOCKWISE), 4))
    exif = Image.Exif()
    exif[0x0112] = 8  # to be shown, turn it 90 degrees anticlockwise
    turned.save(tmp_path / "mine/female/turned.jpg", quality=98, subsampling=0, exif=exif)
    dataset = prepare(tmp_path / "mine")
    assert dataset.summary["reencoded"] == 1
    stored = images_by_name(dataset)["female/turned.jpg"]
    with Image.open(io.BytesIO(stored)) as image:
        assert image.getexif().get(0x0112, 1) == 1
        difference = np.asarray(image).astype(int) - cv2.cvtColor(upright, cv2.COLOR_BGR2RGB)
    assert np.abs(difference).mean() < 3


def test_records_are_found_again_and_written_anew_when_the_source_changes(
    prepare, utk_tree, write_image, capsys
):
    first = prepare("UTKFace", utk_tree)
    written = {path: path.stat().st_mtime_ns for path in first.directory.iterdir()}
    assert prepare("UTKFace", utk_tree).fingerprint == first.fingerprint
    assert prepare("UTKFace").fingerprint == first.fingerprint  # without its source
    assert written == {path: path.stat().st_mtime_ns for path in first.directory.iterdir()}

    write_image(utk_tree / "44_0_1_20170116174500044.jpg.chip.jpg", 44)
    second = prepare("UTKFace", utk_tree)
    assert "has changed" in capsys.readouterr().out
    assert sum(second.counts.values()) == 33
    assert second.fingerprint != first.fingerprint


def test_another_split_seed_has_its_own_records(prepare, utk_tree):
    one, other = prepare("UTKFace", utk_tree), prepare("UTKFace", utk_tree, seed=1)
    assert one.directory != other.directory
    assert labels_by_name(one) != labels_by_name(other)
    assert labels_by_name(one).keys() == labels_by_name(other).keys()


def test_a_dataset_that_is_not_there_says_how_to_get_it(prepare, tmp_path, monkeypatch):
    monkeypatch.delenv("FACES_DIR", raising=False)
    for name in ("UTKFace", "FairFace", "GenderDataset", "GenderDataset_Small"):
        with pytest.raises(InputError) as caught:
            prepare(name, tmp_path / "nowhere")
        text = str(caught.value)
        assert "https://" in text and "terms" in text and "expected" in text
        assert f"tools/write_tfrecords.py --dataset {name}" in text and "\n" not in text
    with pytest.raises(InputError, match="no dataset Imaginary: give one of UTKFace"):
        prepare("Imaginary")


def test_faces_dir_is_where_named_datasets_are_looked_for(prepare, utk_tree, monkeypatch):
    monkeypatch.setenv("FACES_DIR", str(utk_tree.parent))
    assert sum(prepare("UTKFace").counts.values()) == 32


def test_an_empty_folder_is_refused(prepare, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images found"):
        prepare(tmp_path / "empty")


def test_synthetic_faces_are_the_same_every_time(prepare, monkeypatch):
    from vggface_gender.datasets.synthetic_faces import synthetic_faces_dataset_builder as synthetic

    monkeypatch.setattr(synthetic, "COUNT", 30)
    one = prepare("SyntheticFaces")
    assert sum(one.counts.values()) == 30
    again = list(synthetic.Builder.labelled(None))
    assert images_by_name(one) == {item.name: item.image for item in again}


KILL = """
import sys
from vggface_gender import datasets
datasets.prepare(sys.argv[1], data_dir=sys.argv[2])
"""


def test_a_killed_build_leaves_nothing_and_the_next_one_sweeps(tmp_path, write_image):
    for i in range(3000):
        write_image(tmp_path / "mine" / ("female", "male")[i % 2] / f"{i}.jpg", i)
    records = tmp_path / "tfrecords"
    process = subprocess.Popen(
        [sys.executable, "-c", KILL, tmp_path / "mine", records], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(records.glob(".folder.building.*/**/*incomplete*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(records.glob("folder/*"))
    assert list(records.glob(".folder.building.*"))

    dataset = datasets.prepare(str(tmp_path / "mine"), data_dir=records)
    assert sum(dataset.counts.values()) == 3000
    assert not list(records.glob(".folder.building.*"))
    undisturbed = datasets.prepare(str(tmp_path / "mine"), data_dir=tmp_path / "other")
    assert undisturbed.fingerprint == dataset.fingerprint
    assert labels_by_name(undisturbed) == labels_by_name(dataset)


def test_a_full_disk_leaves_no_dataset(tmp_path, utk_tree):
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); import signal"
    code += "; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)" + KILL.replace("mine", "")
    done = subprocess.run(
        [sys.executable, "-c", code, "UTKFace", tmp_path / "records"],
        env=os.environ | {"FACES_DIR": str(utk_tree.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert not list((tmp_path / "records").glob("[!.]*"))


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
    assert len(list(dataset.directory.glob("*-train.tfrecord-*"))) == datasets.SHARDS
    json.dumps(dataset.summary)


def test_fairface_itself(prepare, faces_dir):
    dataset = prepare("FairFace", faces_dir / "FairFace")
    bands = collections.Counter()
    for split in dataset.summary["labels"].values():
        bands.update(split["age"])
    assert sum(bands.values()) == 5000
    assert bands["3-9"] == 602 and bands["10-19"] == 553 and bands["70+"] == 44
