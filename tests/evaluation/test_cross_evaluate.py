"""The matrix of classifiers by datasets: its figures, its marks, and planted duplicates."""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import keras
import pandas as pd
import pytest

from vggface_gender import multitask
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, predictions

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(TOOLS))  # as Python does for a script
    spec = importlib.util.spec_from_file_location("cross_evaluate", TOOLS / "cross_evaluate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cross_evaluate"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(TOOLS))


@pytest.fixture(scope="module")
def home(tool, tmp_path_factory, draw_table):
    """Runs `a` and `b` on one dataset, and another whose test holds 7 of its training faces."""
    home = tmp_path_factory.mktemp("home")
    tables = {}
    for name, count in (("one", 160), ("two", 60)):
        (home / name).mkdir()
        tables[name] = pd.read_csv(draw_table(home / name, count, 48))
    one, two = tables["one"], tables["two"]
    one["split"] = ["train"] * 100 + ["validation"] * 30 + ["test"] * 30
    two["file"] = [f"two-{name}" for name in two.file]
    for name in tables["two"].file:
        (home / "two" / name.removeprefix("two-")).rename(home / "two" / name)
    for i in range(60):  # the drawings are those of `one`: mirrored, they are others
        path = str(home / "two" / two.file[i])
        picture = cv2.imread(path)
        if i < 7:
            cv2.imwrite(path, cv2.resize(picture, (60, 60)), [cv2.IMWRITE_JPEG_QUALITY, 80])
        else:
            cv2.imwrite(path, 255 - picture[::-1])
    two["split"] = "test"
    one.to_csv(home / "one" / "one.csv", index=False)
    two.to_csv(home / "two" / "two.csv", index=False)
    keras.utils.set_random_seed(0)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    keras.Model(crop, keras.layers.Conv2D(8, 3, strides=4)(x), name="tiny").save(home / "t.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        options = ["--dataset", "one/one.csv", "--backbone", "t.keras", "--unfreeze", "none"]
        options += ["--head-epochs", "2", "--batch", "16"]
        multitask.main([*options, "--run", "a"])
        multitask.main([*options, "--run", "b", "--tasks", "gender", "--seed", "1"])
    return home


def test_the_matrix_is_computed_from_the_tables(tool, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    options = ["--runs", "a", "b", "--datasets", "one/one.csv", "two/two.csv", "--out", "matrix"]
    tool.main(options)
    printed = capsys.readouterr().out
    cells = json.loads(Path("matrix/matrix.json").read_text())
    assert [(cell["run"], cell["dataset"]) for cell in cells] == [
        *(("a", "one"), ("a", "two"), ("b", "one"), ("b", "two"))
    ]
    assert [cell["trained_on"] for cell in cells] == [True, False] * 2
    assert "one*" in printed and "two*" not in printed
    table = predictions.read(Path("model_files/a/predictions-two-test.csv"))
    figures = metrics.evaluate(table)
    for task, score in (("gender", "accuracy"), ("race", "accuracy"), ("age", "mae")):
        assert cells[1][task][score] == pytest.approx(figures[task][score])
        assert cells[1][task]["count"] == figures[task]["count"]
    by_gender = cells[1]["gender"]["by_gender"]
    assert sum(group["count"] for group in by_gender.values()) == figures["gender"]["count"]
    assert "race" not in cells[3] and "age" not in cells[3]
    html = Path("matrix/report.html").read_text()
    assert (
        "a on one: gender" in html and "b on two: gender" in html and "b on two: race" not in html
    )
    audits = json.loads(Path("matrix/audits.json").read_text())
    assert [one["title"] for one in audits][:2] == ["a on one: gender", "a on one: race"]
    flat = pd.read_csv("matrix/matrix.csv")
    assert flat.gender_accuracy.tolist() == pytest.approx([c["gender"]["accuracy"] for c in cells])


def test_what_detection_loses_and_what_changed_crops_do_are_in_the_report(tool, home, monkeypatch):
    monkeypatch.chdir(home)
    options = ["--runs", "b", "--datasets", "one/one.csv", "--out", "more"]
    tool.main([*options, "--detect", "--robustness"])
    (cell,) = json.loads(Path("more/matrix.json").read_text())
    found = pd.read_csv(next(Path("more/detection").glob("*.csv")))
    assert cell["detection"]["count"] == len(found) == 30
    assert cell["detection"]["lost"] == (found.found == 0).sum()
    (audited,) = json.loads(Path("more/audits.json").read_text())
    changes = {one["name"]: one for one in audited["robustness"]["changes"]}
    table = predictions.read(next(Path("model_files/b/robustness").glob("*resolution*16.csv")))
    expected = metrics.evaluate(table)["gender"]["accuracy"]
    (name,) = [name for name in changes if "16" in name]
    assert changes[name]["tasks"]["gender"]["accuracy"] == pytest.approx(expected)
    html = Path("more/report.html").read_text()
    assert f"one: {cell['detection']['lost']} of 30 faces lost" in html
    assert "What changed crops do to it" in html and html.count("<svg") == 4


def test_planted_duplicates_are_counted_and_left_out(tool, home, monkeypatch):
    monkeypatch.chdir(home)
    options = ["--datasets", "one/one.csv", "two/two.csv", "--out", "matrix", "--without-report"]
    tool.main(["--runs", "a", *options])
    one, two = json.loads(Path("matrix/matrix.json").read_text())
    assert one["overlap"]["near"] == 0
    assert two["overlap"] == {"exact": 0, "near": 7}
    table = predictions.read(Path("model_files/a/predictions-two-test.csv"))
    planted = table.name.isin([f"two-{i}.jpg" for i in range(7)])
    assert planted.sum() == 7
    expected = metrics.evaluate(table[~planted])["gender"]["accuracy"]
    assert two["gender"]["without_overlap"] == pytest.approx(expected)


def test_a_table_older_than_its_classifier_is_made_again(tool, home, monkeypatch):
    monkeypatch.chdir(home)
    options = ["--runs", "b", "--datasets", "two/two.csv", "--out", "matrix", "--without-report"]
    tool.main(options)
    place = Path("model_files/b/predictions-two-test.csv")
    before = place.stat().st_mtime_ns
    tool.main(options)
    assert place.stat().st_mtime_ns == before
    Path("model_files/b/classifier.keras").touch()
    tool.main(options)
    assert place.stat().st_mtime_ns > before


def test_what_is_not_there_is_told(tool, home, monkeypatch):
    monkeypatch.chdir(home)
    with pytest.raises(InputError, match="no run c"):
        tool.main(["--runs", "c", "--datasets", "two/two.csv"])
    Path("model_files/unfinished").mkdir()
    with pytest.raises(InputError, match="unfinished has no classifier"):
        tool.main(["--runs", "unfinished", "--datasets", "two/two.csv"])
