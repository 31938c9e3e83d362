"""Every published table from end to end, on drawn faces in the datasets' true layouts.

Once with stand-ins for the trainings, and, slowly, with a tiny network that is really trained.
"""

import json
import shlex
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import published_trees
import pytest
import stand_ins

from reproduce import command, trainings
from vggface_gender.base import files
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import predictions
from vggface_gender.inference import classifier

# A tiny network in place of the published ones, trained for a moment.
TINY = ["--epochs", "1", "--batch-size", "16"]
BACKBONE = ["--backbone", "../tiny.keras"]
SHORT = [*TINY, "--unfreeze", "none", "--head-epochs", "1"]


@pytest.fixture(scope="module")
def datasets(made_once) -> Path:
    """A folder with the datasets, each as it is published, and a tiny backbone."""

    def fill(folder: Path) -> None:
        published_trees.write_all(folder)
        keras.utils.set_random_seed(0)
        crop = keras.Input((32, 32, 3))
        x = keras.layers.Rescaling(1 / 255)(crop)
        x = keras.layers.Conv2D(8, 3, strides=4)(x)
        x = keras.layers.Flatten(name="embedding")(x)
        keras.Model(crop, x, name="t").save(folder / "tiny.keras")

    return made_once("published", fill)


@pytest.fixture(scope="module", params=["made up", pytest.param("trained", marks=pytest.mark.slow)])
def home(request, datasets) -> Path:
    """The working folder, beside the datasets, of runs that are made up, and of those trained."""
    folder = datasets / request.param
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def started(home, monkeypatch) -> list[tuple[str, list[str]]]:
    """The commands that were started, each with its options."""
    monkeypatch.chdir(home)
    monkeypatch.delenv("FACES_DIR", raising=False)
    made = []
    if home.name == "made up":
        monkeypatch.setattr(trainings, "start", stand_ins.starting(made))
        monkeypatch.setattr(classifier, "load", stand_ins.Guess)
    else:
        start = trainings.start
        monkeypatch.setattr(
            trainings,
            "start",
            lambda name, *options: (made.append((name, [*options])), start(name, *options)),
        )
    return made


@pytest.fixture
def run(started, capsys):
    """A function that prints a table and gives what was printed and what was written."""

    def run(name: str, *options: str) -> tuple[str, dict]:
        line = [name, "--source", "..", "--data-dir", "../tfrecords", "--json", "figures.json"]
        command.main([*line, *options])
        return capsys.readouterr().out, json.loads(Path("figures.json").read_text())

    return run


def accuracy(path: str, task: str = "gender") -> float:
    table = predictions.read(path)
    table = table[table[task].notna()]
    names = np.array(predictions.output_labels(table, task))
    return float((names[predictions.probabilities(table, task).argmax(1)] == table[task]).mean())


def test_vggface_transfer(run):
    printed, figures = run("vggface-transfer", "--repeats", "2", "--training", *BACKBONE, *TINY)
    for dataset, published in (("GenderDataset", 0.9642), ("GenderDataset_Small", 0.9411)):
        ours = figures["ours"][dataset]["accuracy"]
        tables = [
            f"model_files/reproduce-vggface-transfer-{dataset}/seed-{k}/"
            f"predictions-{dataset}-test.csv"
            for k in (0, 1)
        ]
        assert ours["values"] == pytest.approx([accuracy(table) for table in tables])
        line = next(line for line in printed.splitlines() if f"{dataset}, accuracy" in line)
        assert f"{published:.4f}" in line and f"{ours['mean'] - published:+.4f}" in line
    assert "0.0967" in printed and "0.1404" in printed


@pytest.mark.slow
def test_resnet50_subgroups(run):
    with pytest.raises(InputError, match=r"needs MORPH, .* --tables MORPH=PATH"):
        run("resnet50-subgroups")
    morph = ["--tables", "MORPH=../morph/faces.csv"]
    printed, figures = run("resnet50-subgroups", *morph, "--training", *BACKBONE, *SHORT)
    table = predictions.read(
        "model_files/reproduce-resnet50-subgroups-resnet50/predictions-faces-test.csv"
    )
    is_right = np.where(table.gender_female > table.gender_male, "female", "male") == table.gender
    assert len(table) == 40
    for group, ours in figures["ours"].items():
        gender, _, race = group.partition(", ")
        chosen = (group == "all") | (table.gender == gender)
        chosen &= (race == "") | (table.race == race)
        assert ours["mean"] == pytest.approx(is_right[chosen].mean())
        assert ours["count"] == chosen.sum()
    assert len(figures["ours"]) == 7 and "0.5000" in printed


@pytest.mark.slow
def test_adience_five_folds(run):
    printed, figures = run("adience-five-folds", "--training", *BACKBONE, *TINY)
    tables = [
        f"model_files/reproduce-adience-five-folds-{{}}/fold-{k}/predictions-Adience-test.csv"
        for k in range(5)
    ]
    ours = figures["ours"]["gender"]
    assert ours["values"] == pytest.approx([accuracy(path.format("gender")) for path in tables])
    table = pd.concat(predictions.read(path.format("age")) for path in tables)
    assert len(table) == 120 and table.name.is_unique
    # By hand: the edges are half way between neighbouring bins; the trees' ages are three of them.
    edges = [-np.inf, 3, 7, 14, 22.5, 35, 45.5, 56.5, np.inf]
    known = table[table.age.notna()]
    predicted = pd.cut(known.age_predicted, edges, labels=False)
    is_right = predicted == known.age.map({1.0: 0, 28.5: 4, 80.0: 7})
    each = [is_right[known.name.isin(predictions.read(at.format("age")).name)] for at in tables]
    assert figures["ours"]["age"]["values"] == pytest.approx([part.mean() for part in each])
    assert "0.9195" in printed and "0.6771" in printed and "fold-4" in printed


@pytest.mark.slow
def test_nii_cross_dataset_and_finished_runs_are_used(run, started):
    printed, figures = run("nii-cross-dataset", "--training", *BACKBONE, *SHORT)
    cells = {(one["run"], one["dataset"]): one for one in figures["ours"]["matrix"]}
    names = ("UTKFace", "FairFace", "Adience", "AllAgeFaces")
    assert set(cells) == {(f"reproduce-nii-cross-dataset-{a}", b) for a in names for b in names}
    for (trained, tested), cell in cells.items():
        path = f"model_files/{trained}/predictions-{tested}-test.csv"
        assert cell["gender"]["accuracy"] == pytest.approx(accuracy(path))
        assert cell["trained_on"] == trained.endswith(f"-{tested}")
    for missing in ("MORPH", "KaggleGender", "JapanesePoliticians"):
        assert f"left out: nii-cross-dataset needs {missing}" in printed
    matrix = Path("model_files/reproduce-nii-cross-dataset-matrix/matrix.json")
    assert json.loads(matrix.read_text()) == figures["ours"]["matrix"]

    assert [name for name, _ in started] == 4 * ["multitask"]
    _, figures = run("nii-cross-dataset", "--runs", "reproduce-nii-cross-dataset-UTKFace")
    assert len(started) == 4
    assert {one["run"] for one in figures["ours"]["matrix"]} == {
        "reproduce-nii-cross-dataset-UTKFace"
    }


@pytest.mark.slow
def test_nii_fine_tuning_is_the_published_chain(run):
    tables = ["--tables", "KaggleGender=../kaggle", "MORPH=../morph/faces.csv"]
    first = "reproduce-nii-fine-tuning-1-UTKFace"
    given = shlex.split(f"{shlex.join(BACKBONE)} --run {first} --dataset UTKFace")
    trainings.start(
        "multitask",
        *given,
        *("--source", "../UTKFace", "--data-dir", "../tfrecords", "--tasks", "gender", *SHORT),
    )
    printed, figures = run("nii-fine-tuning", *tables, "--training", *SHORT)
    links = {one["run"] for one in figures["ours"]["matrix"]}
    last = "reproduce-nii-fine-tuning-3-kaggle20+AllAgeFaces"
    assert len(links) == 3 and {first, last} <= links
    settings = json.loads(Path("model_files", last, "config.json").read_text())["settings"]
    assert settings["init"] == "reproduce-nii-fine-tuning-2-FairFace"
    assert settings["dataset"] == "../kaggle[:20%]+AllAgeFaces"
    assert "left out: nii-fine-tuning needs JapanesePoliticians" in printed


@pytest.mark.slow
def test_nii_pseudo_labels(run, started):
    _, figures = run("nii-pseudo-labels", "--threshold", "0.5", "--training", *BACKBONE, *SHORT)
    settings = json.loads(
        Path("model_files/reproduce-nii-pseudo-labels-after/config.json").read_text()
    )["settings"]
    assert settings["dataset"].startswith("UTKFace+") and settings["dataset"].endswith("*0.5")
    assert len(figures["ours"]["matrix"]) == 4
    names = [name for name, _ in started]
    assert names == ["multitask", "pseudo_label", "pseudo_label", "multitask"]
    assert "0.99" in started[1][1] and {"--threshold", "0.5"} < {*started[2][1]}


@pytest.mark.slow
def test_utkface_multitask(run, started):
    printed, figures = run("utkface-multitask", "--repeats", "2", "--training", *BACKBONE, *SHORT)
    assert "0.9515" in printed and "0.8645" in printed
    balances = [options for _, options in started if "--balance" in options]
    assert len(started) == 4 and len(balances) == 1
    assert "race:Black=2,Asian=3,Indian=3,Others=4" in balances[0]
    kinds = {"one task": "{}", "several tasks": "multitask", "several, balanced": "balanced"}
    for task in ("gender", "race"):
        for kind, its in kinds.items():
            folder = f"model_files/reproduce-utkface-{its.format(task)}"
            wanted = [
                accuracy(f"{folder}/seed-{seed}/predictions-UTKFace-test.csv", task)
                for seed in (0, 1)
            ]
            assert figures["ours"]["test"][task][kind]["values"] == pytest.approx(wanted)
        compared = figures["ours"][f"{task}, one task against several"]
        assert compared["tasks"].keys() == {task}
    ours = figures["ours"]["validation-oversampled"]["gender"]["one task"]
    line = next(line for line in printed.splitlines() if "gender, one task" in line)
    assert f"{ours['mean'] - 0.9443:+.4f}" in line

    # Once more: what was made is found.
    file = Path(
        "model_files/reproduce-utkface-race/seed-1/predictions-UTKFace-validation-oversampled.csv"
    )
    before = file.stat().st_mtime_ns, files.digest(file)
    _, again = run("utkface-multitask", "--repeats", "2", "--training", *BACKBONE, *SHORT)
    assert again == figures and len(started) == 4
    assert before == (file.stat().st_mtime_ns, files.digest(file))


def test_what_is_not_there_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="none of its datasets is there"):
        run("vggface-transfer")
    with pytest.raises(InputError, match="takes four runs"):
        run("utkface-multitask", "--runs", "one")
    with pytest.raises(SystemExit) as stopped:
        run("resnet50-subgroups", "--tables", "MORPH=nowhere.csv")
    assert stopped.value.code == 2
