"""Settings compared on validation alone, and learning rates tried."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender import multitask
from vggface_gender.base import training_options
from vggface_gender.training import learning_rates, publishing


@pytest.fixture
def line(drawn, workplace) -> list[str]:
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
        *("--backbone", str(drawn.backbone), "--unfreeze", "none", "--tasks", "gender"),
        *("--batch-size", "32", "--head-epochs", "2", "--run", "tried"),
    ]


@pytest.mark.slow
def test_every_combination_is_validated_and_none_tested(line, monkeypatch, capsys):
    def tested(*arguments, **options):
        raise AssertionError("a test split was read")

    monkeypatch.setattr(publishing, "publish", tested)
    multitask.main([*line, "--sweep", "rate=1e-9,5e-3"])
    table = pd.read_csv("model_files/tried/sweep.csv", dtype={"rate": str})
    assert [*table.rate] == ["5e-3", "1e-9"]  # at the smaller nothing is learned
    said = capsys.readouterr().out
    assert "best on validation: --rate 5e-3\n" in said and "gender accuracy" in said
    place = Path("model_files/tried/rate=5e-3")
    history = pd.read_csv(place / "history.csv")
    best = history.loc[history.val_loss.idxmin()]
    reached = json.loads((place / "validation.json").read_text())
    assert (reached["val_loss"], reached["val_gender_accuracy"]) == (
        best.val_loss,
        best.val_accuracy,
    )
    assert not [*Path("model_files").rglob("*.keras")]

    # With a further value only that one is trained.
    done = (place / "history.csv").stat().st_mtime_ns
    multitask.main([*line, "--sweep", "rate=1e-9,5e-3,1e-3"])
    assert len(pd.read_csv("model_files/tried/sweep.csv")) == 3
    assert (place / "history.csv").stat().st_mtime_ns == done


@pytest.mark.slow
def test_what_diverges_is_a_row_and_the_others_go_on(line, capsys):
    multitask.main([*line, "--head-epochs", "1", "--sweep", "rate=1e30,1e-3"])
    table = pd.read_csv("model_files/tried/sweep.csv", dtype={"rate": str})
    assert [*table.rate] == ["1e-3", "1e30"] and [*table.phase] == ["head", "diverged"]
    assert np.isnan(table.val_loss[1]) and table.val_loss[0] > 0
    said = capsys.readouterr().out
    assert "diverged: " in said and "best on validation: --rate 1e-3\n" in said


def test_every_combination_has_the_commands_arguments_and_its_own():
    parser = multitask.parser()
    line = ["--dataset", "UTKFace", "--augment", "flip=0", "noise=0.2"]
    line += ["--sweep", "rate=1e-3,2e-3", "augment.noise=0,0.1", "multipliers.gender=2"]
    found = training_options.combinations(parser, parser.parse_args(line), line=line)
    assert [chosen for chosen, _ in found][1] == {
        "rate": "1e-3",
        "augment.noise": "0.1",
        "multipliers.gender": "2",
    }
    # An option's other name is the same option.
    other = ["--dataset", "UTKFace", "--multipliers", "shared=2", "--sweep", "rates.backbone=0.1"]
    ((_, its),) = training_options.combinations(parser, parser.parse_args(other), line=other)
    assert dict(its.multipliers) == {"shared": 2, "backbone": 0.1}
    settings = [training_options.tuning_settings(its) for _, its in found]
    assert [its["learning_rate"] for its in settings] == [1e-3, 1e-3, 2e-3, 2e-3]
    assert [its["augment"]["noise"] for its in settings] == [0, 0.1, 0, 0.1]
    assert all(its["augment"]["flip"] == 0 for its in settings)
    assert all(its["multipliers"] == {"gender": 2} for its in settings)


@pytest.mark.parametrize(
    ("swept", "said"),
    [
        ("dataset=a,b", "settings of a training alone"),
        ("seed=1,2", "settings of a training alone"),
        ("dropout=0.1,2", "2 is not a number from 0 to under 1"),
        ("dropout=0.1,0.1", "each value once"),
        ("nothing=1", "--sweep nothing: there is no option --nothing"),
        ("loss-weights.race=1,2", "losses can't be compared"),
        ("see=0,1", "there is no option --see"),  # an abbreviation of seed
        ("smoothing=0,0.1", "losses can't be compared"),  # another name of label-smoothing
        ("rate=1e-3,0.001", "rate=1e-3 and rate=0.001 are the same settings"),
        ("rate=1e-3 learning-rate=2e-3", "--sweep rate and learning-rate: one option"),
        ("rate=1e-3 rate=2e-3", "--sweep rate and rate: one option"),
        ("multipliers.gender=1 rates=gender=3", "one option"),
        ("multipliers.gender=1 rates.gender=2", "one option"),
        ("flip-tta=1,0", "it takes no value"),
        ("rate.backbone=1", "--rate has no parts"),
        ("rate=1e-3 --find-learning-rate", "give one of them"),
    ],
)
def test_what_can_not_be_swept_is_refused_in_a_line(swept, said, line, capsys):
    with pytest.raises(SystemExit) as stopped:
        multitask.main([*line, "--sweep", *swept.split()])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not Path("model_files").exists()


def test_a_range_test_finds_where_the_loss_of_least_squares_falls_and_bursts():
    """Of plain gradient descent on x² the loss falls up to a rate of 1 and grows above it."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].set_weights([np.array([[1.0]])])
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    inputs, targets = np.ones((4, 1)), np.zeros((4, 1))
    curve = learning_rates.range_test(
        model, [(inputs, targets, np.ones(4))] * 400, rates=np.geomspace(1e-4, 100, 121).tolist()
    )
    # The same steps in NumPy, whose gradient is 2 x.
    weight, losses = 1.0, []
    for rate in curve.learning_rate:
        losses.append(weight**2)
        weight -= rate * 2 * weight
    np.testing.assert_allclose(curve.loss, losses, rtol=1e-3, atol=1e-12)
    assert len(curve) < 121  # it ended as the loss burst
    least = curve.learning_rate[curve.smoothed.idxmin()]
    assert least > 0.9 and learning_rates.suggested(curve) == least / learning_rates.MARGIN


def test_no_rate_is_suggested_where_nothing_falls():
    curve = pd.DataFrame({"learning_rate": [1e-3, 1e-2], "loss": [1, 2], "smoothed": [1.0, 1.5]})
    assert learning_rates.suggested(curve) is None
    assert "no learning rate made the loss fall" in learning_rates.describe(curve)


@pytest.mark.slow
def test_learning_rates_are_tried_and_drawn_and_nothing_is_trained(line, capsys):
    multitask.main([*line, "--find-learning-rate"])
    curve = pd.read_csv("model_files/tried/learning_rates.csv")
    assert curve.learning_rate.is_monotonic_increasing and len(curve) > 20
    assert [*Path("model_files/tried").glob("*.png")] and not [
        *Path("model_files").rglob("*.keras")
    ]
    assert "--learning-rate" in capsys.readouterr().out


@pytest.mark.slow
def test_learning_rates_of_the_backbone_are_tried_after_the_head(line, capsys):
    multitask.main([*line, "--find-learning-rate", "--unfreeze", "conv2"])
    assert "head: best of 2 epochs" in capsys.readouterr().out
    assert len(pd.read_csv("model_files/tried/learning_rates.csv")) > 20
    assert not [*Path("model_files/tried").glob(".part*")]
