"""The server as people meet it: answers equal to `predict`'s, statuses, limits, tokens, an end."""

import concurrent.futures
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vggface_gender import predict, serve
from vggface_gender.base.errors import InputError

httpx = pytest.importorskip("httpx")

ROOT = Path(__file__).resolve().parents[2]
JPEG = {"Content-Type": "image/jpeg"}
TIMEOUT = 120


def encoded(form: str = "PNG", size=(60, 40)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, "teal").save(content, form)
    return content.getvalue()


def post(server, content: bytes, path: str = "/predict", **headers: str) -> httpx.Response:
    sent = {"Content-Type": "image/png"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return httpx.post(server.url + path, content=content, headers=sent, timeout=TIMEOUT)


def send(server, *files: tuple, path: str = "/predict", **headers: str) -> httpx.Response:
    form = [("file", file) for file in files]
    return httpx.post(server.url + path, files=form, headers=headers, timeout=TIMEOUT)


def failure(response: httpx.Response) -> str:
    error = response.json()["error"]
    assert error and "\n" not in error and set(response.json()) == {"error"}
    return error


def metric(server, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{server.url}/metrics").text, re.M)
    return float(found[1]) if found else 0.0


# Answers


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


# Refusals


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it has 400 megapixels, and has them."""
    content = io.BytesIO()
    Image.new("1", (20000, 20000)).save(content, "PNG")
    return content.getvalue()


def test_what_cant_be_read_is_422_and_says_why(server, photos_dir):
    photo = (photos_dir / "rose_leslie.jpg").read_bytes()
    for content, why in {
        b"": "empty",
        b"no image at all, but words" * 9: "not an image",
        photo[: len(photo) // 2]: "incomplete",
        bomb(): "more than 50 megapixels",
    }.items():
        response = post(server, content)
        assert response.status_code == 422 and why in response.json()["error"]
        assert response.json()["status"] == "unreadable" and response.json()["faces"] == []


def test_other_media_types_are_415(server):
    assert post(server, encoded(), Content_Type="text/plain").status_code == 415
    assert post(server, encoded(), Content_Type="video/mp4; x=y").status_code == 415
    assert send(server, ("a.txt", b"words", "text/plain")).status_code == 415
    assert post(server, encoded(), Content_Encoding="gzip").status_code == 415
    assert post(server, encoded(), Content_Type="application/octet-stream").status_code == 200


def test_what_is_no_request_is_refused_in_one_line(server):
    for query in (
        *("min_confidence=2", "upsample=9", "detector=cnn", "threshold=nan", "tasks=height"),
        *("min_confidence=much", "threshold=-50"),
    ):
        refused = post(server, encoded(), f"/predict?{query}")
        assert refused.status_code == 422 and failure(refused)
    broken = post(server, b"--x", Content_Type="multipart/form-data; boundary=y")
    assert broken.status_code == 400 and "form" in failure(broken)
    no_file = httpx.post(server.url + "/predict", data={"a": "b"}, files={})
    assert no_file.status_code == 415
    fields = post(
        server,
        b'--y\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--y--\r\n',
        Content_Type="multipart/form-data; boundary=y",
    )
    assert fields.status_code == 400 and failure(fields) == "no file in the form"
    assert failure(httpx.get(server.url + "/nowhere")) and failure(
        httpx.get(server.url + "/predict")
    )
    assert httpx.get(server.url + "/predict").status_code == 405


@pytest.fixture(scope="module")
def strict(start):
    return start(
        *("--max-bytes", "200000", "--max-faces", "1", "--queue", "1", "--threads", "1"),
        *("--max-pixels", "1000000"),
    )


def test_too_many_bytes_are_413_whether_their_number_is_stated_or_not(strict):
    stated = post(strict, b"x" * 200_001)
    streamed = httpx.post(
        strict.url + "/predict", content=iter([b"x" * 50_000] * 9), headers=JPEG, timeout=TIMEOUT
    )
    for response in (stated, streamed):
        assert response.status_code == 413 and "MiB" in failure(response)
    form = send(strict, ("a.jpg", b"x" * 300_000, "image/jpeg"))
    assert form.status_code == 413


def test_a_client_that_states_too_much_is_refused_before_it_sends(strict):
    host, port = strict.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 900000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_too_many_pixels_or_faces_are_422(strict, photos_dir):
    pixels = post(strict, encoded(size=(2000, 1000)))
    assert pixels.status_code == 422 and "more than 1 megapixels" in pixels.json()["error"]
    faces = post(strict, (photos_dir / "kit_with_rose.jpg").read_bytes())
    assert faces.status_code == 422 and "2 faces, and at most 1" in faces.json()["error"]


def test_a_full_queue_is_503_and_says_when_to_come_again(strict, photos_dir):
    photo = (photos_dir / "rose_leslie.jpg").read_bytes()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        given = list(pool.map(lambda _: post(strict, photo), range(6)))
    statuses = sorted(response.status_code for response in given)
    assert statuses[0] == 200 and set(statuses) == {200, 503}
    busy = next(response for response in given if response.status_code == 503)
    assert int(busy.headers["Retry-After"]) >= 1 and "busy" in failure(busy)
    several = send(strict, *[("a.png", encoded(), "image/png")] * 2)
    assert several.status_code == 400  # more than could ever be held
    assert post(strict, encoded()).status_code == 200
    assert metric(strict, "vggface_gender_queue") == 0


def test_what_takes_too_long_is_504_and_keeps_its_place_until_it_is_done(start, photos_dir):
    slow = start("--timeout", "0.15", "--queue", "1")
    photo = (photos_dir / "couple.jpg").read_bytes()
    response = post(slow, photo)
    assert response.status_code == 504 and "0.15 s" in failure(response)
    assert post(slow, encoded()).status_code == 503  # the thread goes on
    end = time.monotonic() + 60
    while post(slow, encoded()).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.2)

    def drip():
        yield encoded()[:9]
        time.sleep(0.6)
        yield b"x"

    late = httpx.post(slow.url + "/predict", content=drip(), headers=JPEG)
    assert late.status_code == 408
    slow.stop()


# Tokens, logs, the end


def test_a_token_is_needed_where_one_is_set(start, tmp_path):
    (tmp_path / "token").write_text("open-sesame\n")
    by_file = start("--token-file", str(tmp_path / "token"))
    by_environment = start(**{serve.TOKEN: "open-sesame"})
    for server in (by_file, by_environment):
        for path in ("/v2/health/live", "/v2/health/ready", "/", "/about", "/static/app.js"):
            assert httpx.get(server.url + path).status_code == 200
        for path in ("/metrics", "/v2/models/default", "/static/../metrics", "//metrics"):
            assert httpx.get(server.url + path).status_code == 401
        for wrong in (
            "Bearer open-sesam",
            "Bearer",
            "open-sesame",
            "Basic open-sesame",
            "Bearer é",
        ):
            refused = post(server, encoded(), Authorization=wrong.encode())
            assert refused.status_code == 401 and failure(refused)
            assert refused.headers["www-authenticate"] == "Bearer"
        assert post(server, encoded(), Authorization="Bearer open-sesame").status_code == 200
        assert server.stop() == 0


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"two words", "schlüssel".encode(), b"\xff\xfe"], ids=str
)
def test_a_token_that_cant_be_sent_is_refused(content, tmp_path):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(InputError, match="token"):
        serve.main(["--token-file", str(tmp_path / "token")])


def test_bad_options_are_one_line_and_2(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options in (
            *(["--port", port], ["--port", "70000"], ["--port", "-1"], ["--host", "no.such.host."]),
            *(["--timeout", "0"], ["--queue", "0"], ["--run", "nonesuch"], ["--threads", "x"]),
            ["--token-file", str(tmp_path / "none")],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "vggface_gender", "serve", *options],
                capture_output=True,
                text=True,
                cwd=ROOT,
                timeout=60,
            )
            assert (done.returncode, done.stdout) == (2, ""), options
            assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_help_imports_no_server():
    line = [sys.executable, "-X", "importtime", "-m", "vggface_gender", "serve", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "--max-pixels" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"fastapi", "uvicorn", "starlette", "numpy", "onnxruntime"}


def test_neither_names_nor_content_are_logged(server):
    send(server, ("my-secret-name.png", encoded(), "image/png"))
    send(server, ("my-secret-name.png", b"my-secret-content", "image/png"))
    httpx.get(server.url + "/my-secret-path?my-secret-query")
    post(server, encoded(), "/predict?tasks=my-secret-task")
    logged = server.log.read_text()
    assert "POST /predict 422" in logged and "secret" not in logged


def test_requests_are_counted(server):
    name = 'vggface_gender_requests_total{method="POST",route="/predict",status="415"}'
    before = metric(server, name)
    post(server, encoded(), Content_Type="text/plain")
    assert metric(server, name) == before + 1
    assert metric(server, 'vggface_gender_request_seconds_count{route="/predict"}') > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_has_begun_is_answered_before_the_server_ends(number, start, photos_dir):
    server = start()
    photo = (photos_dir / "kit_with_rose.jpg").read_bytes()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, server, photo)
        while metric(server, "vggface_gender_queue") == 0:
            time.sleep(0.02)
        assert server.stop(number) == 0
        assert answer.result().status_code == 200 and len(answer.result().json()["faces"]) == 2
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    assert "Traceback" not in server.log.read_text()
