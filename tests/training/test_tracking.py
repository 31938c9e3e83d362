"""Experiments kept: what a tracker gets, once each, and that no training depends on it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from vggface_gender import finetune, multitask, transfer
from vggface_gender.base import extras
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import board
from vggface_gender.training import run, trackers, tracking
from vggface_gender.training.config import Config, flattened

SETTINGS = Config("transfer", "Faces", fingerprint="0123").settings()
FINAL = {"test/gender_accuracy": 0.9, "test by race/gender_accuracy/White": 0.8}


class Memory:
    """A tracker that keeps runs in memory, and fails at the calls that are named."""

    store = shown_by = "memory"

    def __init__(self):
        self.runs, self.fails = {}, set()

    def begin(self, name, *, kept, group, settings, tags):
        self._may("begin")
        if kept in self.runs:
            self.runs[kept]["status"] = "running"
            return kept
        its = {"name": name, "group": group, "settings": settings, "tags": tags}
        key = str(len(self.runs))
        self.runs[key] = its | {"metrics": [], "files": [], "status": "running"}
        return key

    def group(self, name, *, kept):
        return self.begin(name, kept=kept, group=None, settings={}, tags={})

    def last(self, run, metric):
        return max(
            (at for name, at, _ in self.runs[run]["metrics"] if name == metric), default=None
        )

    def log(self, run, metrics, *, step):
        self._may("log")
        self.runs[run]["metrics"] += [(name, step, value) for name, value in metrics.items()]

    def add_files(self, run, paths):
        self.runs[run]["files"] += [path.name for path in paths]

    def end(self, run, status):
        self.runs[run]["status"] = status

    def _may(self, call):
        if call in self.fails:
            raise ConnectionError(f"no {call} today\nand a trace of many lines")


@pytest.fixture
def memory(monkeypatch) -> Memory:
    """What keeps the experiments of this test, installed as MLflow."""
    kept = Memory()
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", lambda folder: kept)
    monkeypatch.setattr(extras, "require", lambda module: None)
    return kept


def history(head: int, backbone: int = 0) -> pd.DataFrame:
    """So many epochs of each phase; what the second alone has is missing in the first."""
    rows = [
        {"phase": "head", "epoch": k + 1, "loss": 1 / (k + 1), "val_loss": 0.5, "is_best": k == 0}
        for k in range(head)
    ]
    rows += [rows[0] | {"phase": "backbone", "epoch": k + 1, "rate": 0.1} for k in range(backbone)]
    return pd.DataFrame(rows)


@pytest.fixture
def folder(workplace) -> Path:
    """A run that was begun."""
    place = Path("model_files/mine")
    run.begin(place, SETTINGS)
    return place


def trained(tracker, folder, epochs, *, ends=True):
    """One training as `train.train_all` tracks it, or one that is killed after these epochs."""
    with tracking.grouped(tracker, folder, several=False) as group:
        one = tracking.Tracked(group, folder, SETTINGS)
        for each in epochs:
            one.show(each)
        if ends:
            one.keep(FINAL, [folder / "config.json"])


def test_every_epoch_is_kept_once_by_its_phase_and_then_the_tests_figures(memory, folder):
    trained(memory, folder, [history(1), history(2), history(2, 1)])
    [its] = memory.runs.values()
    assert its["metrics"] == [
        *(("head/loss", 1, 1.0), ("head/val_loss", 1, 0.5)),
        *(("head/loss", 2, 0.5), ("head/val_loss", 2, 0.5)),
        *(("backbone/loss", 1, 1.0), ("backbone/val_loss", 1, 0.5), ("backbone/rate", 1, 0.1)),
        *((name, 0, value) for name, value in FINAL.items()),
    ]
    assert (its["name"], its["group"], its["status"]) == ("mine", None, "finished")
    assert its["settings"] == flattened(SETTINGS) and its["settings"]["augment.flip"] == 0
    assert its["tags"]["fingerprint"] == "0123" and its["tags"]["version.keras"]
    assert its["files"] == ["config.json"]


def test_a_resumed_training_goes_on_with_its_run_and_a_finished_one_begins_another(memory, folder):
    trained(memory, folder, [history(1), history(2)], ends=False)
    trained(memory, folder, [history(3), history(4)])
    assert len(memory.runs) == 1
    logged = [(name, step) for name, step, _ in memory.runs["0"]["metrics"]]
    assert logged[:8:2] == [("head/loss", step) for step in (1, 2, 3, 4)]
    assert len(logged) == len(set(logged))
    trained(memory, folder, [history(1)])
    assert len(memory.runs) == 2


def test_what_can_not_be_kept_is_said_in_a_line_and_caught_up_in_the_end(memory, folder, capsys):
    memory.fails = {"log"}
    with tracking.grouped(memory, folder, several=False) as group:
        one = tracking.Tracked(group, folder, SETTINGS)
        one.show(history(1))
        one.show(history(2))
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and said.startswith(
            "warning: mine can't be tracked now: no log"
        )
        memory.fails = set()
        one.keep(FINAL, [])
    assert [step for name, step, _ in memory.runs["0"]["metrics"] if name == "head/loss"] == [1, 2]
    assert memory.runs["0"]["status"] == "finished" and not capsys.readouterr().err


def test_what_ends_a_training_early_is_kept_too(memory, folder):
    for stopped, status in ((KeyboardInterrupt, "killed"), (InputError, "failed")):
        with (
            pytest.raises(stopped),
            tracking.grouped(memory, folder, several=False) as group,
            tracking.tracked(group, folder, settings=SETTINGS) as one,
        ):
            one.show(history(1))
            raise stopped("of itself")
        assert memory.runs["0"]["status"] == status


def test_repeats_belong_to_what_has_the_runs_name(memory, workplace):
    parent = Path("model_files/mine")

    def train(seeds):
        with tracking.grouped(memory, parent) as group:
            for seed in seeds:
                if seed is None:
                    raise KeyboardInterrupt
                run.begin(parent / f"seed-{seed}", SETTINGS)
                with tracking.tracked(group, parent / f"seed-{seed}", settings=SETTINGS) as one:
                    one.keep(FINAL, [])
            group.keep({"mean/gender_accuracy": 0.9}, [])

    with pytest.raises(KeyboardInterrupt):
        train([0, None])
    assert memory.runs["0"]["status"] == "killed"
    train([1])
    names = {key: (its["name"], its["group"]) for key, its in memory.runs.items()}
    assert names == {"0": ("mine", None), "1": ("mine/seed-0", "0"), "2": ("mine/seed-1", "0")}
    assert memory.runs["0"]["metrics"] == [("mean/gender_accuracy", 0, 0.9)]


@pytest.fixture
def line(drawn, workplace) -> list[str]:
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
        *("--backbone", str(drawn.backbone), "--unfreeze", "none", "--tasks", "gender"),
        *("--batch-size", "32", "--head-epochs", "2", "--run", "mine", "--track", "mlflow"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("fails", [set(), {"begin"}, {"log"}])
def test_a_training_is_kept_as_its_files_say_and_is_not_lost_with_its_tracker(
    memory, line, fails, capsys
):
    memory.fails = fails
    multitask.main(line)
    place = Path("model_files/mine")
    figures = json.loads((place / "metrics.json").read_text())
    assert not run.checkpoint(place).exists()
    if fails:
        assert capsys.readouterr().err.count("warning: mine can't be tracked") == 1
        return
    [its] = memory.runs.values()
    settings = json.loads((place / "config.json").read_text())["settings"]
    assert json.loads(json.dumps(its["settings"])) == flattened(settings)
    written = pd.read_csv(place / "history.csv")
    for name in ("loss", "val_loss", "val_accuracy", "learning_rate"):
        logged = [value for key, _, value in its["metrics"] if key == f"head/{name}"]
        assert logged == pytest.approx(written[name].tolist(), rel=1e-12)
    final = {name: value for name, _, value in its["metrics"] if name.startswith("test")}
    assert final == board.scalars(figures, called="test") | board.by_group(figures, called="test")
    assert any(name.startswith("test by gender x race/") for name in final)
    assert set(its["files"]) == {"metrics.json", "config.json", "history.csv", "model_card.md"}


@pytest.mark.slow
def test_every_combination_of_a_sweep_is_kept(memory, line):
    multitask.main([*line, "--sweep", "rate=1e-9,5e-3"])
    multitask.main([*line, "--sweep", "rate=1e-9,5e-3,1e-3"])
    names = {its["name"]: its["group"] for its in memory.runs.values()}
    assert names == {"mine": None} | {f"mine/rate={rate}": "0" for rate in ("1e-9", "5e-3", "1e-3")}
    reached = json.loads(Path("model_files/mine/rate=5e-3/validation.json").read_text())
    [its] = [its for its in memory.runs.values() if its["name"] == "mine/rate=5e-3"]
    assert ("validation/gender_accuracy", 0, reached["val_gender_accuracy"]) in its["metrics"]


@pytest.mark.parametrize("command", [transfer, multitask, finetune])
@pytest.mark.parametrize("name", ["mlflow", "trackio"])
def test_a_missing_package_is_said_before_anything_starts(command, name, workplace, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module: None if module == name else there(module)
    )
    given = ["--init", "none"] if command is finetune else []
    with pytest.raises(InputError, match=rf"takes {name}, .* \"vggface-gender\[track\]\"$"):
        command.main([*given, "--dataset", "nowhere", "--track", name])
    assert not [*workplace.iterdir()]


def test_a_tracker_that_is_not_known_or_has_nothing_to_track_is_refused(memory, capsys):
    with pytest.raises(SystemExit) as stopped:
        transfer.main(["--dataset", "Faces", "--track", "paper"])
    assert stopped.value.code == 2 and "'mlflow', 'trackio'" in capsys.readouterr().err
    with pytest.raises(InputError, match="trains no run"):
        multitask.main(["--dataset", "Faces", "--track", "mlflow", "--find-learning-rate"])


def test_a_tracker_that_can_not_be_reached_is_refused_before_the_training(tmp_path, monkeypatch):
    def refuse(folder):
        raise OSError("no such server\nTraceback")

    monkeypatch.setitem(trackers.TRACKERS, "mlflow", refuse)
    with pytest.raises(InputError, match=r"^mlflow can't keep the experiment: no such server$"):
        tracking.connected("mlflow", tmp_path)


def test_without_a_tracker_nothing_is_imported_written_or_said(folder, capsys):
    assert tracking.connected(None, folder) is None
    trained(None, folder, [history(2)])
    assert os.listdir(folder) == ["config.json"] and capsys.readouterr() == ("", "")
    assert "mlflow" not in sys.modules or importlib.util.find_spec("mlflow")


@pytest.mark.slow
def test_mlflow_keeps_what_it_is_given(folder, monkeypatch, capsys):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: [track]")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    tracker = tracking.connected("mlflow", folder.parent)
    store = "sqlite:///model_files/mlflow/mlflow.db"
    assert capsys.readouterr().out == f"tracked: mlflow ui --backend-store-uri {store}\n"
    final = FINAL | {"test by age/gender_accuracy/70+": 0.7, "test by x/gender_accuracy/a, b": 0.6}
    with tracking.grouped(tracker, folder.parent / "several") as group:
        one = tracking.Tracked(group, folder, SETTINGS)
        one.show(history(2))
        again = tracking.Tracked(group, folder, SETTINGS)  # as after a kill
        again.show(history(3, 1))
        again.keep(final, [folder / "config.json"])
    client = mlflow.MlflowClient(tracking_uri=store)
    [experiment] = [each for each in client.search_experiments() if each.name != "Default"]
    runs = {one.info.run_id: one for one in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 2
    [its] = [one for one in runs.values() if "mlflow.parentRunId" in one.data.tags]
    assert runs[its.data.tags["mlflow.parentRunId"]].info.status == "FINISHED"
    assert (its.info.run_name, its.info.status) == ("mine", "FINISHED")
    losses = client.get_metric_history(its.info.run_id, "head/loss")
    assert [(one.step, one.value) for one in losses] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert its.data.metrics["test by age/gender_accuracy/70 up"] == 0.7
    assert its.data.metrics["test by x/gender_accuracy/a b"] == 0.6
    assert its.data.params["seed"] == "0" and its.data.params["augment.flip"] == "0.0"
    assert set(its.data.params) == set(flattened(SETTINGS))
    assert its.data.tags["fingerprint"] == "0123"
    assert [one.path for one in client.list_artifacts(its.info.run_id)] == ["config.json"]


@pytest.mark.slow
def test_trackio_keeps_what_it_is_given(folder):
    """In a process of its own, since it asks at its import where to write."""
    pytest.importorskip("trackio", reason="Trackio is not installed: [track]")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import test_tracking as t\n"
        "from vggface_gender.training import tracking\n"
        "folder = Path('model_files/mine')\n"
        "tracker = tracking.connected('trackio', folder.parent)\n"
        "t.trained(tracker, folder, [t.history(2)], ends=False)\n"
        "tracker.end(*tracker._names, 'killed')\n"
        "t.trained(tracker, folder, [t.history(3)])\n"
        "import trackio\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "[one] = trackio.Api().runs(t.trackers.PROJECT)\n"
        "rows = SQLiteStorage.get_logs(t.trackers.PROJECT, one.name, run_id=one.id)\n"
        "assert one.name == 'mine' and one.config['seed'] == 0\n"
        "steps = [row['step'] for row in rows if 'head/loss' in row]\n"
        "assert steps == [1, 2, 3], steps\n"
        "assert [row for row in rows if row.get('test/gender_accuracy') == 0.9]\n"
    )
    known = {key: value for key, value in os.environ.items() if not key.startswith("TRACKIO")}
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=known)
    assert done.returncode == 0, done.stderr
    shown = "trackio show --project vggface-gender\n"
    assert done.stdout == f"tracked: TRACKIO_DIR=model_files/trackio {shown}"
    assert [*Path("model_files/trackio").glob("*.db")]
