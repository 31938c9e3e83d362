"""What the second phase began with is what is kept, where all of its epochs validate worse."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender import evaluate, finetune, multitask
from vggface_gender.evaluation import predictions
from vggface_gender.inference import classifier
from vggface_gender.training import phases, publishing
from vggface_gender.training.config import Config

RUN = Path("model_files/mine")
TABLE = "predictions-faces-test.csv"


@pytest.fixture
def data(drawn, workplace):
    """The dataset, and a second phase that wrecks the backbone."""
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records), "--run", "mine"),
        *("--unfreeze", "conv2", "--batch-size", "16", "--epochs", "1", "--ema", "0"),
        *("--multipliers", "backbone=3000", "--tasks", "gender", "age"),
    ]


def conv2(backbone: keras.Model) -> np.ndarray:
    return backbone.get_layer("conv2").get_weights()[0]


def kept() -> dict:
    return json.loads((RUN / "config.json").read_text())["kept"]


@pytest.mark.slow
def test_a_second_phase_that_validates_worse_than_the_head_is_not_kept(
    data, drawn, monkeypatch, capsys
):
    """Also where the training is killed after it, and resumed."""
    line = [*data, "--backbone", str(drawn.backbone), "--head-epochs", "2"]

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publishing, "publish", killed)
        multitask.main(line)
    chosen = [(RUN / name).read_bytes() for name in ("history.csv", "config.json")]
    capsys.readouterr()
    multitask.main(line)
    assert [(RUN / name).read_bytes() for name in ("history.csv", "config.json")] == chosen

    history = pd.read_csv(RUN / "history.csv").set_index("phase")
    head, tuned = history.loc[["head"]], history.loc[["backbone"]]
    best = head[head.is_best].iloc[0]
    assert tuned.val_loss.min() > best.val_loss and not tuned.is_best.any()
    assert kept() == {"phase": "head", "epoch": best.epoch}
    said = f"worse than the loss {best.val_loss:.4f} of the head alone, which is kept"
    assert capsys.readouterr().out.count(said) == 1

    trained = classifier.load(RUN / "classifier.keras")
    backbone, _ = trained.parts()
    np.testing.assert_array_equal(conv2(backbone), conv2(keras.saving.load_model(drawn.backbone)))
    assert trained.about["unfreeze"] == "none"
    card = " ".join((RUN / "model_card.md").read_text().split())
    assert "It is frozen, under a head of our own. Fine-tuning it validated worse" in card
    before = predictions.read(RUN / TABLE)
    evaluate.main(["--run", "mine", *data[:4]])
    after = predictions.read(RUN / TABLE)
    np.testing.assert_allclose(before.age_predicted, after.age_predicted, atol=0.05)


@pytest.mark.slow
def test_a_classifier_that_validates_worse_than_the_one_it_continues_is_said_to(
    data, tiny_run, capsys
):
    finetune.main([*data, "--init", str(tiny_run)])
    assert re.search(
        r"worse than the loss [\d.]+ of the classifier that it began with\n",
        capsys.readouterr().out,
    )
    assert kept() == {"phase": "backbone", "epoch": 1}


def test_a_layers_rate_decays_with_the_convolutions_behind_it():
    """Of networks side by side each on its own; a normalization goes with what it normalizes."""
    x = keras.Input((8, 8, 3))
    ends = []
    for network, depth in (("a", 3), ("b", 2)):
        y = x
        for number in range(depth):
            y = keras.layers.Conv2D(2, 1, name=f"{network}.conv{number}")(y)
            y = keras.layers.BatchNormalization(name=f"{network}.normalize{number}")(y)
        ends.append(y)
    backbone = keras.Model(x, keras.layers.Add()(ends))
    config = Config("multitask", "faces", multipliers={"backbone": 0.2}, layer_decay=0.5)
    rates = phases.multipliers(config, backbone)
    expected = {"conv0/": 0.05, "conv1/": 0.1, "conv2/": 0.2}
    for name, rate in expected.items():
        assert rates[f"a.{name}"] == rates[f"a.{name.replace('conv', 'normalize')}"] == rate
    assert (rates["b.conv0/"], rates["b.conv1/"], rates["shared/"]) == (0.1, 0.2, 1.0)
