"""Trainings on little: few images, few of a label, one label alone."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from vggface_gender import multitask, transfer
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import predictions
from vggface_gender.training import config, heads

RUN = Path("model_files/mine")
TABLE = "predictions-faces-test.csv"


@pytest.fixture
def command_line(drawn, workplace):
    """What every training here shares, on the tiny backbone."""
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records), "--align", "never"),
        *("--backbone", str(drawn.backbone), "--run", "mine"),
    ]


@pytest.fixture
def relabelled(drawn, workplace):
    """A function that copies the drawn faces' table with other labels: (column, row to label)."""

    def write(**columns) -> str:
        faces = pd.read_csv(drawn.table)
        folder = Path("relabelled")
        folder.mkdir()
        for name in faces.file:
            (folder / name).symlink_to(drawn.table.parent / name)
        for column, label in columns.items():
            faces[column] = [label(row) for row in range(len(faces))]
        faces.to_csv(folder / "faces.csv", index=False)
        return str(folder / "faces.csv")

    return write


@pytest.mark.slow
def test_a_short_epoch_passes_over_the_images_several_times(command_line, capsys):
    transfer.main([*command_line, "--epochs", "2", "--task", "age"])
    settings = runs.settings(RUN)
    count, least = settings["counts"]["train"], settings["least_steps"]
    assert least == config.LEAST_STEPS
    steps = -(-count // 128)
    said = f"head: {count} images are {steps} steps of 128: an epoch passes over them"
    assert f"{said} {-(-least // steps)} times" in capsys.readouterr().out
    assert len(pd.read_csv(RUN / "history.csv")) == 2


@pytest.mark.slow
def test_a_long_epoch_passes_over_them_once_from_where_it_always_began(
    command_line, monkeypatch, capsys
):
    monkeypatch.setattr(heads, "begin_normalization", None)
    transfer.main([*command_line, "--epochs", "1", "--batch-size", "4"])
    printed = capsys.readouterr().out
    assert "an epoch passes over" not in printed
    [steps] = re.findall(r"^(\d+)/\1 - ", printed, re.MULTILINE)  # Keras's line of an epoch
    assert config.LEAST_STEPS <= int(steps) <= runs.settings(RUN)["counts"]["train"] / 4


@pytest.mark.slow
def test_a_head_of_few_faces_predicts_ages_that_people_have(command_line, drawn):
    """After a handful of steps statistics that lag behind gave ages of -60."""
    few = ["--dataset", f"{drawn.table}[:48]", "--backbone", "dlib"]
    transfer.main([*command_line, *few, "--task", "age"])
    years = predictions.read(RUN / TABLE).age_predicted
    assert years.between(0, 100).all() and years.std() > 1
    history = pd.read_csv(RUN / "history.csv")
    assert history.val_mae.iloc[0] < 30  # from the first epoch on


@pytest.mark.slow
def test_one_label_alone_is_refused_and_nothing_is_written(command_line, relabelled):
    everyone = relabelled(gender=lambda row: "female", race=lambda row: ("White", "Black")[row % 2])
    complaint = r"faces.csv has one gender label to train on, female \(160 images\).*add images"
    for train in (transfer.main, multitask.main):
        with pytest.raises(InputError, match=complaint):
            train([*command_line, "--dataset", everyone])
    assert not RUN.exists()
    transfer.main([*command_line, "--dataset", everyone, "--task", "race", "--epochs", "1"])


def test_a_slice_of_one_label_is_refused(command_line, relabelled):
    mixed = relabelled(gender=lambda row: "female" if row else "male")
    with pytest.raises(InputError, match=r"one gender label to train on, female \(2 images\)"):
        for first in range(0, 8, 2):  # one of these does not hold the one man
            transfer.main([*command_line, "--dataset", f"{mixed}[{first}:{first + 2}]"])


@pytest.mark.slow
def test_labels_with_few_examples_are_marked(command_line, relabelled, capsys):
    rare = relabelled(gender=lambda row: "female" if row > 7 else "male")
    transfer.main([*command_line, "--dataset", rare, "--epochs", "1"])
    marked = json.loads((RUN / "metrics.json").read_text())["few"]
    count = marked["gender"]["male"]
    assert marked == {"gender": {"male": count}} and 1 <= count <= 8
    assert runs.settings(RUN)["labels"]["gender"]["male"] == count
    line = f"fewer than 10 training examples: male {count}"
    printed = capsys.readouterr().out
    assert (
        printed.index(f"gender: {line}") < printed.index("an epoch passes") < printed.rindex(line)
    )
    assert line in (RUN / "model_card.md").read_text()


@pytest.mark.slow
def test_a_part_without_a_test_split_is_named(command_line, drawn, relabelled, capsys):
    only = relabelled(confidence=lambda row: 0.9)  # a classifier's labels: to train on alone
    Path(only).rename("relabelled/others.csv")
    mix = f"{drawn.table}+relabelled/others.csv"
    transfer.main([*command_line, "--dataset", mix, "--epochs", "1"])
    assert "others.csv has no validation and no test split" in capsys.readouterr().out
