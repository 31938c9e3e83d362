"""multitask from end to end: drawn faces, a tiny backbone, two phases, a run."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import event_files
import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender import multitask
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import predictions
from vggface_gender.inference import classifier

RUN = Path("model_files/mine")
TABLE = "predictions-faces-test.csv"


@pytest.fixture
def training(drawn, workplace):
    """What every training here shares, in a folder of its own."""
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
        *("--backbone", str(drawn.backbone), "--unfreeze", "conv2"),
        *("--batch-size", "16", "--head-epochs", "1", "--epochs", "2", "--ema", "0.5"),
        *("--rate", "1e-4"),  # so slow that the second phase still improves on the head
    ]


def kernel(run: Path, layer: str) -> np.ndarray:
    backbone, _ = classifier.load(run / "classifier.keras").parts()
    return backbone.get_layer(layer).get_weights()[0]


def test_a_run_holds_two_phases_and_only_what_is_unfrozen_moved(tiny_run, drawn):
    history = pd.read_csv(tiny_run / "history.csv")
    assert history.phase.tolist() == ["head"] * 2 + ["backbone"] * 2
    assert history.groupby("phase").is_best.sum().tolist() == [1, 1]
    assert {
        *("gender_accuracy", "val_race_accuracy", "val_age_mae"),
        *("learning_rate", "learning_rate_backbone"),
    } <= set(history)
    before = keras.saving.load_model(drawn.backbone)
    for layer, moved in (("conv1", False), ("conv2", True)):
        start = before.get_layer(layer).get_weights()[0]
        assert (kernel(tiny_run, layer) != start).any() == moved
    figures = json.loads((tiny_run / "metrics.json").read_text())
    assert set(figures["tasks"]) == {"gender", "race", "age"}
    config = json.loads((tiny_run / "config.json").read_text())
    assert config["settings"]["counts"]["test"] == figures["count"]
    tuned = history[history.phase == "backbone"]
    assert config["kept"] == {"phase": "backbone", "epoch": tuned.epoch[tuned.is_best].item()}


def test_tensorboard_holds_what_is_promised(tiny_run):
    logs, history = tiny_run / "tensorboard", pd.read_csv(tiny_run / "history.csv")
    for phase in ("head", "backbone"):
        written = history[history.phase == phase]
        for part, prefix in (("train", ""), ("validation", "val_")):
            found = event_files.read(logs / phase / part)
            for name in ("loss", "gender_accuracy", "race_loss", "age_mae"):
                steps, values = zip(*found[f"epoch_{name}"], strict=True)
                assert steps == (1, 2)
                assert values == pytest.approx(written[prefix + name].tolist(), rel=1e-6)
        train = event_files.read(logs / phase / "train")
        assert len(train["gender/kernel"]) == 2  # histograms
    assert {"conv2/kernel", "epoch_learning_rate_backbone"} <= train.keys()
    [[(step, (height, width))]] = event_files.read(logs / "crops").values()
    assert step == 0 and height == width / 2  # 32 crops in rows of 8
    assert [*event_files.read(logs / "augmented")] == ["crops as trained on"]


def test_hparams_are_the_settings_beside_what_was_validated_and_tested(tiny_run):
    folder = tiny_run / "tensorboard" / "hparams"
    name, found = event_files.settings(folder)
    settings = json.loads((tiny_run / "config.json").read_text())["settings"]
    assert name == "tiny"
    assert found["learning_rate"] == settings["learning_rate"]
    assert found["augment.flip"] == settings["augment"]["flip"]
    assert found["dataset"] == settings["dataset"] and "fingerprint" not in found
    assert found["tasks"] == '["gender", "race", "age"]'
    shown = event_files.scalars(folder)
    history = pd.read_csv(tiny_run / "history.csv")
    best = history[history.is_best].iloc[-1]
    assert shown["validation/loss"] == pytest.approx(best.val_loss, rel=1e-6)
    assert shown["validation/age_mae"] == pytest.approx(best.val_age_mae, rel=1e-6)
    tasks = json.loads((tiny_run / "metrics.json").read_text())["tasks"]
    assert shown["test/race_accuracy"] == pytest.approx(tasks["race"]["accuracy"], rel=1e-6)
    assert len(shown) == 7  # of each task on both splits its score, and the loss


@pytest.mark.slow
def test_cached_views_train_the_rest_alone(training, drawn):
    multitask.main([*training, "--run", "mine", "--views", "2", "--tasks", "gender", "age"])
    assert pd.read_csv(RUN / "history.csv").phase.tolist() == ["head", "backbone", "backbone"]
    before = keras.saving.load_model(drawn.backbone)
    start = {layer: before.get_layer(layer).get_weights()[0] for layer in ("conv1", "conv2")}
    assert (kernel(RUN, "conv1") == start["conv1"]).all()
    assert (kernel(RUN, "conv2") != start["conv2"]).any()
    trained = classifier.load(RUN / "classifier.keras")
    table = predictions.read(RUN / TABLE)
    assert set(trained.tasks) == {"gender", "age"} and table.age_predicted.notna().all()


@pytest.mark.slow
def test_cached_views_that_validate_worse_than_the_head_leave_the_head(training):
    rates = ["--learning-rate", "0.001", "--rates", "backbone=3000"]
    multitask.main([*training, "--run", "mine", "--views", "1", "--tasks", "gender", *rates])
    history = pd.read_csv(RUN / "history.csv")
    assert history.loc[history.val_loss.idxmin()].phase == "head"
    assert predictions.read(RUN / TABLE).gender_female.notna().all()


@pytest.mark.slow
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
    for part, share in (("backbone", 0.01), ("gender", 0.1)):
        assert tuned[f"learning_rate_{part}"].tolist() == pytest.approx(
            (share * tuned.learning_rate).tolist()
        )
    head = history[(history.phase == "head") & history.is_best].val_score.item()
    is_kept = tuned.val_score.max() >= head  # else the head alone is what the classifier holds
    assert tuned.index[tuned.is_best].tolist() == ([tuned.val_score.idxmax()] if is_kept else [])


@pytest.mark.slow
@pytest.mark.parametrize("at", ["head/epoch-0001", "backbone/epoch-000[2-9]"])
def test_killed_it_is_resumed_and_gives_what_an_undisturbed_run_gives(training, at):
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
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    resumed = {name: (RUN / name).read_bytes() for name in ("history.csv", TABLE)}
    multitask.main(line)  # finished: the same again, from the start
    assert {name: (RUN / name).read_bytes() for name in resumed} == resumed


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--unfreeze", "nothing"], "no layer nothing"),
        (["--unfreeze", "rescaling", "--views", "2"], "cannot be cut before rescaling"),
        (["--views", "2", "--unfreeze", "all"], "nothing to keep"),
        (["--multipliers", "spine=1"], "no multiplier spine"),
        (["--augment", "blur=1"], "no augmentation blur"),
        (["--loss-weights", "mood=1"], "no loss weight mood"),
        (["--balance", "shoes"], "shoes"),
        (["--batch-size", "500"], "fewer than a batch of 500: give a --batch-size"),
        pytest.param(
            *(["--select", "worst-group"], "30 faces in validation"), marks=pytest.mark.slow
        ),
    ],
)
def test_what_makes_no_sense_is_named_before_anything_is_trained(training, more, complaint):
    with pytest.raises(InputError, match=complaint):
        multitask.main([*training, "--run", "mine", *more])
    assert not (RUN / "history.csv").exists()


@pytest.mark.slow
def test_two_devices_give_the_losses_of_one(training):
    """In processes of their own, since logical devices can't be changed once there are any."""
    code = (
        "import sys; from vggface_gender.base import console; console.quiet()\n"
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
