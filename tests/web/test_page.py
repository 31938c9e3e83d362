"""The page in a browser: Debian's Chromium, driven by Playwright, where both are installed."""

import base64
import csv
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PHONE = {"width": 390, "height": 844}
WAIT = 90_000  # milliseconds


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        opened = driver.chromium.launch(executable_path=chromium, args=options)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, server):
    """A function that opens the page; at the end it holds that nothing went wrong on it."""
    faults: list[str] = []
    contexts = []

    def open_page(url: str = server.url, *, dark: bool = False, viewport: dict | None = None):
        context = browser.new_context(
            viewport=viewport or {"width": 1280, "height": 900},
            color_scheme="dark" if dark else "light",
            permissions=["camera", "clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))

        def said(message) -> None:
            # Of a photo that is refused the browser says so; that is no fault of the page.
            is_refusal = "status of 422" in message.text or "status of 415" in message.text
            if message.type in ("error", "warning") and not is_refusal:
                faults.append(message.text)

        def requested(request) -> None:
            if not request.url.startswith((url, "blob:")):
                faults.append(f"asked {request.url}")

        page.on("console", said)
        context.on("request", requested)
        page.goto(url)
        page.wait_for_function("() => document.querySelector('#model').textContent !== 'loading'")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def answered(page, count: int) -> None:
    """Wait until so many photos are answered."""
    page.wait_for_function(
        "count => document.querySelectorAll('article').length === count"
        " && /^\\d+ photos?, /.test(document.querySelector('#status').textContent)",
        arg=count,
        timeout=WAIT,
    )


def set_confidence(page, percent: int) -> None:
    page.locator("#confidence").fill(str(percent))


def dropped(page, kind: str, content: bytes, name: str = "dropped.jpg") -> None:
    """Drop a file on the page, or paste it."""
    page.evaluate(
        """([kind, content, name]) => {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          const given = new DataTransfer();
          given.items.add(new File([bytes], name, { type: "image/jpeg" }));
          const about = { bubbles: true, cancelable: true };
          const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: given, ...about })
            : new ClipboardEvent("paste", { clipboardData: given, ...about });
          document.querySelector("#add").dispatchEvent(event);
        }""",
        [kind, base64.b64encode(content).decode(), name],
    )


def percent(probability: float) -> str:
    return f"{min(round(100 * probability), 99)}%"


def test_a_photo_is_answered_on_the_page_as_predict_answers_it(visit, photos_dir, model):
    path = photos_dir / "kit_with_rose.jpg"
    expected = model.predict(path).to_dict() | {"photo": path.name}
    page = visit()
    page.set_input_files("#files", path)
    answered(page, 1)
    assert page.locator("#status").inner_text() == "1 photo, 2 faces."
    for face, said in zip(page.locator(".face").all(), expected["faces"], strict=True):
        gender = said["gender"]
        words = [gender["label"], percent(gender["probability"])]
        assert face.locator("[data-task=gender] b").inner_text() == " ".join(words)
        bars = [row.inner_text().split() for row in face.locator(".bars > div").all()]
        assert bars == [[name, percent(p)] for name, p in gender["probabilities"].items()]
        years = f"{round(said['age']['years'])} years"
        assert face.locator("[data-task=age] b").inner_text() == years
    picture = page.locator(".picture img").bounding_box()
    for box, said in zip(page.locator(".box").all(), expected["faces"], strict=True):
        left, top, right, _ = said["box"]
        scale = picture["width"] / expected["width"]
        drawn = box.bounding_box()
        assert drawn["x"] - picture["x"] == pytest.approx(left * scale, abs=1)
        assert drawn["y"] - picture["y"] == pytest.approx(top * scale, abs=1)
        assert drawn["width"] == pytest.approx((right - left) * scale, abs=1)

    set_confidence(page, 0)
    page.click("#copy")
    page.wait_for_function(
        "() => document.querySelector('#status').textContent.startsWith('Copied')"
    )
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == expected


@pytest.mark.slow
def test_photos_are_dropped_pasted_and_taken_and_the_table_is_the_librarys(
    visit, photos_dir, model
):
    content = (photos_dir / "rose_leslie.jpg").read_bytes()
    page = visit()
    set_confidence(page, 0)
    dropped(page, "drop", content, '=a "name", of 2.jpg')
    dropped(page, "paste", content, "pasted.jpg")
    answered(page, 2)
    page.click("#take")
    page.locator("#shoot:not([disabled])").click(timeout=WAIT)
    answered(page, 3)
    names = [heading.inner_text() for heading in page.locator("article h3").all()]
    assert names == ['=a "name", of 2.jpg', "pasted.jpg", "camera.jpg"]
    with page.expect_download() as download:
        page.click("#csv")
    text = Path(download.value.path()).read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["photo"] for row in rows] == ['\'=a "name", of 2.jpg', *names[1:]]
    [expected] = model.predict(content).to_rows()
    own = {"photo", "error"} | {key for key in expected if key.endswith("_uncertainty")}
    for row in rows[:2]:
        for key in expected.keys() - own:
            assert row[key] == str(expected[key]), key
    assert rows[2]["status"] == "no face"


@pytest.mark.slow
def test_all_is_done_by_keyboard_alone(visit, photos_dir):
    page = visit()

    def tab_to(selector: str, key: str = "Tab") -> None:
        for _ in range(60):
            page.keyboard.press(key)
            seen = page.evaluate(
                """(selector) => {
                  const one = document.activeElement;
                  const style = getComputedStyle(one);
                  return [one.matches(selector), one.tagName === "BODY"
                    || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2)];
                }""",
                selector,
            )
            assert seen[1], "the focus can't be seen"
            if seen[0]:
                return
        raise AssertionError(f"{selector} is not reached by {key}")

    tab_to("#choose")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photos_dir / "rose_leslie.jpg")
    answered(page, 1)
    assert page.evaluate("document.activeElement.id") == "choose"
    tab_to("#confidence")
    page.keyboard.press("End")
    assert page.locator("#confidence-value").inner_text() == "99%"
    assert page.locator("[data-task=gender] b").inner_text() == "uncertain"
    tab_to("[data-task=gender] button")
    assert "lit" in page.locator(".box").get_attribute("class").split()
    page.keyboard.press("Enter")
    page.wait_for_selector(".map canvas", timeout=WAIT)
    assert "falls most" in page.locator(".map canvas").get_attribute("aria-label")
    tab_to("summary")
    page.keyboard.press("Enter")
    assert page.locator("#table tbody tr").count() == 1
    tab_to("article .head button", "Shift+Tab")
    page.keyboard.press("Enter")
    assert page.locator("article").count() == 0
    assert "was removed" in page.locator("#status").inner_text()
    assert page.evaluate("document.activeElement.id") == "choose"


@pytest.mark.slow
def test_what_is_refused_says_so_and_the_others_are_answered(visit, photos_dir):
    content = (photos_dir / "rose_leslie.jpg").read_bytes()
    meadow = io.BytesIO()
    Image.new("RGB", (300, 200), "seagreen").save(meadow, "TIFF")  # which Chromium can't show
    page = visit()
    files = [("<b>broken.jpg", content[:5000]), ("good.jpg", content), ("m.tif", meadow.getvalue())]
    page.set_input_files(
        "#files",
        [{"name": name, "mimeType": "image/jpeg", "buffer": each} for name, each in files],
    )
    answered(page, 3)
    assert page.locator("#status").inner_text() == "3 photos, 1 face, 1 not answered."
    broken, good, tiff = page.locator("article").all()
    assert "incomplete" in broken.locator(".fault").inner_text()
    assert broken.locator("h3").inner_text() == "<b>broken.jpg"
    assert good.locator(".face").count() == 1
    assert "No face was found" in tiff.inner_text()
    assert "can't show" in tiff.locator("[role=img]").get_attribute("aria-label")


@pytest.mark.slow
def test_a_token_is_asked_for_where_one_is_needed(visit, start, photos_dir):
    server = start(VGGFACE_GENDER_TOKEN="open-sesame")
    page = visit(server.url)
    page.fill("#token", "open-sesame")
    page.keyboard.press("Enter")
    page.set_input_files("#files", photos_dir / "rose_leslie.jpg")
    answered(page, 1)
    assert page.locator(".face").count() == 1 and not page.locator("#token-form").is_visible()


def axe_core() -> str:
    """The source of axe-core, which npm has installed: here, globally, or at $AXE_CORE."""
    folders = [ROOT / "node_modules" / "axe-core", Path(os.environ.get("AXE_CORE", "nowhere"))]
    if npm := shutil.which("npm"):
        found = subprocess.run([npm, "root", "--global"], capture_output=True, text=True)
        folders.append(Path(found.stdout.strip(), "axe-core"))
    for folder in folders:
        if (folder / "axe.min.js").is_file():
            return (folder / "axe.min.js").read_text()
    pytest.skip("axe-core is not installed (npm install axe-core, or its folder as $AXE_CORE)")


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_violation_and_nothing_is_wider_than_a_phone(visit, server, photos_dir, dark):
    source = axe_core()

    def check(page) -> None:
        page.evaluate(source)
        found = page.evaluate("axe.run().then((found) => found.violations)")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]

    for viewport in (PHONE, {"width": 1280, "height": 900}):
        page = visit(dark=dark, viewport=viewport)
        check(page)
        page.set_input_files("#files", [photos_dir / "kit_with_rose.jpg", Path(__file__)])
        page.wait_for_function(
            "() => /not answered/.test(document.querySelector('#status').textContent)"
        )
        page.locator(".face button").first.click()
        page.wait_for_selector(".map canvas", timeout=WAIT)
        page.locator("summary").click()
        check(page)
        for path in ("/docs", "/model-card"):
            page.goto(server.url + path)
            page.wait_for_selector(".operation, pre")
            check(page)
