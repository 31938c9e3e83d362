"""What `predict` reads and writes beside its lines, on ONNX Runtime alone."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vggface_gender import predict
from vggface_gender.base.errors import InputError
from vggface_gender.inference import backends, pipeline
from vggface_gender.photos import draw

CLASSIFIER = Path(__file__).resolve().parents[1] / "model_files" / "default" / "classifier.onnx"
pytestmark = pytest.mark.skipif(not CLASSIFIER.is_file(), reason="no exported classifier")
RUN = ["--run", str(CLASSIFIER)]


@pytest.fixture
def crops(workplace, write_image):
    """Twelve small pictures in `crops`, each another."""
    return [str(write_image(Path("crops") / f"{i:03}.png", seed=i)) for i in range(12)]


def rows(path="t.csv") -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answer(*photos, more=("--detector", "none")) -> int:
    return predict.main([*photos, *RUN, *more])


def test_a_row_for_every_input_with_its_status(crops, faces_dir, capsys):
    Path("bad.jpg").write_text("no image")
    Image.new("RGB", (80, 60), "teal").save("nobody.png")
    photo = str(faces_dir / "photos" / "kit_with_rose.jpg")
    named = [photo, "bad.jpg", "nobody.png", "missing.jpg"]
    assert answer(*named, more=["--csv", "t.csv", "--json", "--race"]) == 1
    output = capsys.readouterr()
    found = rows()
    assert [row["photo"] for row in found] == [photo, *named]
    assert [row["status"] for row in found] == ["ok", "ok", "unreadable", "no face", "unreadable"]
    assert [bool(row["content"]) for row in found] == [True, True, True, True, False]
    assert len({row["made_by"] for row in found}) == 1
    faces = json.loads(output.out.splitlines()[0])["faces"]
    for row, face in zip(found, faces, strict=False):
        assert [int(row[side]) for side in ("left", "top", "right", "bottom")] == face["box"]
        assert float(row["gender_male"]) == face["gender"]["probabilities"]["male"]
        assert row["race"] == face["race"]["label"] and float(row["age"]) == face["age"]["years"]
    assert output.err.splitlines()[-2:] == ["table: t.csv", "error: 2 of 4 photos can't be read"]
    assert not Path("model_files").exists()  # a table alone is asked for: nothing is drawn


@pytest.mark.slow
def test_a_killed_command_is_gone_on_with(workplace, write_image):
    """Killed again and again, in the end it has one row of each photo, and whole ones."""
    photos = [str(write_image(Path("crops") / f"{i:03}.png", seed=i)) for i in range(300)]
    command = [sys.executable, "-m", "vggface_gender.predict", *photos, *RUN, "--resume"]
    command += ["--detector", "none", "--csv", "t.csv"]
    kills, before = 0, 0
    while kills < 3:
        done = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while done.poll() is None:
            time.sleep(0.02)
            size = Path("t.csv").stat().st_size if Path("t.csv").exists() else 0
            if size > before + 5000:
                break
        if done.poll() is not None:
            break
        done.kill()
        assert done.wait() == -signal.SIGKILL
        kills += 1
        content = Path("t.csv").read_bytes()
        Path("t.csv").write_bytes(content[: -3 * kills])  # as if it had been torn, too
        before = len(content)
    assert kills > 0
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    known = next(line for line in done.stderr.splitlines() if "already" in line)
    assert 0 < int(known.rpartition(" ")[2]) < 300
    assert Counter(row["photo"] for row in rows()) == Counter(photos)
    assert {row["status"] for row in rows()} == {"ok"}


def test_what_the_table_has_is_not_looked_at_again(crops, capsys, monkeypatch):
    Path("bad.png").write_text("no image")
    assert answer(*crops[:5], "bad.png", more=["--detector", "none", "--csv", "t.csv"]) == 1
    looked, detected = [], pipeline.detected

    def look(picture, **options):
        looked.append(picture.name)
        return detected(picture, **options)

    monkeypatch.setattr(pipeline, "detected", look)
    capsys.readouterr()
    more = ["--detector", "none", "--csv", "t.csv", "--resume"]
    assert answer(*crops[2:8], "bad.png", more=more) == 1
    output = capsys.readouterr()
    assert sorted(looked) == crops[5:8] and len(output.out.splitlines()) == 3
    assert "in t.csv already: 4" in output.err
    assert [row["photo"] for row in rows()] == [*crops[:5], "bad.png", *crops[5:8]]
    with pytest.raises(InputError, match="other settings"):
        answer(*crops, more=[*more, "--min-confidence", "0.9"])
    with pytest.raises(InputError, match="give --csv"):
        answer(*crops, more=["--resume"])


def test_standard_input_patterns_and_parquet(crops, monkeypatch, capsys):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    content = io.BytesIO(Path(crops[0]).read_bytes())
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": content}))
    more = ["--detector", "none", "--parquet", "t.parquet", "--tasks", "age"]
    assert answer("crops/*.png", "-", more=more) == 0
    frame = pandas.read_parquet("t.parquet")
    assert list(frame.photo) == [*crops, "-"]
    assert frame.age[0] == frame.age[12] and frame.content[0] == frame.content[12]
    assert "gender" not in frame and "race" not in frame
    assert sorted(os.listdir()) == ["crops", "t.parquet"]


def test_crops_are_those_that_were_classified(faces_dir, workplace, capsys):
    photo = str(faces_dir / "photos" / "kit_with_rose.jpg")
    assert answer(photo, more=["--crops-out", "out", "--json"]) == 0
    faces = json.loads(capsys.readouterr().out)["faces"]
    names = ["kit_with_rose-face-1.png", "kit_with_rose-face-2.png"]
    assert sorted(os.listdir("out")) == names
    crops = np.stack([np.asarray(Image.open(Path("out") / name)) for name in names])
    outputs = backends.load(CLASSIFIER).predict(crops)
    for i, face in enumerate(faces):
        assert face["age"]["years"] == pytest.approx(outputs["age"][i], abs=0.1)


@pytest.mark.slow
def test_uncertain_small_and_second_best(faces_dir, workplace, capsys):
    photo = str(faces_dir / "photos" / "selfie_many_people.jpg")
    assert answer(photo, more=["--json", "--no-draw"]) == 0
    faces = json.loads(capsys.readouterr().out)["faces"]
    widths = sorted(right - left for left, _, right, _ in (face["box"] for face in faces))
    more = ["--json", "--no-draw", "--min-face", str(widths[0] + 1), "--min-confidence", "1"]
    assert answer(photo, more=more) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert len(found["faces"]) == len(faces) - found["small_faces"] and found["small_faces"] >= 1
    assert all(face["gender"]["label"] is None for face in found["faces"])
    assert f"left out: faces smaller than {widths[0] + 1} pixels: " in output.err
    assert answer(photo, more=["--no-draw", "--top", "2"]) == 0
    assert all(" or " in line for line in capsys.readouterr().out.splitlines())


def test_nothing_is_drawn_where_no_drawing_is_wanted(crops, monkeypatch):
    monkeypatch.setattr(draw, "draw", lambda *args, **kwargs: pytest.fail("drawn"))
    assert answer(*crops, more=["--detector", "none", "--no-draw"]) == 0
    assert answer(*crops, more=["--detector", "none", "--csv", "t.csv"]) == 0


def test_faults_are_said_before_anything_is_written(crops, capsys):
    Path("t.csv").write_text("precious")
    for more, reason in (
        (["--detector", "nonesuch"], "no detector nonesuch"),
        (["--out", crops[0]], "not a folder"),
        (["--crops-out", crops[0]], "not a folder"),
    ):
        with pytest.raises(InputError, match=reason):
            answer(*crops, more=["--csv", "t.csv", *more])
    with pytest.raises(InputError, match="no file matches"):
        answer("*.webp", more=["--csv", "t.csv"])
    assert Path("t.csv").read_text() == "precious"


@pytest.mark.slow
def test_a_full_disk_ends_the_command_and_the_rest_is_gone_on_with(full_disk, write_image):
    photos = [str(write_image(full_disk.parent / f"{i}.png", seed=i)) for i in range(30)]
    table = full_disk / "t.csv"
    fill = full_disk / "fill"
    fill.write_bytes(bytes(2 * 1024 * 1024 - 8192 - 4096))
    # Long names, so that there is no room for the rows of all.
    photos += [f"{'/.' * 300}{photo}" for photo in photos]
    command = [sys.executable, "-m", "vggface_gender.predict", *photos, *RUN]
    command += ["--detector", "none", "--csv", str(table), "--resume"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    fill.unlink()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert Counter(row["photo"] for row in rows(table)) == Counter(photos)


def test_a_video_among_photos(crops, capsys):
    writer = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for _ in range(20):
        writer.write(cv2.imread(crops[0]))
    writer.release()
    more = ["--detector", "none", "--csv", "t.csv", "--json", "--out", "drawn", "--fps", "2"]
    assert answer(crops[0], "clip.mp4", crops[1], "0", more=more) == 1
    output = capsys.readouterr()
    photo, clip, other, camera = map(json.loads, output.out.splitlines())
    assert (photo["photo"], clip["video"], other["photo"]) == (crops[0], "clip.mp4", crops[1])
    [person] = clip["tracks"]
    assert clip["frames"] == person["frames"] == 4 and person["end"] == 1.5
    assert person["age"]["years"] == pytest.approx(photo["faces"][0]["age"]["years"], abs=6)
    assert camera["status"] == "unreadable" and "camera" in camera["error"]
    assert [row["frames"] for row in rows()] == ["", "4", "", ""]
    names = ["000-faces.jpg", "001-faces.jpg", "clip-faces.ass", "clip-faces.mp4", "clip-faces.srt"]
    assert sorted(os.listdir("drawn")) == names
    capsys.readouterr()
    assert answer(crops[0], "clip.mp4", more=[*more, "--resume"]) == 0
    assert "in t.csv already: 2" in capsys.readouterr().err
    with pytest.raises(InputError, match="leave --mc-dropout out"):
        answer("clip.mp4", more=["--mc-dropout", "3"])


def test_no_table_takes_the_place_of_an_input_or_of_something_else(crops, capsys):
    os.symlink(crops[0], "link.png")
    Path("notes.txt").write_text("precious")
    before = {name: Path(name).read_bytes() for name in (*crops, "notes.txt")}
    for more, reason in (
        (["--csv", crops[0]], "one of the inputs"),
        (["--parquet", crops[1]], "one of the inputs"),
        (["--csv", "link.png"], "one of the inputs"),
        (["--csv", "t", "--parquet", "./t"], "are one file"),
        (["--csv", "notes.txt"], "not a table of predict"),
        (["--parquet", "notes.txt"], "not a table of predict"),
        (["--csv", "notes.txt", "--resume"], "not a table of predict"),
        (["--csv", ""], "a folder"),
        (["--csv", "/dev/null"], "not a regular file"),
        (["--parquet", "/dev/null"], "not a regular file"),
    ):
        with pytest.raises(InputError, match=reason):
            answer(*crops, more=["--detector", "none", *more])
    assert {name: Path(name).read_bytes() for name in before} == before
    assert sorted(os.listdir()) == ["crops", "link.png", "notes.txt"]


def test_no_crop_takes_the_name_of_an_input(workplace, write_image, capsys):
    longest = f"{'x' * 251}.png"  # with `-1` its crop's name would be too long
    names = ["a.png", "a-face-1.png", "a-face-2-1.png", longest]
    for seed, name in enumerate(names):
        write_image(Path("ow") / name, seed=seed)
    before = {name: (Path("ow") / name).read_bytes() for name in names}
    more = ["--detector", "none", "--csv", "ow/a-face-3-1.png", "--crops-out", "ow"]
    assert answer("ow", more=more) == 0
    assert {name: (Path("ow") / name).read_bytes() for name in names} == before
    assert len(os.listdir("ow")) == 2 * len(names) + 1 and len(rows("ow/a-face-3-1.png")) == 4
    assert (Path("ow") / "a-face-4-1.png").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
@pytest.mark.parametrize(
    "more",
    [
        ["--csv", "/proc/x.csv"],
        ["--csv", "/proc/x/y.csv"],
        ["--crops-out", "/proc/x"],
        ["--out", "/proc/x"],
    ],
)
def test_where_no_file_can_be_made_it_is_said(crops, more):
    with pytest.raises(InputError, match="can be made there; name another place"):
        answer(*crops[:1], more=["--detector", "none", *more])


def test_inputs_that_can_not_be_opened_are_rows_among_others(crops, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    Path("nonutf\udcff.mp4").write_bytes(b"")
    named = [crops[0], "-", "nonutf\udcff.mp4", "9" * 20]
    assert answer(*named, more=["--detector", "none", "--csv", "t.csv"]) == 1
    assert [row["status"] for row in rows()] == ["ok", *["unreadable"] * 3]


@pytest.mark.slow
def test_answers_come_while_others_are_looked_at(workplace, capsys):
    """Of photos without faces each is in the table before the next but a few is looked at."""
    looked, detected = [], pipeline.detected
    for i in range(20):
        Image.new("RGB", (90, 60), (i, 90, 90)).save(f"{i:02}.png")

    def look(picture, **options):
        assert len(looked) < 10 or Path("t.csv").read_text().count("no face") > 0
        looked.append(picture.name)
        return detected(picture, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "detected", look)
        patch.setattr(pipeline, "AHEAD", 2)
        patch.setattr(pipeline, "THREADS", 2)
        assert answer("*.png", more=["--csv", "t.csv", "--upsample", "0"]) == 0
    assert len(rows()) == len(looked) == 20


def test_crops_are_aligned_unless_they_are_to_be_used_whole(workplace, faces_dir, capsys):
    face = str(next((faces_dir / "UTKFace").glob("25_*")))
    Image.new("RGB", (60, 60), "teal").save("nobody.png")
    for more in (["--crops"], ["--crops", "--align", "always"], ["--crops", "--detector", "hog"]):
        assert answer(face, "nobody.png", more=[*more, "--json"]) == 0
        output = capsys.readouterr()
        (found,), (whole,) = (json.loads(line)["faces"] for line in output.out.splitlines())
        assert found["score"] > 0 and whole["score"] is None and whole["box"] == [0, 0, 60, 60]
        assert "no face found, used whole: 1 (nobody.png)" in output.err
    assert answer(face, "nobody.png", more=["--crops", "--align", "never", "--json"]) == 0
    output = capsys.readouterr()
    assert all(json.loads(line)["faces"][0]["score"] is None for line in output.out.splitlines())
    assert "used whole" not in output.err


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--align", "always"], "--crops"),
        (["--crops", "--align", "always", "--detector", "none"], "finds no face"),
    ],
)
def test_alignment_that_can_not_be_is_refused(crops, more, complaint):
    with pytest.raises(InputError, match=complaint):
        answer(crops[0], more=more)


def test_a_table_of_aligned_crops_is_not_gone_on_with_whole_ones(crops):
    assert answer(crops[0], more=["--crops", "--csv", "t.csv", "--no-draw"]) == 0
    with pytest.raises(InputError, match="settings"):
        answer(*crops[:2], more=["--detector", "none", "--csv", "t.csv", "--resume"])
    assert len(rows()) == 1
