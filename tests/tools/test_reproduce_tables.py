"""Every published table from end to end, on drawn faces in the datasets' true layouts.

Once with stand-ins for the trainings, and, slowly, with a tiny network that is really trained.
"""

import contextlib
import json
import re
from pathlib import Path

import keras
import numpy as np
import onnx_files
import pandas as pd
import published_trees
import pytest
import stand_ins

from reproduce import command, trainings
from vggface_gender.base import files
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import predictions
from vggface_gender.inference import classifier

DOCS = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"

# A tiny network in place of the published ones, trained for a moment.
TINY = ["--epochs", "1", "--batch-size", "16"]
BACKBONE = ["--backbone", "../tiny.keras"]
SHORT = [*TINY, "--unfreeze", "none", "--head-epochs", "1"]
KAGGLE, MORPH = "KaggleGender=../kaggle", "MORPH=../MORPH/faces.csv"
POLITICIANS = "JapanesePoliticians=../politicians"


@pytest.fixture(scope="module")
def datasets(made_once) -> Path:
    """A folder with the datasets, each as it is published, and a tiny backbone."""

    def fill(folder: Path) -> None:
        published_trees.write_all(folder)
        with contextlib.chdir(folder):  # MORPH's table is made as the docs say
            (block,) = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.M | re.S)
            exec(compile(block, DOCS.name, "exec"), {})
        onnx_files.write(folder / "arcface.onnx")
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


def differs(line: str, mean: float, published: float) -> bool:
    """Whether a printed line gives our mean, and its difference from what is published in percent.

    Args:
        mean: a share of 1.
    """
    ours, points = re.search(r".* ([\d.]+)% .* ([+-][\d.]+) points$", line).groups()
    differences = float(ours) - 100 * mean, float(points) - (100 * mean - published)
    return max(map(abs, differences)) < 0.0051  # they are rounded


def line_of(printed: str, start: str) -> str:
    """The last printed line that begins so: ours are below what was published."""
    return [line for line in printed.splitlines() if line.strip().startswith(start)][-1]


def accuracy(path: str, task: str = "gender") -> float:
    table = predictions.read(path)
    table = table[table[task].notna()]
    names = np.array(predictions.output_labels(table, task))
    return float((names[predictions.probabilities(table, task).argmax(1)] == table[task]).mean())


@pytest.mark.slow
def test_vggface_transfer(run):
    printed, figures = run("vggface-transfer", "--repeats", "2", "--training", *BACKBONE, *TINY)
    for dataset, published in (("GenderDataset", 96.42), ("GenderDataset_Small", 94.11)):
        ours = figures["ours"][dataset]["accuracy"]
        tables = [
            f"model_files/reproduce-vggface-transfer-{dataset}/seed-{k}/"
            f"predictions-{dataset}-test.csv"
            for k in (0, 1)
        ]
        assert ours["values"] == pytest.approx([accuracy(table) for table in tables])
        line = line_of(printed, f"{dataset}, accuracy")
        assert f" {published}%" in line and differs(line, ours["mean"], published)
    ours = figures["ours"]["GenderDataset"]["cross_entropy"]
    line = line_of(printed, "GenderDataset, cross-entropy")
    assert " 0.0967 " in line and line.endswith(f"{ours['mean'] - 0.0967:+.4f}")


@pytest.mark.slow
def test_resnet50_subgroups(run, capsys):
    with pytest.raises(InputError, match=r"needs MORPH, .* --tables MORPH=PATH"):
        run("resnet50-subgroups")
    assert "female, Black    50%" in capsys.readouterr().out  # it is published all the same
    given = ["--tables", MORPH, KAGGLE]
    printed, figures = run("resnet50-subgroups", *given, "--training", *BACKBONE, *SHORT)
    folder = "model_files/reproduce-resnet50-subgroups-resnet50"
    table = predictions.read(f"{folder}/predictions-faces-test.csv")
    is_right = np.where(table.gender_female > table.gender_male, "female", "male") == table.gender
    assert len(table) == 16
    ours = figures["ours"]
    kaggle = ours.pop("Kaggle validation")
    assert kaggle["mean"] == pytest.approx(accuracy(f"{folder}/predictions-kaggle-validation.csv"))
    assert differs(line_of(printed, "Kaggle validation "), kaggle["mean"], 95)
    assert len(ours) == 7
    for group, its in ours.items():
        gender, _, race = group.partition(", ")
        chosen = (group == "all") | (table.gender == gender)
        chosen &= (race == "") | (table.race == race)
        assert its["mean"] == pytest.approx(is_right[chosen].mean())
        assert its["count"] == chosen.sum()
    assert differs(line_of(printed, "female, Black ("), ours["female, Black"]["mean"], 50)


@pytest.mark.slow
def test_adience_five_folds(run):
    printed, figures = run("adience-five-folds", "--training", *BACKBONE, *TINY)
    tables = [
        f"model_files/reproduce-adience-five-folds-{{}}/fold-{k}/predictions-Adience-{{}}.csv"
        for k in range(5)
    ]
    for split in ("train", "validation", "test"):
        ours = figures["ours"]["gender"][split]["values"]
        wanted = [accuracy(path.format("gender", split)) for path in tables]
        assert ours == pytest.approx(wanted)
    table = pd.concat(predictions.read(path.format("age", "test")) for path in tables)
    assert len(table) == 120 and table.name.is_unique
    # By hand: the edges are half way between neighbouring bins; the trees' ages are three of them.
    edges = [-np.inf, 3, 7, 14, 22.5, 35, 45.5, 56.5, np.inf]
    known = table[table.age.notna()]
    predicted = pd.cut(known.age_predicted, edges, labels=False)
    is_right = predicted == known.age.map({1.0: 0, 28.5: 4, 80.0: 7})
    names = [predictions.read(path.format("age", "test")).name for path in tables]
    each = [is_right[known.name.isin(its)].mean() for its in names]
    assert figures["ours"]["age"]["test"]["values"] == pytest.approx(each)
    for test, age in (("79.949%", "47.181%"), ("95.044%", "74.943%")):
        assert printed.count(test) == printed.count(age) == 2  # alone, and beside ours
    assert differs(line_of(printed, "mean, test"), np.mean(each), 67.707)  # of age, the last
    assert "published: on ArcFace's 512 numbers; ours: on ../tiny.keras" in printed


@pytest.mark.slow
def test_adience_on_an_embedding_that_is_given(run, started):
    arcface = ["--embedding", "../arcface.onnx", "--training", *TINY]
    printed, figures = run("adience-five-folds", *arcface)
    assert "ours: on the 16 of ../arcface.onnx:rgb:127.5:127.5, which is another" in printed
    assert len(figures["ours"]["gender"]["test"]["values"]) == 5
    assert [options[options.index("--backbone") + 1] for _, options in started] == [
        "../arcface.onnx",
        "../arcface.onnx",
    ]
    with pytest.raises(InputError, match=r"remove that run, or give another with --runs"):
        run("adience-five-folds", "--embedding", "../arcface.onnx:rgb:127.5:128")
    assert len(started) == 2


@pytest.mark.slow
def test_nii_cross_dataset_and_finished_runs_are_used(run, started):
    options = ["--training", *BACKBONE, *SHORT]
    printed, figures = run("nii-cross-dataset", *options)
    cells = {(one["run"], one["dataset"]): one for one in figures["ours"]["matrix"]}
    names = ("UTKFace", "AllAgeFaces", "FairFace", "Adience")
    assert set(cells) == {(f"reproduce-nii-cross-dataset-{a}", b) for a in names for b in names}
    for (trained, tested), cell in cells.items():
        path = f"model_files/{trained}/predictions-{tested}-test.csv"
        assert cell["gender"]["accuracy"] == pytest.approx(accuracy(path))
        assert cell["trained_on"] == trained.endswith(f"-{tested}")
    for missing in ("MORPH", "KaggleGender", "JapanesePoliticians"):
        assert f"left out: nii-cross-dataset needs {missing}" in printed
    assert "in place of the model trained on KaggleGender: one trained on each of" in printed
    matrix = Path("model_files/reproduce-nii-cross-dataset-matrix/matrix.json")
    assert json.loads(matrix.read_text()) == figures["ours"]["matrix"]

    assert [name for name, _ in started] == 4 * ["multitask"]
    run_of_utkface = "reproduce-nii-cross-dataset-UTKFace"
    printed, figures = run("nii-cross-dataset", "--runs", run_of_utkface)
    assert len(started) == 4
    assert {one["run"] for one in figures["ours"]["matrix"]} == {run_of_utkface}
    assert f"trained on KaggleGender; ours: {run_of_utkface}, trained on UTKFace" in printed
    mean = cells[run_of_utkface, "UTKFace"]["gender"]["accuracy"]
    assert differs(line_of(printed, "UTKFace (in-domain)"), mean, 90.44)


@pytest.mark.slow
def test_nii_cross_dataset_is_the_kaggle_model_where_its_data_is(run, started):
    options = ["--tables", KAGGLE, POLITICIANS, "--training", *BACKBONE, *SHORT]
    printed, figures = run("nii-cross-dataset", *options)
    cells = {one["dataset"]: one["gender"] for one in figures["ours"]["matrix"]}
    assert {one["run"] for one in figures["ours"]["matrix"]} == {
        "reproduce-nii-cross-dataset-kaggle"
    }
    assert [name for name, _ in started] == ["multitask"]
    politicians = cells["politicians"]
    assert differs(line_of(printed, "JapanesePoliticians "), politicians["accuracy"], 98.02)
    male = politicians["by_gender"]["male"]["accuracy"]
    assert differs(line_of(printed, "JapanesePoliticians, male"), male, 99.43)
    kaggle, asian = cells["kaggle"], cells["AllAgeFaces"]
    parts = [(kaggle["count"] / 5, kaggle["accuracy"]), (asian["count"], asian["accuracy"])]
    mix = sum(count * its for count, its in parts) / sum(count for count, _ in parts)
    assert differs(line_of(printed, "mix (in-domain)"), mix, 78.31)


@pytest.mark.slow
def test_nii_fine_tuning_is_the_published_chain(run, started):
    tables = ["--tables", KAGGLE, MORPH]
    # What begins takes a backbone, what continues does not.
    first = "reproduce-nii-fine-tuning-1-kaggle"
    line = ["--run", first, "--dataset", "../kaggle", "--data-dir", "../tfrecords"]
    trainings.start("multitask", *line, "--tasks", "gender", *BACKBONE, *SHORT)
    printed, figures = run("nii-fine-tuning", *tables, "--training", *SHORT)
    links = {one["run"] for one in figures["ours"]["matrix"]}
    last = "reproduce-nii-fine-tuning-3-kaggle20+AllAgeFaces"
    assert len(links) == 3 and {first, last} <= links
    settings = json.loads(Path("model_files", last, "config.json").read_text())["settings"]
    assert settings["init"] == "reproduce-nii-fine-tuning-2-FairFace"
    assert settings["dataset"] == "../kaggle[:20%]+AllAgeFaces"
    assert "left out: nii-fine-tuning needs JapanesePoliticians" in printed
    cells = {(one["run"], one["dataset"]): one["gender"] for one in figures["ours"]["matrix"]}
    ours = cells[last, "UTKFace"]["by_gender"]["female"]["accuracy"]
    assert differs(line_of(printed, "UTKFace, female"), ours, 91.86)
    assert f"published: then the mix; ours: {last}, trained on" in printed
    with pytest.raises(InputError, match="up to 3 runs: Kaggle model, then FairFace, then the mix"):
        run("nii-fine-tuning", "--runs", *"abcd")


@pytest.mark.slow
def test_nii_pseudo_labels(run, started):
    printed, figures = run(
        "nii-pseudo-labels", "--threshold", "0.5", "--training", *BACKBONE, *SHORT
    )
    settings = json.loads(
        Path("model_files/reproduce-nii-pseudo-labels-after/config.json").read_text()
    )["settings"]
    assert settings["dataset"].startswith("UTKFace+") and settings["dataset"].endswith("*0.5")
    assert len(figures["ours"]["matrix"]) == 4 and "the table is empty in the source" in printed
    names = [name for name, _ in started]
    assert names == ["multitask", "pseudo_label", "pseudo_label", "multitask"]
    assert "0.99" in started[1][1] and {"--threshold", "0.5"} < {*started[2][1]}


@pytest.mark.slow
def test_utkface_multitask(run, started):
    printed, figures = run("utkface-multitask", "--repeats", "2", "--training", *BACKBONE, *SHORT)
    assert "95.15%" in printed and "86.45%" in printed
    counts = figures["ours"].pop("faces")
    assert sum(counts["faces by race"]["raw"].values()) == 120
    ours = counts["faces by gender"]["raw"]["male"]
    assert line_of(printed, "raw: male").split() == ["raw:", "male", "12,391", str(ours)]
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
    assert differs(line, ours["mean"], 94.43)

    # Once more: what was made is found.
    file = Path(
        "model_files/reproduce-utkface-race/seed-1/predictions-UTKFace-validation-oversampled.csv"
    )
    before = file.stat().st_mtime_ns, files.digest(file)
    _, again = run("utkface-multitask", "--repeats", "2", "--training", *BACKBONE, *SHORT)
    assert again["ours"].pop("faces") == counts
    assert again == figures and len(started) == 4
    assert before == (file.stat().st_mtime_ns, files.digest(file))


def test_what_is_not_there_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="none of its datasets is there"):
        run("vggface-transfer")
    for name, count in (
        ("utkface-multitask", "4 runs"),
        ("vggface-transfer", "2 runs"),
        ("adience-five-folds", "2 runs"),
        ("nii-pseudo-labels", "2 runs"),
    ):
        with pytest.raises(InputError, match=f"{name} takes {count}, not 1: "):
            run(name, "--runs", "one")
    with pytest.raises(SystemExit) as stopped:
        run("resnet50-subgroups", "--tables", "MORPH=nowhere.csv")
    assert stopped.value.code == 2
