"""Folders and tables of one's own: what they mean, and what is said of those that mean nothing."""

import collections
import os
from pathlib import Path

import pytest
import trees

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError

# --- folders


def test_a_folder_of_class_folders(plan, rows, tmp_path):
    planned = plan(trees.folder(tmp_path, {"women": 20, "men": 20}, "png"))
    found = rows(planned)
    assert found["women/0.png"].gender == "female" and found["men/39.png"].gender == "male"
    assert planned.summary["counts"] == {"train": 32, "validation": 4, "test": 4}
    assert planned.summary["reencoded"] == 40


def test_class_folders_may_be_races_or_ages(plan, rows, tmp_path):
    found = rows(plan(trees.folder(tmp_path, {"east_asian": 4, "9": 4, "10": 4, "100": 4})))
    said = {Path(name).parts[0]: (item.race, item.age) for name, item in found.items()}
    assert said == {
        "east_asian": ("East Asian", None),
        **{years: (None, float(years)) for years in ("9", "10", "100")},
    }


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


@pytest.mark.parametrize(
    ("header", "row", "named"),
    [
        ("file,gender", lambda i: f"images/{i}.jpg,{'x' if i == 3 else 'f'}", "line 5.*'x'.*femal"),
        ("file,age", lambda i: f"images/{i}.jpg,{-3 if i == 0 else 4}", "line 2.*'-3'.*130"),
        ("file,age", lambda i: f"images/{i}.jpg,{'nan' if i == 0 else 4}", "line 2.*'nan'"),
        ("file,split,age", lambda i: f"images/{i}.jpg,val,4", "line 2.*'val'.*validation"),
        ("file,fold,age", lambda i: f"images/{i}.jpg,a,4", "line 2.*'a'.*fold"),
        ("path,gender", lambda i: f"images/{i}.jpg,f", "column file; found path, gender"),
        ("file;gender", lambda i: f"images/{i}.jpg;f", "column file; found file;gender"),
        ("file,mood", lambda i: f"images/{i}.jpg,good", "gender, race or age"),
        ("file,gender", lambda i: "images/1.jpg,f", r"images/1\.jpg is listed twice"),
        ("file,gender", lambda i: f"elsewhere/{i}.jpg,f", r"40 of 40 .*elsewhere/0\.jpg"),
        ("file,gender", lambda i: f"images/{i}.jpg,{'x' * 5_000_000 * (i == 0)}", "line 2"),
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
