"""What the server refuses: each with the status for it, and one line that says why."""

import concurrent.futures
import io
import socket
import time

import pytest
from asking import JPEG, TIMEOUT, encoded, failure, httpx, metric, post, send
from PIL import Image


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
        *("min_confidence=2", "upsample=9", "detector=cascade", "threshold=nan", "tasks=height"),
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
    assert fields.status_code == 422 and "?a=" in failure(fields)
    unknown = post(server, encoded(), "/predict?minimum=0.9")
    assert unknown.status_code == 422 and "no option minimum: give tasks" in failure(unknown)
    assert post(server, encoded(), "/explain?face=1&tasks=gender&who=2").status_code == 422
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_takes_too_long_is_504_and_keeps_its_place_until_it_is_done(start, photos_dir):
    slow = start("--timeout", "0.15", "--queue", "1")
    photo = (photos_dir / "couple.jpg").read_bytes()
    response = post(slow, photo)
    assert response.status_code == 504 and "0.15 s" in failure(response)
    assert post(slow, encoded()).status_code == 503  # the thread goes on
    end = time.monotonic() + 60
    while post(slow, encoded(), "/predict?detector=hog").status_code != 200:  # which is quick
        assert time.monotonic() < end
        time.sleep(0.2)

    def drip():
        yield encoded()[:9]
        time.sleep(0.6)
        yield b"x"

    late = httpx.post(slow.url + "/predict", content=drip(), headers=JPEG)
    assert late.status_code == 408
    slow.stop()
