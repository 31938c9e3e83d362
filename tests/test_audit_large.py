"""Audits of tables read in chunks: as those of the same tables read whole."""

import functools
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from vggface_gender import audit as command
from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import Unfinished
from vggface_gender.evaluation import external, external_files, large, tally

COUNT = 500
RACES = ["White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian"]
FORMS = ["parquet", "csv", "folder"]


def drawn(kind: str, count: int = COUNT) -> pd.DataFrame:
    """A table as others make them, with labels, faces and probabilities missing here and there."""
    rng = np.random.default_rng(len(kind))
    gender = rng.choice(["Woman", "Man", None], count, p=[0.5, 0.4, 0.1])
    race = rng.choice([*RACES, "Middle Eastern", None], count)
    # Of another taxonomy, those at the beginning alone: the first chunk can't know it.
    race[: count // 3] = rng.choice(["White", "Asian", "Others"], count // 3)
    right = rng.random(count) < 0.8
    predicted = np.where((gender == "Woman") == right, "F", "M").astype(object)
    confidence = rng.uniform(0.5, 1, count).round(3)
    lacks = rng.random(count) < 0.1
    female = np.where(predicted == "F", confidence, 1 - confidence)
    table = pd.DataFrame(
        {
            "file": [f"faces/{place}.jpg" for place in range(count)],
            "gender_true": gender,
            "race_true": race,
            "age_true": rng.choice(["3", "25", "20-29", "80", None], count),
            "skin": rng.choice(["light", "dark", None], count),
            "count": rng.choice([1.0, 2.0, np.nan], count),
        }
    )
    if "probabilities" in kind:
        table["female"], table["male"] = female, 1 - female
        table.loc[lacks, ["female", "male"]] = np.nan
        table[[f"race_{name}" for name in RACES]] = rng.dirichlet(np.ones(6), count)
        table["overlap"] = rng.choice(["exact", "near", None], count, p=[0.1, 0.1, 0.8])
    if "percentages" in kind:
        table["gender_female"] = 100 * female
        table.loc[: count // 2, "gender_female"] = 0.7  # which alone is no percentage
    if "threshold" in kind:  # the label is seldom not the likeliest
        table["gender_female"], table["gender_male"] = female, 1 - female
        table["gender_predicted"] = np.where(female > 0.97, "F", np.where(female > 0.5, "F", "M"))
        table.loc[count - 3, "gender_predicted"] = {"F": "M", "M": "F"}[
            table["gender_predicted"][count - 3]
        ]
    if "labels" in kind:
        table["gender_predicted"] = np.where(lacks, None, predicted)
        table["dominant_race"] = rng.choice(["white", "black", "asian", "latino hispanic"], count)
        table.loc[rng.random(count) < 0.02, "gender_true"] = "??"
    if "score" in kind:
        of_male = "oriented" in kind
        score = np.where((predicted == "F") & of_male, 1 - confidence, confidence)
        table["y_pred"], table["score"] = np.where(lacks, None, predicted), score
        table.loc[: count // 2, "score"] = np.nan  # the first chunks have neither
        table.loc[: count // 2, "y_pred"] = None
        table.loc[0, ["y_pred", "score"]] = ["F", 0.4 if of_male else 0.9]
    return table


KINDS = ["probabilities", "percentages", "threshold", "labels", "score", "oriented score"]


def write(table: pd.DataFrame, folder, form: str):
    """A table in one file or several; the way to it."""
    if form == "csv":
        table.to_csv(folder / "table.csv", index=False)
        return folder / "table.csv"
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet takes the extra `parquet`")
        table.to_parquet(folder / "table.parquet", row_group_size=43)
        return folder / "table.parquet"
    (folder / "tables").mkdir()
    for start in range(0, len(table), 190):
        some = table[start : start + 190]
        some.to_csv(folder / "tables" / f"{start:04d}.csv", index=False)
    return folder / "tables"


def cells(counted: tally.Tally) -> pd.DataFrame:
    """A tally in a form that says nothing of categories that don't occur."""
    its = pd.concat([counted.groups.add_prefix("by "), counted.cells], axis=1)
    keys = list(its.select_dtypes("category"))
    its[keys] = its[keys].astype(object).astype(str)
    return its.sort_values(keys, ignore_index=True)


def assert_same(whole: external.External, parted: large.Counted):
    """That tallies, the order of groups and notes are the same."""
    for task, one in tally.of_all(whole.table).items():
        other = parted.tallies[task]
        pd.testing.assert_frame_equal(cells(one), cells(other), rtol=0, atol=1e-12)
        assert one.names == other.names and one.copies == other.copies
        for column in one.groups:
            occurring, every = (list(its.groups[column].cat.categories) for its in (one, other))
            assert occurring == [name for name in every if name in occurring]
    assert parted.tallies.keys() == tally.of_all(whole.table).keys()
    assert [note for note in parted.notes if not note.startswith("read in chunks")] == whole.notes


@pytest.mark.parametrize(
    "kind",
    [kind if kind == "score" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_a_table_in_chunks_is_the_table(tmp_path, kind):
    table = drawn(kind)
    form = FORMS[KINDS.index(kind) % 3]
    path = write(table, tmp_path, form)
    given = {"grouped_by": ["skin", "gender x skin", "count"]}
    whole = external.read(write(table, tmp_path, "csv" if form == "folder" else form), **given)
    for rows in (17, 1000):
        assert_same(whole, large.counted(path, out=tmp_path / "out", rows=rows, **given))
    assert not list(tmp_path.glob(".parts-*"))


def test_files_without_rows_change_nothing(tmp_path):
    table = drawn("labels")
    path = write(table, tmp_path, "folder")
    whole = large.counted(path, out=tmp_path / "out")
    for name in ("0", "9999"):  # of workers that had nothing to do
        table[:0].to_csv(path / f"{name}.csv", index=False)
    parted = large.counted(path, out=tmp_path / "out")
    assert parted.notes == whole.notes
    for task, tallied in whole.tallies.items():
        pd.testing.assert_frame_equal(cells(tallied), cells(parted.tallies[task]))
    with pytest.raises(InputError, match=r"9999\.csv: no rows"):
        large.counted(path / "9999.csv", out=tmp_path / "out")


@pytest.mark.parametrize("kind", ["labels", pytest.param("oriented score", marks=pytest.mark.slow)])
def test_true_labels_may_come_from_a_table_in_memory(tmp_path, kind):
    table = drawn(kind)
    its = ["file", "gender_true", "race_true", "age_true", "skin"]
    truth = table[its].sample(400, random_state=0).assign(file=lambda t: t.file.str[6:])
    truth.loc[truth.index[0], "file"] = "no prediction.jpg"
    truth.to_csv(tmp_path / "truth.csv", index=False)
    rest = table.drop(columns=its[1:])
    given = {"truth": tmp_path / "truth.csv", "grouped_by": ["gender x skin", "count"]}
    path = write(rest, tmp_path, "folder")
    whole = external.read(write(rest, tmp_path, "csv"), **given)
    assert_same(whole, large.counted(path, out=tmp_path / "out", rows=61, **given))
    rest.loc[400, "file"] = rest.loc[100, "file"] = truth.file.iloc[5]
    write(rest, tmp_path, "csv")
    with pytest.raises(InputError, match=r"is there twice"):
        large.counted(tmp_path / "table.csv", out=tmp_path / "out", rows=61, **given)


def test_what_reading_in_chunks_cannot_tell_is_refused_in_a_line(tmp_path, monkeypatch):
    table = drawn("labels")
    table["yaw"] = np.arange(COUNT) / 7
    path = write(table, tmp_path, "folder")
    count = functools.partial(large.counted, path, out=tmp_path / "out", rows=53)
    for grouping, message in (
        ("yaw", "yaw has numbers of more than 12 values, which are not cut into quarters"),
        ("file", r"file has 5\d values"),
        ("hair", "no column 'hair' to group by"),
    ):
        with pytest.raises(InputError, match=message):
            count(grouped_by=[grouping])
    monkeypatch.setattr(external_files, "LARGE", 10)
    with pytest.raises(InputError, match="true labels is held in memory"):
        count(truth=next(path.iterdir()))
    with pytest.raises(InputError, match=r"none\.csv: No such file"):
        count(truth=tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"there are no files"):
        large.counted(tmp_path / "*.parquet", out=tmp_path / "out")


def test_a_later_file_that_says_otherwise_is_named(tmp_path):
    path = write(drawn("labels"), tmp_path, "folder")
    last = sorted(path.iterdir())[-1]
    good = pd.read_csv(last)
    for change, message in (
        (lambda t: t.drop(columns="dominant_race"), r"0380\.csv: no column 'dominant_race'"),
        (
            lambda t: t.assign(gender_predicted=t.gender_predicted.where(t.index != 70, "bot")),
            r"0380\.csv: row 72, column gender_predicted: 'bot' is not a gender",
        ),
    ):
        change(good).to_csv(last, index=False)
        with pytest.raises(InputError, match=message):
            large.counted(path, out=tmp_path / "out", rows=50)


def test_a_csv_of_another_encoding_is_refused_where_it_is_not_held(tmp_path):
    lines = ["file,gender,y_pred", *(f"é{place}.jpg,F,M" for place in range(30))]
    (tmp_path / "t.csv").write_bytes("\n".join(lines).encode("cp1252"))
    with pytest.raises(InputError, match="not UTF-8"):
        large.counted(tmp_path / "t.csv", out=tmp_path / "out")
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-16")
    found = large.counted(tmp_path / "*.csv", out=tmp_path / "out", rows=7).tallies["gender"]
    assert found.cells["count"].sum() == 30


@pytest.mark.slow
def test_the_command_says_the_same_of_a_table_either_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(drawn("probabilities"), tmp_path, "csv")
    line = ["--predictions", "table.csv", "--group-by", "gender x skin", "--json"]
    command.main([*line, "whole.json"])
    whole = capsys.readouterr().out
    monkeypatch.setattr(external_files, "LARGE", 10)
    command.main([*line, "parted.json"])
    parted = capsys.readouterr().out
    note = "read in chunks: faces that are there twice are looked for within each alone"
    assert parted.replace(f"table.csv: {note}\n", "") == whole
    one, other = (
        json.loads((tmp_path / name).read_text()) for name in ("whole.json", "parted.json")
    )
    assert one.keys() == other.keys()
    assert one["tasks"]["gender"]["groups"] == other["tasks"]["gender"]["groups"]


@pytest.mark.slow
def test_shares_are_brought_together(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(drawn("labels"), tmp_path, "folder")
    line = ["--predictions", "tables", "--json", "out.json"]
    with pytest.raises(InputError, match="take --json"):
        command.main([*line[:2], "--shards", "1/2"])
    with pytest.raises(Unfinished, match="share 1 of 2 is done"):
        command.main([*line, "--shards", "1/2"])
    for _ in range(2):  # the looking, then the counting
        with pytest.raises(Unfinished):
            command.main([*line, "--shards", "2/2"])
        with pytest.raises(Unfinished):
            command.main([*line, "--shards", "1/2"])
    command.main(line)
    parted = json.loads((tmp_path / "out.json").read_text())["tasks"]
    command.main(line)
    assert json.loads((tmp_path / "out.json").read_text())["tasks"] == parted
    assert not list(tmp_path.glob(".parts-*"))


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="--runner takes the extra `beam`"
)
def test_beam_in_two_processes_counts_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(drawn("probabilities"), tmp_path, "folder")
    line = ["--predictions", "tables", "--group-by", "skin", "--json"]
    command.main([*line, "here.json"])
    beam = ["--runner", "DirectRunner", "--direct_num_workers=2"]
    command.main([*line, "beam.json", *beam, "--direct_running_mode=multi_processing"])
    assert (tmp_path / "here.json").read_text() == (tmp_path / "beam.json").read_text()


MEASURED = (
    "import re, sys\n"
    "from pathlib import Path\n"
    "from vggface_gender.evaluation import large\n"
    "large.counted(Path(sys.argv[1]), out=Path(sys.argv[1] + '.out'), rows=2**14)\n"
    "print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet takes the extra `parquet`")
    arrow = pytest.importorskip("pyarrow")
    some = arrow.Table.from_pandas(drawn("probabilities", 2**14), preserve_index=False)
    peaks = []
    for times in (32, 96):  # 524,288 and 1,572,864 rows
        path = tmp_path / f"{times}.parquet"
        with parquet.ParquetWriter(path, some.schema) as writer:
            for _ in range(times):
                writer.write_table(some)
        done = [sys.executable, "-c", MEASURED, str(path)]
        said = subprocess.run(done, capture_output=True, text=True, check=True).stdout
        peaks.append(int(said.split()[-1]))
        path.unlink()
    assert peaks[1] - peaks[0] < 80_000  # kB; in memory a million rows take 600 MB
