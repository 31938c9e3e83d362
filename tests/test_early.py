"""What is misspelt or not there is said before TensorFlow is loaded."""

import subprocess
import sys

import pytest

CODE = """
import importlib, sys
from vggface_gender.base import console
status = console.run(lambda: importlib.import_module(f"vggface_gender.{sys.argv[1]}").main(sys.argv[2:]))
loaded = {"tensorflow", "keras", "tensorflow_datasets"} & {*sys.modules}
sys.exit(f"it loaded {loaded}" if loaded else status)
"""  # noqa: E501
DATASET = ["--dataset", "UTKFase"]
DATASETS = ["--datasets", "UTKFase"]
NETWORK = ["--dataset", "UTKFace", "--backbone", "dlip.keras"]


@pytest.mark.parametrize(
    ("command", "arguments", "complaint"),
    [
        ("transfer", DATASET, "no dataset UTKFase: give one of UTKFace, FairFace"),
        ("transfer", NETWORK, "no backbone dlip.keras"),
        ("transfer", ["--dataset", "UTKFace", "--backbone", "vggface"], "vggface-gender convert"),
        ("transfer", ["--dataset", "UTKFace", "--backbone", "dlib+faceres"], "convert --tfjs"),
        ("multitask", ["--dataset", "x", "--backbone", "faceres:100"], "multiple of 32"),
        ("transfer", ["--dataset", "UTKFace+FairFace"], "UTKFace is not in the records"),
        ("multitask", DATASET, "no dataset UTKFase"),
        ("multitask", NETWORK, "no backbone dlip.keras"),
        ("multitask", ["--dataset", "x", "--backbone", "resnet50:x.h5"], "x.h5: no such file"),
        ("finetune", [*DATASET, "--init", "default"], "no dataset UTKFase"),
        ("finetune", ["--dataset", "UTKFace", "--init", "nothing"], "no run nothing"),
        ("evaluate", DATASET, "no dataset UTKFase"),
        ("evaluate", ["--dataset", "UTKFace", "--run", "nothing"], "no run nothing"),
        ("evaluate", ["--dataset", "UTKFace"], "UTKFace is not in the records"),
        ("cross_evaluate", [*DATASETS, "--runs", "default"], "no dataset UTKFase"),
        ("cross_evaluate", ["--datasets", "UTKFace", "--runs", "nothing"], "no run nothing"),
        ("pseudo_label", [*DATASET, "--out", "out"], "no dataset UTKFase"),
        ("gradcam", DATASET, "no dataset UTKFase"),
        ("robustness", DATASET, "no dataset UTKFase"),
        ("detection", DATASETS, "no dataset UTKFase"),
        ("cluster", DATASETS, "no dataset UTKFase"),
        ("embed", [*DATASET, "--out", "x.csv"], "no dataset UTKFase"),
        ("embed", ["photo.jpg", "--out", "x.csv", "--backbone", "no.onnx"], "no.onnx: no such"),
        ("embed", ["photo.jpg", "--out", "x.txt"], "ends in .csv"),
        ("records", DATASET, "no dataset UTKFase"),
        ("show_batches", DATASET, "no dataset UTKFase"),
    ],
)
def test_it_is_one_line_at_once(workplace, monkeypatch, command, arguments, complaint):
    monkeypatch.delenv("FACES_DIR", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", CODE, command, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2 and complaint in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout
    assert not list(workplace.iterdir())
