"""What a training learns from other classifiers' predictions."""

import json
from pathlib import Path

import numpy as np
import pytest

from vggface_gender import multitask
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import mixes
from vggface_gender.evaluation import predictions, trained_on
from vggface_gender.training import distillation
from vggface_gender.training.examples import examples

RUN = Path("model_files/pupil")


@pytest.fixture
def mix(drawn) -> mixes.Mix:
    return mixes.prepare(str(drawn.table), data_dir=drawn.records)


@pytest.fixture
def line(drawn, tiny_run, workplace) -> list[str]:
    return [
        *("--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
        *("--backbone", str(drawn.backbone), "--unfreeze", "none", "--batch-size", "32"),
        *("--head-epochs", "1", "--run", "pupil", "--teacher", str(tiny_run)),
    ]


def test_targets_are_labels_blended_with_the_teachers_mean(mix, tiny_run):
    tasks = {task: mix.classes(task) for task in ("gender", "race", "age")}
    known = examples(mix, "train", tasks=tasks)
    path = tiny_run / "classifier.keras"
    taught = distillation.taught(known, [path, path], tasks=tasks, share=0.25)
    table = predictions.read(tiny_run / "predictions-faces-train.csv")
    assert [*table.name] == [*known.truth.name]
    told = table[["gender_female", "gender_male"]].to_numpy()
    expected = {
        "gender": 0.75 * known.targets["gender"] + 0.25 * told,
        "age": 0.75 * known.targets["age"] + 0.25 * table[["age_predicted"]].to_numpy(),
    }
    for task, wanted in expected.items():
        is_known = known.weights[task] > 0
        assert is_known.any()
        np.testing.assert_allclose(taught.targets[task][is_known], wanted[is_known], atol=1e-4)
    # A missing label stays so.
    np.testing.assert_allclose(taught.targets["race"].sum(axis=1), known.weights["race"], atol=1e-5)
    assert taught.weights is known.weights


def test_a_teacher_of_the_test_split_is_refused(drawn, tiny_run):
    tasks = {"gender": ("female", "male")}
    other = mixes.prepare(str(drawn.table), data_dir=drawn.records, seed=1)
    with pytest.raises(InputError, match=r"trained on .* of the .* images in the validation split"):
        distillation.check([tiny_run / "classifier.keras"], other, tasks=tasks)


def test_a_teacher_of_other_labels_is_refused(mix, tiny_run):
    with pytest.raises(InputError, match="the teacher's labels of race are"):
        distillation.check([tiny_run / "classifier.keras"], mix, tasks={"race": ("Black", "White")})


def test_a_teacher_that_is_not_there_is_named(line):
    with pytest.raises(InputError, match="no run nobody"):
        multitask.main([*line[:-1], "nobody"])


@pytest.mark.slow
def test_the_pupils_card_and_memory_hold_its_teachers(line, tiny_run):
    multitask.main([*line, "--teacher-share", "0.3"])
    settings = json.loads((RUN / "config.json").read_text())["settings"]
    assert settings["teacher_share"] == 0.3
    assert [teacher["run"] for teacher in settings["teachers"]] == ["tiny"]
    card = " ".join((RUN / "model_card.md").read_text().split())
    assert "of every training target 30% is what this predicts for the image" in card
    learned = trained_on.read(RUN / "classifier.keras")
    of_both = 2 * len(trained_on.read(tiny_run / "classifier.keras").trained.digests)
    assert len(learned.trained.digests) in (of_both, of_both // 2)
