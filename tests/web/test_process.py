"""The server's process: its options, tokens, log, counters and end."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from asking import encoded, failure, httpx, metric, post, send

from vggface_gender import serve
from vggface_gender.base.errors import InputError
from vggface_gender.web import server as process

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
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


def test_a_token_file_that_is_none_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null", tmp_path):
        with pytest.raises(InputError, match="not a regular file"):
            serve.main(["--token-file", str(path)])


@pytest.mark.parametrize("host", ["a" * 70, "..x", "no.such.host."])
def test_a_host_that_is_none_is_refused_in_a_line(host):
    with pytest.raises(InputError, match="give another --host") as caught:
        process.listen(host, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_signal_at_the_very_start_is_not_lost(start):
    for _ in range(3):
        assert start().stop() == 0  # as soon as the address is printed


def test_an_answers_body_does_not_wait_for_its_head_to_be_acknowledged():
    with (
        process.listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
    ):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
