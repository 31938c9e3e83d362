"""From photos to answers and drawn copies, with a tiny untrained network for a classifier."""

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from vggface_gender import datasets, predict
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import GENDERS, UTKFACE_RACES
from vggface_gender.inference import classifier
from vggface_gender.photos import detect, read
from vggface_gender.photos.align import align
from vggface_gender.training import heads

TASKS = {"gender": GENDERS, "race": UTKFACE_RACES, "age": ()}


def tiny(tasks, kind="compact") -> classifier.Classifier:
    keras.utils.set_random_seed(3)
    backbone = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 64, -2),
            keras.layers.AveragePooling2D(8),
        ]
    )
    head = heads.build(kind, (4, 4, 3), tasks=tasks)
    return classifier.build(backbone, head, tasks=tasks, padding=0.4, precision="float32", about={})


@pytest.fixture(scope="module")
def model() -> classifier.Classifier:
    return tiny(TASKS)


@pytest.fixture
def run(model, tmp_path, monkeypatch) -> str:
    """The file of a classifier; the working folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "classifiers" / "tiny.keras"
    classifier.save(model, path)
    return str(path)


@pytest.fixture(scope="module")
def photos_dir(faces_dir) -> Path:
    return faces_dir / "photos"


def blank(path: Path, size=(60, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path)
    return path


def check_answer(answer: dict, tasks=("gender", "age")) -> None:
    """Hold an answer to the documented form, key by key."""
    error = {"error"} if answer["status"] == "unreadable" else set()
    assert set(answer) == {"photo", "status", "width", "height", "faces"} | error
    assert isinstance(answer["photo"], str)
    if error:
        assert answer["error"] and "\n" not in answer["error"] and answer["faces"] == []
        return
    width, height = answer["width"], answer["height"]
    assert isinstance(width, int) and isinstance(height, int)
    assert answer["status"] == ("ok" if answer["faces"] else "no face")
    for face in answer["faces"]:
        assert set(face) == {"box", "score", *tasks}
        left, top, right, bottom = face["box"]
        assert all(isinstance(x, int) for x in face["box"])
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        for task in set(tasks) - {"age"}:
            assert set(face[task]) == {"label", "probability", "probabilities"}
            probabilities = face[task]["probabilities"]
            assert tuple(probabilities) == TASKS[task]
            assert abs(sum(probabilities.values()) - 1) < 0.001
            assert face[task]["probability"] == max(probabilities.values())
            assert face[task]["probability"] == probabilities[face[task]["label"]]
        if "age" in tasks:
            assert set(face["age"]) == {"years"} and isinstance(face["age"]["years"], float)
    lefts = [face["box"][0] for face in answer["faces"]]
    assert lefts == sorted(lefts)


@pytest.mark.slow
def test_json_of_many_photos(run, model, photos_dir, tmp_path, capsys):
    folder = tmp_path / "folder"
    blank(folder / "b.png")
    blank(folder / ".hidden.png")
    (folder / "a.JPG").write_bytes((photos_dir / "obama.jpg").read_bytes()[:5000])
    (folder / "notes.txt").write_text("no photo")
    people = [str(photos_dir / name) for name in ("kit_with_rose.jpg", "rose_leslie.jpg")]

    status = predict.main([*people, str(folder), people[0], "--run", run, "--json"])

    output = capsys.readouterr()
    answers = [json.loads(line) for line in output.out.splitlines()]
    assert status == 1
    expected = [*people, str(folder / "a.JPG"), str(folder / "b.png"), people[0]]
    assert [answer["photo"] for answer in answers] == expected
    assert [answer["status"] for answer in answers] == ["ok", "ok", "unreadable", "no face", "ok"]
    assert [len(answer["faces"]) for answer in answers] == [2, 1, 0, 0, 2]
    assert output.err.splitlines() == [
        "left out: hidden, or a tool's: 1",
        f"left out: not named as an image: 1 ({folder / 'notes.txt'})",
        f"error: {answers[2]['error']}",
        "drawn copies: 3 in model_files/predictions",
        "error: 1 of 5 photos can't be read",
    ]
    for answer in answers:
        check_answer(answer)
    assert answers[0] == answers[4]

    # Each face was given its own crop's answer, though all were classified in one batch.
    for answer in answers[:2]:
        photo = read.read_photo(answer["photo"])
        assert (answer["height"], answer["width"]) == photo.shape[:2]
        for answered, face in zip(answer["faces"], detect.detect(photo), strict=True):
            outputs = model.predict(align(photo, [face], size=32, padding=0.4))
            assert answered["box"] == list(face.box)
            probabilities = list(answered["gender"]["probabilities"].values())
            np.testing.assert_allclose(probabilities, outputs["gender"][0], atol=1e-3)
            assert answered["age"]["years"] == pytest.approx(outputs["age"][0], abs=0.06)


@pytest.mark.slow
def test_boxes_are_those_of_the_upright_photo(run, photos_dir, tmp_path, capsys):
    upright = read.read_photo(photos_dir / "rose_leslie.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "rotated.png", exif=exif)
    predict.main([str(tmp_path / "rotated.png"), "--run", run, "--json", "--no-draw"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["width"], answer["height"]) == (577, 880)
    assert [face["box"] for face in answer["faces"]] == [list(detect.detect(upright)[0].box)]


def test_race_is_predicted_only_on_request(run, photos_dir, tmp_path, capsys):
    photo = str(photos_dir / "rose_leslie.jpg")
    predict.main([photo, "--run", run, "--race"])
    text = capsys.readouterr().out
    assert any(race in text for race in UTKFACE_RACES)
    predict.main([photo, "--run", run, "--race", "--json"])
    check_answer(json.loads(capsys.readouterr().out), tasks=("gender", "race", "age"))

    classifier.save(tiny({"gender": GENDERS}), tmp_path / "gender.keras")
    predict.main([photo, "--run", "gender.keras", "--json"])
    check_answer(json.loads(capsys.readouterr().out), tasks=("gender",))
    with pytest.raises(InputError, match="does not predict race, only gender"):
        predict.main([photo, "--run", "gender.keras", "--race"])


def test_without_a_run_the_default_classifier_answers(
    model, photos_dir, tmp_path, monkeypatch, capsys
):
    package = tmp_path / "site-packages" / "vggface_gender"
    monkeypatch.setattr(runs, "__file__", str(package / "base" / "runs.py"))
    monkeypatch.chdir(tmp_path)
    photo = str(photos_dir / "rose_leslie.jpg")
    with pytest.raises(InputError):
        predict.main([photo])

    classifier.save(model, package / "default" / runs.CLASSIFIER)
    assert predict.main([photo, "--json"]) == 0
    check_answer(json.loads(capsys.readouterr().out))
    predict.main([photo, "--json", "--race"])
    check_answer(json.loads(capsys.readouterr().out), tasks=("gender", "race", "age"))
    assert {path.name for path in package.rglob("*")} == {"default", runs.CLASSIFIER}


def sampled(photo: Path, run: str, capsys) -> tuple[list[dict], list[dict]]:
    """The faces of a photo as predicted with and without dropout; they are the same twice."""
    answers = []
    for more in ([], ["--mc-dropout", "9"], ["--dropout", "9"]):
        predict.main([str(photo), "--run", run, "--json", "--no-draw", *more])
        answers.append(json.loads(capsys.readouterr().out)["faces"])
    assert answers[1] == answers[2]
    return answers[0], answers[1]


@pytest.mark.slow
def test_with_dropout_left_on_answers_are_means_with_an_uncertainty(photos_dir, tmp_path, capsys):
    run = tmp_path / "dropout.keras"
    classifier.save(tiny(TASKS, kind="shared"), run)
    plain, means = sampled(photos_dir / "kit_with_rose.jpg", str(run), capsys)
    assert len(plain) == len(means) == 2
    for one, mean in zip(plain, means, strict=True):
        assert mean["box"] == one["box"]
        assert mean["gender"]["probability"] != one["gender"]["probability"]
        chances = np.array(list(mean["gender"]["probabilities"].values()))
        entropy = -(chances * np.log(chances)).sum()
        assert mean["gender"]["entropy"] == pytest.approx(entropy, abs=1e-3)
        assert mean["age"]["deviation"] > 0
        assert "entropy" not in one["gender"] and "deviation" not in one["age"]


@pytest.mark.slow
def test_dropout_moves_the_default_classifiers_answers_a_little(photos_dir, capsys):
    for one, mean in zip(*sampled(photos_dir / "couple.jpg", "default", capsys), strict=True):
        assert mean["gender"]["label"] == one["gender"]["label"]
        assert abs(mean["age"]["years"] - one["age"]["years"]) < 5


def test_plain_text(run, photos_dir, tmp_path, capsys):
    photo, nobody = photos_dir / "kit_with_rose.jpg", blank(tmp_path / "nobody.png")
    assert predict.main([str(photo), str(nobody), "--run", run]) == 0
    *people, last = capsys.readouterr().out.splitlines()
    assert len(people) == 2 and last == f"{nobody}: no face found"
    form = r"(fe)?male \d\d%, -?\d+ years at \(\d+, \d+, \d+, \d+\)"
    for line in people:
        assert re.fullmatch(re.escape(f"{photo}: ") + form, line)


def test_crops_that_are_not_aligned_are_not_searched_for_faces(run, model, faces_dir, capsys):
    path = next((faces_dir / "UTKFace").glob("*.jpg"))
    for options in (["--detector", "none"], ["--crops", "--align", "never"]):
        predict.main([str(path), *options, "--run", run, "--json"])
        answer = json.loads(capsys.readouterr().out)
        check_answer(answer)
        [face] = answer["faces"]
        assert face["box"] == [0, 0, 200, 200] and face["score"] is None


@pytest.mark.parametrize(
    ("learned", "is_aligned"), [("never", False), ("auto", True), (None, True)]
)
def test_crops_are_framed_as_those_that_the_classifier_learned_from(
    run, model, faces_dir, capsys, learned, is_aligned
):
    about = {"align": learned} if learned else {}
    classifier.save(dataclasses.replace(model, about=about), Path(run))
    path = next((faces_dir / "UTKFace").glob("*.jpg"))
    predict.main([str(path), "--crops", "--run", run, "--json"])
    [face] = json.loads(capsys.readouterr().out)["faces"]
    assert (face["score"] is not None) == is_aligned


def test_faults(run, photos_dir, tmp_path, capsys):
    with pytest.raises(InputError, match="nonesuch"):
        predict.main([str(photos_dir / "obama.jpg"), "--run", "nonesuch"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: "):
        predict.main([str(tmp_path / "empty"), "--run", run])
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="file: "):
        predict.main([str(photos_dir / "obama.jpg"), "--out", str(blocked)])
    capsys.readouterr()
    assert predict.main(["missing.jpg", str(blocked), "--json", "--run", run]) == 2
    output = capsys.readouterr()
    for line in output.out.splitlines():
        check_answer(json.loads(line))
    assert len(output.out.splitlines()) == 2
    assert output.err.splitlines()[2:] == ["error: 2 of 2 photos can't be read"]


def test_the_status_is_0_only_where_every_photo_was_answered(run, tmp_path, capsys):
    good, bad = str(blank(tmp_path / "good.png")), str(tmp_path / "bad.png")
    Path(bad).write_bytes(b"no image")
    statuses = [predict.main([*photos, "--run", run]) for photos in ([good], [good, bad], [bad])]
    assert statuses == [0, 1, 2]


@pytest.mark.slow
def test_odd_files_and_names_in_a_folder_are_answered_or_named(run, photos_dir, tmp_path, capsys):
    folder = tmp_path / "odd"
    folder.mkdir()
    content = (photos_dir / "rose_leslie.jpg").read_bytes()
    undecoded = os.fsencode(folder) + b"/caf\xe9.jpg"
    names = [os.fsdecode(undecoded), str(folder / ("x" * 251 + ".jpg")), str(folder / "a\nb.jpg")]
    for name in names:
        Path(name).write_bytes(content)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "null.jpg").symlink_to("/dev/null")
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket.jpg"))
        assert predict.main([str(folder), "--run", run, "--json", "--out", "drawn"]) == 1
    output = capsys.readouterr()
    answers = {answer["photo"]: answer for answer in map(json.loads, output.out.splitlines())}
    assert [answers[name]["status"] for name in names] == ["ok"] * 3
    for name in ("pipe", "null", "socket"):
        assert "not a regular file" in answers[str(folder / f"{name}.jpg")]["error"]
    assert "No such file" in answers[str(folder / "gone.jpg")]["error"]
    drawn = {os.fsencode(path.name) for path in Path("drawn").iterdir()}
    assert drawn == {b"caf\xe9-faces.jpg", b"x" * 245 + b"-faces.jpg", b"a\nb-faces.jpg"}
    # As text every answer and error is a line of its own.
    predict.main([str(folder), "--run", run, "--no-draw"])
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 3 and r"a\nb.jpg: " in output.out
    assert len(output.err.splitlines()) == 5


@pytest.mark.parametrize(
    ("align", "boxes", "tolerance"),
    [
        ("never", [[23, 0, 176, 153], [24, 0, 175, 151], [0, 24, 151, 175]], 1e-4),
        ("always", None, 0.02),  # a record's face has gone through a JPEG
    ],
)
def test_a_crop_that_is_not_square_is_answered_as_its_record_is(
    run, model, faces_dir, capsys, align, boxes, tolerance
):
    """Also where the record is not the file itself: a rotated JPEG, and a PNG."""
    face = Image.open(next((faces_dir / "UTKFace").glob("*.jpg")))
    exif = Image.Exif()
    exif[0x0112] = 6
    face.crop((0, 10, 200, 163)).save("wide.jpg")
    face.crop((30, 0, 181, 200)).save("rotated.jpg", exif=exif)
    face.crop((30, 0, 181, 200)).save("high.png")
    names = ["wide.jpg", "rotated.jpg", "high.png"]
    lines = ["file,gender,split", *(f"{name},male,test" for name in names)]
    Path("faces.csv").write_text("\n".join(lines))
    dataset = datasets.prepare("faces.csv", data_dir="tfrecords", align=align)
    truth, outputs = classifier.classify(model, dataset, split="test")
    expected = dict(zip(truth.name, outputs["gender"], strict=True))
    capsys.readouterr()
    assert predict.main([*names, "--crops", "--align", align, "--run", run, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert boxes in (None, [answer["faces"][0]["box"] for answer in answers])
    for answer in answers:
        given = list(answer["faces"][0]["gender"]["probabilities"].values())
        np.testing.assert_allclose(given, expected[answer["photo"]], atol=tolerance)


@pytest.mark.parametrize(
    "command",
    [["-m", "vggface_gender.predict"], [str(Path(__file__).parents[1] / "tools" / "predict.py")]],
    ids=["module", "script"],
)
def test_a_missing_photo_is_one_line_and_needs_no_tensorflow(run, tmp_path, command):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "missing.jpg", "--run", run],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2 and done.stdout == ""
    assert len(lines) == 1 and lines[0].startswith("error: missing.jpg: No such file")
    assert "keras" not in done.stderr and "tensorflow" not in done.stderr


def test_help_imports_nothing_heavy():
    code = "import sys, vggface_gender.predict as p; p.parser(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert not {"tensorflow", "keras", "dlib", "cv2", "numpy", "PIL"} & set(modules.split())


# Drawn copies


@pytest.mark.slow
def test_drawn_copies_do_not_collide_with_photos_or_each_other(run, photos_dir, tmp_path):
    data = (photos_dir / "kit_with_rose.jpg").read_bytes()
    photos = [tmp_path / name for name in ("x.jpg", "one/x.jpg", "two/X.jpeg", "x-faces.jpg")]
    for photo in photos:
        photo.parent.mkdir(exist_ok=True)
        photo.write_bytes(data)
    assert predict.main([*map(str, photos), "--run", run, "--out", str(tmp_path)]) == 0
    assert all(photo.read_bytes() == data for photo in photos)
    drawn = {path.name for path in tmp_path.iterdir() if path.is_file()} - {"x.jpg", "x-faces.jpg"}
    assert drawn == {"x-faces-2.jpg", "x-faces-3.jpg", "X-faces-4.jpg", "x-faces-faces.jpg"}
    assert {Image.open(tmp_path / name).size for name in drawn} == {(501, 700)}


@pytest.mark.slow
def test_a_photo_without_a_face_ends_in_peace(tmp_path):
    """The classifier may still be loading when the answer is known: that must not abort the end."""
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "a.png")
    line = [sys.executable, "-m", "vggface_gender.predict", "--no-draw", str(tmp_path / "a.png")]
    done = [subprocess.run(line, capture_output=True, text=True) for _ in range(3)]
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 3
