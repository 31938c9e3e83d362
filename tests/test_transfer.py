"""The commands from end to end: a made-up dataset, dlib's real network, a run, an evaluation."""

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

from vggface_gender import evaluate, transfer
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, predictions
from vggface_gender.inference import classifier

COUNT = 240


@pytest.fixture(scope="module")
def faces(tmp_path_factory, draw_table):
    """Drawn faces in a table; half of the races and every seventh gender are missing."""
    return draw_table(tmp_path_factory.mktemp("faces"), COUNT, 96)


@pytest.fixture(scope="module")
def tfrecords(tmp_path_factory):
    return tmp_path_factory.mktemp("tfrecords")


@pytest.fixture
def command_line(faces, tfrecords, tmp_path, monkeypatch):
    """The arguments that every command here shares, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return ["--dataset", str(faces), "--data-dir", str(tfrecords)]


RUN = Path("model_files/mine")


@pytest.mark.parametrize("task", ["gender", "race", "age"])
def test_transfer_writes_a_run_whose_figures_follow_from_its_files(command_line, task):
    transfer.main([*command_line, "--task", task, "--run", "mine", "--epochs", "4"])

    kept = {path.name for path in RUN.iterdir()}
    assert kept == {
        *("classifier.keras", "config.json", "history.csv", "metrics.json", "tensorboard"),
        *("predictions-faces-test.csv", "model_card.md"),
    }
    figures = json.loads((RUN / "metrics.json").read_text())
    table = predictions.read(RUN / "predictions-faces-test.csv")
    assert (figures["dataset"], figures["split"]) == ("faces", "test")
    assert figures["count"] == len(table) > 10
    assert json.loads(json.dumps(metrics.evaluate(table))) == figures["tasks"]
    labelled = table[task].notna().sum()
    assert figures["tasks"][task]["count"] == labelled
    assert (labelled == len(table)) == (task == "age")
    settings = json.loads((RUN / "config.json").read_text())["settings"]
    assert settings["task"] == task and settings["seed"] == 0
    assert len(pd.read_csv(RUN / "history.csv")) <= 4


def test_the_classifier_of_a_run_gives_the_runs_predictions(command_line):
    transfer.main([*command_line, "--run", "mine", "--epochs", "2"])
    written = (RUN / "predictions-faces-test.csv").read_bytes()
    assert classifier.load(RUN / "classifier.keras").tasks == {"gender": ("female", "male")}
    evaluate.main(["--run", "mine", *command_line, "--split", "test"])
    again = predictions.read(RUN / "predictions-faces-test.csv")
    (RUN / "before.csv").write_bytes(written)
    before = predictions.read(RUN / "before.csv")
    assert again.name.tolist() == before.name.tolist()
    np.testing.assert_allclose(again.gender_male, before.gender_male, atol=1e-3)
    # An evaluation's figures stand beside the training's, not in their place.
    assert json.loads((RUN / "metrics-faces-test.json").read_text())["split"] == "test"


def test_one_seed_gives_one_result_to_the_last_digit(command_line):
    for name in ("one", "other"):
        transfer.main([*command_line, "--run", name, "--epochs", "3", "--seed", "5"])
    files = [Path("model_files", n, "predictions-faces-test.csv") for n in ("one", "other")]
    assert files[0].read_bytes() == files[1].read_bytes()
    transfer.main([*command_line, "--run", "third", "--epochs", "3", "--seed", "6"])
    third = Path("model_files/third/predictions-faces-test.csv")
    assert third.read_bytes() != files[0].read_bytes()


def test_repeats_are_runs_of_their_own_and_their_spread_is_summed_up(command_line):
    transfer.main([*command_line, "--run", "mine", "--epochs", "2", "--repeats", "2"])
    summary = json.loads((RUN / "summary.json").read_text())
    each = [json.loads((RUN / f"seed-{seed}/metrics.json").read_text()) for seed in (0, 1)]
    accuracies = [figures["tasks"]["gender"]["accuracy"] for figures in each]
    spread = summary["tasks"]["gender"]["accuracy"]
    assert spread["values"] == accuracies and spread["n"] == 2
    assert spread["mean"] == pytest.approx(np.mean(accuracies))
    assert spread["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (summary["dataset"], summary["split"]) == ("faces", "test")
    transfer.main([*command_line, "--run", "alone", "--epochs", "2", "--seed", "1"])
    tables = [
        Path("model_files", run, "predictions-faces-test.csv") for run in ("alone", "mine/seed-1")
    ]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_tensorboard_holds_what_is_promised(command_line):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    transfer.main([*command_line, "--run", "mine", "--epochs", "2"])
    tags = {}
    for part in ("", "train", "validation"):
        events = EventAccumulator(str(RUN / "tensorboard" / part)).Reload()
        for kind, found in events.Tags().items():
            for tag in found if isinstance(found, list) else []:
                tags.setdefault(tag, set()).add((part, kind))
    assert {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"} <= tags.keys()
    assert {part for part, _ in tags["epoch_loss"]} == {"train", "validation"}
    assert any("crops" in tag for tag in tags)
    assert any("kernel" in tag for tag in tags)  # Keras's versions differ in the rest of the name


TRANSFER = [sys.executable, "-m", "vggface_gender.transfer", "--run", "mine", "--epochs", "60"]
TRANSFER += ["--patience", "60"]


def test_killed_in_training_it_goes_on_and_gives_what_an_undisturbed_run_gives(command_line):
    process = subprocess.Popen(
        [*TRANSFER, *command_line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 180
    while not list(RUN.glob("checkpoint/epoch-000[3-9]")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (RUN / "metrics.json").exists()

    done = subprocess.run([*TRANSFER, *command_line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Epoch 1/60" not in done.stdout  # it went on
    resumed = {p: (RUN / p).read_bytes() for p in ("history.csv", "predictions-faces-test.csv")}
    assert not (RUN / "checkpoint").exists()

    transfer.main([*command_line, *TRANSFER[3:]])  # finished: the same again, from the start
    undisturbed = {p: (RUN / p).read_bytes() for p in resumed}
    assert undisturbed == resumed


def test_any_keras_file_can_be_the_backbone(command_line):
    keras.utils.set_random_seed(0)
    crop = keras.Input((48, 48, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu")(x)
    keras.Model(crop, x, name="mine").save("backbone.keras")
    transfer.main([*command_line, "--backbone", "backbone.keras", "--epochs", "1", "--run", "mine"])
    assert classifier.load(RUN / "classifier.keras").size == 48


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--backbone", "nothing.keras"], "no backbone nothing.keras"),
        (["--dataset", "nothing"], "no dataset nothing"),
    ],
)
def test_what_is_not_there_is_named(command_line, arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        transfer.main([*command_line, *arguments])
    assert not Path("model_files").exists()


def test_too_few_images_are_told(command_line, write_image):
    for gender in ("female", "male"):
        write_image(Path("two") / gender / "1.jpg", len(gender))
    with pytest.raises(InputError, match=r"two has too few images for a (validation|train) split"):
        transfer.main(["--dataset", "two"])


def test_a_task_without_labels_is_told(command_line, write_image):
    for i in range(20):
        write_image(Path("many") / ("female", "male")[i % 2] / f"{i}.jpg", i)
    with pytest.raises(InputError, match="many has no age labels"):
        transfer.main(["--dataset", "many", "--task", "age"])


@pytest.mark.parametrize(
    "arguments",
    [["--epochs", "0"], ["--rate", "0"], ["--rate", "nan"], ["--padding", "-1"], ["--batch", "x"]],
)
def test_settings_that_make_no_sense_are_one_line_and_status_2(command_line, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        transfer.main([*command_line, *arguments])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: argument {arguments[0]}") and told.count("\n") == 1


def test_evaluate_says_which_splits_there_are(command_line):
    transfer.main([*command_line, "--run", "mine", "--epochs", "1"])
    with pytest.raises(InputError, match="--split train or validation or test"):
        evaluate.main(["--run", "mine", *command_line, "--split", "holdout"])
