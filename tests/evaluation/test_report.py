"""The report: one file with all in it, whose figures are the audit's; a browser finds no fault."""

import base64
import re
import shutil
import subprocess

import numpy as np
import pytest

from vggface_gender.evaluation import audit, predictions, report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def table(count=300):
    rng = np.random.default_rng(0)
    truth = {
        "gender": rng.choice(["female", "male"], count),
        "race": rng.choice(["White", "Black", "Others"], count, p=[0.5, 0.45, 0.05]),
        "age": rng.integers(0, 90, count),
    }
    female = np.clip((truth["gender"] == "female") * 0.5 + rng.uniform(0, 0.55, count), 0, 1)
    outputs = {"gender": np.stack([female, 1 - female], axis=1)}
    names = [f"<{i}>.jpg" for i in range(count)]
    return predictions.table(names, truth, outputs=outputs, tasks={"gender": ("female", "male")})


def detected(missed: int, **more) -> dict:
    rate = (1000 - missed) / 1000
    interval = [rate - 0.01, rate + 0.01]
    return {"count": 1000, "missed": missed, "detection_rate": rate, "interval": interval} | more


GROUPS = {"gender": {"female": detected(123, small=False), "male": detected(45, small=True)}}
DETECTED = {"dataset": "faces", "detector": "cnn", "groups": GROUPS} | detected(168)


@pytest.fixture(scope="module")
def audited():
    return audit.audit(table(), "gender")


@pytest.fixture(scope="module")
def text(audited):
    face = np.full((64, 64, 3), 128, np.uint8)
    shown = {"name": "<b>?.jpg", "true": "female", "predicted": "male", "confidence": 0.987}
    shown["picture"] = report.thumbnail(face)
    section = {
        "run": "a <run>",
        "dataset": "faces",
        "task": "gender",
        "is_in_domain": True,
        "audit": audited,
        "temperature": 1.25,
        "robustness": None,
        "figures": [{"title": "maps", "picture": report.thumbnail(face, 200)}],
        "suspects": [shown],
        "errors": [{"group": "female, White", "accuracy": 0.8, "errors": 9, "faces": [shown]}],
    }
    gender = {
        "accuracy": 0.9,
        "interval": [0.87, 0.92],
        "by_gender": {"female": {"accuracy": 0.88, "interval": [0.8, 0.9], "count": 150}},
        "without_overlap": 0.899,
    }
    race = {"accuracy": 0.5, "labels": ["White", "Black"], "dropped": 1234}
    cell = {"run": "a <run>", "dataset": "faces", "trained_on": True, "count": 300}
    cells = [
        cell | {"gender": gender, "overlap": {"exact": 0, "near": 7}},
        cell | {"age": {"mae": 4.567, "dropped": 0}, "race": race, "overlap": None},
    ]
    return report.page(
        "Classifiers & faces",
        [section],
        compared=[{"sentence": "A <i>beats</i> B.", "task": "gender", "scores": None}],
        matrix=cells,
        about={"date": "1 May 2026", "command": "audit <it>", "versions": "numpy 2"},
        notes="One.\n\nTwo <i>.",
        suspects_csv="name\n<b>?.jpg\n",
        detections=[DETECTED],
    )


def test_its_figures_are_the_audits(text, audited):
    tables = text[text.index('id="tables"') :]
    for grouping, members in audited["groups"].items():
        for name, group in members.items():
            row = re.search(rf'">{re.escape(name)}</td><td>(.*?)</td><td>(.*?)</td>', tables)
            assert row, (grouping, name)
            assert row[1] == f"{group['count']:,}" and row[2] == f"{group['accuracy']:.1%}"
    assert f"{audited['calibration']['ece']:.3f}" in text and "1.25" in text
    for name, rows in audited["abstention_by"]["race"].items():
        row = next(row for row in rows if row["threshold"] == report.THRESHOLD)
        cells = f"<td>{row['answered']:.1%}</td><td>{row['accuracy']:.1%}</td>"
        assert re.search(rf'">{name}</td><td>0\.\d+</td>{cells}', tables)
    gap = audited["gaps"]["gender"]
    low, high = (100 * end for end in gap["interval"])
    assert f"<td>{100 * gap['difference']:.1f}</td><td>{low:.1f} to {high:.1f}</td>" in text
    small = [name for name, group in audited["groups"]["race"].items() if group["small"]]
    assert small == ["Others"] and '<tr class=small><td class="text">Others' in text
    assert "1,234" in text  # faces whose race the classifier has no name for
    assert "90.0%" in text and "4.57" in text and "89.9%" in text and ">7<" in text


def test_who_was_not_there_learns_what_was_asked_and_found(text):
    assert "Made on 1 May 2026 with numpy 2" in text and "<code>audit &lt;it&gt;</code>" in text
    assert text.count("<li>Failed most, by ") == 1 and "predicted the perceived gender" in text
    anchors = re.findall(r'<a href="#(\w+)">', text)
    assert len(anchors) >= 8 and all(f'id="{anchor}"' in text for anchor in anchors)
    link = re.search(r'download="likely-wrong-labels.csv" href="data:text/csv[^,]*,([^"]*)"', text)
    assert base64.b64decode(link[1]).decode() == "name\n<b>?.jpg\n"
    assert all(alt for alt in re.findall(r'<img[^>]*alt="([^"]*)"', text))
    assert len(re.findall(r'<svg role="img" aria-label="[^"]+"', text)) == text.count("<svg")


def test_missed_faces_are_given_by_group(text):
    assert "168 of 1,000" in text
    assert '<td class="text">female</td><td>1,000</td><td>87.7%</td>' in text
    assert '<tr class=small><td class="text">male</td><td>1,000</td><td>95.5%</td>' in text


def test_it_is_whole_in_itself_and_what_is_not_ours_is_escaped(text):
    assert "<script" not in text and "&lt;run&gt;" in text and "&lt;b&gt;?" in text
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", text)
    assert "http" not in without_names
    addresses = re.findall(r'(?:src|href)="([^"]{1,20})', text)
    assert addresses and all(
        one.startswith(("data:image", "data:text/csv", "#")) for one in addresses
    )
    assert text.count("<svg") == 4  # groups, reliability, coverage, confusion


def test_a_browser_renders_it_without_an_error(text, tmp_path):
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--enable-logging=stderr", "--v=0"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,3000"),
            f"--screenshot={tmp_path / 'page.png'}",
            f"file://{tmp_path / 'report.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr
    import cv2

    page = cv2.imread(str(tmp_path / "page.png"))
    assert page is not None and page.shape[:2] == (3000, 1100)
    assert (page < 128).mean() > 0.005  # something is drawn
