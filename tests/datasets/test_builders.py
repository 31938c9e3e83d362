"""Every named dataset's builder on a made-up tree of its true layout (see `trees`)."""

import collections
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import trees

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.adience import adience_dataset_builder as adience
from vggface_gender.datasets.all_age_faces import all_age_faces_dataset_builder as all_age_faces


class Expected(NamedTuple):
    """What a dataset's made-up tree comes to."""

    tree: object  # a function of `trees`
    count: int
    drawn: list[str]
    labels: dict[str, tuple]  # gender, race, age, subject and fold of some images


CASES = {
    "UTKFace": Expected(
        trees.utk_face,
        100,
        ["validation", "test"],
        {
            "23_1_3_20170116174500003.jpg.chip.jpg": ("female", "Indian", 23.0, None, None),
            "39_1_20170116174525125.jpg.chip.jpg": ("male", "Black", 39.0, None, None),
            "61_1_20170109150557335.jpg.chip.jpg": ("female", "Indian", 61.0, None, None),
        },
    ),
    "FairFace": Expected(
        trees.fair_face,
        48,
        ["validation"],
        {
            "train/1.jpg": ("female", "Latino_Hispanic", 6.0, None, None),  # 03-Sep
            "train/2.jpg": ("male", "Middle Eastern", 14.5, None, None),  # Oct-19
            "train/3.jpg": ("female", "East Asian", 24.5, None, None),
            "val/4.jpg": ("male", "White", 75.0, None, None),  # more than 70
            "val/5.jpg": ("female", "Latino_Hispanic", 1.0, None, None),
        },
    ),
    "Adience": Expected(
        trees.adience,
        80 + len(trees.ADIENCE_ODD),
        ["validation", "test"],
        {
            "aligned/007@N00/landmark_aligned_face.103.7_1_o.jpg": (
                *("male", None, 28.5, "007@N00", 2),
            ),
        }
        | {
            f"aligned/odd@N01/landmark_aligned_face.{face}.{face}_o.jpg": (
                *(gender, None, years, "odd@N01", 2),
            )
            for face, _, _, years, gender in trees.ADIENCE_ODD
        },
    ),
    "AllAgeFaces": Expected(
        trees.all_age_faces,
        40,
        ["validation"],
        {
            "aglined faces/00000A02.jpg": ("female", None, 2.0, "00000", None),
            "aglined faces/07381A40.jpg": ("male", None, 40.0, "07381", None),
        },
    ),
    "GenderDataset": Expected(
        trees.gender_dataset,
        100,
        ["validation", "test"],
        {
            "aligned/000_21_M/1.jpg": ("male", None, 21.0, None, None),
            "valid/002_24_F/4.jpg": ("female", None, 24.0, None, None),
        },
    ),
    "GenderDataset_Small": Expected(trees.gender_dataset, 10, ["validation", "test"], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_labels_and_splits(name, plan, rows, tmp_path):
    case, facts = CASES[name], catalogue.NAMED[name]
    planned = plan(name, case.tree(tmp_path))
    found = rows(planned)
    assert len(found) == case.count and not planned.summary["skipped"]
    assert planned.summary["drawn"] == case.drawn
    assert list(planned.divided) == ["train", "validation", "test"]
    for image, expected in case.labels.items():
        assert found[image][2:7] == expected
    # What the catalogue says it has labels of.
    for task in labels.TASKS:
        has = {getattr(item, task) for item in found.values()} != {None}
        assert has == (task in facts.tasks)
    assert {item.race for item in found.values()} - {None} <= {*facts.races}


@pytest.mark.parametrize("name", ["UTKFace", "Adience", "GenderDataset_Small"])
def test_records_hold_what_was_planned(name, prepare, plan, rows, stored, tmp_path):
    source = CASES[name].tree(tmp_path)
    planned, records = rows(plan(name, source)), stored(prepare(name, source))
    assert records.keys() == planned.keys()
    for image, record in records.items():
        item = planned[image]
        for field in ("gender", "race", "subject"):
            assert record[field].decode() == (getattr(item, field) or "")
        assert record["age"] == (-1 if item.age is None else item.age)
        assert record["fold"] == (-1 if item.fold is None else item.fold)
        assert record["split"] == item.split
        # JPEG bytes are copied, not encoded again; names are below the source.
        assert record["image"] == (source / image).read_bytes()


def test_drawn_faces_are_the_same_every_time(prepare, stored, monkeypatch):
    from vggface_gender.datasets.synthetic_faces import synthetic_faces_dataset_builder as synthetic

    monkeypatch.setattr(synthetic, "COUNT", 12)
    records = stored(prepare("SyntheticFaces"))
    again = {item.name: item.image for item in synthetic.Builder.labelled(None)}
    assert {name: record["image"] for name, record in records.items()} == again
    assert len(again) == 12


@pytest.mark.parametrize("name", [name for name in CASES])
def test_a_folder_that_is_not_the_dataset_is_refused_in_one_line(name, plan, tmp_path):
    (tmp_path / "empty").mkdir()
    trees.write(tmp_path / "wrong" / "cats" / "1.jpg")
    for folder in ("empty", "wrong"):
        with pytest.raises(InputError) as caught:
            plan(name, tmp_path / folder)
        assert str(tmp_path / folder) in str(caught.value) and "\n" not in str(caught.value)


# --- UTKFace, FairFace, GenderDataset


def test_a_name_that_holds_no_labels_is_left_out_and_listed(plan, tmp_path):
    source = trees.utk_face(tmp_path)
    names = ["200_0_0_20170116174500000.jpg", "somebody.jpg"]
    for i, name in enumerate(names):
        trees.write(source / name, 1000 + i)
    summary = plan("UTKFace", source).summary
    assert sum(summary["counts"].values()) == 100 and list(summary["skipped"]) == names


def test_fairface_keeps_its_published_half_as_the_test_split(plan, rows, tmp_path):
    found = rows(plan("FairFace", trees.fair_face(tmp_path)))
    tested = {name for name, item in found.items() if item.split == "test"}
    assert tested == {f"val/{i}.jpg" for i in range(1, 9)}


def test_fairface_cuts_test_from_train_where_val_is_absent(plan, tmp_path):
    planned = plan("FairFace", trees.fair_face(tmp_path, {"train": 40}))
    assert planned.summary["drawn"] == ["validation", "test"]
    assert len(planned.divided["train"]) == pytest.approx(32, abs=4)


def test_a_label_file_that_is_no_table_is_named(plan, tmp_path):
    source = trees.fair_face(tmp_path, {"train": 4})
    (source / "fairface_label_train.csv").write_bytes(b"file,age\xff\n")
    with pytest.raises(InputError, match=r"fairface_label_train\.csv") as caught:
        plan("FairFace", source)
    assert "\n" not in str(caught.value)


FAIRFACE_CASE = [  # as spreadsheets, other copies and people write FairFace's labels
    ("9-Mar", "Male", "White", 6.0),
    ("2019-10-01", "female", "Latino/Hispanic", 14.5),
    ("3–9", "F", "middle-eastern", 6.0),
    ("70+", "Male", "East Asian", 75.0),
]


def fairface_rows(root: Path, rows: list[str]) -> Path:
    source = trees.fair_face(root, {"train": len(rows)})
    lines = ["file,age,gender,race", *(f"train/{i}.jpg,{row}" for i, row in enumerate(rows, 1))]
    (source / "fairface_label_train.csv").write_text("\n".join(lines) + "\n")
    return source


def test_fairface_understands_what_a_table_does(plan, rows, tmp_path):
    said = [",".join(row[:3]) for row in FAIRFACE_CASE]
    found = rows(plan("FairFace", fairface_rows(tmp_path, said)))
    assert [found[f"train/{i}.jpg"].age for i in range(1, 5)] == [row[3] for row in FAIRFACE_CASE]
    assert {item.race for item in found.values()} == {
        *("White", "Latino_Hispanic", "Middle Eastern", "East Asian")
    }


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("43717,Male,White", "line 3: '43717' is not a known age"),
        ("3,Male,White", "line 3: '3' is not a known age; give a band"),
        ("3-9,0,White", "line 3: '0' is not a known gender.*female or male.*differs"),
        ("3-9,Male,0", "line 3: '0' is not a known race"),
    ],
)
def test_what_fairface_says_and_nobody_understands_is_refused_or_counted(
    row, named, plan, rows, tmp_path
):
    good = "3-9,Male,White"
    source = fairface_rows(tmp_path, [good, row, *[good] * 8])
    with pytest.raises(InputError, match=rf"fairface_label_train\.csv, {named}"):
        plan("FairFace", source)
    planned = plan("FairFace", source, keep_going=True)
    assert len(rows(planned)) == 10
    (found,) = planned.summary["not understood"].values()
    assert found == {"count": 1, "first": "fairface_label_train.csv, line 3"}


@pytest.mark.parametrize("inside", ["", "combined"])
def test_gender_dataset_is_divided_60_20_20_by_gender(inside, plan, rows, tmp_path):
    source = trees.gender_dataset(tmp_path, inside)
    found = rows(plan("GenderDataset", source))
    counts = collections.Counter((item.split, item.gender) for item in found.values())
    for gender in labels.GENDERS:
        got = [counts[split, gender] for split in ("train", "validation", "test")]
        assert got == [30, 10, 10]
    small = rows(plan("GenderDataset_Small", source))
    assert collections.Counter(i.gender for i in small.values()) == {"female": 5, "male": 5}
    assert small.keys() < found.keys()


# --- Adience


def test_nobodys_album_is_on_two_sides(plan, rows, tmp_path):
    planned = plan("Adience", trees.adience(tmp_path))
    sides = collections.defaultdict(set)
    for item in rows(planned).values():
        sides[item.subject].add(item.split)
    assert len(sides) == 21 and all(len(of) == 1 for of in sides.values())
    assert planned.summary["subjects on two sides"] == []
    missing = collections.Counter()
    for split in planned.summary["labels"].values():
        missing.update({task: counts.get("missing", 0) for task, counts in split.items()})
    assert missing["gender"] == 3 and missing["age"] == 4


def test_ages_between_adiences_bins_are_missing_and_counted(plan, tmp_path):
    summary = plan("Adience", trees.adience(tmp_path)).summary
    assert "ages between two bins, so missing: 35 (1), 58 (1)" in summary["notes"]
    assert summary["not understood"] == {}


@pytest.mark.parametrize(("age", "gender"), [("young", "f"), ("(4, 6)", "0")])
def test_what_adience_says_and_nobody_understands_is_refused(age, gender, plan, tmp_path):
    source = trees.adience(tmp_path)
    with (source / "fold_1_data.txt").open("a") as table:
        table.write(trees.adience_row("001@N01", "0_0_o.jpg", 100, age, gender) + "\n")
    with pytest.raises(InputError, match=r"1 label .*fold_1_data\.txt, line 18: "):
        plan("Adience", source)


def test_adiences_own_folds_are_the_test_splits_of_five(plan, rows, tmp_path):
    source = trees.adience(tmp_path)
    for k in range(5):
        found = rows(plan("Adience", source, fold=(k, 5)))
        assert {item.fold for item in found.values() if item.split == "test"} == {k}
        assert len(found) == 80 + len(trees.ADIENCE_ODD)  # nobody was in two folds


def test_a_listed_face_that_is_not_there_is_left_out_and_listed(plan, rows, tmp_path):
    source = trees.adience(tmp_path)
    gone = "aligned/odd@N01/landmark_aligned_face.5.5_o.jpg"
    (source / gone).unlink()
    planned = plan("Adience", source)
    assert list(planned.summary["skipped"]) == [gone] and gone not in rows(planned)


def test_adience_without_its_images_says_so(plan, tmp_path):
    source = trees.adience(tmp_path)
    (source / "aligned").rename(source / "faces")
    with pytest.raises(InputError, match="100 of 100") as caught:
        plan("Adience", source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, ""),
        ("<html>\n<body>Please log in</body>\n", "user_id"),
        (trees.ADIENCE_HEADER.replace("gender", "sex") + "\n", "gender"),
        ("", ""),
        (b"user_id\t\xff\xfe\n", ""),
    ],
)
def test_a_fold_that_cannot_be_used_is_named(content, named, plan, tmp_path):
    source = trees.adience(tmp_path)
    table = source / "fold_3_data.txt"
    table.unlink()
    if content is not None:
        table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=rf"fold_3_data\.txt: .*{named}") as caught:
        plan("Adience", source)
    assert "\n" not in str(caught.value)


def test_a_row_that_ends_early_lacks_what_is_cut_off(tmp_path):
    source = trees.adience(tmp_path)
    whole = trees.adience_row("1@N01", "b.jpg", 8, "3", "f")
    lines = [trees.ADIENCE_HEADER, "1@N01\ta.jpg\t7\t(4, 6)", whole]
    (source / "fold_0_data.txt").write_text("\n".join(lines) + "\n")
    listed = [item for item in adience.Builder.labelled(source) if item.subject == "1@N01"]
    assert [(item.age, item.gender) for item in listed] == [(5.0, None), (None, "female")]


def test_the_age_in_a_record_is_within_the_bin_that_the_row_named():
    for first, last in labels.ADIENCE_AGE_BINS:
        assert first <= adience.years(f"({first}, {last})") <= last
        for year in range(first, last + 1):
            assert first <= adience.years(str(year)) <= last
    assert [adience.years(text) for text in ("", "None", "unknown", "(None)", " (4, 6) ")] == [
        *[None] * 4,
        5.0,
    ]


# --- AllAgeFaces


def test_all_age_faces_takes_the_aligned_ones_and_tells_women_from_men_by_number(tmp_path):
    source = trees.all_age_faces(tmp_path)
    # What lies beside the aligned faces in the archive, and the two people at the border.
    trees.write(source / "original images" / "00000A02.jpg", 500)
    trees.write(source / "example" / "00001A03.jpg", 501)
    (source / "key points").mkdir()
    (source / "key points" / "00000A02.txt").write_text("1 2\n")
    trees.write(source / "aglined faces" / "07380A33.jpg", 502)
    trees.write(source / "aglined faces" / "13321A80.jpg", 503)
    found = {item.name: item for item in all_age_faces.Builder.labelled(source)}
    assert len(found) == 42 and all(name.startswith("aglined faces/") for name in found)
    assert found["aglined faces/07380A33.jpg"][2:6] == ("female", None, 33.0, "07380")
    assert found["aglined faces/13321A80.jpg"][2:6] == ("male", None, 80.0, "13321")


def test_the_published_validation_half_is_the_test_split(plan, rows, tmp_path):
    source = trees.all_age_faces(tmp_path)
    trees.write(source / "aglined faces" / "09999A50.jpg", 600)  # on neither list
    found = rows(plan("AllAgeFaces", source))
    tested = {Path(name).name for name, item in found.items() if item.split == "test"}
    lines = (source / "image sets" / "val.txt").read_text().splitlines()
    assert tested == {line.split()[0] for line in lines} and len(tested) == 8
    splits = collections.Counter(item.split for item in found.values())
    assert splits["validation"] == pytest.approx(3.3, abs=2)


@pytest.mark.parametrize("lost", ["image sets", "image sets/val.txt"])
def test_without_both_lists_the_split_is_drawn(lost, plan, tmp_path):
    source = trees.all_age_faces(tmp_path)
    (source / lost).rename(tmp_path / "elsewhere")
    summary = plan("AllAgeFaces", source).summary
    assert summary["counts"] == {"train": 32, "validation": 4, "test": 4}
    assert summary["drawn"] == ["validation", "test"]


def test_lists_may_name_people_without_an_ending(plan, tmp_path):
    # As the page describes them; the files in the archive have ".jpg".
    source = trees.all_age_faces(tmp_path)
    for table in (source / "image sets").iterdir():
        table.write_text(table.read_text().replace(".jpg", ""))
    summary = plan("AllAgeFaces", source).summary
    assert summary["counts"]["test"] == 8 and not summary["skipped"]


@pytest.mark.parametrize("images", ["aglined faces", "aligned faces", "original images", "."])
@pytest.mark.parametrize("inside", [".", "All-Age-Faces Dataset"])
def test_where_all_age_faces_may_lie(images, inside, tmp_path):
    listed = list(all_age_faces.Builder.labelled(trees.all_age_faces(tmp_path, images, inside)))
    names = [Path(inside, images, name).as_posix() for name in trees.WOMEN + trees.MEN]
    assert sorted(item.name for item in listed) == names
    assert all(item.problem is None and Path(item.image).is_file() for item in listed)
    assert collections.Counter(item.split for item in listed) == {"train": 32, "test": 8}


def test_names_that_say_nothing_and_images_that_are_gone_are_listed(plan, tmp_path):
    source = trees.all_age_faces(tmp_path)
    unreadable = ("portrait.jpg", "00001A3.jpg", "13322A20.jpg")
    for name in unreadable:
        trees.write(source / "aglined faces" / name, 700)
    (source / "aglined faces" / "07385A44.jpg").unlink()
    with pytest.raises(InputError, match="4 of 43"):
        plan("AllAgeFaces", source)
    summary = plan("AllAgeFaces", source, keep_going=True).summary
    assert sum(summary["counts"].values()) == 39
    assert {Path(name).name for name in summary["skipped"]} == {*unreadable, "07385A44.jpg"}


# --- MORPH, which goes in as a table


def test_morph_goes_in_as_a_table(plan, rows, tmp_path):
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
        trees.write(tmp_path / "MORPH" / photo, k)
    (tmp_path / "MORPH" / "morph_2008_nonCommercial.csv").write_text("\n".join(lines) + "\n")

    morph = pd.read_csv(tmp_path / "MORPH/morph_2008_nonCommercial.csv", dtype=str)
    races = {"W": "White", "B": "Black", "A": "Asian", "H": "Others", "O": "Others"}
    faces = morph.rename(columns={"photo": "file", "id_num": "subject"})
    faces["race"] = faces.race.map(races)
    faces[["file", "gender", "race", "age", "subject"]].to_csv(
        tmp_path / "MORPH/faces.csv", index=False
    )

    found = rows(plan(tmp_path / "MORPH/faces.csv"))
    assert len(found) == 40
    assert found["Album2/000003_1F21.JPG"][2:6] == ("female", "Others", 21.0, "3")
    assert found["Album2/000002_0M20.JPG"][2:6] == ("male", "Asian", 20.0, "2")
    sides = collections.defaultdict(set)
    for item in found.values():
        sides[item.subject].add(item.split)
    assert all(len(of) == 1 for of in sides.values())
