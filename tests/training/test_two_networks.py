"""Trainings on two networks side by side: frozen, fine-tuned, and what comes of one file."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from vggface_gender import evaluate, finetune, multitask, transfer
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import gradcam, predictions
from vggface_gender.exports import onnx
from vggface_gender.inference import classifier, onnx_classifier


@pytest.fixture
def line(drawn, workplace) -> list[str]:
    """The arguments that all share: the tiny network beside a smaller one."""
    keras.utils.set_random_seed(1)
    crop = keras.Input((24, 24, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    for number in (1, 2):
        x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name=f"conv{number}")(x)
    keras.Model(crop, x, name="less").save("less.keras")
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
        *("--backbone", f"less.keras+{drawn.backbone}", "--run", "pair"),
        *("--precision", "float32"),
    ]


RUN = Path("model_files/pair")


@pytest.mark.slow
def test_a_head_on_both_is_one_classifier(line, drawn):
    transfer.main([*line, "--batch-size", "32", "--epochs", "1"])
    loaded = keras.saving.load_model(RUN / "classifier.keras")  # in safe mode, by Keras alone
    trained = classifier.load(RUN / "classifier.keras", "float32")
    backbone, head = trained.parts()
    assert (trained.size, backbone.name) == (32, "less_tiny")
    assert head.input_shape == (None, 6 + 8)  # the mean of either's last map
    crops = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3)).astype(np.uint8)
    answers = trained.predict(crops)["gender"]
    np.testing.assert_allclose(loaded(crops.astype("f4"))["gender"], answers, atol=1e-5)

    onnx.save(trained, RUN / "classifier.onnx", made_from=RUN / "classifier.keras")
    exported = onnx_classifier.load(RUN / "classifier.onnx")
    np.testing.assert_allclose(exported.predict(crops)["gender"], answers, atol=1e-5)
    assert trained.embed(crops).shape == (5, 14)

    # By default the deepest of 8x8 places or more: of the network that is named last.
    maps = [
        gradcam.explainer(trained, "gender", layer=layer)(crops[:, :32, :32])[0]
        for layer in (None, "tiny.conv1", "less.conv2")
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert maps[1].shape == (5, 15, 15) and maps[2].shape == (5, 5, 5)

    before = predictions.read(RUN / "predictions-faces-test.csv")
    evaluate.main(
        ["--run", "pair", *line[:4], "--split", "test"],
    )
    again = predictions.read(RUN / "predictions-faces-test.csv")
    np.testing.assert_allclose(again.gender_male, before.gender_male, atol=1e-3)


@pytest.mark.slow
def test_both_are_fine_tuned_from_a_layer_of_each_on(line, drawn):
    options = ["--batch-size", "32", "--head-epochs", "0", "--epochs", "1", "--tasks", "gender"]
    unfreeze = ["--unfreeze", "less.conv2+tiny.conv2"]
    with pytest.raises(InputError, match="less_tiny has no layer conv2"):
        multitask.main([*line, *options, "--unfreeze", "conv2"])
    with pytest.raises(InputError, match="can't be cut"):
        multitask.main([*line, *options, *unfreeze, "--views", "2", "--overwrite"])
    multitask.main([*line, *options, *unfreeze, "--overwrite"])
    config = json.loads((RUN / "config.json").read_text())
    assert config["settings"]["unfreeze"] == "less.conv2+tiny.conv2"
    backbone, _ = classifier.load(RUN / "classifier.keras").parts()
    parts = {
        "tiny": keras.saving.load_model(drawn.backbone),
        "less": keras.saving.load_model("less.keras"),
    }
    for name, part in parts.items():
        for layer in ("conv1", "conv2"):
            now, then = (
                np.concatenate([array.ravel() for array in each.get_weights()])
                for each in (backbone.get_layer(f"{name}.{layer}"), part.get_layer(layer))
            )
            assert (now != then).any() == (layer == "conv2"), (name, layer)
    again = ["--init", "pair", *line[:4], "--run", "more", "--epochs", "1", *unfreeze]
    finetune.main([*again, "--batch-size", "32"])
    assert Path("model_files/more/metrics.json").is_file()
