"""Answers over HTTP: those that `predict` gives."""

import concurrent.futures
import json

import numpy as np
import pytest
from asking import encoded, failure, httpx, metric, post, send

from vggface_gender import predict


def test_an_answer_is_predicts(server, photos_dir, capsys):
    path = photos_dir / "kit_with_rose.jpg"
    assert predict.main([str(path), "--json", "--no-draw"]) == 0
    expected = json.loads(capsys.readouterr().out)
    as_form = send(server, (path.name, path.read_bytes(), "image/jpeg"))
    as_body = post(server, path.read_bytes(), Content_Type="image/jpeg")
    assert as_form.status_code == as_body.status_code == 200
    assert as_form.json() == expected | {"photo": path.name}
    assert as_body.json() == expected | {"photo": "photo"}
    assert list(as_form.json()) == list(expected)
    assert len(expected["faces"]) == 2


@pytest.mark.slow
def test_several_photos_are_a_list_in_order_and_lines_on_request(server, photos_dir, model):
    content = (photos_dir / "rose_leslie.jpg").read_bytes()
    files = [
        ("b.jpg", content, "image/jpeg"),
        ("broken.jpg", content[:3000], "image/jpeg"),
        ("notes.txt", b"words", "text/plain"),
        ("a.png", encoded(), "image/png"),
    ]
    response = send(server, *files)
    answers = response.json()
    assert response.status_code == 200
    assert [answer["photo"] for answer in answers] == [name for name, *_ in files]
    statuses = ["ok", "unreadable", "unreadable", "no face"]
    assert [answer["status"] for answer in answers] == statuses
    assert answers[0]["faces"] == model.predict(content).to_dict()["faces"]
    assert answers[2]["error"].startswith("notes.txt: text/plain")

    lines = send(server, *files[1:], Accept="application/x-ndjson")
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == answers[1:]


def test_options_are_predicts(server, faces_dir, model):
    crop = next((faces_dir / "UTKFace").glob("*.jpg")).read_bytes()
    expected = model.predict(crop, detector="none", tasks=["gender"], min_confidence=1)
    response = post(server, crop, "/predict?detector=none&tasks=gender&min_confidence=1")
    assert response.json()["faces"] == expected.to_dict()["faces"]
    assert response.json()["faces"][0]["gender"]["label"] is None
    both = post(server, crop, "/predict?detector=none&tasks=age,gender").json()["faces"][0]
    assert set(both) == {"box", "score", "gender", "age"}
    none = post(server, crop, "/predict?tasks=")
    assert none.status_code == 422 and "names none" in failure(none)


@pytest.mark.slow
def test_answers_of_many_at_once_are_those_of_one(server, faces_dir, model):
    paths = sorted((faces_dir / "UTKFace").glob("*.jpg"))[:40]
    contents = [path.read_bytes() for path in paths]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        given = list(
            pool.map(lambda content: post(server, content, "/predict?detector=none"), contents)
        )
    expected = [model.predict(content, detector="none").to_dict() for content in contents]
    assert [response.json()["faces"] for response in given] == [one["faces"] for one in expected]
    classified = metric(server, "vggface_gender_batch_crops_sum")
    assert metric(server, "vggface_gender_batch_crops_count") < classified  # some went together


def test_race_is_off_unless_the_server_was_started_with_it(server, start, photos_dir, model):
    content = (photos_dir / "rose_leslie.jpg").read_bytes()
    refused = post(server, content, "/predict?tasks=race")
    assert refused.status_code == 403 and "--race" in failure(refused)
    assert post(server, content, "/explain?task=race").status_code == 403
    assert "race" not in httpx.get(server.url + "/v2/models/default").text
    with_race = start("--race")
    answered = post(with_race, content).json()
    expected = model.predict(content, tasks=["gender", "race", "age"]).to_dict()
    assert answered == expected | {"photo": "photo"}
    with_race.stop()


@pytest.mark.slow
def test_an_occlusion_map_is_of_the_face_and_task_asked_for(server, photos_dir, model):
    content = (photos_dir / "kit_with_rose.jpg").read_bytes()
    said = model.predict(content).faces[1]
    found = post(server, content, "/explain?face=2&task=gender").json()
    assert (found["face"], found["task"], found["label"]) == (2, "gender", said.gender.label)
    assert found["probability"] == round(said.gender.probability, 4)
    drops = np.array(found["drops"])
    assert drops.shape == (found["grid"], found["grid"]) and np.abs(drops).max() > 0.001
    age = post(server, content, "/explain?face=1&task=age").json()
    assert age["years"] == round(model.predict(content).faces[0].age.years, 1)
    missing = post(server, content, "/explain?face=3")
    assert missing.status_code == 422 and failure(missing) == "no face 3: there are 2"
