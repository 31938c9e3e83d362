"""The matrix of classifiers by datasets: its figures, its marks, and planted duplicates."""

import json
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender import cross_evaluate
from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import matrix, matrix_figure, matrix_report, metrics, predictions
from vggface_gender.inference import classifier
from vggface_gender.training import heads

PLANTED = 7
FACES = "one/one.csv"


def draw(folder: Path, draw_table, *, count: int, split: list[str]) -> pd.DataFrame:
    """Drawn faces and their table, named as the folder."""
    folder.mkdir()
    table = pd.read_csv(draw_table(folder, count, 48)).assign(split=split)
    (folder / "faces.csv").unlink()
    table.to_csv(folder / f"{folder.name}.csv", index=False)
    return table


def train(folder: Path, tasks: dict, seed: int) -> None:
    """What a training leaves of itself that a cross-evaluation reads; its weights are random."""
    keras.utils.set_random_seed(seed)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    backbone = keras.Model(crop, keras.layers.Conv2D(8, 3, strides=4)(x), name="tiny")
    head = heads.build("compact", backbone.output_shape[1:], tasks=tasks)
    made = classifier.build(
        backbone, head, tasks=tasks, padding=0.25, precision="float32", about={}
    )
    classifier.save(made, folder / "classifier.keras")
    (folder / "config.json").write_text(json.dumps({"settings": {"dataset": FACES}}))


@pytest.fixture(scope="module")
def drawn_home(tmp_path_factory, draw_table) -> Path:
    """Runs `a`, `b` and `several` on one dataset; another whose test holds 7 of its train faces."""
    home = tmp_path_factory.mktemp("home")
    split = ["train"] * 50 + ["validation"] * 10 + ["test"] * 20
    draw(home / "one", draw_table, count=80, split=split)
    two = draw(home / "two", draw_table, count=30, split=["test"] * 30)
    for i, name in enumerate(two.file):  # the drawings are those of `one`: upside down, others
        path = home / "two" / name
        picture = cv2.imread(str(path))
        path.unlink()
        if i < PLANTED:
            picture, quality = cv2.resize(picture, (60, 60)), [cv2.IMWRITE_JPEG_QUALITY, 80]
            cv2.imwrite(str(home / "two" / f"two-{name}"), picture, quality)
        else:
            cv2.imwrite(str(home / "two" / f"two-{name}"), 255 - picture[::-1])
    two.assign(file="two-" + two.file).to_csv(home / "two" / "two.csv", index=False)
    tasks = {"gender": labels.GENDERS, "race": labels.UTKFACE_RACES, "age": ()}
    runs = home / "model_files"
    for name, its, seed in (
        ("a", tasks, 0),
        ("b", {"gender": labels.GENDERS}, 1),
        ("several/seed-0", {"gender": labels.GENDERS}, 2),
        ("several/seed-1", {"gender": labels.GENDERS}, 3),
    ):
        (runs / name).mkdir(parents=True)
        train(runs / name, its, seed)
    return home


@pytest.fixture
def home(drawn_home, monkeypatch) -> Path:
    monkeypatch.chdir(drawn_home)
    return drawn_home


def evaluate(*options: str) -> list[dict]:
    cross_evaluate.main([*options, "--out", "matrix"])
    return json.loads(Path("matrix/matrix.json").read_text())


@pytest.mark.slow
def test_the_matrix_is_computed_from_the_tables(home):
    cells = evaluate("--runs", "a", "b", "--align", "never", "--datasets", FACES, "two/two.csv")
    assert [(cell["run"], cell["dataset"]) for cell in cells] == [
        *(("a", "one"), ("a", "two"), ("b", "one"), ("b", "two"))
    ]
    assert [cell["trained_on"] for cell in cells] == [True, False] * 2
    table = predictions.read(Path("model_files/a/predictions-two-test.csv"))
    figures = metrics.evaluate(table)
    for task, score in (("gender", "accuracy"), ("race", "accuracy"), ("age", "mae")):
        assert cells[1][task][score] == pytest.approx(figures[task][score])
        assert cells[1][task]["count"] == figures[task]["count"]
    by_gender = cells[1]["gender"]["by_gender"]
    assert sum(group["count"] for group in by_gender.values()) == figures["gender"]["count"]
    assert "race" not in cells[3] and "age" not in cells[3]

    # Planted near-duplicates are counted, and left out once.
    assert cells[0]["overlap"]["near"] == 0
    assert cells[1]["overlap"] == {"exact": 0, "near": PLANTED}
    planted = table.name.isin([f"two-{i}.jpg" for i in range(PLANTED)])
    assert planted.sum() == PLANTED
    expected = metrics.evaluate(table[~planted])["gender"]["accuracy"]
    assert cells[1]["gender"]["without_overlap"] == pytest.approx(expected)

    html = Path("matrix/report.html").read_text()
    titles = ["a on one: gender", "a on one: race", "a on two: gender", "a on two: race"]
    titles += ["b on one: gender", "b on two: gender"]
    audits = json.loads(Path("matrix/audits.json").read_text())
    assert [one["title"] for one in audits] == titles
    assert all(title in html for title in titles)
    assert "a and b can't be told apart" in html or " beats " in html
    flat = pd.read_csv("matrix/matrix.csv")
    assert flat.gender_accuracy.tolist() == pytest.approx([c["gender"]["accuracy"] for c in cells])
    assert (cv2.imread("matrix/matrix.png") < 128).mean() > 0.005  # something is drawn


@pytest.mark.slow
def test_missed_faces_and_robustness_are_in_the_report(home):
    (cell,) = evaluate("--runs", "b", "--datasets", FACES, "--detect", "--robustness")
    found = pd.read_csv(next(Path("matrix/detection").glob("*.csv")))
    assert cell["detection"]["count"] == len(found) == 20
    assert cell["detection"]["missed"] == (found.found == 0).sum()
    (audited,) = json.loads(Path("matrix/audits.json").read_text())
    changes = {one["name"]: one for one in audited["robustness"]["changes"]}
    table = predictions.read(next(Path("model_files/b/robustness").glob("*resolution*16.csv")))
    expected = metrics.evaluate(table)["gender"]["accuracy"]
    assert changes["resolution16"]["tasks"]["gender"]["accuracy"] == pytest.approx(expected)
    assert Path("matrix/report.html").read_text().count("<svg") == 6  # a heat map and five charts


def test_repeats_have_a_cell_each_and_a_mean(home):
    cells = evaluate("--runs", "several", "--datasets", FACES, "--without-report")
    assert [cell["run"] for cell in cells] == ["several/seed-0", "several/seed-1"]
    (mean,) = json.loads(Path("matrix/means.json").read_text())
    values = [cell["gender"]["accuracy"] for cell in cells]
    assert mean["run"] == "several" and mean["gender"]["values"] == values
    assert mean["gender"]["mean"] == pytest.approx(np.mean(values))
    assert mean["gender"]["sd"] == pytest.approx(np.std(values, ddof=1))


@pytest.mark.slow
def test_a_table_is_made_again_only_for_another_classifier(home):
    line = ["--runs", "b", "--align", "never", "--datasets", "two/two.csv", "--without-report"]
    place = Path("model_files/b/predictions-two-test.csv")
    evaluate(*line)
    before = place.stat().st_mtime_ns
    Path("model_files/b/classifier.keras").touch()  # a later date is no other classifier
    evaluate(*line)
    assert place.stat().st_mtime_ns == before
    kept = Path("model_files/b/classifier.keras").read_bytes()
    shutil.copy("model_files/several/seed-0/classifier.keras", "model_files/b")
    try:
        evaluate(*line)
        assert place.stat().st_mtime_ns > before
    finally:
        Path("model_files/b/classifier.keras").write_bytes(kept)


def test_tables_of_one_name_are_told_apart_by_their_content(home, tmp_path):
    """Two tables with the same file name and image names, the labels of one swapped."""
    first = pd.read_csv("two/two.csv")
    swapped = first.assign(gender=first.gender.map({"female": "male", "male": "female"}))
    other = tmp_path / "two.csv"
    swapped.assign(file=[str(Path("two", name).resolve()) for name in first.file]).to_csv(
        other, index=False
    )
    line = ["--runs", "b", "--align", "never", "--without-report", "--datasets", "two/two.csv"]
    one, two = evaluate(*line, str(other))
    assert (one["dataset"], two["dataset"]) == ("two/two", f"{tmp_path.name}/two")
    means = json.loads(Path("matrix/means.json").read_text())
    assert [row["gender"]["values"] for row in means] == [
        [each["gender"]["accuracy"]] for each in (one, two)
    ]
    assert one["gender"]["accuracy"] + two["gender"]["accuracy"] == pytest.approx(1)
    again, _ = evaluate(*line, str(other))
    assert again == one


def test_what_is_not_there_is_named(home):
    with pytest.raises(InputError, match="no run c"):
        matrix.trainings(["c"])
    Path("model_files/unfinished").mkdir(exist_ok=True)
    with pytest.raises(InputError, match="unfinished"):
        matrix.trainings(["a", "unfinished"])


def test_the_text_and_the_heat_map_have_every_figure():
    gender = {"accuracy": 0.75, "interval": [0.7, 0.8], "by_gender": {}, "labels": ["a", "b"]}
    cell = {"run": "r", "dataset": "d", "trained_on": True, "count": 1000, "overlap": None}
    race = gender | {"accuracy": 0.625, "dropped": 12}
    cells = [cell | {"gender": gender}, cell | {"dataset": "e", "trained_on": False, "race": race}]
    one, other, *_ = matrix_report.report(cells).splitlines()[1:]
    assert {"r", "d*", "1,000", "75.0%", "70.0%", "80.0%", "?"} <= set(one.split())
    assert {"e", "62.5%", "2", "-"} <= set(other.split())
    assert len(matrix_report.dropped(cells)) == 1

    def spread(value: float) -> dict:
        return {"mean": value, "sd": None, "n": 1, "values": [value]}

    means = [
        {"run": "r", "dataset": "d", "trained_on": True, "gender": spread(0.75)},
        {"run": "r", "dataset": "e", "trained_on": False, "race": spread(0.625)},
    ]
    panels = matrix_figure.figure(means).axes
    shown = [[text.get_text() for text in panel.texts] for panel in panels]
    assert shown == [["75.0%", "-"], ["-", "62.5%"]]
    assert [len(panel.patches) for panel in panels] == [1, 0]  # what is framed is in-domain
