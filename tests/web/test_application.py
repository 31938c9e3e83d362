"""The application in this process, with a classifier that answers at once."""

import asyncio
import importlib
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from vggface_gender.inference import occlusion
from vggface_gender.web import markdown
from vggface_gender.web.settings import Settings

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
app = importlib.import_module("vggface_gender.web.app")

STATIC = Path(app.__file__).with_name("static")


def asked(application, method: str, path: str, **more) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **more)

    return asyncio.run(ask())


@pytest.fixture
def application(stub):
    return app.create(stub, model="stub", settings=Settings(), card="# A <card> & figures")


def test_a_large_upload_is_not_written_to_disk(application, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    content = b"x" * 5_000_000  # more than Starlette keeps in memory by itself
    files = {"file": ("x.jpg", content, "image/jpeg")}
    response = asked(application, "POST", "/predict", files=files)
    assert response.status_code == 422 and "not an image" in response.json()["error"]


def test_a_fault_of_the_server_is_500_without_its_text(application, stub, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr(stub, "predict", fail)
    content = (Path(__file__).parents[2] / "docs" / "images" / "astronaut.jpg").read_bytes()
    options = {"headers": {"Content-Type": "image/jpeg"}, "content": content}
    response = asked(application, "POST", "/predict?detector=none", **options)
    assert response.status_code == 500 and "secret" not in response.text + caplog.text
    assert "RuntimeError in" in caplog.text and "test_application.py" in caplog.text


def test_pages_load_from_here_alone(application):
    for path in ("/", "/docs", "/model-card", "/static/app.js", "/openapi.json"):
        response = asked(application, "GET", path)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9]", text.replace("://here", "")), file.name
        assert not re.search(r"<script(?! type=\"module\" src=\"/)|<style| style=| on[a-z]+=", text)


def test_every_address_is_described(application):
    described = asked(application, "GET", "/openapi.json").json()
    assert {"/predict", "/explain", "/metrics", "/v2/models/{name}/infer"} <= set(
        described["paths"]
    )
    predict = described["paths"]["/predict"]["post"]
    assert {"200", "413", "415", "422", "503", "504"} <= set(predict["responses"])
    assert set(predict["requestBody"]["content"]) >= {"multipart/form-data", "image/*"}
    limits = {one["name"]: one["schema"] for one in predict["parameters"]}
    assert set(limits) == {"tasks", "min_confidence", "detector", "upsample", "threshold"}
    assert (limits["upsample"]["minimum"], limits["upsample"]["maximum"]) == (0, 4)


def test_the_card_is_shown_where_there_is_one(application, stub):
    assert "<h1>A &lt;card&gt; &amp; figures</h1>" in asked(application, "GET", "/model-card").text
    without = app.create(stub, model="stub", settings=Settings())
    assert asked(without, "GET", "/model-card").status_code == 404
    assert asked(without, "GET", "/about").json()["has_card"] is False


def test_a_cards_markdown_is_html_and_its_text_never_markup():
    text = """# One
Words that go
on, **strong** and `code`.
- first
  of two
- second, [a link](https://here/?a=1&b=2), [a file](config.json)

| a | b |
| --- | ---: |
| 1 | <b> |
```
<script>
```
## [x](javascript:alert(1)) [y](https://"onclick=z)"""
    assert markdown.to_html(text).splitlines() == [
        "<h1>One</h1>",
        "<p>Words that go on, <strong>strong</strong> and <code>code</code>.</p>",
        '<ul><li>first of two</li><li>second, <a href="https://here/?a=1&amp;b=2" '
        'rel="noreferrer">a link</a>, a file</li></ul>',
        '<div class="scroll" tabindex="0"><table><thead><tr><th scope="col">a</th>'
        '<th scope="col">b</th></tr></thead><tbody><tr><td>1</td><td>&lt;b&gt;</td></tr></tbody>'
        "</table></div>",
        '<pre tabindex="0">&lt;script&gt;</pre>',
        '<h2>x) <a href="https://&quot;onclick=z" rel="noreferrer">y</a></h2>',
    ]


def test_an_occlusion_map_is_highest_where_the_output_comes_from():
    crop = np.zeros((40, 40, 3), np.uint8)
    crop[30:38, 2:10] = 255  # bottom left

    def brightest(crops: np.ndarray) -> np.ndarray:
        return crops.max(axis=(1, 2, 3)) / 255

    copies = occlusion.covered(crop, grid=5, cover=0.3)
    assert copies.shape == (25, 40, 40, 3) and crop.max() == 255
    found = occlusion.drops(1.0, brightest(copies), grid=5)
    assert found.shape == (5, 5) and found[4, 0] > 0.9
    found[4, 0] = 0
    assert np.abs(found).max() == 0
