"""Trainings that two processes share: what they come to, and what is left when one is killed."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import ports
import pytest

from vggface_gender.inference import classifier

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    **{f"TF_NUM_{which}OP_THREADS": "1" for which in ("INTRA", "INTER")},
}


def started(lines: list[list[str]], *, folders: list[Path] | None = None) -> list:
    """Processes of these arguments of Python, each in a folder."""
    folders = folders or [Path.cwd()] * len(lines)
    return [
        subprocess.Popen(
            [sys.executable, *line],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line, folder in zip(lines, folders, strict=True)
    ]


def ended(processes: list) -> list[tuple[int, str, str]]:
    """Statuses, what was printed, and the last line of each one's errors."""
    done = []
    for process in processes:
        out, err = process.communicate(timeout=240)
        done.append((process.returncode, out, (err.splitlines() or [""])[-1].split("\r")[-1]))
    return done


def shared(training: list[str], *options: str, hosts: int = 2) -> list[list[str]]:
    """The command lines of several hosts."""
    line = ["-m", "vggface_gender", *training, *options, "--distribute", "multihost"]
    line += ["--coordinator", f"127.0.0.1:{ports.free()}", "--hosts", str(hosts), "--host-index"]
    return [[*line, str(index)] for index in range(hosts)]


@pytest.fixture
def training(drawn, workplace) -> list[str]:
    """A training without chance but for its order; its last batch would not be full."""
    return [
        *("multitask", "--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
        *("--backbone", str(drawn.backbone), "--unfreeze", "conv2", "--precision", "float32"),
        *("--head-epochs", "1", "--epochs", "2", "--batch-size", "25"),
        *("--dropout", "0", "--augment", "all=0"),
    ]


def history(run: str) -> pd.DataFrame:
    return pd.read_csv(Path("model_files", run, "history.csv"))


def assert_alike(run: str, other: str) -> None:
    """Every figure of every epoch to 1e-4 of itself, and the weights that are kept."""
    pd.testing.assert_frame_equal(history(run), history(other), rtol=1e-4, atol=1e-5)
    one, two = (
        classifier.load(Path("model_files", name, "classifier.keras")).model
        for name in (run, other)
    )
    for found, expected in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_hosts_train_what_one_does_and_resume_after_one_is_killed(training):
    assert [
        status
        for status, *_ in ended(started([["-m", "vggface_gender", *training, "--run", "alone"]]))
    ] == [0]

    (status, printed, _), (other, others, line) = ended(started(shared(training, "--run", "two")))
    assert (status, other) == (0, 0), line
    assert "run: model_files/two" in printed and others == ""
    assert_alike("two", "alone")

    run = Path("model_files/killed")
    for victim, epoch in ((0, "head/epoch-*"), (1, "backbone/epoch-0001")):  # the second resumes
        processes = started(shared(training, "--run", run.name))
        while not list(run.glob(f"checkpoint/{epoch}")):
            assert [process.poll() for process in processes] == [None, None]
            time.sleep(0.05)
        processes[victim].kill()
        status, _, line = ended(processes)[1 - victim]
        assert status == 2
        assert line.startswith(f"error: host {victim} of 2 is gone")
        assert "give the same command again on every host, and it goes on from the ch" in line
        assert not list(run.rglob(".part-*"))
        assert not (run / "metrics.json").exists()

    done = ended(started(shared(training, "--run", run.name)))
    assert [status for status, *_ in done] == [0, 0]
    assert_alike(run.name, "alone")
    assert not (run / "checkpoint").exists()


@pytest.mark.slow
def test_hosts_that_do_not_fit_together_are_refused(training, tmp_path):
    one, two = shared(training, "--run", "a")
    done = ended(started([[*one, "--rate", "0.002"], [*two, "--rate", "0.003"]]))
    for status, _, line in done:
        assert status == 2
        assert line.startswith("error: host 1 has other settings or other data than host 0 (")
        assert "learning_rate: 0.00" in line
    assert not Path("model_files/a").exists()

    # A checkpoint that the second host can't see, since it is elsewhere.
    run = Path("model_files/a")
    processes = started(shared(training, "--run", "a"))
    while not list(run.glob("checkpoint/head/epoch-*")):
        time.sleep(0.05)
    for process in processes:
        process.kill()
        process.communicate()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = ended(started(shared(training, "--run", "a"), folders=[Path.cwd(), elsewhere]))
    for status, _, line in done:
        assert status == 2
        assert line.startswith("error: host 1 does not see the checkpoint in model_files/a that ")
    assert list(run.glob("checkpoint/head/epoch-*"))

    done = ended(started(shared(training, "--run", "b", "--batch-size", "1")))
    assert {line.partition(": give")[0] for _, _, line in done} == {
        "error: a batch of 1 can't be shared by 2 hosts"
    }


# The head of `transfer`, whose normalization sees a host's part alone unless it is told otherwise,
# on 57 examples in batches of 8: of the last, which is a single one, the second host has nothing.
PART = """
import sys, json
from pathlib import Path
from vggface_gender.base import device, hosts

index, count, port, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
place = hosts.Place(("127.0.0.1", port), count, index) if count > 1 else None
device.start(0, place=place)
import keras, numpy as np
from vggface_gender.data import batches, sampling
from vggface_gender.training import heads, loop, losses, multihost, optimizers

kind = sys.argv[5]
rng = np.random.default_rng(0)
x = (3 * rng.normal(size=(80, 2, 2, 4)) + 1).astype(np.float32)
genders = np.eye(2, dtype=np.float32)[(x[:, 0, 0, 0] > 1).astype(int)]
ages = (40 + 5 * x[:, 0, 0, 1:2]).astype(np.float32)
known = rng.integers(0, 3, size=80).astype(np.float32)  # a third is masked, a third counts twice
targets = {"gender": genders, "age": ages}
weights = {"gender": known, "age": np.ones(80, np.float32)}
train, rest = slice(0, 57), slice(57, 80)

keras.utils.set_random_seed(1)
tasks = {"gender": ("female", "male"), "age": ()}
head = heads.build(kind, (2, 2, 4), tasks=tasks, age="distribution", dropout=0)
for layer in head.layers:
    if isinstance(layer, keras.layers.Dropout):
        layer.rate = 0
optimizer = optimizers.adamw(0.02, 32, multipliers={}, clip=0.3, ema=0.5)
losses.compile(head, optimizer, weights={"age": 0.5}, label_smoothing=0.1)
multihost.share_steps(head)
here = device.hosts()
parts = lambda values, rows: {task: value[rows] for task, value in values.items()}
history = loop.fit(
    head,
    lambda first: batches.training_batches(
        lambda rows, rng: x[train][rows],
        lambda epoch: sampling.shuffled(57, seed=0, number=epoch),
        targets=parts(targets, train),
        weights=parts(weights, train),
        batch_size=8,
        seed=0,
        first_epoch=first,
        drop_remainder=False,
        share=(here.index, here.count),
    ),
    steps=8,
    validation=batches.fixed_batches(
        lambda rows, rng: x[rest][rows],
        targets=parts(targets, rest),
        weights=parts(weights, rest),
        batch_size=8,
    ),
    folder=Path(folder),
    epochs=4,
    seed=0,
    phase="head",
    agree=here.first if count > 1 else None,
    callbacks=multihost.callbacks(),
)
here.gather(None)
end = [float(np.abs(one).sum()) for one in head.get_weights()]
Path(folder, "end.json").write_text(json.dumps([history.to_dict("list"), end]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "hosts"), [("compact", 3), ("shared", 2)])
def test_masked_labels_and_uneven_and_empty_parts_count_as_on_one_host(kind, hosts, tmp_path):
    def trained(count: int) -> list:
        port = str(ports.free())
        folders = [tmp_path / f"{index} of {count}" for index in range(count)]
        for folder in folders:
            folder.mkdir()
        lines = [
            ["-c", PART, str(index), str(count), port, str(folder), kind]
            for index, folder in enumerate(folders)
        ]
        for status, _, line in ended(started(lines)):
            assert status == 0, line
        return [json.loads((folder / "end.json").read_text()) for folder in folders]

    ((alone, weights),) = trained(1)
    first, *others = trained(hosts)
    for found, end in (first, *others):
        assert found.keys() == alone.keys()
        for name in alone.keys() - {"phase"}:
            np.testing.assert_allclose(found[name], alone[name], rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(end, weights, rtol=1e-4)
    assert all(other == first for other in others)  # to the last bit


JAX = """
import sys
from pathlib import Path
import keras, numpy as np
from vggface_gender.training import heads, loop, losses, optimizers

assert "tensorflow" not in sys.modules or keras.backend.backend() == "tensorflow"
x = np.random.default_rng(0).normal(size=(120, 2, 2, 4)).astype(np.float32)

def batch(rows):
    genders = np.eye(2, dtype=np.float32)[(x[rows, 0, 0, 0] > 0).astype(int)]
    known = (rows % 3 > 0).astype(np.float32)
    targets = {"gender": genders, "age": 30 + 5 * x[rows, 0, 0, 1:2]}
    return x[rows], targets, {"gender": known, "age": np.ones(len(rows), np.float32)}

def batches(first):
    for number in range(first, 99):
        order = np.random.default_rng(number).permutation(90)
        yield from (batch(rows) for rows in order.reshape(3, 30))

class Validation(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, number):
        return batch(np.arange(90, 120))

keras.utils.set_random_seed(0)
tasks = {"gender": ("female", "male"), "age": ()}
head = heads.build("shared", (2, 2, 4), tasks=tasks, age="distribution", dropout=0)
optimizer = optimizers.adamw(0.01, 12, multipliers={"shared/": 0.5}, ema=0.5)
losses.compile(head, optimizer, weights={"age": 0.5}, label_smoothing=0.1)
history = loop.fit(
    head,
    batches,
    steps=3,
    validation=Validation(),
    folder=Path(sys.argv[1]),
    epochs=int(sys.argv[2]),
    seed=0,
    phase="head",
)
print(keras.backend.backend(), *history.val_loss, head.evaluate(Validation(), verbose=0)[0])
"""


def on(backend: str, folder: Path, *, epochs: int) -> list[float]:
    """The validation losses of a training's epochs on a backend, and of what is kept of it."""
    done = subprocess.run(
        [sys.executable, "-c", JAX, str(folder), str(epochs)],
        env={**ENVIRONMENT, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    name, *values = done.stdout.splitlines()[-1].split()
    assert name == backend
    return [float(value) for value in values]


@pytest.mark.slow
def test_heads_are_trained_on_jax_too_and_checkpoints_go_from_one_to_the_other(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed: a backend that nothing here asks for")
    for one, other in (("jax", "tensorflow"), ("tensorflow", "jax")):
        begun, resumed = tmp_path / one, tmp_path / f"{one}, {other}"
        *losses, kept = on(one, begun, epochs=2)
        assert losses[1] < losses[0] and kept == pytest.approx(min(losses), abs=1e-5)
        shutil.copytree(begun, resumed)
        assert on(other, resumed, epochs=2)[-1] == pytest.approx(kept, abs=1e-5)
        stayed, went = on(one, begun, epochs=4), on(other, resumed, epochs=4)
        np.testing.assert_allclose(went, stayed, atol=1e-5)
