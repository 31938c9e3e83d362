"""Tables of answers: whole rows, whatever they were torn by; gone on with; as Parquet."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import GENDERS
from vggface_gender.inference import tables
from vggface_gender.inference.answers import FaceAnswer, Label, PhotoAnswer, Years
from vggface_gender.inference.track_answers import TrackAnswer, VideoAnswer

COLUMNS = tables.columns({"gender": GENDERS, "age": ()}, ["gender", "age"])


def face(left: int) -> FaceAnswer:
    label = Label(probabilities={"female": 0.25, "male": 0.75}, min_confidence=0.7)
    return FaceAnswer(
        box=(left, 2, left + 9, 11), score=1.5, tasks={"gender": label, "age": Years(years=31.2)}
    )


def photo(name: str, faces: int = 1, *, content: str | None = None, **more) -> PhotoAnswer:
    return PhotoAnswer(
        photo=name,
        width=64,
        height=48,
        faces=[face(10 * i) for i in range(faces)],
        content=content or name.encode("utf-8", "replace").hex(),
        **more,
    )


ODD = 'new\nline, "quoted", é\udce9.jpg'
ANSWERS = [
    photo("a.jpg", 3),
    photo("b.jpg", 0),
    photo(ODD, 2),
    photo("bad.jpg", 0, error="bad.jpg: the file is empty, and\nsaid so"),
    photo("a.jpg", 3, small=2),
]
NAMES = [answer.photo for answer in ANSWERS]


def write(path: Path, answers=ANSWERS, *, resume=False, made_by="me") -> int:
    """Add answers to a table that it does not have; how many it had."""
    known = 0
    with tables.opened(path, COLUMNS, made_by=made_by, names=NAMES, resume=resume) as table:
        for answer in answers:
            if table.known(answer.photo, answer.content):
                known += 1
            else:
                table.add(answer)
    return known


def test_a_row_for_every_face_or_why_there_is_none(tmp_path):
    write(tmp_path / "t.csv")
    frame = pd.read_csv(tmp_path / "t.csv")
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame.status) == ["ok"] * 3 + ["no face"] + ["ok"] * 2 + ["unreadable"] + ["ok"] * 3
    assert list(frame.faces) == [3, 3, 3, 0, 2, 2, 0, 3, 3, 3]
    assert list(frame.face.fillna(0)) == [1, 2, 3, 0, 1, 2, 0, 1, 2, 3]
    assert frame.photo[4] == 'new\nline, "quoted", é\\udce9.jpg'
    assert list(frame.small_faces[-3:]) == [2, 2, 2]
    assert frame.gender_male[0] == 0.75 and frame.age[0] == 31.2 and frame.left[2] == 20


def test_wherever_a_table_is_torn_it_is_read_and_gone_on_with(tmp_path):
    """Cut after any of its bytes, it gives whole answers alone, and in the end has all of them."""
    path = tmp_path / "t.csv"
    write(path, ANSWERS[:4])
    content = path.read_bytes()
    whole = list(tables.read(path))
    assert [len(rows) for rows in whole] == [3, 1, 2, 1]
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        if b"\n" in content[:cut]:
            rows = list(tables.read(path))
            assert rows == whole[: len(rows)] and len(rows) < 4
        if cut % 7 == 0 or cut > len(content) - 20:
            assert write(path, ANSWERS[:4], resume=True) < 4
            assert path.read_bytes() == content
    assert write(path, ANSWERS[:4], resume=True) == 4
    assert path.read_bytes() == content


def test_zeros_at_the_end_are_torn_too(tmp_path):
    path = tmp_path / "t.csv"
    write(path, ANSWERS[:2])
    content = path.read_bytes()
    path.write_bytes(content[:-30] + bytes(100))  # as after the power went
    assert write(path, ANSWERS[:2], resume=True) == 1
    assert path.read_bytes() == content


def test_what_is_known_goes_by_content(tmp_path):
    path = tmp_path / "t.csv"
    write(path, [photo("old.jpg", content="1"), photo("kept.jpg", content="2")])
    names = ["new.jpg", "copy.jpg", "kept.jpg", "changed.jpg"]
    with tables.opened(path, COLUMNS, made_by="me", names=names, resume=True) as table:
        assert table.known("new.jpg", "1") == "ok"  # moved
        assert table.known("copy.jpg", "1") is None  # and a copy of it has no row yet
        assert table.known("copy.jpg", "2") is None
        assert table.known("kept.jpg", "2") == "ok"
        assert table.known("kept.jpg", "3") is None  # changed
        assert table.known("kept.jpg", None) is None


def test_what_could_not_be_opened_is_tried_again(tmp_path):
    gone = PhotoAnswer(photo="x", width=None, height=None, faces=[], error="x: No such file")
    write(tmp_path / "t.csv", [gone, ANSWERS[0]])
    assert write(tmp_path / "t.csv", [photo("x"), ANSWERS[0]], resume=True) == 1
    assert list(pd.read_csv(tmp_path / "t.csv").photo) == ["a.jpg"] * 3 + ["x"]


def test_what_is_no_such_table_is_left_as_it_is(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("file,gender\na.jpg,male\n")
    for content in (b"file,gender\na.jpg,male\n", bytes(3), b"notes"):
        path.write_bytes(content)
        for resume in (True, False):
            with pytest.raises(InputError, match="not a table of predict"):
                write(path, resume=resume)
            assert path.read_bytes() == content
    path.unlink()
    write(path)
    content = path.read_bytes()
    with pytest.raises(InputError, match="another classifier or with other settings"):
        write(path, resume=True, made_by="you")
    assert path.read_bytes() == content
    with (
        tables.opened(path, COLUMNS, made_by="me", resume=True),
        pytest.raises(InputError, match=r"t\.csv"),
    ):
        write(path)
    assert {each.name for each in tmp_path.iterdir()} == {"t.csv"}


def test_a_video_has_a_row_a_person(tmp_path):
    people = [
        TrackAnswer(track=i, start=0.0, end=2.0004, frames=11, best=0.4, face=face(i))
        for i in (1, 2)
    ]
    cut = VideoAnswer(
        video="v.mp4", width=9, height=9, frames=11, end=2.0, tracks=people, missing=3, error="cut"
    )
    nobody = VideoAnswer(video="w.mp4", width=9, height=9, frames=11, end=2.0, tracks=[])
    write(tmp_path / "t.csv", [cut, nobody])
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["incomplete", "incomplete", "no face"]
    assert (rows[1]["face"], rows[1]["start"], rows[1]["end"], rows[1]["frames"]) == (
        *("2", "0.0", "2.0", "11"),
    )
    published = cut.to_dict()
    assert published["missing_frames"] == 3 and published["tracks"][0]["gender"]["label"] == "male"


def test_parquet_has_what_the_table_has(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(tables, "FULLEST", 4)  # several row groups
    write(tmp_path / "t.csv")
    tables.to_parquet(tmp_path / "t.csv", tmp_path / "t.parquet", columns=COLUMNS)
    frame, expected = pd.read_parquet(tmp_path / "t.parquet"), pd.read_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False)
    assert frame.age.dtype == "float64" and len(frame) == 10


def test_without_pyarrow_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r'pip install "vggface-gender\[parquet\]"'):
        tables.require_pyarrow()
