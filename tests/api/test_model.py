"""`load().predict()`: every form that a photo has, one answer; what has no meaning is refused."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vggface_gender as vg
from vggface_gender.photos import read


@pytest.fixture(scope="module")
def model():
    return vg.load()


@pytest.fixture(scope="module")
def path(faces_dir, tmp_path_factory):
    """A photo of two at a third of its size, which is searched far faster."""
    small = tmp_path_factory.mktemp("photos") / "couple.png"
    with Image.open(faces_dir / "photos" / "couple.jpg") as image:
        image.convert("RGB").resize((image.width // 3, image.height // 3)).save(small)
    return str(small)


@pytest.fixture(scope="module")
def expected(model, path):
    return model.predict(path)


def test_a_photos_answer(expected, path):
    assert (expected.photo, expected.status) == (path, "ok")
    left, right = expected.faces
    assert [left.gender.label, right.gender.label] == ["female", "male"]
    assert left.race is None and 15 < left.age.years < 60
    assert len(left.landmarks) == 5 and left.crop.shape == (150, 150, 3)
    assert sum(left.gender.probabilities.values()) == pytest.approx(1)
    table = expected.to_frame()
    assert list(table.gender) == ["female", "male"] and list(table.face) == [1, 2]
    drawn = expected.draw()
    assert drawn.size == (expected.width, expected.height)
    assert (np.asarray(drawn) != expected.image).any()
    assert 'src="data:image/jpeg;base64,' in expected._repr_html_()
    with pytest.raises(AttributeError):  # frozen
        expected.photo = "other"


def test_every_form_of_a_photo_has_one_answer(model, expected, path, tmp_path):
    rgb = read.read_photo(path)
    content = Path(path).read_bytes()
    with open(path, "rb") as file, Image.open(path) as image:
        for given in (content, io.BytesIO(content), file, image, rgb):
            answer = model.predict(given)
            assert answer.to_dict()["faces"] == expected.to_dict()["faces"]
    several = model.predict([path, rgb])
    assert [len(answer.faces) for answer in several] == [2, 2]
    streamed = list(model.stream(iter([path, content])))
    assert streamed[0] == expected and streamed[1].to_dict()["faces"] == expected.to_dict()["faces"]


@pytest.mark.slow
def test_grey_is_converted_and_floats_are_refused(model, path):
    rgb = read.read_photo(path)
    grey = rgb.mean(axis=2).astype(np.uint8)
    for one in (grey, grey[:, :, None]):
        assert model.predict(one).to_dict() == model.predict(np.stack([grey] * 3, 2)).to_dict()
    for bad in (rgb / 255, rgb.astype(np.float32), rgb[..., [0, 1, 2, 0]], rgb > 5, rgb[:0], 3):
        with pytest.raises(vg.InputError, match=r"give uint8 RGB|is no photo"):
            model.predict(bad)


def test_crops_are_answered_as_they_are(model, expected):
    crops = np.stack([face.crop for face in expected.faces])
    answers = model.predict(crops, tasks=["gender", "race"])
    for answer, face in zip(answers, expected.faces, strict=True):
        [one] = answer.faces
        assert one.gender.probabilities == pytest.approx(face.gender.probabilities, abs=1e-5)
        assert one.race is not None and one.age is None
    np.testing.assert_allclose(
        model.embed([expected.image]), model.classifier.embed(crops), atol=1e-5
    )


def test_below_a_confidence_there_is_no_label(model, path):
    face = model.predict(path, min_confidence=1.0).faces[0]
    assert face.gender.label is None and face.gender.likeliest == "female"
    assert face.describe()[0].startswith("uncertain (female ")
    assert face.to_dict()["gender"]["label"] is None
    assert face.to_row()["gender"] == "uncertain"


def test_what_cannot_be_read_is_an_error_alone_and_a_status_among_others(model, path, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(Path(path).read_bytes()[:5000])
    for bad in (broken, tmp_path / "none.jpg", b"", b"text"):
        with pytest.raises(vg.InputError):
            model.predict(bad)
    good, bad = model.predict([path, broken])
    assert (good.status, bad.status) == ("ok", "unreadable") and str(broken) in bad.error
    table = vg.to_frame([good, bad])
    assert list(table.status) == ["ok", "ok", "unreadable"]
    with pytest.raises(vg.InputError, match="does not predict mood"):
        model.predict(path, tasks=["mood"])
    with pytest.raises(vg.InputError, match="no detector"):
        model.predict(path, detector="cascade")


@pytest.mark.parametrize(
    "option",
    [
        *({"min_confidence": given} for given in (-0.1, 1.5, float("nan"), "0.5", None, True)),
        *({"upsample": given} for given in (-1, 5, 1.0, "1", None, True)),
        *({"tasks": given} for given in (3, b"age", [1], iter(["age"]))),
    ],
    ids=lambda given: type(next(iter(given.values()))).__name__,
)
def test_an_option_that_is_none_is_refused_before_a_photo_is_read(model, option):
    [name] = option
    for call in (model.predict, model.stream):
        with pytest.raises(vg.InputError, match=rf"^{name} is .*: give a"):
            call(["none.jpg"], **option)


def test_a_stream_of_one_photo_is_refused(model, path):
    content = Path(path).read_bytes()
    with Image.open(path) as image:
        for one in (path, Path(path), content, io.BytesIO(content), image, np.asarray(image), 3):
            with pytest.raises(vg.InputError, match="give a list"):
                model.stream(one)


def test_one_task_may_be_a_name(model, path):
    [answer] = model.stream([path], tasks="age", upsample=np.int64(1))
    assert answer.faces[0].gender is None and answer.faces[0].age is not None


def test_a_folder_stands_for_its_images(model, path, tmp_path):
    for name in ("b.png", "a.png"):
        Image.fromarray(read.read_photo(path)[::4, ::4]).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("none")
    answers = model.predict(tmp_path)
    assert [answer.photo.rpartition("/")[2] for answer in answers] == ["a.png", "b.png"]


def test_without_tensorflow_what_takes_it_says_so():
    """In an interpreter that does not find TensorFlow."""
    code = """
import sys, importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "tensorflow" else find(name, *a)
import vggface_gender as vg
model = vg.load()
for call in (lambda: model.evaluate("SyntheticFaces"), lambda: vg.load(backend="keras")):
    try:
        call()
    except vg.InputError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all('pip install "vggface-gender[train]"' in x for x in lines)


@pytest.mark.slow
def test_audits_of_a_table_are_those_of_the_command(tmp_path, expected):
    rng = np.random.default_rng(0)
    true = rng.choice(["female", "male"], 400)
    probability = np.where(true == "female", 0.8, 0.3) + rng.uniform(-0.3, 0.2, 400)
    table = pd.DataFrame(
        {
            "name": [f"{i}.jpg" for i in range(400)],
            "gender": true,
            "race": rng.choice(["White", "Black"], 400),
            "age": 30,
            "gender_female": probability,
            "gender_male": 1 - probability,
        }
    )
    table.to_csv(tmp_path / "theirs.csv", index=False)
    audited = vg.audit_predictions(table)
    read_back = vg.audit_predictions(tmp_path / "theirs.csv", tasks=["gender"])
    assert json.dumps(audited, default=str) == json.dumps(read_back, default=str)
    right = (probability > 0.5) == (true == "female")
    assert audited["gender"]["accuracy"] == pytest.approx(right.mean())
    # Of a task without predictions nobody needs the truth.
    lean = table.drop(columns=["race", "age"])
    lean.loc[0, "gender"] = None
    lean.to_csv(tmp_path / "lean.csv", index=False)
    for given in (lean, tmp_path / "lean.csv"):
        only = vg.audit_predictions(given)["gender"]
        assert only["accuracy"] == pytest.approx(right[1:].mean())
    lean.assign(gender_male="x").to_csv(tmp_path / "bad.csv", index=False)
    (tmp_path / "odd.csv").write_text('name,gender\n"a')
    for given, said in (
        (lean.drop(columns="gender"), "no face has a true label"),
        (tmp_path / "bad.csv", "bad.csv: row 2, column gender_male"),
        (tmp_path / "odd.csv", "odd.csv: not a CSV file"),
        (tmp_path / "none.csv", "none.csv: No such file"),
    ):
        with pytest.raises(vg.InputError, match=said):
            vg.audit_predictions(given)
    with pytest.raises(vg.InputError, match="no predictions of race"):
        vg.audit_predictions(table, tasks=["race"])
    unnamed = vg.audit_predictions(table.drop(columns="name"))["gender"]
    assert unnamed["accuracy"] == audited["gender"]["accuracy"]
    with pytest.raises(vg.InputError, match="must sum to 1"):
        vg.audit_predictions(table.assign(gender_male=7))
