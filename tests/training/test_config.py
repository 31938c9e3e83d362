"""Settings of a training: defaults by backbone, what was given, what makes no sense."""

import json

import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.data.augmentation import NONE, Amounts
from vggface_gender.training import config
from vggface_gender.training.config import Config


def test_a_backbone_brings_its_own_defaults_and_what_is_given_counts():
    its = config.tuning("dlib", learning_rate=None, batch_size=16, multipliers={"gender": 0.1})
    assert (its["layer"], its["unfreeze"]) == ("map+block_4_3", "block_2_1")
    assert (its["learning_rate"], its["head_learning_rate"]) == (5e-4, 1e-3)
    assert its["batch_size"] == 16
    assert its["multipliers"] == {"backbone": 0.16, "gender": 0.1}
    assert its["loss_weights"]["age"] == 0.5 and its["augment"] == Amounts()._asdict()
    assert config.tuning("resnet50:file.h5")["batch_norm"] == "adapted"
    assert config.tuning("vggface")["unfreeze"] == "conv5_1"
    assert config.tuning("faceres:224")["learning_rate"] == 3e-4


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("dlib+faceres:224", ("dlib.map+dlib.block_4_3", "dlib.block_2_1+faceres.conv_dw_4", 3e-4)),
        ("faceres+my.keras", (None, "faceres.conv_dw_4", 3e-4)),
        ("resnet50+my.keras", (None, "all", 1e-3)),
    ],
)
def test_networks_side_by_side_bring_the_settings_of_each(backbone, expected):
    its = config.tuning(backbone)
    assert (its["layer"], its["unfreeze"], its["learning_rate"]) == expected
    assert its["batch_size"] == (64 if "dlib" in backbone else 32)
    assert (its.get("batch_norm") == "adapted") == ("my" in backbone)


def test_amounts_of_augmentation():
    assert config.augmentation({"rotation": 20}) == Amounts(rotation=20)
    assert config.augmentation({"all": 0, "flip": 0.5}) == NONE._replace(flip=0.5)
    with pytest.raises(InputError, match="no augmentation blur: give any of all, flip"):
        config.augmentation({"blur": 1})


def test_the_settings_are_json_and_all_of_them():
    settings = Config("multitask", "faces", **config.tuning("dlib")).settings()
    assert json.loads(json.dumps(settings))["head"] == "shared"
    assert set(settings) >= {"dataset", "fingerprint", "split_seed", "fold", "before", "seed"}


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"head": "wide"}, "no head wide: give compact, vggface, shared"),
        ({"schedule": "linear"}, "no schedule linear"),
        ({"tasks": ("mood",)}, "no task mood"),
        ({"balance": "shoes"}, "shoes"),
        ({"views": 2, "unfreeze": "all"}, "nothing to keep"),
    ],
)
def test_what_no_training_can_be_made_of_is_named(wrong, complaint):
    with pytest.raises(InputError, match=complaint):
        Config("multitask", "faces", **wrong)
