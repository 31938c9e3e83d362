"""The tuning commands from end to end: drawn faces, a tiny backbone, two phases, a run."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender import evaluate, finetune, multitask
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import predictions
from vggface_gender.inference import classifier
from vggface_gender.training import tuning

RUN = Path("model_files/mine")


@pytest.fixture(scope="module")
def faces(tmp_path_factory, draw_table):
    """A folder of drawn faces, some labels missing, their table and a backbone."""
    folder = tmp_path_factory.mktemp("faces")
    draw_table(folder, 200, 48)
    keras.utils.set_random_seed(0)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    for number in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name=f"conv{number}")(x)
    keras.Model(crop, x, name="tiny").save(folder / "tiny.keras")
    return folder


@pytest.fixture(scope="module")
def tfrecords(tmp_path_factory):
    return tmp_path_factory.mktemp("tfrecords")


@pytest.fixture
def options(faces, tfrecords, tmp_path, monkeypatch):
    """What every training here shares, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return [
        *("--dataset", str(faces / "faces.csv"), "--data-dir", str(tfrecords)),
        *("--batch", "16", "--head-epochs", "1", "--epochs", "2", "--average", "0.5"),
    ]


@pytest.fixture
def training(options, faces):
    return [*options, "--backbone", str(faces / "tiny.keras"), "--unfreeze", "conv2"]


def conv(run: str, layer: str) -> np.ndarray:
    backbone, _ = classifier.load(Path("model_files", run, "classifier.keras")).parts()
    return backbone.get_layer(layer).get_weights()[0]


@pytest.mark.parametrize("more", [[], ["--views", "2"]])
def test_a_run_holds_two_phases_and_only_what_is_unfrozen_moved(training, faces, more):
    multitask.main([*training, "--run", "mine", *more])
    history = pd.read_csv(RUN / "history.csv")
    assert history.phase.tolist() == ["head", "backbone", "backbone"]
    assert history.groupby("phase").is_best.sum().tolist() == [1, 1]
    wanted = {"gender_accuracy", "val_race_accuracy", "val_age_mae", "rate", "rate_backbone"}
    assert wanted <= set(history)
    before = keras.saving.load_model(faces / "tiny.keras")
    np.testing.assert_array_equal(conv("mine", "conv1"), before.get_layer("conv1").get_weights()[0])
    assert (conv("mine", "conv2") != before.get_layer("conv2").get_weights()[0]).any()
    figures = json.loads((RUN / "metrics.json").read_text())
    assert set(figures["tasks"]) == {"gender", "race", "age"}
    settings = json.loads((RUN / "config.json").read_text())["settings"]
    assert settings["counts"]["test"] == figures["count"]
    written = predictions.read(RUN / "predictions-faces-test.csv")
    evaluate.main(["--run", "mine", *training[:4]])
    again = predictions.read(RUN / "predictions-faces-test.csv")
    np.testing.assert_allclose(again.age_predicted, written.age_predicted, atol=1e-3)


def test_the_published_rates_balance_and_choice_are_taken(training, capsys):
    multitask.main(
        [
            *(*training, "--run", "mine", "--tasks", "gender", "race"),
            *("--rates", "backbone=0.01", "gender=0.1", "--schedule", "decay", "--mixup", "0.2"),
            *("--balance", "race", "--group-loss", "gender", "--select", "balanced-accuracy"),
        ]
    )
    assert "White" in capsys.readouterr().out
    history = pd.read_csv(RUN / "history.csv")
    tuned = history[history.phase == "backbone"]
    assert tuned.rate_backbone.tolist() == pytest.approx((0.01 * tuned.rate).tolist())
    assert tuned.rate_gender.tolist() == pytest.approx((0.1 * tuned.rate).tolist())
    assert tuned.index[tuned.is_best].tolist() == [tuned.val_score.idxmax()]


def test_tensorboard_holds_what_is_promised(training):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    multitask.main([*training, "--run", "mine", "--tasks", "gender", "age"])
    tags = {}
    for folder in {path.parent for path in (RUN / "tensorboard").rglob("events*")}:
        events = EventAccumulator(str(folder)).Reload()
        for found in events.Tags().values():
            for tag in found if isinstance(found, list) else []:
                tags.setdefault(tag, set()).add(folder.name)
    assert {"epoch_gender_loss", "epoch_gender_accuracy", "epoch_age_mae"} <= tags.keys()
    assert {"train", "validation"} <= tags["epoch_gender_loss"]
    assert {"epoch_rate", "epoch_rate_backbone", "crops as trained on"} <= tags.keys()
    assert any("hparams" in tag for tag in tags) and "test/gender_accuracy" in tags
    assert any("kernel" in tag for tag in tags)


@pytest.mark.parametrize(
    "at", [pytest.param("head/epoch-0001", marks=pytest.mark.slow), "backbone/epoch-000[2-9]"]
)
def test_killed_it_goes_on_and_gives_what_an_undisturbed_run_gives(training, at):
    line = [*training, "--run", "mine", "--head-epochs", "3", "--epochs", "12", "--patience", "12"]
    command = [sys.executable, "-m", "vggface_gender.multitask", *line]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(RUN.glob(f"checkpoint/{at}")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (RUN / "metrics.json").exists()
    kept = ("history.csv", "predictions-faces-test.csv")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    resumed = {name: (RUN / name).read_bytes() for name in kept}
    multitask.main(line)  # finished: the same again, from the start
    assert {name: (RUN / name).read_bytes() for name in kept} == resumed


def test_finetune_goes_on_with_the_head_or_replaces_it_and_says_so(training, options, capsys):
    multitask.main([*training, "--run", "mine", "--tasks", "gender", "race"])
    more = ["--init", "mine", "--unfreeze", "conv2"]
    finetune.main([*options, *more, "--tasks", "gender", "--run", "next"])
    assert "gender: the classifier's head goes on" in capsys.readouterr().out
    assert classifier.load("model_files/next/classifier.keras").tasks == {
        "gender": ("female", "male")
    }
    assert pd.read_csv("model_files/next/history.csv").phase.tolist() == ["backbone"] * 2
    again = ["--init", "next", "--unfreeze", "conv2", "--run", "third"]
    finetune.main([*options, *again, "--tasks", "gender"])
    learned_from = [classifier.load("model_files/next/classifier.keras").about["dataset"]] * 2
    settings = json.loads(Path("model_files/third/config.json").read_text())["settings"]
    assert settings["before"] == learned_from
    finetune.main([*options, *more, "--tasks", "gender", "age", "--run", "other"])
    assert "age: a fresh head" in capsys.readouterr().out
    assert (conv("next", "conv2") != conv("mine", "conv2")).any()


def test_a_rate_of_nothing_leaves_the_classifier_as_it_was(training, options):
    multitask.main([*training, "--run", "mine", "--tasks", "gender"])
    finetune.main(
        [*options, "--init", "mine", "--run", "next", "--rate", "1e-12", "--unfreeze", "conv2"]
    )
    tables = [
        predictions.read(Path("model_files", run, "predictions-faces-test.csv"))
        for run in ("mine", "next")
    ]
    # Only the head's running statistics moved.
    assert np.abs(tables[0].gender_male - tables[1].gender_male).max() < 0.2
    np.testing.assert_allclose(conv("mine", "conv2"), conv("next", "conv2"), atol=1e-6)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--unfreeze", "nothing"], "no layer nothing"),
        (["--views", "2", "--unfreeze", "all"], "nothing to keep"),
        (["--rates", "spine=1"], "--rates spine"),
        (["--augment", "blur=1"], "--augment blur"),
        (["--balance", "shoes"], "shoes"),
        (["--batch", "500"], "lower --batch"),
        (["--select", "worst-group"], "30 faces in validation"),
    ],
)
def test_what_makes_no_sense_is_told(training, more, complaint):
    with pytest.raises(InputError, match=complaint):
        multitask.main([*training, "--run", "mine", *more])


@pytest.mark.slow
def test_two_devices_give_the_losses_of_one(training):
    """In processes of their own, since logical devices can't be changed once there are any."""
    code = (
        "import sys; from vggface_gender import command; console.quiet()\n"
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "from vggface_gender import multitask; multitask.main(sys.argv[1:])\n"
    )
    losses = {}
    for how in ("none", "mirrored"):
        line = [*training, "--distribute", how, "--run", how, "--dropout", "0", "--tasks", "gender"]
        done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        losses[how] = pd.read_csv(Path("model_files", how, "history.csv")).loss.to_numpy()
    np.testing.assert_allclose(losses["none"], losses["mirrored"], rtol=0.02)


@pytest.mark.parametrize("batch_norm", ["frozen", "adapted"])
def test_the_backbones_batch_normalization_stays_or_moves_as_asked(batch_norm):
    keras.utils.set_random_seed(0)
    crop = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(crop)
    x = keras.layers.BatchNormalization(name="norm")(x)
    backbone = keras.Model(crop, x, name="backbone")
    features = keras.Input(backbone.output_shape[1:])
    flat = keras.layers.Flatten()(features)
    outputs = {"gender": keras.layers.Dense(2, activation="softmax", name="gender")(flat)}
    head = keras.Model(features, outputs, name="head")
    model = tuning.joined(backbone, head, batch_norm)
    norm = backbone.get_layer("norm")
    before = [np.array(weight) for weight in norm.weights]
    kernel = np.array(backbone.get_layer("conv").kernel)
    model.compile("adam", loss={"gender": "categorical_crossentropy"})
    rng = np.random.default_rng(0)
    crops, targets = rng.random((32, 16, 16, 3)) * 255, np.eye(2)[rng.integers(0, 2, 32)]
    model.fit(crops, {"gender": targets}, verbose=0)
    moved = [np.abs(np.array(w) - b).max() > 0 for w, b in zip(norm.weights, before, strict=True)]
    assert moved == [batch_norm == "adapted"] * 4
    assert np.abs(np.array(backbone.get_layer("conv").kernel) - kernel).max() > 0
