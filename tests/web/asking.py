"""Requests as tests make them."""

import io
import re

import pytest
from PIL import Image

httpx = pytest.importorskip("httpx")

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
