"""Published figures beside ours: the published validation set is drawn as stated, ours is clean."""

import importlib.util
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from vggface_gender import datasets, multitask
from vggface_gender.evaluation import predictions

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture(scope="module")
def tools():
    """The tools `benchmark`, which draws a tree of UTKFace's layout, and `reproduce`."""
    sys.path.insert(0, str(TOOLS))  # as Python does for a script
    loaded = []
    for name in ("benchmark", "reproduce"):
        spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
        loaded.append(importlib.util.module_from_spec(spec))
        sys.modules[name] = loaded[-1]
        spec.loader.exec_module(loaded[-1])
    yield loaded
    sys.path.remove(str(TOOLS))


@pytest.fixture(scope="module")
def trained(tools, tmp_path_factory):
    """A folder with records of drawn faces and four runs, of 2 seeds each."""
    home = tmp_path_factory.mktemp("home")
    benchmark, _ = tools
    benchmark.draw_faces(home / "UTKFace", 240)
    keras.utils.set_random_seed(0)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    keras.Model(crop, keras.layers.Conv2D(8, 3, strides=4)(x), name="tiny").save(
        home / "tiny.keras"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        options = ["--dataset", "UTKFace", "--source", "UTKFace", "--backbone", "tiny.keras"]
        options += [
            "--unfreeze",
            "none",
            "--head-epochs",
            "2",
            "--batch",
            "16",
            "--repeats",
            "2",
            "--resplit",
        ]
        for name, more in (
            ("m", []),
            ("g", ["--tasks", "gender"]),
            ("r", ["--tasks", "race"]),
            ("b", ["--balance", "race:Black=2,Asian=3,Indian=3,Others=4"]),
        ):
            multitask.main([*options, "--run", name, *more])
    return home


def test_published_beside_ours(tools, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    _, reproduce = tools
    reproduce.main(
        ["utkface-multitask", "--runs", "m", "g", "r", "b", "--source", ".", "--json", "f.json"]
    )
    printed = capsys.readouterr().out
    assert "0.9515" in printed and "0.8645" in printed and "McNemar" in printed
    figures = json.loads(Path("f.json").read_text())
    gender = figures["ours"]["test"]["gender"]["several tasks"]
    wanted = []
    for seed in (0, 1):
        metrics = json.loads(Path(f"model_files/m/seed-{seed}/metrics.json").read_text())
        wanted.append(metrics["tasks"]["gender"]["accuracy"])
    assert gender["values"] == pytest.approx(wanted)
    line = next(line for line in printed.splitlines() if "gender  several tasks" in line)
    assert f"{np.mean(wanted) - 0.9515:+.4f}" in printed and "0.9515" in line


def test_the_published_validation_set_counts_races_as_stated(tools, trained, monkeypatch):
    monkeypatch.chdir(trained)
    _, reproduce = tools
    dataset = datasets.prepare("UTKFace", Path("UTKFace"), Path("tfrecords"))
    copies = {"Black": 2, "Asian": 3, "Indian": 3, "Others": 4}
    folder = Path("model_files/m/seed-0")
    reproduce.reproduce_utkface.evaluate_oversampled(folder, dataset, copies)
    table = predictions.read(folder / "predictions-UTKFace-validation-oversampled.csv")
    assert table.name.is_unique
    times = table.groupby(table.name.str.rpartition(" copy ")[0]).race.agg(["first", "count"])
    assert set(times["first"]) == {"White", *copies}
    assert len(times) == dataset.counts["validation"]
    assert (times["count"] == times["first"].map(copies | {"White": 1})).all()


class Means:
    """Stands for a classifier: what it answers tells what it was shown."""

    tasks = {"gender": ("female", "male")}

    def predict(self, crops):
        left, right = crops[:, :, :4].mean((1, 2, 3)), crops[:, :, 4:].mean((1, 2, 3))
        return {"gender": np.stack([left, right], axis=1)}


def test_changes_are_the_four_stated_and_spare_white_faces(tools):
    _, reproduce = tools
    crop = np.zeros((8, 8, 3), np.uint8)
    crop[:, :4], crop[:, 4:] = 200, 100
    changed = np.arange(600) >= 100
    shown = reproduce.reproduce_utkface._classify_changed(
        Means(), crop[None], np.zeros(600, int), changed
    )["gender"]
    assert (shown[:100] == [200, 100]).all()
    kinds, counts = np.unique(shown[100:].round(), axis=0, return_counts=True)
    assert kinds.tolist() == [[75, 150], [100, 200], [150, 75], [200, 100]]
    assert counts.min() > 80  # of 500, at random


def test_a_name_that_is_not_there(tools, capsys):
    with pytest.raises(SystemExit) as stopped:
        tools[1].main(["nothing"])
    assert stopped.value.code == 2
    assert "utkface-multitask" in capsys.readouterr().err
