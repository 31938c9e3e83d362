"""Answers: their published form, their text, and which crop each face's answer is of."""

import json

import numpy as np
import pytest
from PIL import Image

from vggface_gender.base.labels import GENDERS
from vggface_gender.inference import pipeline
from vggface_gender.inference.answers import FaceAnswer, Label, PhotoAnswer, Years
from vggface_gender.photos import detect, inputs, read

RACES = ("White", "Black")


def brightness(crops: np.ndarray) -> np.ndarray:
    return crops.reshape(len(crops), -1).mean(1) / 255


class Bright:
    """What answers need of a classifier: the brighter a crop, the more female, White and old."""

    size, padding = 8, 0.25

    def __init__(self, *tasks: str):
        every = {"gender": GENDERS, "race": RACES, "age": ()}
        self.tasks = {task: every[task] for task in tasks or every}
        self.batches = []

    def predict(self, crops):
        self.batches.append(len(crops))
        light = brightness(crops).astype(np.float32)
        pair = np.stack([light, 1 - light], 1)
        outputs = {"gender": pair, "race": pair, "age": 100 * light}
        return {task: outputs[task] for task in self.tasks}


def crop(name: str, grey: int) -> detect.Detected:
    """A photo that is one face's crop, evenly grey."""
    return detect.in_photo(np.full((12, 20, 3), grey, np.uint8), name, detector="none")


FACE = FaceAnswer(
    box=(10, 20, 30, 40),
    score=1.522249,
    tasks={
        "gender": Label(probabilities={"female": 0.035849, "male": 0.964151}),
        "age": Years(years=31.249),
    },
)


def test_the_published_form():
    photo = PhotoAnswer(photo="a.jpg", width=640, height=480, faces=[FACE])
    assert photo.to_json() == (
        '{"photo": "a.jpg", "status": "ok", "width": 640, "height": 480, "faces": '
        '[{"box": [10, 20, 30, 40], "score": 1.5222, "gender": {"label": "male", '
        '"probability": 0.9642, "probabilities": {"female": 0.0358, "male": 0.9642}}, '
        '"age": {"years": 31.2}}]}'
    )
    nobody = PhotoAnswer(photo="b.png", width=6, height=4, faces=[])
    assert nobody.to_json() == (
        '{"photo": "b.png", "status": "no face", "width": 6, "height": 4, "faces": []}'
    )
    unread = PhotoAnswer(photo="c.jpg", width=None, height=None, faces=[], error="c.jpg: empty")
    assert unread.to_json() == (
        '{"photo": "c.jpg", "status": "unreadable", "error": "c.jpg: empty", "width": null, '
        '"height": null, "faces": []}'
    )


def test_uncertainties_are_published_where_there_are_any():
    label = Label(probabilities={"female": 0.25, "male": 0.75}, entropy=0.562335)
    assert label.to_dict()["entropy"] == 0.5623
    years = Years(years=31.0, deviation=2.349)
    assert years.to_dict() == {"years": 31.0, "deviation": 2.3}


def test_text():
    photo = PhotoAnswer(photo="a.jpg", width=640, height=480, faces=[FACE])
    assert photo.describe() == ["a.jpg: male 96%, 31 years at (10, 20, 30, 40)"]
    nobody = PhotoAnswer(photo="b.png", width=6, height=4, faces=[])
    assert nobody.describe() == ["b.png: no face found"]
    unread = PhotoAnswer(photo="c.jpg", width=None, height=None, faces=[], error="c.jpg: empty")
    assert unread.describe() == []


@pytest.mark.parametrize("probability, percent", [(1.0, 99), (0.9951, 99), (0.985, 98), (0.5, 50)])
def test_nothing_is_certain(probability, percent):
    label = Label(probabilities={"female": probability, "male": 1 - probability})
    assert label.describe() == f"female {percent}%"


def test_the_label_is_the_most_probable_and_of_equals_the_first():
    assert Label(probabilities={"a": 0.2, "b": 0.5, "c": 0.3}).label == "b"
    assert Label(probabilities={"a": 0.4, "b": 0.4, "c": 0.2}).label == "a"


def test_each_face_has_its_own_crops_answer_though_all_are_classified_together():
    classifier = Bright()
    blank = detect.Detected("blank", np.zeros((5, 7, 3), np.uint8), [])
    unread = detect.Detected("unread", None, [], "unread: empty")
    photos = [crop("light", 255), blank, crop("dark", 0), unread, crop("grey", 51)]
    answered = list(pipeline.of_detected(photos, lambda: classifier))
    assert classifier.batches == [3]
    found = {answer.photo: answer for answer in answered}
    assert list(found) == ["light", "blank", "dark", "unread", "grey"]
    assert [answer.status for answer in found.values()] == [
        "ok",
        "no face",
        "ok",
        "unreadable",
        "ok",
    ]
    for name, light in (("light", 1.0), ("dark", 0.0), ("grey", 0.2)):
        [face] = found[name].faces
        assert face.tasks["gender"].probabilities["female"] == pytest.approx(light, abs=1e-6)
        assert face.tasks["age"].years == pytest.approx(100 * light, abs=1e-4)
        assert face.box == (4, 0, 16, 12) and face.score is None
        assert brightness(face.crop[None]) == pytest.approx(light, abs=1e-6)


def test_batches_are_bounded_by_faces_and_by_pixels(monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH_FACES", 3)
    classifier = Bright()
    list(pipeline.of_detected([crop(str(i), i) for i in range(7)], lambda: classifier))
    assert classifier.batches == [3, 3, 1]

    monkeypatch.setattr(pipeline, "BATCH_PIXELS", 2 * 12 * 20)
    taken = []
    photos = (taken.append(i) or crop(str(i), i) for i in range(7))
    next(pipeline.of_detected(photos, lambda: classifier))
    assert taken == [0, 1]


def test_the_classifier_is_loaded_for_faces_only(tmp_path):
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "a.png")
    photos = [detect.in_file(tmp_path / name) for name in ("a.png", "missing.png")]
    answered = pipeline.of_detected(photos, lambda: pytest.fail("loaded"))
    assert [answer.status for answer in answered] == ["no face", "unreadable"]


def test_extra_tasks_are_answered_only_on_request():
    photos = [crop("grey", 51)]
    [plain] = pipeline.classify(photos, Bright())
    [more] = pipeline.classify(photos, Bright(), extra_tasks=["race"])
    assert list(plain.tasks) == ["gender", "age"]
    assert list(more.tasks) == ["gender", "race", "age"]
    [gender] = pipeline.classify(photos, Bright("gender"))
    assert list(gender.tasks) == ["gender"]


def test_sampled_answers_take_the_place_of_the_classifiers():
    def sampled(crops):
        means = {"gender": np.array([[0.25, 0.75]]), "age": np.array([40.0])}
        return means, {"gender": np.array([0.5]), "age": np.array([3.0])}

    [face] = pipeline.classify([crop("grey", 51)], Bright("gender", "age"), sample=sampled)
    assert face.tasks["gender"] == Label(probabilities={"female": 0.25, "male": 0.75}, entropy=0.5)
    assert face.tasks["age"] == Years(years=40.0, deviation=3.0)


@pytest.mark.slow
def test_a_photo_in_memory(faces_dir):
    photo = read.read_photo(faces_dir / "photos" / "obama.jpg")

    def answer(**options):
        find = detect.finder(**options)
        pictures = [inputs.picture(photo, "upload")]
        [found] = pipeline.answers(pictures, Bright, find=find, extra_tasks=["race"])
        return found

    found = answer()
    assert (found.height, found.width) == photo.shape[:2] and found.photo == "upload"
    [face] = found.faces
    [expected] = detect.detect(photo)
    assert face.box == expected.box and face.score == expected.score
    assert np.array_equal(face.landmarks, expected.landmarks)
    assert list(face.tasks) == ["gender", "race", "age"]
    nobody = answer(threshold=10.0)
    assert nobody.status == "no face"
    assert json.loads(nobody.to_json())["faces"] == []
