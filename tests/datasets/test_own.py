"""Folders and tables of one's own: what they mean, and what is said of those that mean nothing."""

import collections
import os
import unicodedata
from pathlib import Path

import pytest
import trees

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import splits, summary
from vggface_gender.datasets.checks import Checked
from vggface_gender.datasets.sources import Labelled

# --- folders


def test_a_folder_of_class_folders(plan, rows, tmp_path):
    planned = plan(trees.folder(tmp_path, {"women": 20, "men": 20}, "png"))
    found = rows(planned)
    assert found["women/0.png"].gender == "female" and found["men/39.png"].gender == "male"
    assert planned.summary["counts"] == {"train": 32, "validation": 4, "test": 4}
    assert planned.summary["reencoded"] == 40


def test_class_folders_may_be_races_or_ages(plan, rows, tmp_path):
    bands = {"3-9": 6.0, "20–29": 24.5, "more than 70": 75.0, "(25, 32)": 28.5}
    counts = dict.fromkeys(["east_asian", "Latino-Hispanic", "9", "10", "100", *bands], 4)
    found = rows(plan(trees.folder(tmp_path, counts)))
    said = {Path(name).parts[0]: (item.race, item.age) for name, item in found.items()}
    assert said == {
        "east_asian": ("East Asian", None),
        "Latino-Hispanic": ("Latino_Hispanic", None),
        **{years: (None, float(years)) for years in ("9", "10", "100")},
        **{band: (None, years) for band, years in bands.items()},
    }


def test_folders_0_and_1_may_be_codes(plan, rows, tmp_path):
    with pytest.raises(InputError, match="female and male"):
        plan(trees.folder(tmp_path / "codes", {"0": 4, "1": 4}))
    assert rows(plan(trees.folder(tmp_path, {"0": 4, "1": 4, "2": 4})))["0/0.jpg"].age == 0


def test_a_folder_with_splits_keeps_them_and_loses_copies_of_test_from_train(plan, tmp_path):
    source = trees.folder(
        tmp_path,
        {
            **{"train/Asian": 10, "train/Black": 10},
            **{"val/Asian": 2, "val/Black": 2, "test/Asian": 2, "test/Black": 2},
        },
    )
    copied = next((source / "test/Asian").iterdir())
    (source / "train/Asian/copy.jpg").write_bytes(copied.read_bytes())
    summary = plan(source).summary
    assert summary["counts"] == {"train": 20, "validation": 4, "test": 4}
    assert list(summary["skipped"]) == ["train/Asian/copy.jpg"]


def test_folders_called_training_and_validation_are_splits(plan, rows, tmp_path):
    # As Kaggle's gender dataset has them.
    halves = {"Training": 20, "Validation": 4}
    counts = {f"{half}/{g}": n for half, n in halves.items() for g in labels.GENDERS}
    found = rows(plan(trees.folder(tmp_path, counts)))
    splits = collections.Counter((Path(n).parts[0], item.split) for n, item in found.items())
    assert splits == {
        ("Training", "train"): 36,
        ("Training", "test"): 4,
        ("Validation", "validation"): 8,
    }
    assert all(item.gender == Path(name).parts[1] for name, item in found.items())


def test_a_folder_of_unknown_classes_is_named(plan, tmp_path):
    with pytest.raises(InputError, match="mine/cats"):
        plan(trees.folder(tmp_path, {"cats": 1}))


def test_what_tools_leave_behind_is_no_class_and_no_image(plan, rows, tmp_path):
    source = trees.folder(tmp_path, {"female": 10, "male": 10})
    for hidden in (".ipynb_checkpoints", "female/.ipynb_checkpoints", "__MACOSX/female"):
        trees.write(source / hidden / "0-checkpoint.jpg", 100)
    trees.write(source / "female" / "x.jpg", 101).rename(source / "female" / "._0.jpg")
    (source / ".DS_Store").write_bytes(b"\0")
    (source / "female" / "Thumbs.db").write_bytes(b"\0")
    found = rows(plan(source))
    assert collections.Counter(item.gender for item in found.values()) == {"female": 10, "male": 10}


@pytest.mark.parametrize("ending", ["JPG", "jpeg", "jfif", "bmp", "tiff", "webp", "PNG"])
def test_the_endings_that_photos_may_have(ending, plan, tmp_path):
    source = trees.folder(tmp_path, {"female": 6}, "jpg" if ending in ("jfif", "JPG") else ending)
    for path in (source / "female").iterdir():
        path.rename(path.with_suffix(f".{ending}"))
    assert sum(plan(source).summary["counts"].values()) == 6


def test_what_else_lies_in_the_folder_is_counted_and_named(plan, tmp_path):
    source = trees.folder(tmp_path, {"train/female": 10, "train/male": 10})
    trees.write(source / "train" / "stray.jpg", 100)
    trees.write(source / "extra" / "0.png", 101)
    (source / "train" / "female" / "0.txt").write_text("")
    (source / "train" / ".DS_Store").write_text("")
    assert plan(source).summary["unused"] == {
        "an image that the dataset does not list": {
            "count": 2,
            "first": ["extra/0.png", "train/stray.jpg"],
        },
        "hidden, or a tool's": {"count": 1, "first": []},
        "not named as an image": {"count": 1, "first": ["train/female/0.txt"]},
    }


def test_class_folders_beside_a_splits_folder_are_refused(plan, tmp_path):
    source = trees.folder(tmp_path, {"female": 30, "male": 30, "test/male": 1})
    with pytest.raises(InputError, match="class folder female lies beside the split folder test"):
        plan(source)


def test_a_class_folder_of_no_images_is_in_nobodys_way(plan, tmp_path):
    source = trees.folder(tmp_path, {"train/female": 10, "train/male": 10})
    (source / "male").mkdir()
    assert plan(source).summary["counts"]["train"] == 16


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_class_folder_that_may_not_be_read_stops_the_build(plan, tmp_path):
    source = trees.folder(tmp_path, {"female": 4, "male": 4})
    (source / "male").chmod(0)
    try:
        with pytest.raises(PermissionError):
            plan(source)
    finally:
        (source / "male").chmod(0o755)


# --- tables


def test_a_table_keeps_people_on_one_side_and_leaves_gaps_missing(plan, rows, tmp_path):
    lines = [
        f"images/{i}.jpg,{'fm'[i // 4 % 2] if i else ''},east asian,{i}.5,p{i // 4}"
        for i in range(40)
    ]
    found = rows(plan(trees.table(tmp_path, "file,gender,race,age,subject", lines)))
    assert found["images/0.jpg"].gender is None
    assert found["images/1.jpg"].gender == "female"
    assert found["images/7.jpg"][3:5] == ("East Asian", 7.5)
    sides = collections.defaultdict(set)
    for item in found.values():
        sides[item.subject].add(item.split)
    assert len(sides) == 10 and all(len(of) == 1 for of in sides.values())


def test_a_table_from_a_spreadsheet_has_a_mark_before_its_first_column(plan, tmp_path):
    path = trees.table(tmp_path, "file,gender", [f"images/{i}.jpg,f\r" for i in range(40)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert sum(plan(path).summary["counts"].values()) == 40


def test_listed_files_that_can_not_be_there_are_named(plan, tmp_path):
    odd = [f"{'x' * 300}.jpg", "images/0.jpg/1.jpg", "images", "images/none.jpg"]
    lines = [f"images/{i}.jpg,f" for i in range(36)] + [f"{name},f" for name in odd]
    table = trees.table(tmp_path, "file,gender", lines)
    assert plan(table, keep_going=True).summary["skipped"] == {
        odd[0]: "listed, but file name too long",
        odd[1]: "listed, but not there",
        odd[2]: "not a regular file",
        odd[3]: "listed, but not there",
    }


def test_columns_that_are_not_used_are_named(plan, tmp_path):
    path = trees.table(tmp_path, "file,mood,gender", [f"images/{i}.jpg,good,f" for i in range(9)])
    assert any("mood" in note for note in plan(path).summary["notes"])


def test_races_of_two_taxonomies_are_refused_as_classes(prepare, tmp_path):
    lines = [f"images/{i}.jpg,{('Asian', 'East Asian')[i % 2]}" for i in range(9)]
    dataset = prepare(trees.table(tmp_path, "file,race", lines))
    with pytest.raises(InputError, match="Asian, East Asian"):
        dataset.classes("race")
    for task in ("gender", "age"):
        with pytest.raises(InputError, match=task):
            dataset.classes(task)


def test_people_whom_a_tables_own_splits_tear_apart_are_counted(plan, tmp_path):
    splits = ["train", "validation", "test"]
    lines = [f"images/{i}.jpg,f,p{i // 4},{splits[i // 13 % 3]}" for i in range(40)]
    planned = plan(trees.table(tmp_path, "file,gender,subject,split", lines))
    assert planned.summary["subjects on two sides"] == ["p3", "p6", "p9"]


def test_nothing_is_drawn_from_labels_that_a_classifier_gave(plan, tmp_path):
    lines = [f"images/{i}.jpg,f,0.9" for i in range(40)]
    path = trees.table(tmp_path, "file,gender,confidence", lines)
    for fold in (None, (0, 5)):
        assert plan(path, fold=fold).summary["counts"] == {"train": 40}


def test_published_fairface_is_read_as_a_table(plan, rows, tmp_path):
    source = trees.fair_face(tmp_path)
    named = rows(plan("FairFace", source))
    planned = plan(source / "fairface_label_train.csv")
    for name, item in rows(planned).items():
        assert item[2:5] == named[name][2:5]
    assert any("03-Sep as 3-9 (8), Oct-19 as 10-19 (8)" in n for n in planned.summary["notes"])


def test_splits_have_the_names_that_folders_may_have(plan, rows, tmp_path):
    words = ["Train", "val", "valid", "TEST"]
    lines = [f"images/{i}.jpg,f,{words[i % 4]}" for i in range(40)]
    found = rows(plan(trees.table(tmp_path, "file,gender,split", lines)))
    counts = collections.Counter(item.split for item in found.values())
    assert counts == {"train": 10, "validation": 20, "test": 10}


def test_a_header_in_capitals_and_backslashes_are_understood(plan, rows, tmp_path):
    lines = [f"images\\{i}.jpg,Male,20-29" for i in range(40)]
    found = rows(plan(trees.table(tmp_path, "File,Gender, Age", lines)))
    assert found["images/7.jpg"][2:5] == ("male", None, 24.5) and len(found) == 40


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_found_however_they_are_written(forms, plan, tmp_path):
    listed, on_disk = (unicodedata.normalize(form, "José Müller") for form in forms)
    path = trees.table(tmp_path, "file,gender", [f"{listed}/{listed}{i}.jpg,f" for i in range(9)])
    for i in range(9):
        trees.write(tmp_path / on_disk / f"{on_disk}{i}.jpg", i)
    assert sum(plan(path).summary["counts"].values()) == 9


def test_labels_that_are_not_understood_can_be_left_missing_and_are_counted(plan, rows, tmp_path):
    lines = [f"images/{i}.jpg,{'fx'[i % 20 == 3]},{'?' if i == 5 else 30}" for i in range(40)]
    planned = plan(trees.table(tmp_path, "file,gender,age", lines), keep_going=True)
    assert rows(planned)["images/3.jpg"][2:5] == (None, None, 30.0)
    assert planned.summary["not understood"] == {
        "gender 'x'": {"count": 2, "first": "line 5"},
        "age '?'": {"count": 1, "first": "line 7"},
    }
    said = summary.describe("faces", tmp_path, summary=planned.summary)
    assert "not understood, so missing: 3 labels" in said
    assert "gender 'x': 2 (first: line 5)" in said


@pytest.mark.parametrize(
    ("women", "men", "named"),
    [
        (150, 150, ["validation 30", "test 30"]),
        (100, 100, ["validation has 20 faces, fewer than 30", "test has 20 faces"]),
        (320, 60, ["validation has fewer than 10 of a gender: male 6", "test has fewer than 10"]),
    ],
)
def test_splits_that_are_too_small_are_marked(women, men, named, tmp_path):
    images = [
        Checked(Labelled(f"{i}.jpg", b"", "female" if i < women else "male"), str(i), (8, 8), True)
        for i in range(women + men)
    ]
    divided, _ = splits.divide(images, {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=0)
    summed = summary.summarize(divided, images)
    assert bool(summed["too small"]) == ("has" in named[0])
    said = {"drawn": [], "seed": 0, "skipped": {}, "notes": [], "padding": None}
    text = summary.describe("faces", tmp_path, summary=summed | said)
    assert all(what in text for what in named) and ("WARNING" in text) == ("has" in named[0])


@pytest.mark.parametrize(
    ("header", "row", "named"),
    [
        ("file,gender", lambda i: f"images/{i}.jpg,{'x' if i == 3 else 'f'}", "line 5.*'x'.*femal"),
        ("file,age", lambda i: f"images/{i}.jpg,{-3 if i == 0 else 4}", "line 2.*'-3'.*130"),
        ("file,age", lambda i: f"images/{i}.jpg,{'nan' if i == 0 else 4}", "line 2.*'nan'"),
        ("file,split,age", lambda i: f"images/{i}.jpg,dev,4", "line 2.*'dev'.*validation"),
        ("file,gender", lambda i: f"images/{i}.jpg,{i % 2}", "40 labels.*line 2.*'0'.*differs"),
        ("file,race", lambda i: f"images/{i}.jpg,{i % 5}", "line 2.*'0'.*White.*differs"),
        ("file,fold,age", lambda i: f"images/{i}.jpg,a,4", "line 2.*'a'.*fold"),
        ("path,gender", lambda i: f"images/{i}.jpg,f", "column file; found path, gender"),
        (
            "file;gender",
            lambda i: f"images/{i}.jpg;f",
            "column file; found file;gender.*semicolons",
        ),
        ("file;age", lambda i: f"images/{i}.jpg;3,5", "separated by semicolons"),
        ("file\tage", lambda i: f"images/{i}.jpg\t3", "separated by tabs"),
        ("images/x.jpg,f", lambda i: f"images/{i}.jpg,f", "first line has to name the columns"),
        ("file,gender", lambda i: f"images/{i}.jpg,f,x", "line 2: number of cells 3, of columns 2"),
        (
            "file,gender",
            lambda i: f'"images/\n{i}.jpg",f' + ",f" * (i == 3),
            "line 9: number of cells 3",
        ),
        ("file,gender", lambda i: f"images/{i}.jpg" * (i != 3) + ",f", "line 5: no file is named"),
        (
            "file,gender",
            lambda i: f'images/{i}.jpg,"f' + '"' * (i != 3),
            "line 6: .,. expected after",
        ),
        (
            "file,gender,gender",
            lambda i: f"images/{i}.jpg,f,m",
            "several columns are called gender",
        ),
        ("file,File,gender", lambda i: f"images/{i}.jpg,,f", "several columns are called file"),
        ("file,mood", lambda i: f"images/{i}.jpg,good", "gender, race or age"),
        ("file,gender", lambda i: "images/1.jpg,f", r"images/1\.jpg is listed twice"),
        (
            "file,age",
            lambda i: f"images/{'../images/' * (i % 2)}1.jpg,3",
            r"1\.jpg is listed twice",
        ),
        ("file,gender", lambda i: f"elsewhere/{i}.jpg,f", r"40 of 40 .*elsewhere/0\.jpg"),
        ("file,gender", lambda i: f"images/{i}.jpg,{'x' * 5_000_000 * (i == 0)}", "line 2"),
        ("file,gender", lambda i: f"{'x' * 5_000_000 * (i == 0)}{i}.jpg,f", "line 2: field larger"),
        ("file,gender", lambda i: f"{'x' * 90_000 * (i == 0)}{i}.jpg,f", "40 of 40"),
        ("x" * 5_000_000, lambda i: f"images/{i}.jpg", "line 1: field larger"),
        ("x" * 90_000, lambda i: f"images/{i}.jpg", "column file"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_short_line(
    header, row, named, plan, tmp_path
):
    path = trees.table(tmp_path, header, [row(i) for i in range(40)])
    with pytest.raises(InputError, match=named) as caught:
        plan(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
