"""Every published table from end to end, on made-up trees of the datasets' true layouts."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import predictions

TOOLS = Path(__file__).resolve().parents[1] / "tools"
HEADER = "user_id original_image face_id age gender x y dx dy tilt_ang fiducial_yaw_angle"
HEADER = "\t".join([*HEADER.split(), "fiducial_score"])
# A tiny network in place of the published ones, trained for a moment.
TINY = ["--backbone", "tiny.keras", "--epochs", "1", "--batch", "16"]
TUNED = ["--training", *TINY, "--unfreeze", "none", "--head-epochs", "1"]


@pytest.fixture(scope="module")
def reproduce():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        import reproduce

        yield reproduce
        for name in ("reproduce", "reproduce_utkface", "cross_evaluate", "pseudo_label"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def home(tmp_path_factory, reproduce):
    """A folder with the datasets, each as it is published, and a tiny backbone."""
    import benchmark
    import cv2

    home = tmp_path_factory.mktemp("home")
    benchmark.draw_faces(home / "UTKFace", 120)
    drawn = sorted((home / "UTKFace").iterdir())
    faces = [cv2.imread(str(path)) for path in drawn]

    def put(path: Path, place: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        face = faces[place % len(faces)].copy()
        face[0, : 1 + place // len(faces)] = place % 256  # its own bytes
        assert cv2.imwrite(str(path), face)

    rows = ["file,age,gender,race,service_test"]
    for i in range(1, 121):
        race, gender = labels.FAIRFACE_RACES[i % 7], ["Male", "Female"][i % 2]
        rows.append(f"train/{i}.jpg,20-29,{gender},{race},TRUE")
        put(home / "FairFace/train" / f"{i}.jpg", i)
    (home / "FairFace/fairface_label_train.csv").write_text("\n".join(rows) + "\n")
    for i in range(240):
        for name in ("GenderDataset", "GenderDataset_Small"):
            put(home / name / "aligned" / f"{i // 2:03d}_{20 + i % 40}_{'FM'[i % 2]}/{i}.jpg", i)
    for fold in range(5):
        lines = [HEADER]
        for i in range(24):
            user, image = f"{fold}{i % 6}@N0", f"{i}_o.jpg"
            age = ("(0, 2)", "(25, 32)", "(60, 100)", "None")[i % 4]
            lines.append("\t".join([user, image, str(i), age, "fm"[i % 2], *"0000000"]))
            crop = f"landmark_aligned_face.{i}.{image}"
            put(home / "Adience/aligned" / user / crop, 24 * fold + i)
        (home / f"Adience/fold_{fold}_data.txt").write_text("\n".join(lines) + "\n")
    for i in range(60):
        number = i if i < 30 else 7381 + i
        put(home / "AllAgeFaces/aglined faces" / f"{number:05d}A{20 + i % 50:02d}.jpg", 200 + i)
        put(home / "kaggle/Training" / ("female", "male")[i % 2] / f"{i}.jpg", 300 + i)
        put(home / "kaggle/Validation" / ("female", "male")[i % 2] / f"{i}.jpg", 400 + i)
        put(home / "morph" / f"{i}.jpg", 500 + i)
    genders, races = ["female", "male"] * 30, ["White", "White", "Black", "Black"] * 15
    files = [f"{i}.jpg" for i in range(60)]
    table = pd.DataFrame({"file": files, "gender": genders, "race": races, "split": "test"})
    table.loc[:20, "split"] = "train"
    table.to_csv(home / "morph/faces.csv", index=False)

    keras.utils.set_random_seed(0)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    x = keras.layers.Conv2D(8, 3, strides=4)(x)
    keras.Model(crop, keras.layers.Flatten(name="embedding")(x), name="t").save(home / "tiny.keras")
    return home


@pytest.fixture
def run(home, reproduce, monkeypatch, capsys):
    """A function that prints a table and gives what was printed and what was written."""
    monkeypatch.chdir(home)
    monkeypatch.delenv("FACES_DIR", raising=False)

    def run(name: str, *options: str) -> tuple[str, dict]:
        reproduce.main([name, "--source", ".", "--json", "figures.json", *options])
        return capsys.readouterr().out, json.loads(Path("figures.json").read_text())

    return run


def accuracy(path: str, task: str = "gender") -> float:
    table = predictions.read(path)
    table = table[table[task].notna()]
    names = np.array(predictions.output_labels(table, task))
    return float((names[predictions.probabilities(table, task).argmax(1)] == table[task]).mean())


def test_vggface_transfer(run):
    printed, figures = run("vggface-transfer", "--repeats", "2", "--training", *TINY)
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


def test_resnet50_subgroups(run):
    with pytest.raises(InputError, match=r"needs MORPH, .* --tables MORPH=PATH"):
        run("resnet50-subgroups")
    printed, figures = run("resnet50-subgroups", "--tables", "MORPH=morph/faces.csv", *TUNED)
    table = predictions.read(
        "model_files/reproduce-resnet50-subgroups-resnet50/predictions-faces-test.csv"
    )
    right = np.where(table.gender_female > table.gender_male, "female", "male") == table.gender
    assert len(table) == 39
    for group, ours in figures["ours"].items():
        gender, _, race = group.partition(", ")
        chosen = (group == "all") | (table.gender == gender)
        chosen &= (race == "") | (table.race == race)
        assert ours["mean"] == pytest.approx(right[chosen].mean())
        assert ours["count"] == chosen.sum()
    assert len(figures["ours"]) == 7 and "0.5000" in printed


def test_adience_five_folds(run):
    printed, figures = run("adience-five-folds", "--training", *TINY)
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
    told = pd.cut(known.age_predicted, edges, labels=False)
    right = told == known.age.map({1.0: 0, 28.5: 4, 80.0: 7})
    each = [right[known.name.isin(predictions.read(path.format("age")).name)] for path in tables]
    values = [part.mean() for part in each]
    assert figures["ours"]["age"]["values"] == pytest.approx(values)
    assert "0.9195" in printed and "0.6771" in printed and "fold-4" in printed


def test_nii_cross_dataset(run):
    printed, figures = run("nii-cross-dataset", *TUNED)
    cells = {(one["run"], one["dataset"]): one for one in figures["ours"]["matrix"]}
    names = ("UTKFace", "FairFace", "Adience", "AllAgeFaces")
    assert set(cells) == {(f"reproduce-nii-cross-dataset-{a}", b) for a in names for b in names}
    for (trained, tested), cell in cells.items():
        path = f"model_files/{trained}/predictions-{tested}-test.csv"
        assert cell["gender"]["accuracy"] == pytest.approx(accuracy(path))
        assert cell["trained_on"] == trained.endswith(f"-{tested}")
    for missing in ("MORPH", "KaggleGender", "JapanesePoliticians"):
        assert f"left out: nii-cross-dataset needs {missing}" in printed


def test_nii_fine_tuning_is_the_published_chain(run):
    printed, figures = run(
        "nii-fine-tuning",
        "--tables",
        "KaggleGender=kaggle",
        "MORPH=morph/faces.csv",
        *TUNED[:1],
        *TUNED[3:],
    )
    links = {one["run"] for one in figures["ours"]["matrix"]}
    last = "reproduce-nii-fine-tuning-3-kaggle20+AllAgeFaces"
    assert len(links) == 3 and last in links
    settings = json.loads(Path("model_files", last, "config.json").read_text())["settings"]
    assert settings["init"] == "reproduce-nii-fine-tuning-2-FairFace"
    assert settings["dataset"] == "kaggle[:20%]+AllAgeFaces"
    assert settings["counts"]["train"] < 60
    assert "left out: nii-fine-tuning needs JapanesePoliticians" in printed


def test_nii_pseudo_labels(run):
    _, figures = run("nii-pseudo-labels", "--threshold", "0.5", *TUNED)
    settings = json.loads(
        Path("model_files/reproduce-nii-pseudo-labels-after/config.json").read_text()
    )["settings"]
    assert settings["dataset"].startswith("UTKFace+") and settings["dataset"].endswith("*0.5")
    assert len(figures["ours"]["matrix"]) == 4


def test_finished_runs_are_used(run):
    run("nii-cross-dataset", *TUNED)
    before = {path: path.stat().st_mtime_ns for path in Path("model_files").glob("*/*.keras")}
    _, figures = run("nii-cross-dataset", "--runs", "reproduce-nii-cross-dataset-UTKFace")
    assert {one["run"] for one in figures["ours"]["matrix"]} == {
        "reproduce-nii-cross-dataset-UTKFace"
    }
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_is_not_there_is_told_in_one_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="none of its datasets is there"):
        run("vggface-transfer")
    with pytest.raises(InputError, match="takes four --runs"):
        run("utkface-multitask", "--runs", "one")
    with pytest.raises(SystemExit) as stopped:
        run("resnet50-subgroups", "--tables", "MORPH=nowhere.csv")
    assert stopped.value.code == 2
