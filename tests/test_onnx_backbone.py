"""Trainings on a network in an ONNX file: the head learns, and the run needs the file no more."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import onnx_files
import pandas as pd
import pytest

from vggface_gender import evaluate, export, finetune, gradcam, multitask, predict, transfer
from vggface_gender.base import console, geometry
from vggface_gender.inference import classifier


@pytest.fixture(scope="module")
def home(tmp_path_factory, drawn) -> Path:
    """A working directory with two runs on one small network, whose file is gone."""
    import os

    home = tmp_path_factory.mktemp("onnx")
    before = Path.cwd()
    os.chdir(home)
    try:
        onnx_files.write(Path("arc.onnx"), side=64)
        data = ["--dataset", str(drawn.table), "--data-dir", "records"]
        shutil.copytree(drawn.records, "records")
        transfer.main([*data, "--backbone", "arc.onnx:bgr", "--run", "one", "--epochs", "2"])
        few = ["--head-epochs", "2", "--batch-size", "16"]
        multitask.main([*data, "--backbone", "arc.onnx", "--run", "all", *few])
        Path("arc.onnx").rename("gone.onnx")
    finally:
        os.chdir(before)
    return home


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


def test_how_pictures_are_taken_is_recorded():
    for run, name in (("one", "arc.onnx:bgr:127.5:127.5"), ("all", "arc.onnx:rgb:127.5:127.5")):
        settings = json.loads(Path(f"model_files/{run}/config.json").read_text())["settings"]
        assert (settings["backbone"], settings["unfreeze"]) == (name, "none")
        assert settings["padding"] == geometry.ARCFACE_PADDING
    # Features of one file whose pictures are taken in two ways are not those of each other.
    assert len(list(Path("records/features").glob("*-train-arc-*.h5"))) == 2


def test_the_classifier_answers_as_the_network_and_the_head_do():
    trained = classifier.load(Path("model_files/all/classifier.keras"), precision="mixed_bfloat16")
    weights = onnx_files.write(Path("again.onnx"), side=64)
    crops = np.random.default_rng(0).integers(0, 256, (3, 82, 82, 3), np.uint8)
    assert trained.size == 82  # 64 pixels of it are ArcFace's
    cut = geometry.arcface_cut(64)
    pictures = crops[:, cut.top : cut.top + 64, cut.left : cut.left + 64].astype(float)
    features = onnx_files.embeddings((pictures - 127.5) / 127.5, weights).astype(np.float32)
    _, head = trained.parts()
    logits = keras.ops.convert_to_numpy(head(features)["gender"]) / trained.temperatures["gender"]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(trained.predict(crops)["gender"], expected, atol=1e-4)
    np.testing.assert_allclose(trained.embed(crops), features, rtol=1e-4, atol=1e-4)


def test_a_run_is_evaluated_and_predicts(drawn, capsys):
    before = pd.read_csv(next(Path("model_files/all").glob("predictions-*-test.csv")))
    given = ["--run", "all", "--dataset", str(drawn.table), "--data-dir", "records"]
    evaluate.main([*given, "--out", "again", "--precision", "float32"])
    again = pd.read_csv(next(Path("again").glob("predictions-*-test.csv")))
    pd.testing.assert_frame_equal(before, again, atol=1e-5)
    capsys.readouterr()
    photo = str(next(drawn.table.parent.glob("*.jpg")))
    assert predict.main([photo, "--crops", "--run", "all", "--json", "--no-draw"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert set(face["gender"]["probabilities"]) == {"female", "male"}


def test_what_takes_gradients_is_refused_in_one_line(drawn, capsys):
    data = ["--dataset", str(drawn.table), "--data-dir", "records"]
    for command, arguments, problem in (
        (multitask, ["--backbone", "gone.onnx", "--unfreeze", "all"], "has no gradients"),
        (multitask, ["--backbone", "gone.onnx", "--padding", "0.3"], "leave --padding out"),
        (transfer, ["--backbone", "gone.onnx", "--padding", "0.3"], "leave --padding out"),
        (finetune, ["--init", "all"], "has no gradients"),
        (gradcam, ["--run", "all", "--task", "gender"], "--method occlusion"),
        (export, ["--run", "all", "--out", "all.onnx"], "can't be exported"),
        (transfer, ["--backbone", "arc.onnx"], "arc.onnx: no such file"),
    ):
        assert console.run(lambda c=command, a=arguments: c.main([*data, *a])) == 2, problem
        error = capsys.readouterr().err
        assert problem in error and error.count("error: ") == 1
    assert not Path("all.onnx").exists()
