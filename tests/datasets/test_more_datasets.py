"""Adience and AllAgeFaces on made-up trees of their layouts, and the table that MORPH makes."""

import collections
import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from vggface_gender import datasets
from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.data import records
from vggface_gender.datasets.adience import adience_dataset_builder as adience

HEADER = (
    "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\t"
    "tilt_ang\tfiducial_yaw_angle\tfiducial_score"
)


class Record(NamedTuple):
    """What a record says, and where it stands."""

    gender: str
    race: str
    age: float
    subject: str
    fold: int
    split: str


@pytest.fixture
def prepare(tmp_path):
    """`datasets.prepare` with its records in the test's own folder."""
    return lambda name, source=None, **kwargs: datasets.prepare(
        str(name), source, tmp_path / "tfrecords", **kwargs
    )


def records(dataset) -> dict[str, Record]:
    """The records as they are stored, by name: "" and -1 are what is missing."""
    return {
        record["name"].decode(): Record(
            *(record[field].decode() for field in ("gender", "race")),
            float(record["age"]),
            record["subject"].decode(),
            int(record["fold"]),
            split,
        )
        for split in dataset.counts
        for record in records.records(dataset, split).as_numpy_iterator()
    }


# Rows of one account in fold 2, as the published files spell them: the person's number, the age,
# the gender; and by hand the middle year (-1: none) and the gender that they stand for.
ODD = [
    (1, "(0, 2)", "u", 1.0, ""),
    (2, "(4, 6)", "f", 5.0, "female"),
    (3, "(8, 12)", "m", 10.5, "male"),
    (4, "(15, 20)", "f", 17.5, "female"),
    (5, "(25, 32)", "m", 28.5, "male"),
    (6, "(38, 43)", "f", 40.5, "female"),
    (7, "(48, 53)", "m", 50.5, "male"),
    (8, "(60, 100)", "f", 80.0, "female"),
    (9, "(25, 23)", "f", 28.5, "female"),
    (10, "(27, 32)", "m", 28.5, "male"),
    (11, "(38, 42)", "m", 40.5, "male"),
    (12, "(38, 48)", "f", 40.5, "female"),
    (13, "(8, 23)", "f", 10.5, "female"),
    (14, "2", "m", 1.0, "male"),
    (15, "13", "m", 10.5, "male"),
    (16, "32", "f", 28.5, "female"),
    (17, "35", "m", -1.0, "male"),
    (18, "58", "", -1.0, ""),
    (19, "None", "f", -1.0, "female"),
    (20, "None", "u", -1.0, ""),
]


def row(user: str, image: str, face: int, age: str, gender: str) -> str:
    return f"{user}\t{image}\t{face}\t{age}\t{gender}\t0\t414\t1086\t1383\t-115\t30\t17"


@pytest.fixture
def adience_tree(tmp_path, write_image):
    """Twenty albums of four faces each, four albums a fold, and the odd rows in fold 2."""
    root = tmp_path / "Adience"
    folds: list[list[str]] = [[] for _ in range(5)]
    seed = 0
    for album in range(20):
        for face in range(4):
            user = f"{album:03d}@N0{album % 7}"
            # One photo shows two people: it is the face's number that tells their crops apart.
            image = f"{album}_{face // 2}_o.jpg"
            folds[album % 5].append(row(user, image, 100 + face, "(25, 32)", "fm"[album // 5 % 2]))
            seed += 1
            crop = f"landmark_aligned_face.{100 + face}.{image}"
            write_image(root / "aligned" / user / crop, seed)
    for face, age, gender, _, _ in ODD:
        folds[2].append(row("odd@N01", f"{face}_o.jpg", face, age, gender))
        crop = f"landmark_aligned_face.{face}.{face}_o.jpg"
        write_image(root / "aligned" / "odd@N01" / crop, 1000 + face)
    for fold, rows in enumerate(folds):
        (root / f"fold_{fold}_data.txt").write_text("\n".join([HEADER, *rows]) + "\n")
        # The lists of frontal faces lie beside them and repeat some of their rows.
        frontal = root / f"fold_frontal_{fold}_data.txt"
        frontal.write_text("\n".join([HEADER, *rows[:2]]) + "\n")
    return root


def test_adience_reads_its_labels_folds_and_accounts(prepare, adience_tree):
    dataset = prepare("Adience", adience_tree)
    found = records(dataset)
    assert len(found) == 20 * 4 + len(ODD)
    for face, _, _, years, gender in ODD:
        record = found[f"aligned/odd@N01/landmark_aligned_face.{face}.{face}_o.jpg"]
        assert record[:5] == (gender, "", years, "odd@N01", 2)
    assert found["aligned/007@N00/landmark_aligned_face.103.7_1_o.jpg"][:5] == (
        *("male", "", 28.5),
        *("007@N00", 2),
    )
    assert collections.Counter(record.fold for record in found.values()) == {
        **dict.fromkeys((0, 1, 3, 4), 16),
        2: 16 + len(ODD),
    }
    assert dataset.summary["skipped"] == {}
    assert dataset.classes("gender") == ("female", "male")
    with pytest.raises(InputError, match="Adience has no race labels"):
        dataset.classes("race")
    missing = collections.Counter()
    for split in dataset.summary["labels"].values():
        missing.update({task: counts.get("missing", 0) for task, counts in split.items()})
    assert missing["gender"] == 3 and missing["age"] == 4


def test_nobodys_album_is_on_two_sides(prepare, adience_tree):
    dataset = prepare("Adience", adience_tree)
    assert set(dataset.counts) == {"train", "validation", "test"}
    sides = collections.defaultdict(set)
    for record in records(dataset).values():
        sides[record.subject].add(record.split)
    assert len(sides) == 21 and all(len(of) == 1 for of in sides.values())


def test_adiences_own_folds_are_the_test_splits_of_five(prepare, adience_tree):
    for k in range(5):
        dataset = prepare("Adience", adience_tree, fold=(k, 5))
        assert {r.fold for r in records(dataset).values() if r.split == "test"} == {k}
        assert sum(dataset.counts.values()) == 20 * 4 + len(ODD)  # nobody was in two folds


def test_a_listed_face_that_is_not_there_is_left_out_and_told(prepare, adience_tree, capsys):
    gone = "aligned/odd@N01/landmark_aligned_face.5.5_o.jpg"
    (adience_tree / gone).unlink()
    dataset = prepare("Adience", adience_tree)
    assert dataset.summary["skipped"] == {gone: "listed, but not there"}
    assert gone not in records(dataset)
    assert f"{gone}: listed, but not there" in capsys.readouterr().out


def test_adience_without_its_images_says_so(prepare, adience_tree):
    (adience_tree / "aligned").rename(adience_tree / "faces")
    with pytest.raises(InputError, match=r"100 of 100 images can't be used .*not there") as caught:
        prepare("Adience", adience_tree)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "fold_3_data.txt: not found; expected fold_0_data.txt to fold_4_data.txt"),
        ("<html>\n<body>Please log in</body>\n", "fold_3_data.txt: no column user_id"),
        (HEADER.replace("gender", "sex") + "\n", "fold_3_data.txt: no column gender"),
        ("", "fold_3_data.txt: not a readable tab-separated file"),
        (b"user_id\t\xff\xfe\n", "fold_3_data.txt: not a readable tab-separated file"),
    ],
)
def test_a_fold_that_cannot_be_used_is_named(prepare, adience_tree, content, complaint):
    table = adience_tree / "fold_3_data.txt"
    table.unlink()
    if content is not None:
        table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=complaint) as caught:
        prepare("Adience", adience_tree)
    assert "\n" not in str(caught.value)


def test_a_row_that_ends_early_lacks_what_is_cut_off(tmp_path):
    table = tmp_path / "fold_0_data.txt"
    table.write_text(f"{HEADER}\n1@N01\ta.jpg\t7\t(4, 6)\n{row('1@N01', 'b.jpg', 8, '3', 'f')}\n")
    rows = adience.read_fold(table)
    assert rows.age.tolist() == ["(4, 6)", "3"] and rows.gender.tolist() == ["", "f"]


def test_every_whole_year_is_in_its_nearest_adience_bin():
    # By hand, for each bin the last whole year that is nearest to it; the younger of two.
    lasts = {"0-2": 3, "4-6": 7, "8-13": 14, "15-20": 22, "25-32": 35, "38-43": 45, "48-53": 56}
    assert (*lasts, "60-100") == labels.ADIENCE_AGE_BIN_NAMES
    for years in range(117):
        expected = next((name for name, last in lasts.items() if years <= last), "60-100")
        assert labels.adience_age_bin(years) == expected
    assert labels.adience_age_bin(-1.5) == "0-2" and labels.adience_age_bin(35.01) == "38-43"
    for years in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="no bin"):
            labels.adience_age_bin(years)


def test_the_age_in_a_record_is_in_the_bin_that_the_row_named():
    for (first, last), name in zip(
        labels.ADIENCE_AGE_BINS, labels.ADIENCE_AGE_BIN_NAMES, strict=True
    ):
        assert labels.adience_age_bin(adience.years(f"({first}, {last})")) == name
        for year in range(first, last + 1):
            assert labels.adience_age_bin(adience.years(str(year))) == name
    assert [adience.years(text) for text in ("", "None", "unknown", "(None)", " (4, 6) ")] == [
        *[None] * 4,
        5.0,
    ]


WOMEN = [f"{k:05d}A{2 + k:02d}.jpg" for k in range(20)]
MEN = [f"{7381 + k:05d}A{40 + k:02d}.jpg" for k in range(20)]


def aaf(root: Path, write_image, images: str = "aglined faces", lists: bool = True) -> Path:
    """Twenty women of 2 to 21 and twenty men of 40 to 59; every fifth is in the validation half."""
    halves: dict[str, list[str]] = {"train.txt": [], "val.txt": []}
    for k, name in enumerate(WOMEN + MEN):
        write_image(root / images / name, k)
        halves["train.txt" if k % 5 else "val.txt"].append(f"{name} {int(name in MEN)}")
    if lists:
        (root / "image sets").mkdir()
        for name, lines in halves.items():
            (root / "image sets" / name).write_text("\n".join(lines) + "\n")
    return root


def test_all_age_faces_are_labelled_by_their_names(prepare, tmp_path, write_image):
    root = aaf(tmp_path / "AllAgeFaces", write_image)
    # What lies beside the aligned faces in the archive, and the two people at the border.
    write_image(root / "original images" / "00000A02.jpg", 500)
    write_image(root / "example" / "00001A03.jpg", 501)
    (root / "key points").mkdir()
    (root / "key points" / "00000A02.txt").write_text("1 2\n")
    write_image(root / "aglined faces" / "07380A33.jpg", 502)
    write_image(root / "aglined faces" / "13321A80.jpg", 503)
    dataset = prepare("AllAgeFaces", root)
    found = records(dataset)
    assert len(found) == 42 and all(name.startswith("aglined faces/") for name in found)
    assert found["aglined faces/00000A02.jpg"][:5] == ("female", "", 2.0, "00000", -1)
    assert found["aglined faces/07380A33.jpg"][:5] == ("female", "", 33.0, "07380", -1)
    assert found["aglined faces/07381A40.jpg"][:5] == ("male", "", 40.0, "07381", -1)
    assert found["aglined faces/13321A80.jpg"][:5] == ("male", "", 80.0, "13321", -1)
    assert dataset.padding is None


def test_the_published_validation_half_is_the_test_split(prepare, tmp_path, write_image, capsys):
    root = aaf(tmp_path / "AllAgeFaces", write_image)
    write_image(root / "aglined faces" / "09999A50.jpg", 600)  # on neither list
    found = records(prepare("AllAgeFaces", root))
    tested = {Path(name).name for name, record in found.items() if record.split == "test"}
    lines = (root / "image sets" / "val.txt").read_text().splitlines()
    assert tested == {line.split()[0] for line in lines} and len(tested) == 8
    assert found["aglined faces/09999A50.jpg"].split != "test"
    splits = collections.Counter(record.split for record in found.values())
    assert splits["validation"] == pytest.approx(3.3, abs=2)
    assert "split: validation drawn with seed 0" in capsys.readouterr().out


@pytest.mark.parametrize("lost", ["image sets", "image sets/val.txt"])
def test_without_both_lists_the_split_is_drawn(prepare, tmp_path, write_image, lost):
    root = aaf(tmp_path / "AllAgeFaces", write_image)
    (root / lost).rename(tmp_path / "elsewhere")
    dataset = prepare("AllAgeFaces", root)
    assert dataset.counts == {"train": 32, "validation": 4, "test": 4}
    assert dataset.summary["drawn"] == ["validation", "test"]


def test_lists_may_name_people_without_an_ending(prepare, tmp_path, write_image):
    # As the page describes them; the files in the archive have ".jpg".
    root = aaf(tmp_path / "AllAgeFaces", write_image)
    for table in (root / "image sets").iterdir():
        table.write_text(table.read_text().replace(".jpg", ""))
    dataset = prepare("AllAgeFaces", root)
    assert dataset.counts["test"] == 8 and not dataset.summary["skipped"]


@pytest.mark.parametrize("images", ["aglined faces", "aligned faces", "original images", "."])
@pytest.mark.parametrize("inside", [".", "All-Age-Faces Dataset"])
def test_where_all_age_faces_may_lie(tmp_path, write_image, images, inside):
    from vggface_gender.datasets.all_age_faces import all_age_faces_dataset_builder as builder

    aaf(tmp_path / "AllAgeFaces" / inside, write_image, images)
    listed = list(builder.Builder.labelled(tmp_path / "AllAgeFaces"))
    names = [Path(inside, images, name).as_posix() for name in WOMEN + MEN]
    assert sorted(item.name for item in listed) == names
    assert all(item.problem is None and item.image.is_file() for item in listed)
    assert collections.Counter(item.split for item in listed) == {"train": 32, "test": 8}


def test_names_that_say_nothing_and_images_that_are_gone_are_told(prepare, tmp_path, write_image):
    root = aaf(tmp_path / "AllAgeFaces", write_image)
    for name in ("portrait.jpg", "00001A3.jpg", "13322A20.jpg"):
        write_image(root / "aglined faces" / name, 700)
    (root / "aglined faces" / "07385A44.jpg").unlink()
    with pytest.raises(InputError, match="4 of 43 images can't be used"):
        prepare("AllAgeFaces", root)
    dataset = prepare("AllAgeFaces", root, keep_going=True)
    assert sum(dataset.counts.values()) == 39
    skipped = {Path(name).name: why for name, why in dataset.summary["skipped"].items()}
    assert skipped == {
        "portrait.jpg": "its name is not a serial number of five digits, A and an age of two",
        "00001A3.jpg": "its name is not a serial number of five digits, A and an age of two",
        "13322A20.jpg": "its serial number is above 13321, the last",
        "07385A44.jpg": "listed, but not there",
    }


@pytest.mark.parametrize("name", ["Adience", "AllAgeFaces"])
def test_a_folder_that_is_not_the_dataset_is_refused_in_one_line(
    prepare, tmp_path, write_image, name
):
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "wrong" / "cats" / "1.jpg")
    for folder in ("empty", "wrong"):
        with pytest.raises(InputError, match="expected") as caught:
            prepare(name, tmp_path / folder)
        assert str(tmp_path / folder) in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "tfrecords").glob("[!.]*"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Adience", ["talhassner.github.io", "Creative Commons", "fold_0_data.txt", "aligned/"]),
        ("AllAgeFaces", ["github.com/JingchunCheng", "cite the paper", "image sets/train.txt"]),
    ],
)
def test_a_dataset_that_is_not_there_says_how_to_get_it(prepare, tmp_path, name, told):
    with pytest.raises(InputError) as caught:
        prepare(name, tmp_path / "nowhere")
    text = str(caught.value)
    told = [*told, "https://", "terms: ", "expected: ", f"write_tfrecords.py --dataset {name}"]
    assert all(part in text for part in told) and "\n" not in text


def test_morph_goes_in_as_a_table(prepare, tmp_path, write_image):
    # The README's way, on the columns of MORPH II's own table.
    lines = ["id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo"]
    for k in range(40):
        person, picture = k // 4, k % 4
        photo = f"Album2/{person:06d}_{picture}{'MF'[person % 2]}{20 + picture}.JPG"
        race, gender = "WBAHO"[person % 5], "MF"[person % 2]
        lines.append(
            f"{person},{picture},01/01/1980,01/01/2005,{race},{gender},-9999,{20 + picture},0,"
            f"-9999,{photo}"
        )
        write_image(tmp_path / "MORPH" / photo, k)
    (tmp_path / "MORPH" / "morph_2008_nonCommercial.csv").write_text("\n".join(lines) + "\n")

    morph = pd.read_csv(tmp_path / "MORPH/morph_2008_nonCommercial.csv", dtype=str)
    races = {"W": "White", "B": "Black", "A": "Asian", "H": "Others", "O": "Others"}
    faces = morph.rename(columns={"photo": "file", "id_num": "subject"})
    faces["race"] = faces.race.map(races)
    faces[["file", "gender", "race", "age", "subject"]].to_csv(
        tmp_path / "MORPH/faces.csv", index=False
    )

    found = records(prepare(tmp_path / "MORPH/faces.csv"))
    assert len(found) == 40
    assert found["Album2/000003_1F21.JPG"][:4] == ("female", "Others", 21.0, "3")
    assert found["Album2/000002_0M20.JPG"][:4] == ("male", "Asian", 20.0, "2")
    sides = collections.defaultdict(set)
    for record in found.values():
        sides[record.subject].add(record.split)
    assert all(len(of) == 1 for of in sides.values())


def test_folders_called_training_and_validation_are_splits(prepare, tmp_path, write_image):
    # As Kaggle's gender dataset has them.
    for part, count in (("Training", 40), ("Validation", 8)):
        for k in range(count):
            gender = ("female", "male")[k % 2]
            write_image(tmp_path / "kaggle" / part / gender / f"{part}{k}.jpg", 100 * count + k)
    found = records(prepare(tmp_path / "kaggle"))
    splits = collections.Counter((Path(n).parts[0], r.split) for n, r in found.items())
    assert splits == {
        ("Training", "train"): 36,
        ("Training", "test"): 4,
        ("Validation", "validation"): 8,
    }
    assert all(record.gender == Path(name).parts[1] for name, record in found.items())
