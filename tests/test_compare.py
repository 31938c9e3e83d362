"""compare: the tables that it finds, the figures that it writes, what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vggface_gender import audit, compare
from vggface_gender.base import files, labels, runs
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, predictions, repeats


def write_repeat(
    folder: Path, seed: int, skill: float, dataset: str = "UTKFace", first: int = 0, **settings
) -> Path:
    """One training's folder: config, a stand-in for its classifier, predictions of 40 faces."""
    truth = [labels.GENDERS[index % 2] for index in range(first, first + 40)]
    right = np.array([[name == label for name in labels.GENDERS] for label in truth], float)
    noise = np.random.default_rng([seed, round(100 * skill)]).dirichlet([1, 1], 40)
    names = [f"{index}.jpg" for index in range(first, first + 40)]
    outputs = {"gender": skill * right + (1 - skill) * noise}
    table = predictions.table(
        names, {"gender": truth}, outputs=outputs, tasks={"gender": labels.GENDERS}
    )
    predictions.write(table, folder / f"predictions-{dataset}-test.csv")
    settings = {"seed": seed, "split_seed": 0, "fingerprint": "f", **settings}
    files.write_json({"settings": settings, "versions": {}}, folder / "config.json")
    (folder / runs.CLASSIFIER).write_text(f"{folder} {skill}")
    return folder


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """A folder to work in, with the runs `a` and `b` of three seeds each and `one` of one."""
    monkeypatch.chdir(tmp_path)
    for name, skill in (("a", 0.1), ("b", 0.3)):
        for seed in range(3):
            write_repeat(runs.MODEL_FILES / name / f"seed-{seed}", seed, skill)
        files.write_json({}, runs.MODEL_FILES / name / "summary.json")
    write_repeat(runs.MODEL_FILES / "one", 7, 0.2)
    return tmp_path


def written(*arguments: str) -> dict:
    """What the command writes."""
    compare.main([*arguments, "--json", "out.json"])
    return json.loads(Path("out.json").read_text())


def test_two_runs_of_repeats(two_runs):
    found = written("a", "b")
    assert found["b"] == {"run": "b", "repeats": ["seed-0", "seed-1", "seed-2"]}
    assert (found["dataset"], found["split"]) == ("UTKFace", "test")
    accuracy = found["tasks"]["gender"]["metrics"]["accuracy"]
    expected = [
        metrics.evaluate(predictions.read(path))["gender"]["accuracy"]
        for path in sorted(Path("model_files/a").glob("seed-*/predictions-UTKFace-test.csv"))
    ]
    assert accuracy["a"]["values"] == expected and len(expected) == 3
    assert 0 < accuracy["p"] <= accuracy["p_holm"] <= 1


def test_the_figures_come_from_the_tables_not_from_metrics_json(two_runs):
    before = written("a", "b")
    for folder in Path("model_files/a").glob("seed-*"):
        (folder / runs.METRICS).write_text('{"tasks": {"gender": {"accuracy": 1.0}}}')
    assert written("a", "b") == before


def test_single_runs_are_called_by_their_folders(two_runs):
    found = written("model_files/b/seed-1", "one")
    assert found["t_test"]["test"] is None
    assert found["a"] == {"run": "model_files/b/seed-1", "repeats": ["seed-1"]}
    (test,) = found["tasks"]["gender"]["same_images"]
    assert (test["a"], test["b"]) == ("seed-1", "one")


def test_repeats_are_in_the_order_of_their_numbers(two_runs):
    for seed in (10, 3):
        write_repeat(Path("model_files/a") / f"seed-{seed}", seed, 0.1)
    (Path("model_files/a") / "seed-4.bak").mkdir()
    assert [*repeats.folders("a")] == ["seed-0", "seed-1", "seed-2", "seed-3", "seed-10"]
    write_repeat(Path("model_files/a/fold-0"), 0, 0.1)
    with pytest.raises(InputError, match="both seeds and folds"):
        repeats.folders("a")


def test_resplits_are_paired(two_runs):
    for name, skill in (("x", 0.1), ("y", 0.3)):
        for seed in range(3):
            write_repeat(
                Path("model_files") / name / f"seed-{seed}",
                seed,
                skill,
                first=100 * seed,
                split_seed=seed,
                fingerprint=str(seed),
                **({"counts": {"train": 200, "test": 40}} if name == "x" else {}),
            )
    with pytest.raises(InputError, match="seed-0 of B has no counts"):
        compare.main(["x", "y"])
    found = written("x", "y", "--test-share", "0.2")["t_test"]
    assert found["test"] == "paired" and found["overlap"] == pytest.approx([0.2, 0.25])


@pytest.mark.slow
def test_a_copied_checkpoint_is_refused_in_one_line(two_runs):
    shutil.copy("model_files/a/seed-0/classifier.keras", "model_files/a/seed-1/classifier.keras")
    done = subprocess.run(
        [sys.executable, "-m", "vggface_gender.compare", "a", "b", "--json", "out.json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(compare.__file__).parents[1])},
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: seed-0 and seed-1 of A are one checkpoint")
    assert done.stderr.count("\n") == 1
    assert not Path("out.json").exists()


def test_a_link_to_a_repeat_and_one_run_twice_are_refused(two_runs):
    Path("model_files/b/seed-3").symlink_to("seed-1", target_is_directory=True)
    with pytest.raises(InputError, match="seed-1 and seed-3 of B are one checkpoint"):
        compare.main(["a", "b"])
    with pytest.raises(InputError, match="one of A and model_files/one of B are one checkpoint"):
        compare.main(["one", "model_files/one"])


def test_the_dataset_is_the_one_in_common(two_runs):
    for seed in range(3):
        write_repeat(Path("model_files/a") / f"seed-{seed}", seed, 0.1, "FairFace")
    assert written("a", "b")["dataset"] == "UTKFace"
    write_repeat(Path("model_files/one"), 7, 0.2, "FairFace")
    with pytest.raises(InputError, match="predictions of FairFace, UTKFace"):
        compare.main(["a", "one"])
    found = written("a", "one", "--dataset", "some/where/FairFace")
    assert found["dataset"] == "FairFace"
    with pytest.raises(InputError, match=r"seed-0 of B\) has no test predictions of FairFace"):
        compare.main(["a", "b", "--dataset", "FairFace"])


def test_different_datasets_are_refused(two_runs):
    write_repeat(Path("model_files/other"), 0, 0.5, "FairFace")
    with pytest.raises(InputError, match="A has predictions of UTKFace, B has predictions of Fair"):
        compare.main(["a", "other"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "nowhere"], "no run nowhere"),
        (["a", "b", "--split", "validation"], r"seed-0 of A\) has no validation predictions"),
        (["a", "unfinished"], r"seed-1 of B\) has no test predictions: finish its training"),
        (["a", "odd"], "config.json is damaged \\(no object\\): give a run's folder"),
    ],
)
def test_what_is_not_there_is_said(two_runs, arguments, message):
    write_repeat(Path("model_files/unfinished/seed-0"), 0, 0.5)
    Path("model_files/unfinished/seed-1").mkdir()
    (write_repeat(Path("model_files/odd"), 0, 0.5) / "config.json").write_text("[]")
    with pytest.raises(InputError, match=message):
        compare.main(arguments)


def test_two_folders_of_one_name_are_told_apart(two_runs, capsys):
    for place, seed in (("x", 1), ("y", 2)):
        write_repeat(Path(place, "run"), seed, 0.2)
    found = written("x/run", "y/run")
    (test,) = found["tasks"]["gender"]["same_images"]
    assert (test["a"], test["b"]) == ("x/run", "y/run")
    assert "  x/run  y/run" in capsys.readouterr().out


def test_predictions_of_a_classifier_that_was_replaced_are_refused(two_runs):
    folder = runs.MODEL_FILES / "one"
    path = folder / "predictions-UTKFace-test.csv"
    made_by = {"classifier": files.digest(folder / runs.CLASSIFIER), "records": "r"}
    predictions.write(predictions.read(path), path, made_by=made_by)
    compare.main(["one", "a"])
    (folder / runs.CLASSIFIER).write_text("trained again")
    for command, line in (
        (compare, ["one", "a"]),
        (audit, ["--run", "one", "--dataset", "UTKFace"]),
    ):
        with pytest.raises(InputError, match="another classifier"):
            command.main(line)


@pytest.mark.slow
def test_tables_that_are_damaged_are_one_line(two_runs):
    """Bytes flipped, cut, or whole cells of nonsense, at places drawn at random."""
    path = runs.MODEL_FILES / "one" / "predictions-UTKFace-test.csv"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(150):
        damaged = bytearray(whole)
        start = int(rng.integers(len(whole)))
        if trial % 3 == 0:
            damaged = damaged[:start]
        elif trial % 3 == 1:
            for place in rng.integers(len(whole), size=rng.integers(1, 20)):
                damaged[place] = rng.integers(256)
        else:
            filler = [b"\0" * 50, b"9" * 10_000, b'"' * 7, b"\xff" * 200_000, b",,,\r\n"][trial % 5]
            damaged[start:start] = filler
        path.write_bytes(bytes(damaged))
        for command, line in (
            (audit, ["--run", "one", "--dataset", "UTKFace"]),
            (compare, ["one", "a"]),
        ):
            try:
                command.main(line)
            except InputError as error:
                refused += 1
                assert len(str(error)) < 500
    assert refused > 100
