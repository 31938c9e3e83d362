"""evaluate: what it writes is what the classifier predicts, and nothing stands in for anything."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender import audit, datasets, evaluate, gradcam, robustness
from vggface_gender.base import files, runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records
from vggface_gender.evaluation import metrics, predictions, provenance
from vggface_gender.inference import classifier
from vggface_gender.training import heads

AS_THEY_ARE = ["--align", "never"]  # nobody looks for faces in crops of 40 pixels


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, draw_table):
    """A folder with a classifier that was not trained, and a table of ten faces to test it on."""
    folder = tmp_path_factory.mktemp("untrained")
    tasks = {"gender": TASKS["gender"].labels, "age": ()}
    keras.utils.set_random_seed(1)
    crop = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(crop)
    backbone = keras.Model(crop, keras.layers.Conv2D(8, 5, strides=4)(x), name="tiny")
    head = heads.build("shared", backbone.output_shape[1:], tasks=tasks)
    built = classifier.build(
        backbone, head, tasks=tasks, padding=0.25, precision="float32", about={}
    )
    classifier.save(built, folder / runs.CLASSIFIER)
    table = draw_table(folder, 10, 40)
    pd.read_csv(table).assign(split="test").to_csv(table, index=False)
    return folder


@pytest.fixture
def home(untrained, tmp_path, monkeypatch):
    """A folder to work in, with the run `tiny`, and `faces.csv`."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / runs.MODEL_FILES / "tiny"
    run.mkdir(parents=True)
    shutil.copy(untrained / runs.CLASSIFIER, run)
    for path in (*untrained.glob("*.jpg"), untrained / "faces.csv"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_table_holds_what_the_classifier_predicts_and_the_metrics_are_the_tables(home):
    run = Path("model_files/tiny")
    (run / "predictions-faces-test.csv").write_text("from an older version\n")
    evaluate.main(["--run", "tiny", *AS_THEY_ARE, "--dataset", "faces.csv", "--batch-size", "3"])
    table = predictions.read(run / "predictions-faces-test.csv")
    dataset = datasets.prepare("faces.csv")
    loaded = classifier.load(run / runs.CLASSIFIER)
    crops = records.batches(dataset, "test", batch_size=10, size=16, padding=0.25)
    expected = loaded.predict(next(iter(crops))["image"].numpy())
    np.testing.assert_allclose(
        predictions.probabilities(table, "gender"), expected["gender"], atol=1e-5
    )
    np.testing.assert_allclose(predictions.years(table), expected["age"], rtol=1e-4)
    written = json.loads((run / "metrics-faces-test.json").read_text())
    made_by = written.pop("made_by")
    assert made_by["records"] == dataset.fingerprint
    assert written == {
        "dataset": "faces",
        "split": "test",
        "count": 10,
        "tasks": metrics.evaluate(table),
        "overlap": {"images": None, "unknown": []},
    }
    made_by = provenance.made_by(run / runs.CLASSIFIER, dataset, split="test")
    assert provenance.is_current(run / "predictions-faces-test.csv", made_by)


def test_another_table_of_the_same_name_is_written_beside(home):
    run = Path("model_files/tiny")
    evaluate.main(["--run", "tiny", *AS_THEY_ARE, "--dataset", "faces.csv"])
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    other = Path("other")
    other.mkdir()
    rows = pd.read_csv("faces.csv")[:4]
    for name in rows["file"]:
        shutil.copy(name, other)
    rows.to_csv(other / "faces.csv", index=False)
    evaluate.main(["--run", "tiny", *AS_THEY_ARE, "--dataset", "other/faces.csv"])
    assert before.items() <= {path.name: path.read_bytes() for path in run.iterdir()}.items()
    found = predictions.tables(run, "test")
    assert {name: len(predictions.read(path)) for name, path in found.items()}.pop("faces") == 10
    (added,) = set(found) - {"faces"}
    assert len(predictions.read(found[added])) == 4
    assert json.loads((run / f"metrics-{added}-test.json").read_text())["count"] == 4


@pytest.fixture
def other(home):
    """Another table of the name `faces`, of the first four faces."""
    (home / "other").mkdir()
    rows = pd.read_csv("faces.csv")[:4]
    for name in rows["file"]:
        shutil.copy(name, "other")
    rows.to_csv("other/faces.csv", index=False)
    return "other/faces.csv"


@pytest.mark.slow
def test_an_audit_is_of_the_table_that_was_named(home, other, capsys):
    """Not of another of its name, and not of one that was changed since it was written."""
    Path("tiny").mkdir()  # a dataset's folder may have a run's name
    evaluate.main(["--run", "tiny", *AS_THEY_ARE, "--dataset", other])
    with pytest.raises(InputError, match=r"no test predictions of faces\.csv"):
        audit.main(["--run", "tiny", "--dataset", "faces.csv"])
    evaluate.main(["--run", "tiny", *AS_THEY_ARE, "--dataset", "faces.csv"])
    for name, count in ((other, 4), ("faces.csv", 10)):
        capsys.readouterr()
        audit.main(["--run", "tiny", "--dataset", name, "--json", "audit.json"])
        assert capsys.readouterr().out
        audited = json.loads(Path("audit.json").read_text())["tasks"]["gender"]
        assert audited["count"] == (pd.read_csv(name).gender.notna()).sum() <= count
    path = predictions.tables(Path("model_files/tiny"), "test")["faces"]
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match="changed since it was written"):
        audit.main(["--run", "tiny", "--dataset", other])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "options"),
    [
        (gradcam, ["--task", "age"]),
        (robustness, ["--rotations", "9", "--margins", "--resolutions"]),
    ],
)
def test_pictures_and_figures_of_two_tables_of_one_name_are_apart(home, other, command, options):
    run = Path("model_files/tiny")
    command.main(["--run", "tiny", "--dataset", "faces.csv", *options])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert len(before) > 2
    for _ in range(2):
        command.main(["--run", "tiny", "--dataset", other, *options])
        after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        assert before.items() <= after.items()
        assert len(after) - 1 == 2 * (len(before) - 1)  # all but the classifier
    command.main(["--run", "tiny", "--dataset", "faces.csv", *options])
    assert after.keys() == {path for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("changed", ["labels", "classifier", "dropout"], ids="{} changed".format)
def test_whatever_makes_a_table_makes_it_anew(home, changed):
    """Labels swapped, a classifier replaced, settings edited: an older table stands for nothing."""
    line = ["--run", "tiny", *AS_THEY_ARE, "--dataset", "faces.csv"]
    place = "predictions-faces-test"
    evaluate.main(line)
    run = Path("model_files/tiny")
    dataset = datasets.prepare("faces.csv")
    key = provenance.made_by(run / runs.CLASSIFIER, dataset, split="test")
    assert provenance.is_current(run / f"{place}.csv", key)
    if changed == "labels":
        swap = {"female": "male", "male": "female"}
        rows = pd.read_csv("faces.csv")
        rows.assign(gender=rows.gender.map(swap)).to_csv("faces.csv", index=False)
        dataset = datasets.prepare("faces.csv")
    elif changed == "classifier":
        with (run / runs.CLASSIFIER).open("ab") as file:
            file.write(b"another")
    more = {"mc_dropout": 3} if changed == "dropout" else {}
    other = provenance.made_by(run / runs.CLASSIFIER, dataset, split="test", **more)
    assert not provenance.is_current(run / f"{place}.csv", other)
    assert predictions.current(run, dataset, split="test", made_by=other) is None


@pytest.mark.parametrize("option", ["--mc-dropout", "--dropout"])
def test_the_uncertainty_of_dropout_is_written_by_name(home, option):
    evaluate.main(
        ["--run", "tiny", *AS_THEY_ARE, "--dataset", "faces.csv", "--out", "out", option, "4"]
    )
    assert {path.name for path in Path("out").iterdir()} >= {
        "predictions-faces-test-dropout4.csv",
        "metrics-faces-test-dropout4.json",
        "uncertainty-faces-test-dropout4.csv",
    }
    table = predictions.read("out/predictions-faces-test-dropout4.csv")
    uncertainty = pd.read_csv("out/uncertainty-faces-test-dropout4.csv")
    assert list(uncertainty.columns) == ["name", "gender", "age"]
    assert uncertainty["name"].tolist() == table["name"].tolist()
    probability = predictions.probabilities(table, "gender")
    entropy = -(probability * np.log(probability)).sum(axis=1)
    np.testing.assert_allclose(uncertainty["gender"], entropy, rtol=1e-6)


def test_a_run_is_not_tested_on_records_that_have_changed_since_its_training(home):
    run = Path("model_files/tiny")
    settings = {"dataset": "faces.csv", "split_seed": 0}
    learned = datasets.prepare("faces.csv").fingerprint
    files.write_json({"settings": settings | {"fingerprint": learned}}, run / "config.json")
    evaluate.main(["--run", "tiny", *AS_THEY_ARE, "--dataset", "faces.csv", "--out", "out"])
    files.write_json({"settings": settings | {"fingerprint": "other"}}, run / "config.json")
    with pytest.raises(InputError, match="trained on"):
        evaluate.main(["--run", "tiny", *AS_THEY_ARE, "--dataset", "./faces.csv"])
    evaluate.main(
        [
            "--run",
            "tiny",
            *AS_THEY_ARE,
            "--dataset",
            "faces.csv",
            "--split-seed",
            "0",
            "--out",
            "out",
        ]
    )


@pytest.mark.slow
def test_a_whole_table_is_evaluated_with_split_all(home):
    table = pd.read_csv("faces.csv")
    table.assign(split=["train", "val", "test", "test", ""] * 2).to_csv("faces.csv", index=False)
    run = Path("model_files/tiny")
    for split, named, count in (("all", "all", 10), ("val", "validation", 2)):
        evaluate.main(["--run", "tiny", *AS_THEY_ARE, "--dataset", "faces.csv", "--split", split])
        assert len(predictions.read(run / f"predictions-faces-{named}.csv")) == count
        figures = json.loads((run / f"metrics-faces-{named}.json").read_text())
        assert (figures["split"], figures["count"]) == (named, count)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--run", "nothing", "--dataset", "faces.csv"], "no run nothing"),
        (["--run", "tiny", "--dataset", "nothing.csv"], "nothing.csv"),
        (["--run", "tiny", *AS_THEY_ARE, "--dataset", "faces.csv", "--split", "train"], "no split"),
    ],
)
def test_what_is_not_there_is_one_line(home, arguments, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        evaluate.main(arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "align", "is_aligned"),
    [
        ([], "never", [False]),
        ([], "always", [True]),
        (["--align", "never"], "always", [False]),
        (["--align", "always"], "never", [True]),
    ],
)
def test_faces_are_framed_as_those_that_the_run_learned_from(home, options, align, is_aligned):
    settings = {"dataset": "UTKFace", "align": align}
    files.write_json({"settings": settings}, home / "model_files" / "tiny" / "config.json")
    pd.read_csv("faces.csv")[:3].to_csv("faces.csv", index=False)
    evaluate.main(["--run", "tiny", "--dataset", "faces.csv", *options])
    found = [path.name for path in Path("tfrecords", "table").iterdir()]
    assert ["aligned" in name for name in found] == is_aligned
