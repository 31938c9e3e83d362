"""Faces that a classifier was trained on are recognized by content, and figures leave them out."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from vggface_gender import datasets, evaluate
from vggface_gender.base import files
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import metrics, overlap, predictions, trained_on, unseen
from vggface_gender.evaluation.trained_on import Learned


@pytest.fixture
def learner(tmp_path, write_image):
    """A function that keeps images as what a classifier's file learned from: (name, seeds)."""

    def learn(name: str, trained: range, chosen: range = range(0)) -> Path:
        classifier = tmp_path / name / "classifier.keras"
        classifier.parent.mkdir()
        classifier.write_text(name)
        prints = [
            overlap.prints([write_image(tmp_path / f"{i}.jpg", i).read_bytes() for i in seeds])
            for seeds in (trained, chosen)
        ]
        trained_on.write(Learned(prints[0], prints[1].digests), classifier)
        return classifier

    return learn


def test_copies_and_near_duplicates_are_told_apart(learner, tmp_path, write_image):
    classifier = learner("run", range(5), chosen=range(5, 7))
    learned = trained_on.read(classifier)
    assert trained_on.place(classifier).stat().st_size < 3000
    copy, chosen, other = (
        write_image(tmp_path / f"other-{i}.jpg", i).read_bytes() for i in (2, 6, 9)
    )
    image = cv2.imread(str(tmp_path / "3.jpg"))
    near = cv2.imencode(".jpg", cv2.resize(image, (50, 50)))[1].tobytes()
    found = trained_on.compare(overlap.prints([copy, near, chosen, other]), learned)
    assert found == ["exact", "near", "exact", None]


def test_one_picture_in_another_file_is_a_copy(tmp_path, write_image):
    """A comment more: other bytes, the same pixels."""
    one = write_image(tmp_path / "a.jpg").read_bytes()
    other = one[:2] + b"\xff\xfe\x00\x0bpublished" + one[2:]
    assert overlap.find(overlap.prints([other]), overlap.prints([one])).exact.all()


def test_what_a_continued_classifier_began_with_is_carried_along(learner):
    first, second = learner("first", range(3), range(3, 4)), learner("second", range(4, 6))
    learned = trained_on.continued(trained_on.read(second), first)
    assert len(learned.trained.digests) == len(learned.trained.hashes) == 5
    assert learned.chosen.tolist() == trained_on.read(first).chosen.tolist()
    assert learned.unknown == ()
    trained_on.place(first).unlink()
    unknown = trained_on.continued(trained_on.read(second), first)
    assert unknown.unknown == ("first",)
    trained_on.write(unknown, second)
    assert trained_on.continued(learned, second).unknown == ("first",)
    lines = unseen.describe({"exact": 0, "near": 0, "unknown": unknown.unknown})
    assert "first" in lines[-1]


def test_hashes_are_those_of_one_classifier(learner):
    classifier = learner("run", range(3))
    copy = classifier.parent.parent / "copy" / "classifier.keras"
    copy.parent.mkdir()
    copy.write_text("the same in half precision")
    trained_on.carry(classifier, copy)
    assert len(trained_on.read(copy).trained.digests) == 3
    classifier.write_text("another training's")
    assert trained_on.read(classifier) is None


def test_damaged_hashes_are_one_line(learner):
    classifier = learner("run", range(3))
    path = trained_on.place(classifier)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-100], whole[:200] + bytes(400) + whole[600:], b"not a zip"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="restore it, or delete it") as caught:
            trained_on.read(classifier)
        assert "\n" not in str(caught.value)
    np.savez(path, digests=np.zeros(2), hashes=np.zeros(3), chosen=[1], unknown=[""], classifier="")
    with pytest.raises(InputError, match="not what a training writes"):
        trained_on.read(classifier)


def table(overlaps: list) -> pd.DataFrame:
    """Four women and two men; who was trained on is predicted rightly, the others wrongly."""
    count = len(overlaps)
    female = [0.9 if each else 0.1 for each in overlaps]
    return predictions.table(
        [f"{i}.jpg" for i in range(count)],
        {"gender": ["female"] * count},
        outputs={"gender": np.array([female, [1 - p for p in female]]).T},
        tasks={"gender": ("female", "male")},
        overlap=overlaps,
    )


def test_figures_leave_copies_out_and_are_given_with_and_without(tmp_path):
    frame = table(["exact", "near", None, None])
    predictions.write(frame, tmp_path / "p.csv")
    read = predictions.read(tmp_path / "p.csv")
    pd.testing.assert_frame_equal(read, frame)
    assert unseen.overlap(read) == {"exact": 1, "near": 2, "names": ["0.jpg"]}
    found = metrics.of_unseen(read)["gender"]
    assert (found["count"], found["accuracy"]) == (3, pytest.approx(1 / 3))
    assert (found["with_exact"]["count"], found["with_exact"]["accuracy"]) == (4, 0.5)
    assert (found["without_near"]["count"], found["without_near"]["accuracy"]) == (2, 0.0)
    figures = {"dataset": "d", "split": "test", "count": 3, "tasks": {"gender": found}}
    text = metrics.report(figures | {"overlap": unseen.overlap(read)})
    assert "left out: 1 that are copies of images it was trained on or chosen by (0.jpg)" in text
    assert "without near-duplicates (2)" in text and "with copies of training images (4)" in text


def test_nothing_but_copies_says_so():
    found = metrics.of_unseen(table(["exact"] * 3))["gender"]
    assert found["count"] == 0 and "every face is a copy" in found["reason"]
    figures = {"dataset": "d", "split": "test", "count": 0, "tasks": {"gender": found}}
    assert "every face is a copy" in metrics.report(figures)


def test_tables_without_the_column_are_as_before():
    frame = table([None] * 3).drop(columns="overlap")
    assert unseen.overlap(frame) is None and unseen.faces(frame) is frame
    assert metrics.of_unseen(frame) == metrics.evaluate(frame)


@pytest.mark.slow
def test_a_folder_that_grew_is_tested_without_the_faces_trained_on(tiny_run, drawn, workplace):
    """Faces are added and all are divided anew: some that are now in the test were trained on."""
    shutil.copytree(tiny_run, "model_files/tiny")
    kept = pd.read_csv(drawn.table)
    for name in kept.file:
        Path("grown").mkdir(exist_ok=True)
        shutil.copy(drawn.table.parent / name, f"grown/renamed-{name}")
    image = cv2.imread("grown/renamed-0.jpg")
    cv2.imwrite("grown/new.jpg", 255 - image[::-1])
    new = kept.iloc[[0]].assign(file="new.jpg")
    pd.concat([kept.assign(file="renamed-" + kept.file), new]).to_csv("grown/g.csv", index=False)
    evaluate.main(["--run", "tiny", "--dataset", "grown/g.csv", "--split-seed", "5"])
    figures = json.loads(Path("model_files/tiny/metrics-g-test.json").read_text())
    learned = datasets.prepare(str(drawn.table), data_dir=drawn.records, say=lambda _: None)
    from vggface_gender.data import records

    seen = {
        f"renamed-{name}"
        for split in ("train", "validation")
        for name in records.labels(learned, split)["name"]
    }
    frame = predictions.read("model_files/tiny/predictions-g-test.csv")
    is_seen = frame["name"].isin(seen)
    assert is_seen.sum() > 5
    assert (frame.overlap == "exact").tolist() == is_seen.tolist()
    assert figures["count"] == len(frame) - is_seen.sum()
    assert figures["overlap"]["exact"] == is_seen.sum()
    expected = metrics.evaluate(frame[~is_seen])["gender"]["accuracy"]
    assert figures["tasks"]["gender"]["accuracy"] == pytest.approx(expected)


def test_a_split_that_was_learned_from_is_shown_when_asked_for(tiny_run, drawn, workplace, capsys):
    shutil.copytree(tiny_run, "model_files/tiny")
    line = ["--dataset", str(drawn.table), "--data-dir", str(drawn.records), "--split", "train"]
    evaluate.main(["--run", "tiny", *line])
    figures = json.loads(Path("model_files/tiny/metrics-faces-train.json").read_text())
    assert figures["count"] == 160 and figures["overlap"]["is_own"]
    assert "these figures are no test" in capsys.readouterr().out


def test_a_training_keeps_hashes_of_what_it_saw(tiny_run, drawn):
    learned = trained_on.read(tiny_run / "classifier.keras")
    counts = json.loads((tiny_run / "config.json").read_text())["settings"]["counts"]
    assert len(learned.trained.digests) == counts["train"]
    assert len(learned.chosen) == counts["validation"]
    written = json.loads((tiny_run / "metrics.json").read_text())
    assert written["overlap"]["exact"] == 0 and written["overlap"]["images"] == counts["train"]
    assert files.digest(trained_on.place(tiny_run / "classifier.keras"))
    assert written["made_by"]["trained_on"]
