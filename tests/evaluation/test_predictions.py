"""The predictions table: what goes in comes back, and what it can't hold is refused."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, predictions, provenance

NAMES = {"gender": labels.GENDERS, "race": labels.FAIRFACE_RACES}


def random_table(count: int, seed: int, dtype=np.float32) -> pd.DataFrame:
    """A table of all tasks with a tenth of the labels missing, outputs as networks give them."""
    rng = np.random.default_rng(seed)

    def true(values):
        return [None if rng.random() < 0.1 else value for value in values]

    return predictions.table(
        [f"{index}.jpg" for index in range(count)],
        {
            "gender": true(rng.choice(labels.GENDERS, count)),
            "race": true(rng.choice(labels.UTKFACE_RACES, count)),
            "age": true(rng.uniform(0, 100, count)),
        },
        outputs={
            "gender": rng.dirichlet([0.1, 0.1], count).astype(dtype),
            "race": rng.dirichlet(np.full(7, 0.1), count).astype(dtype),
            "age": rng.normal(40, 20, count).astype(dtype),
        },
        tasks=NAMES,
    )


def small_table() -> pd.DataFrame:
    return predictions.table(
        ["a.jpg", "b.jpg"],
        {"gender": ["male", None], "age": [30, None]},
        outputs={"gender": np.array([[0.25, 0.75], [1, 0]]), "age": np.array([31.5, -0.5])},
        tasks=NAMES,
    )


def test_the_columns_are_the_documented_ones():
    frame = small_table()
    assert ",".join(frame.columns) == (
        "name,gender,gender_female,gender_male,race,age,age_predicted"
    )
    assert list(frame["gender"]) == ["male", None]
    assert list(frame["race"]) == [None, None]
    assert predictions.output_labels(frame, "gender") == ("female", "male")
    assert predictions.output_labels(frame, "race") == predictions.output_labels(frame, "age") == ()
    np.testing.assert_array_equal(
        predictions.probabilities(frame, "gender"), [[0.25, 0.75], [1, 0]]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_gives_back_the_table_to_the_last_bit(tmp_path, dtype):
    frame = random_table(500, seed=1, dtype=dtype)
    predictions.write(frame, tmp_path / "p.csv")
    again = predictions.read(tmp_path / "p.csv")
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert metrics.evaluate(again) == metrics.evaluate(frame)


def test_any_name_comes_back(tmp_path):
    names = [
        "NA",
        "None",
        "nan",
        "null",
        "",
        "1e5",
        "007",
        " padded ",
        "a,b",
        'a"b',
        "'a'",
        "=1+1",
        "two\nlines",
        "carriage\rreturn",
        "both\r\n",
        "tab\t",
        "日本.jpg",
        "\ufeffmark.jpg",
        os.fsdecode(b"not-utf8-\xff.jpg"),
    ]
    frame = predictions.table(
        names,
        {},
        outputs={"gender": np.tile([0.5, 0.5], (len(names), 1))},
        tasks={"gender": labels.GENDERS},
    )
    predictions.write(frame, tmp_path / "p.csv")
    assert list(predictions.read(tmp_path / "p.csv")["name"]) == names


def test_pandas_reads_the_same_figures(tmp_path):
    frame = random_table(50, seed=2)
    predictions.write(frame, tmp_path / "p.csv")
    other = pd.read_csv(tmp_path / "p.csv")
    blank = {"gender": "", "race": ""}
    pd.testing.assert_frame_equal(
        other.fillna(blank), frame.fillna(blank), rtol=1e-15, check_dtype=False
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("lineterminator", ["\n", "\r\n"])
def test_a_spreadsheets_csv_is_read(tmp_path, encoding, lineterminator):
    frame = random_table(20, seed=3)
    frame.to_csv(tmp_path / "p.csv", index=False, encoding=encoding, lineterminator=lineterminator)
    pd.testing.assert_frame_equal(predictions.read(tmp_path / "p.csv"), frame, check_exact=True)


def test_an_empty_table_comes_back(tmp_path):
    frame = random_table(0, seed=4)
    predictions.write(frame, tmp_path / "p.csv")
    again = predictions.read(tmp_path / "p.csv")
    pd.testing.assert_frame_equal(again, frame)
    assert {task["count"] for task in metrics.evaluate(again).values()} == {0}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    class Unwritable:
        def __str__(self):
            raise RuntimeError("in the middle of the file")

    path = tmp_path / "p.csv"
    predictions.write(small_table(), path)
    before = path.read_bytes()
    frame = small_table()
    frame.loc[1, "name"] = Unwritable()
    with pytest.raises(RuntimeError, match="middle"):
        predictions.write(frame, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["p.csv"]


HEADER = "name,gender,gender_female,gender_male,race,age,age_predicted\n"
GOOD = "a.jpg,male,0.25,0.75,,30,31.5\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("gender,race,age\n", "no column 'name'"),
        ("name,gender,age\n", "no column 'race'"),
        (HEADER.replace("age_predicted", "age_guess"), "unknown column 'age_guess'"),
        (HEADER.replace("gender_female", "gender_"), "unknown column 'gender_'"),
        (HEADER.replace("gender_male", "gender_man"), "unknown column 'gender_man'"),
        (HEADER.replace("gender_male", "gender_female"), "'gender_female' is there twice"),
        (HEADER + GOOD + "b.jpg,male,0.25\n", "row 3: 3 cells under 7"),
        (HEADER + GOOD + "b.jpg,male,1,0,,30,31,1\n", "row 3: 8 cells under 7"),
        (HEADER + GOOD + '"b.jpg,male,1,0,,30,31\n', "not a CSV file"),
        (HEADER + GOOD + "b,Male,1,0,,,1\n", "row 3, column gender: 'Male' is not a gender label"),
        (HEADER + GOOD + "b,None,1,0,,,1\n", "row 3, column gender: 'None' is not a gender label"),
        (HEADER + GOOD + "b,,1,0,NA,,1\n", "row 3, column race: 'NA' is not a race label"),
        (HEADER + "b,,-0.1,1.1,,,1\n", "row 2, column gender_female: -0.1 is not a probability"),
        (HEADER + GOOD + "b,,0,98,,,1\n", "row 3, column gender_male: 98.0 is not a probability"),
        (HEADER + GOOD + "b,,0.5,,,,1\n", "row 3, column gender_male: nan is not a probability"),
        (HEADER + GOOD + "b,,0.5,0.4,,,1\n", "row 3, column gender_female: 0.5 and"),
        (HEADER + GOOD + "b,,0.5,x,,,1\n", "row 3, column gender_male: 'x' is not a number"),
        (HEADER + GOOD + "b,,0.5,0.5,,nan,1\n", "row 3, column age: 'nan' is not a number"),
        (HEADER + GOOD + "b,,0.5,0.5,,20-29,1\n", "row 3, column age: '20-29' is not a number"),
        (HEADER + GOOD + "b,,0.5,0.5,,-1,1\n", "row 3, column age: -1.0 is not an age"),
        (HEADER + GOOD + "b,,0.5,0.5,,1,\n", "row 3, column age_predicted: nan is not an age"),
        (HEADER + GOOD + "b,,0.5,0.5,,1,inf\n", "row 3, column age_predicted: 'inf' is not a"),
    ],
)
def test_what_is_no_predictions_table_is_refused(tmp_path, text, message):
    path = tmp_path / "p.csv"
    path.write_text(HEADER + GOOD)
    assert len(predictions.read(path)) == 1
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        predictions.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00", "name".encode("utf-16")])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.csv"):
        predictions.read(tmp_path / "p.csv")


@pytest.mark.parametrize("path", ["missing.csv", "."])
def test_what_cannot_be_opened_is_refused(tmp_path, path):
    with pytest.raises(InputError, match=r"No such file|Is a directory"):
        predictions.read(tmp_path / path)


def test_a_broken_classifiers_outputs_are_refused():
    with pytest.raises(InputError, match="row 3, column gender_female: nan is not a probability"):
        predictions.table(
            ["a", "b"],
            {},
            outputs={"gender": np.array([[0.5, 0.5], [np.nan, np.nan]])},
            tasks=NAMES,
        )


@pytest.mark.parametrize(
    ("truth", "outputs", "message"),
    [
        ({"gender": ["male"]}, {}, "1 true gender labels for 2 names"),
        ({"gender": []}, {}, "0 true gender labels for 2 names"),
        ({"smile": ["yes", "no"]}, {}, "unknown tasks: smile"),
        ({}, {"gender": np.ones((2, 1))}, r"\(2, 1\), not \(2, 2\)"),
        ({}, {"gender": np.ones((1, 2))}, r"\(1, 2\), not \(2, 2\)"),
        ({}, {"age": np.ones((2, 1))}, r"\(2, 1\), not \(2,\)"),
    ],
)
def test_arguments_that_do_not_match_are_refused(truth, outputs, message):
    with pytest.raises(ValueError, match=message):
        predictions.table(["a", "b"], truth, outputs=outputs, tasks=NAMES)


# ---------------------------------------------------------------------- what made a table


def dataset(fingerprint: str = "0123456789abcdef", label: str = "faces") -> SimpleNamespace:
    return SimpleNamespace(name=f"{label}.csv", label=label, fingerprint=fingerprint)


def key(tmp_path: Path, content: str = "a", **options) -> dict:
    """What predictions of a classifier of this content are made by."""
    classifier = tmp_path / "classifier.keras"
    classifier.write_text(content)
    given = {"split": "test", "dataset": dataset()} | options
    return provenance.made_by(classifier, given.pop("dataset"), **given)


def test_a_table_is_current_only_for_exactly_what_made_it(tmp_path):
    path = tmp_path / "p.csv"
    made_by = key(tmp_path)
    assert not provenance.is_current(path, made_by)
    predictions.write(small_table(), path, made_by=made_by)
    assert provenance.is_current(path, key(tmp_path, mc_dropout=None))
    for other in (
        key(tmp_path, "b"),
        key(tmp_path, dataset=dataset("other")),
        key(tmp_path, split="validation"),
        key(tmp_path, mc_dropout=3),
        made_by | {"version": provenance.VERSION + 1},
    ):
        assert not provenance.is_current(path, other)


def test_neither_name_nor_date_make_a_table_current(tmp_path):
    path = tmp_path / "p.csv"
    made_by = key(tmp_path, shape=(1, 2))
    predictions.write(small_table(), path, made_by=made_by)
    os.utime(path, (0, 0))
    assert provenance.is_current(path, made_by)
    # Changed by hand, or of unknown origin, or beside something else.
    content = path.read_text()
    path.write_text(content.replace("0.25", "0.26"))
    assert not provenance.is_current(path, made_by)
    path.write_text(content)
    assert provenance.is_current(path, made_by)
    sidecar = path.with_suffix(".made_by.json")
    for text in ("{", "[]", "{}", '{"made_by": 1}'):
        sidecar.write_text(text)
        assert not provenance.is_current(path, made_by)
    predictions.write(small_table(), path)
    assert not sidecar.exists() and not provenance.is_current(path, made_by)
    predictions.write(small_table(), path, made_by=made_by)
    path.unlink()
    assert not provenance.is_current(path, made_by)


def test_a_table_of_another_dataset_with_the_same_label_keeps_its_place(tmp_path):
    one, other = key(tmp_path), key(tmp_path, dataset=dataset("fedcba9876543210"))
    usual = tmp_path / "predictions-faces-test.csv"

    def place(made_by: dict, table: pd.DataFrame | None = None) -> Path:
        table = small_table() if table is None else table
        return predictions.place(tmp_path, dataset(), split="test", made_by=made_by, table=table)

    assert place(one) == place(other) == usual
    predictions.write(small_table(), usual)  # of unknown origin: its faces and labels tell
    assert place(one) == usual
    assert place(one, small_table()[:1]) == tmp_path / "predictions-faces-01234567-test.csv"
    assert place(one, small_table().assign(gender=None)) != usual
    usual.write_text("no table")
    assert place(one, small_table()[:1]) == usual
    predictions.write(small_table(), usual, made_by=one)
    assert place(one) == place(one | {"classifier": "another"}) == usual
    assert place(other) == tmp_path / "predictions-faces-fedcba98-test.csv"
    predictions.write(small_table(), place(other), made_by=other)
    assert predictions.tables(tmp_path, "test") == {
        "faces": usual,
        "faces-fedcba98": tmp_path / "predictions-faces-fedcba98-test.csv",
    }
    assert provenance.is_current(place(one), one) and provenance.is_current(place(other), other)


def test_what_a_killed_writer_left_is_swept_where_all_is_current(tmp_path):
    """There nobody writes who would sweep it."""
    (tmp_path / ".part-killed").mkdir()
    provenance.is_current(tmp_path / "predictions.csv", {})
    assert not list(tmp_path.iterdir())
