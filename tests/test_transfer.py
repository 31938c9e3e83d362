"""transfer from end to end: a drawn dataset, a run, its figures, kills and seeds."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vggface_gender import evaluate, transfer
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, predictions
from vggface_gender.inference import classifier

RUN = Path("model_files/mine")
TABLE = "predictions-faces-test.csv"


REPEATS = ["--epochs", "2", "--seed", "5", "--repeats", "2"]


def shared(drawn) -> list[str]:
    """The arguments that every training here shares, on the tiny backbone."""
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
        *("--backbone", str(drawn.backbone), "--batch-size", "32"),
    ]


@pytest.fixture
def command_line(drawn, workplace):
    """The arguments that are shared, and a folder to train in."""
    return shared(drawn)


def figures_follow_from_files(task: str) -> dict:
    """The metrics of the run, which are those of its table."""
    figures = json.loads((RUN / "metrics.json").read_text())
    table = predictions.read(RUN / TABLE)
    assert (figures["dataset"], figures["split"]) == ("faces", "test")
    assert figures["count"] == len(table) > 10
    assert json.loads(json.dumps(metrics.evaluate(table))) == figures["tasks"]
    labelled = table[task].notna().sum()
    assert figures["tasks"][task]["count"] == labelled
    assert (labelled == len(table)) == (task == "age")
    return figures


@pytest.mark.slow
def test_dlibs_network_gives_a_run_whose_predictions_its_classifier_gives_again(drawn, workplace):
    """With the real network, end to end."""
    data = ["--dataset", str(drawn.table), "--data-dir", str(drawn.records)]
    transfer.main([*data, "--run", "mine", "--epochs", "2"])
    assert {path.name for path in RUN.iterdir()} == {
        *("classifier.keras", "config.json", "history.csv", "metrics.json", "tensorboard"),
        *(TABLE, "predictions-faces-test.made_by.json", "model_card.md", "trained_on.npz"),
    }
    figures_follow_from_files("gender")
    settings = json.loads((RUN / "config.json").read_text())["settings"]
    assert settings["align"] == "auto"
    assert settings["tasks"] == ["gender"] and settings["seed"] == 0
    assert (settings["head"], settings["batch_size"]) == ("compact", 128)
    before = predictions.read(RUN / TABLE)
    assert classifier.load(RUN / "classifier.keras").tasks == {"gender": ("female", "male")}
    evaluate.main(["--run", "mine", *data, "--split", "test"])
    again = predictions.read(RUN / TABLE)
    assert again.name.tolist() == before.name.tolist()
    np.testing.assert_allclose(again.gender_male, before.gender_male, atol=1e-3)
    # An evaluation's figures stand beside the training's, not in their place.
    assert json.loads((RUN / "metrics-faces-test.json").read_text())["split"] == "test"
    with pytest.raises(InputError, match="no split holdout: give one of train, validation, test"):
        evaluate.main(["--run", "mine", *data, "--split", "holdout"])


@pytest.mark.slow
def test_damaged_features_are_made_anew_and_change_nothing(command_line, drawn, workplace, capfd):
    shutil.copytree(drawn.records, "data", ignore=shutil.ignore_patterns("features"))
    options = [*command_line, "--data-dir", "data", "--epochs", "2"]
    transfer.main([*options, "--run", "before"])
    features = sorted(Path("data/features").iterdir())
    assert len(features) == 3
    for path in features:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(bytes(500))
    capfd.readouterr()
    transfer.main([*options, "--run", "after"])
    said = capfd.readouterr().err
    assert all(f"{path} is damaged: its features are computed anew" in said for path in features)
    for name in ("history.csv", TABLE):
        before, after = (Path("model_files", run, name).read_bytes() for run in ("before", "after"))
        assert before == after


def test_room_is_needed_for_the_features_of_all_splits_before_any_is_computed(
    command_line, drawn, workplace, monkeypatch
):
    shutil.copytree(drawn.records, "data", ignore=shutil.ignore_patterns("features"))
    room = 200 * (7 * 7 * 8 * 4 + 4) - 1
    usage = type(shutil.disk_usage("."))(10**9, 10**9 - room, room)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="make room"):
        transfer.main([*command_line, "--data-dir", "data", "--run", "mine"])
    assert not Path("data/features").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["age", pytest.param("race", marks=pytest.mark.slow)])
def test_every_task_can_be_learned(command_line, task):
    transfer.main([*command_line, "--task", task, "--run", "mine", "--epochs", "2"])
    figures_follow_from_files(task)
    assert len(pd.read_csv(RUN / "history.csv")) == 2


@pytest.mark.slow
def test_a_mix_is_trained_on_together_and_tested_part_by_part(command_line, drawn, draw_table):
    """Its parts lack different labels, and a face without any label is left out."""
    Path("more").mkdir()
    draw_table(Path("more"), 60, 48)
    Path("more/faces.csv").rename("more/others.csv")
    dataset = f"{drawn.table}[:50%]+more/others.csv*0.5"
    transfer.main(
        [*command_line, "--dataset", dataset, "--align", "never", "--run", "mine", "--epochs", "1"]
    )
    settings = json.loads((RUN / "config.json").read_text())["settings"]
    assert settings["align"] == "never"
    assert settings["dataset"] == dataset and settings["counts"]["train"] < 140
    assert {path.name for path in RUN.glob("metrics*.json")} == {
        "metrics.json",
        "metrics-others-test.json",
    }


@pytest.fixture(scope="module")
def repeated(drawn, tmp_path_factory):
    """A folder in which a run was repeated, with seeds 5 and 6: copy it before you change it."""
    folder = tmp_path_factory.mktemp("repeated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        transfer.main([*shared(drawn), "--run", "mine", *REPEATS])
    return folder


@pytest.mark.slow
def test_one_seed_gives_one_result_to_the_last_digit(command_line, repeated):
    """Alone or among repeats."""
    transfer.main([*command_line, "--run", "alone", "--epochs", "2", "--seed", "6"])
    other, same = ((repeated / RUN / f"seed-{seed}" / TABLE).read_bytes() for seed in (5, 6))
    assert Path("model_files/alone", TABLE).read_bytes() == same != other


@pytest.mark.slow
def test_repeats_are_runs_of_their_own_and_their_spread_is_summed_up(
    command_line, repeated, workplace, capsys
):
    shutil.copytree(repeated, workplace, dirs_exist_ok=True)
    summary = json.loads((RUN / "summary.json").read_text())
    each = [json.loads((RUN / f"seed-{seed}/metrics.json").read_text()) for seed in (5, 6)]
    accuracies = [figures["tasks"]["gender"]["accuracy"] for figures in each]
    spread = summary["tasks"]["gender"]["accuracy"]
    assert spread["values"] == accuracies and spread["n"] == 2
    assert spread["mean"] == pytest.approx(np.mean(accuracies))
    assert spread["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (summary["dataset"], summary["split"]) == ("faces", "test")
    # After a kill in the second, the first is not trained again.
    second = (RUN / "seed-6" / TABLE).read_bytes()
    (RUN / "summary.json").unlink()
    (RUN / "seed-6/metrics.json").unlink()
    for left in ("seed-5/.part-1", "seed-6/.part-2"):
        (RUN / left / "checkpoint").mkdir(parents=True)
    transfer.main([*command_line, "--run", "mine", *REPEATS])
    assert not list(RUN.rglob(".part-*"))
    printed = capsys.readouterr().out
    assert "seed-5 is finished already" in printed and printed.count("Epoch 1/") == 1
    assert json.loads((RUN / "summary.json").read_text()) == summary
    assert (RUN / "seed-6" / TABLE).read_bytes() == second


@pytest.mark.slow
def test_killed_in_training_it_is_resumed_and_gives_what_an_undisturbed_run_gives(
    command_line, capsys
):
    line = [*command_line, "--run", "mine", "--epochs", "16", "--patience", "16"]
    command = [sys.executable, "-m", "vggface_gender.transfer", *line]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while not list(RUN.glob("checkpoint/head/epoch-000[3-9]")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (RUN / "metrics.json").exists()

    transfer.main(line)
    assert "Epoch 1/16" not in capsys.readouterr().out  # it was resumed
    resumed = {name: (RUN / name).read_bytes() for name in ("history.csv", TABLE)}
    assert not (RUN / "checkpoint").exists()

    transfer.main(line)  # finished: the same again, from the start
    assert "Epoch 1/16" in capsys.readouterr().out
    assert {name: (RUN / name).read_bytes() for name in resumed} == resumed


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


def test_too_few_images_are_named(write_image, workplace):
    for gender in ("female", "male"):
        write_image(Path("two") / gender / "1.jpg", len(gender))
    with pytest.raises(InputError, match=r"two has too few images for a [a-z]+ split"):
        transfer.main(["--dataset", "two"])


def test_a_task_without_labels_is_named(write_image, workplace):
    for i in range(20):
        write_image(Path("many") / ("female", "male")[i % 2] / f"{i}.jpg", i)
    with pytest.raises(InputError, match="many has no age labels"):
        transfer.main(["--dataset", "many", "--align", "never", "--task", "age"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"],
        ["--learning-rate", "0"],
        ["--rate", "nan"],
        ["--padding", "-1"],
        ["--batch", "x"],
    ],
)
def test_settings_that_make_no_sense_are_one_line_and_status_2(command_line, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        transfer.main([*command_line, *arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: argument --") and arguments[0] in error
    assert error.count("\n") == 1
