"""finetune from end to end: continued from a run, its head kept or replaced."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vggface_gender import finetune
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import predictions
from vggface_gender.inference import classifier

TABLE = "predictions-faces-test.csv"


@pytest.fixture
def training(drawn, tiny_run, workplace):
    """What every training here shares, in a folder of its own."""
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
        *("--unfreeze", "conv2", "--batch-size", "16", "--head-epochs", "1", "--epochs", "1"),
        *("--ema", "0.5"),
    ]


def kernel(path: Path) -> np.ndarray:
    backbone, _ = classifier.load(path).parts()
    return backbone.get_layer("conv2").get_weights()[0]


@pytest.mark.slow
def test_a_head_that_fits_is_kept_and_all_that_was_learned_from_is_known(training, tiny_run):
    finetune.main([*training, "--init", str(tiny_run), "--tasks", "gender", "--run", "next"])
    path = Path("model_files/next/classifier.keras")
    assert classifier.load(path).tasks == {"gender": ("female", "male")}
    assert pd.read_csv("model_files/next/history.csv").phase.tolist() == ["backbone"]
    assert (kernel(path) != kernel(tiny_run / "classifier.keras")).any()
    finetune.main([*training, "--init", "next", "--run", "third"])
    first = classifier.load(path).about["dataset"]
    settings = json.loads(Path("model_files/third/config.json").read_text())["settings"]
    assert settings["before"] == [first] * 2 and settings["init"] == "next"


@pytest.mark.slow
def test_a_head_that_does_not_fit_is_new(training, tiny_run, capsys):
    finetune.main(
        [*training, "--init", str(tiny_run), "--run", "next", "--replace-head", "--tasks", "age"]
    )
    assert "age: a new head" in capsys.readouterr().out
    history = pd.read_csv("model_files/next/history.csv")
    assert history.phase.tolist() == ["head", "backbone"]


@pytest.mark.slow
def test_a_learning_rate_of_nothing_leaves_the_classifier_as_it_was(training, tiny_run):
    finetune.main([*training, "--init", str(tiny_run), "--run", "next", "--rate", "1e-12"])
    before, after = (
        predictions.read(folder / TABLE) for folder in (tiny_run, Path("model_files/next"))
    )
    # Only the head's running statistics and its temperatures moved.
    assert np.abs(before.age_predicted - after.age_predicted).max() < 5
    path = Path("model_files/next/classifier.keras")
    np.testing.assert_allclose(kernel(path), kernel(tiny_run / "classifier.keras"), atol=1e-6)


def test_folds_of_what_was_learned_from_are_refused(training, tiny_run):
    with pytest.raises(InputError, match=r"was trained on .*faces\.csv already"):
        finetune.main([*training, "--init", str(tiny_run), "--folds", "2"])
