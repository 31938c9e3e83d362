"""Duplicates as a table and figures: images found by place over several parts, splits, labels."""

import numpy as np
import pytest

from vggface_gender.evaluation import duplicates_report
from vggface_gender.evaluation.duplicates import NO_PAIRS, Pairs
from vggface_gender.evaluation.duplicates_images import FACTS

IMAGES = [
    ("a", "train", "female", "White", "20"),
    ("b", "train", "male", "", "30"),
    ("c", "validation", "female", "Black", "20"),
    ("d", "test", "", "White", "21"),
    ("e", "test", "male", "White", "30"),
    ("f", "test", "male", "White", ""),
]


@pytest.fixture
def parts(tmp_path):
    """The files of three parts, one of them of no image."""
    paths = []
    for start, stop in ((0, 2), (2, 2), (2, 6)):
        columns = zip(*IMAGES[start:stop], strict=True) if stop > start else [()] * len(FACTS)
        paths.append(tmp_path / f"{len(paths)}.npz")
        arrays = {n: np.array(list(c), dtype=str) for n, c in zip(FACTS, columns, strict=True)}
        np.savez(paths[-1], **arrays)
    return paths


def test_pairs_are_named_and_counted_by_split_and_label(parts):
    first, second = np.array([0, 0, 1, 1]), np.array([2, 3, 4, 5])
    exact, bits = np.array([True, False, False, True]), np.array([0, 7, 3, 0])
    pairs = Pairs(first, second, exact, bits)

    images = duplicates_report.members(pairs, parts)
    table = duplicates_report.table(pairs, images)
    figures = duplicates_report.summarize(table, images)

    assert images.name.tolist() == ["a", "b", "c", "d", "e", "f"]
    assert images.group.tolist() == [1, 2, 1, 1, 2, 2]
    assert table.astype(str).agg(" ".join, axis=1).tolist() == [
        "a c exact 0 1 train validation race",
        "a d near 7 1 train test age",
        "b e near 3 2 train test ",
        "b f exact 0 2 train test ",
    ]
    assert figures == {
        **{"exact": 2, "near": 2, "groups": 2, "images": 6, "largest": 3},
        "across": {"groups": 2, "train": 2, "validation": 1, "test": 3},
        "differ": {"pairs": 2, "gender": 0, "race": 1, "age": 1},
    }
    said = duplicates_report.describe(figures)
    assert "across splits: 2 groups, with these images: train 2, validation 1, test 3" in said


def test_no_pairs_have_the_same_columns(parts):
    images = duplicates_report.members(NO_PAIRS, parts)
    table = duplicates_report.table(NO_PAIRS, images)
    assert len(table) == 0 and list(table)[-3:] == ["split", "other_split", "differ"]
    figures = duplicates_report.summarize(table, images)
    assert figures["across"] == {"groups": 0} and figures["largest"] == 0
    assert duplicates_report.describe(figures).splitlines()[3] == "across splits: 0 groups"


def test_recall_counts_pairs_by_distance():
    first, bits = np.arange(5), np.array([0, 3, 8, 17, 24])
    truth = Pairs(first, first + 9, bits == 0, bits)
    found = Pairs(*(array[:4] for array in truth))
    rows = duplicates_report.recall(found, truth).splitlines()[1:]
    assert [row.split()[-3:] for row in rows] == [
        *(["1", "1", "100.0%"], ["2", "2", "100.0%"], ["0", "0", "-"]),
        *(["2", "1", "50.0%"], ["5", "4", "80.0%"]),
    ]
