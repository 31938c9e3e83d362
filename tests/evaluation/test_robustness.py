"""Perturbed crops, a planted classifier that one of them blinds, and paired intervals."""

import json
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender import datasets
from vggface_gender import robustness as command
from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import (
    metrics,
    paired,
    perturbations,
    predictions,
    robustness,
    robustness_figure,
    same_images,
)
from vggface_gender.evaluation.perturbations import UNCHANGED, Perturbation
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import crops

NOTHING = [
    Perturbation("rotation", 0),
    Perturbation("margin", 1),
    Perturbation("resolution", 32),
]


def perturbed(image, size, frame, perturbation=UNCHANGED):
    return perturbations.crop(image, size, frame=frame, perturbation=perturbation)


def noise(height: int, width: int | None = None) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width or height, 3), np.uint8)


# ------------------------------------------------------------------------------ crops


@pytest.mark.parametrize("frame", [0.7, 1.0, 1.09])
@pytest.mark.parametrize("shape", [(90, 90), (64, 101), (20, 20)])
def test_what_changes_nothing_gives_the_very_crop(frame, shape):
    image = noise(*shape)
    expected = crops.fit(image, 32, frame=frame)
    for one in (UNCHANGED, *NOTHING):
        assert (perturbed(image, 32, frame, one) == expected).all()


def test_a_quarter_turn_is_numpys_and_counter_clockwise():
    image = noise(64)
    rotated = perturbed(image, 64, 1.0, Perturbation("rotation", 90))
    assert (rotated == np.rot90(image)).all()
    half = perturbed(image, 64, 1.0, Perturbation("rotation", -180))
    assert (half == image[::-1, ::-1]).all()


def test_rotating_one_way_is_the_mirror_of_rotating_the_other():
    image = cv2.GaussianBlur(noise(80), (0, 0), 3)
    one = perturbed(image, 50, 1.09, Perturbation("rotation", 20)).astype(int)
    other = perturbed(image[:, ::-1], 50, 1.09, Perturbation("rotation", -20))[:, ::-1]
    assert abs(one - other).max() <= 2
    assert abs(one - perturbed(image, 50, 1.09)).mean() > 5


@pytest.mark.parametrize(
    ("frame", "perturbation"),
    [
        (1.09, UNCHANGED),
        (0.8, UNCHANGED),
        (1.0, Perturbation("rotation", 30)),
        (0.7, Perturbation("rotation", 45)),
        (1.09, Perturbation("rotation", -15)),
        (1.0, Perturbation("margin", 1.25)),
        (0.6, Perturbation("margin", 1.5)),
        (1.09, Perturbation("resolution", 64)),
    ],
)
def test_real_pixels_are_used_as_far_as_the_record_has_them(frame, perturbation):
    image = np.full((400, 400, 3), 60, np.uint8)
    image[[0, -1]] = image[:, [0, -1]] = 255  # its border, which is what gets repeated
    crop = perturbed(image, 200, frame, perturbation)
    inside = (crop[..., 0] < 150).mean()
    assert perturbations.own_share(frame, perturbation) == pytest.approx(inside, abs=0.03)


def test_a_wider_margin_shows_what_lies_around_the_crop():
    image = noise(120)
    around = perturbed(image, 60, 0.5, Perturbation("margin", 2))
    assert (around == cv2.resize(image, (60, 60), interpolation=cv2.INTER_LINEAR)).all()


@pytest.mark.parametrize("pixels", [8, 16, 32])
def test_a_crop_of_low_resolution_holds_no_more_than_its_pixels_say(pixels):
    image = noise(150)

    def singular(crop: np.ndarray) -> np.ndarray:
        return np.linalg.svd(crop[..., 1].astype(float), compute_uv=False)

    # Enlarged rows and columns are mixtures of N of them, so but for rounding to whole numbers
    # (a matrix of errors up to 1/2, whose norm is some 0.3 times 2 times the root of 150) the
    # crop has the rank N.
    fine = singular(perturbed(image, 150, 1.0))
    low = singular(perturbed(image, 150, 1.0, Perturbation("resolution", pixels)))
    assert fine[pixels] > 300 and low[pixels] < 10 < low[pixels // 2]
    stripes = np.zeros((150, 150, 3), np.uint8)
    stripes[:, ::2] = 255
    assert perturbed(stripes, 150, 1.0).std() > 100
    assert perturbed(stripes, 150, 1.0, Perturbation("resolution", pixels)).std() < 10


# ---------------------------------------------------------------- a planted classifier


def reader() -> Classifier:
    """Tells "female" where a place above the middle is bright, and age by how bright it is."""
    crop = keras.Input((32, 32, 3))
    bright = keras.layers.Conv2D(1, 32, use_bias=False, name="reads")(crop)
    bright = keras.layers.Flatten()(bright)
    gender = keras.layers.Dense(2, activation="softmax", name="gender")(bright)
    age = keras.layers.Dense(1, name="years")(bright)
    age = keras.layers.Reshape((), name="age")(age)
    model = keras.Model(crop, {"gender": gender, "age": age})
    kernel = np.zeros((32, 32, 3, 1), np.float32)
    kernel[5:7, 15:17] = 1 / 12
    model.get_layer("reads").set_weights([kernel])
    model.get_layer("gender").set_weights([np.array([[0.1, -0.1]]), np.array([-20.0, 20.0])])
    model.get_layer("years").set_weights([np.array([[0.25]]), np.array([0.0])])
    return Classifier(model, {"gender": labels.GENDERS, "age": ()}, 32, 0.25, "float32")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Faces whose gender is a bright or dark patch, and a run that reads that patch."""
    home = tmp_path_factory.mktemp("home")
    rows = []
    for i in range(90):
        female = i % 2 == 0
        image = np.full((64, 64, 3), 128, np.uint8)
        image[6:18, 26:38] = 255 if female else 0
        cv2.imwrite(str(home / f"{i}.png"), image)
        rows.append((f"{i}.png", "female" if female else "male", 64 if female else 0, "test"))
    table = pd.DataFrame(rows, columns=["file", "gender", "age", "split"])
    table.to_csv(home / "faces.csv", index=False)
    classifier.save(reader(), home / "model_files" / "reader" / "classifier.keras")
    return home


@pytest.fixture
def dataset(home, monkeypatch):
    monkeypatch.chdir(home)
    return datasets.prepare("faces.csv")


@pytest.fixture
def path(home, tmp_path) -> Path:
    """The reader's file in a folder of its own, so that there are no tables beside it."""
    return Path(shutil.copy(home / "model_files" / "reader" / "classifier.keras", tmp_path))


def tables(path, dataset, several, **kwargs):
    return robustness.tables(
        path, reader(), dataset=dataset, split="test", perturbed=several, **kwargs
    )


def test_changing_by_nothing_gives_the_table_of_an_evaluation(dataset, path):
    trained = reader()
    found = tables(path, dataset, [UNCHANGED, *NOTHING])
    truth, outputs = classifier.classify(trained, dataset, split="test")
    expected = predictions.table(
        truth.name, truth[list(labels.TASKS)], outputs=outputs, tasks=trained.tasks
    ).astype({"age": float})
    assert list(found) == ["unchanged", "rotation+0", "margin1", "resolution32"]
    for table in found.values():
        pd.testing.assert_frame_equal(table, expected, check_exact=True)
    figures = robustness.compare(found["margin1"], found["unchanged"])
    assert figures["gender"]["change"]["difference"] == 0 and figures["gender"]["change"]["p"] == 1
    low, high = figures["gender"]["change"]["interval"]
    assert low < 0 < high  # of 90 faces that all stay right, others of their kind might not


@pytest.mark.slow
def test_a_classifier_that_reads_one_place_fails_when_it_is_rotated_away(dataset, path):
    several = [UNCHANGED, Perturbation("rotation", 90), Perturbation("rotation", 3)]
    summary = robustness.measure(path, reader(), dataset=dataset, split="test", perturbed=several)
    before, rotated, little = (row["tasks"] for row in summary["changes"])
    assert before["gender"]["accuracy"] == little["gender"]["accuracy"] == 1
    # Where the patch was is now grey, which it takes for male.
    gender = rotated["gender"]
    assert gender["accuracy"] == gender["change"]["difference"] + 1 == 0.5
    assert gender["by_gender"]["female"]["change"]["difference"] == -1
    assert gender["by_gender"]["male"]["change"]["difference"] == 0
    assert abs(gender["gap"]["difference"]) == 1
    assert np.sign(gender["gap"]["interval"]).sum() != 0  # it does not hold 0
    assert before["age"]["mae"] < 0.5 and rotated["age"]["mae"] == pytest.approx(32, abs=0.5)
    assert rotated["age"]["by_gender"]["female"]["mae"] == pytest.approx(32, abs=0.5)
    for task in ("gender", "age"):
        drawn = robustness_figure.figure(summary, task)
        (panel,) = drawn.axes  # there is one kind of perturbation
        line = panel.containers[0].lines[0]
        score = "accuracy" if task == "gender" else "mae"
        assert line.get_xdata().tolist() == [0, 3, 90]
        assert line.get_ydata().tolist() == [one[task][score] for one in (before, little, rotated)]


# ------------------------------------------------------------------------------ figures


def predicted(right: np.ndarray, gender: np.ndarray, years_off: np.ndarray) -> pd.DataFrame:
    female = np.where((gender == "female") == right, 0.8, 0.2)
    truth = {"gender": gender, "age": np.full(len(gender), 40.0)}
    outputs = {"gender": np.stack([female, 1 - female], 1), "age": 40 + years_off}
    names = [f"{i}.jpg" for i in range(len(gender))]
    return predictions.table(names, truth, outputs=outputs, tasks={"gender": labels.GENDERS})


def test_the_paired_interval_by_hand():
    # 10 lost and 4 won of 100: shares 11/102 and 5/102, middle -6/102, and the variance
    # (16/102 - 36/102^2) / 102 = (1632 - 36) / 102^3 = 1596 / 1061208.
    low, high = paired.shares_interval(10, 4, count=100)
    margin = 1.959963984540054 * (1596 / 1061208) ** 0.5
    assert [low, high] == pytest.approx([-6 / 102 - margin, -6 / 102 + margin], abs=1e-12)
    assert paired.shares_interval(3, 0, count=3)[0] == -1


def test_the_paired_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    chances = np.array([0.83, 0.07, 0.03, 0.07])  # both right, lost, won, both wrong
    drawn = rng.multinomial(300, chances, 4000)
    held = [low <= -0.04 <= high for low, high in (
        paired.shares_interval(lost, won, count=300) for _, lost, won, _ in drawn
    )]  # fmt: skip
    assert 0.94 <= np.mean(held) <= 0.965


def test_a_change_is_counted_face_by_face_and_by_gender():
    rng = np.random.default_rng(1)
    gender = np.array(["female"] * 60 + ["male"] * 80)
    before = rng.random(140) < 0.9
    after = before.copy()
    after[:9] = ~before[:9]
    after[60:64] = ~before[60:64]
    off = rng.normal(0, 5, 140)
    tables = [predicted(before, gender, off), predicted(after, gender, off + rng.normal(2, 1, 140))]
    found = robustness.compare(tables[1], tables[0])
    one = found["gender"]
    assert one["accuracy"] == pytest.approx(after.mean())
    assert one["change"]["difference"] == pytest.approx(after.mean() - before.mean())
    pairs = same_images.mcnemar(*tables, task="gender")
    expected = paired.shares_interval(pairs["only_a"], pairs["only_b"], count=140)
    assert one["change"]["interval"] == pytest.approx(expected)
    assert one["change"]["p"] == pairs["p"]
    change = {
        name: after[gender == name].mean() - before[gender == name].mean() for name in set(gender)
    }
    for name, group in one["by_gender"].items():
        assert group["change"]["difference"] == pytest.approx(change[name])
        assert group["count"] == (gender == name).sum() and not group["small"]
    scores = {name: before[gender == name].mean() for name in set(gender)}
    worse = min(scores, key=scores.get)
    better = max(scores, key=scores.get)
    gap = one["gap"]
    assert gap["worse"] == worse
    assert gap["unchanged"] == pytest.approx(scores[better] - scores[worse])
    assert gap["difference"] == pytest.approx(change[better] - change[worse])
    assert gap["changed"] == pytest.approx(gap["unchanged"] + gap["difference"])
    # Of years off: Student's, and the same faces are further off by a little under 2 on one side.
    years = [np.abs(table.age_predicted - 40) for table in tables]
    rise = years[1] - years[0]
    half = 1.977178 * rise.std(ddof=1) / 140**0.5  # t of 139 degrees
    assert found["age"]["change"]["interval"] == pytest.approx(
        [rise.mean() - half, rise.mean() + half], abs=1e-5
    )
    worse = max(("female", "male"), key=lambda name: years[0][gender == name].mean())
    assert found["age"]["gap"]["worse"] == worse


def test_the_gaps_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    lose = {"female": 0.1, "male": 0.02}  # so that the gap changes by 0.9 * 0.08
    held = []
    for _ in range(1500):
        scores, after = {}, {}
        for name, share in lose.items():
            right = pd.Series(rng.random(150) < 0.9)
            left = right & (rng.random(150) > share)
            scores[name] = right.mean()
            after[name] = {"small": False, "accuracy": left.mean()}
            after[name]["change"] = paired.change(right, left)
        found = paired.gap(scores, after, task="gender")
        truth = 0.9 * 0.08 * (1 if found["worse"] == "female" else -1)
        held.append(found["interval"][0] <= truth <= found["interval"][1])
    # Rather too often: where three faces in 150 change, the interval is a little too wide.
    assert 0.94 <= np.mean(held) <= 0.98


def test_a_gender_of_few_faces_has_no_gap_and_is_marked():
    gender = np.array(["female"] * 29 + ["male"] * 40)
    table = predicted(np.arange(69) % 5 > 0, gender, np.zeros(69))
    found = robustness.compare(table, table)["gender"]
    assert found["gap"] is None and found["by_gender"]["female"]["small"]
    summary = robustness.summarize({"unchanged": table}, [UNCHANGED], frame=1.0, size=32)
    assert "small" in robustness.report(summary).splitlines()[3].split()


def test_differences_are_in_percentage_points():
    gender = np.array(["female"] * 50 + ["male"] * 50)
    before, after = np.ones(100, bool), np.arange(100) >= 10
    one = Perturbation("margin", 2)
    found = {
        UNCHANGED.name: predicted(before, gender, np.zeros(100)),
        one.name: predicted(after, gender, np.zeros(100)),
    }
    summary = robustness.summarize(found, [UNCHANGED, one], frame=1.0, size=32)
    row = next(line for line in robustness.report(summary).splitlines() if "margin" in line)
    # 90% of all and 80% of female faces are right: down by 10, and a gap of 20, wider by 20.
    assert {"90.0%", "-10.0", "20.0", "+20.0"} <= set(row.split())


# -------------------------------------------------------------------- tables that are kept


@pytest.mark.slow
def test_a_table_is_made_again_only_if_something_that_made_it_changed(dataset, path):
    place = path.parent / "robustness" / "predictions-faces-test-unchanged.csv"

    def made(**kwargs):
        found = tables(path, dataset, [UNCHANGED], **kwargs)
        return found["unchanged"], place.stat().st_ino

    whole, first = made()
    path.touch()  # a later date is no other classifier
    assert made()[1] == first
    part, second = made(count=40)  # has a table of its own
    assert second == first and place.with_name("predictions-faces-test-40-unchanged.csv").exists()
    pd.testing.assert_frame_equal(part, whole[:40])
    other = reader()
    other.model.get_layer("years").set_weights([np.array([[0.5]]), np.array([0.0])])
    classifier.save(other, path)
    _, third = made()
    assert third != first
    edited = whole.copy()
    edited.loc[0, "age"] = 3.0
    predictions.write(edited, place)
    again, _ = made()
    pd.testing.assert_frame_equal(again, whole)


def test_what_was_finished_before_a_kill_is_not_made_again(dataset, path, monkeypatch):
    several = [UNCHANGED, Perturbation("margin", 0.9), Perturbation("margin", 0.8)]
    crop, folder = perturbations.crop, path.parent / "robustness"

    def dies(image, size, *, frame, perturbation=UNCHANGED):
        if perturbation == several[2]:
            raise KeyboardInterrupt
        return crop(image, size, frame=frame, perturbation=perturbation)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(perturbations, "crop", dies)
        tables(path, dataset, several)
    kept = {each: each.stat().st_mtime_ns for each in folder.glob("*.csv")}
    assert len(kept) == 2
    tables(path, dataset, several)
    assert len(list(folder.glob("*.csv"))) == 3
    assert all(each.stat().st_mtime_ns == when for each, when in kept.items())


def test_each_image_is_decoded_once_unless_they_are_too_large(dataset, path, monkeypatch):
    decode, decoded = crops.decode, []
    monkeypatch.setattr(crops, "decode", lambda jpeg: decoded.append(0) or decode(jpeg))
    several = [UNCHANGED, Perturbation("margin", 0.9), Perturbation("margin", 0.8)]
    tables(path, dataset, several)
    assert len(decoded) == 90
    decoded.clear()
    shutil.rmtree(path.parent / "robustness")
    monkeypatch.setattr(robustness, "HELD", 30 * 64 * 64 * 3)
    tables(path, dataset, several)
    assert len(decoded) == 90 + 2 * 60


# ---------------------------------------------------------------------------- the command


OPTIONS = [
    "--run",
    "reader",
    "--dataset",
    "faces.csv",
    "--align",
    "never",
    "--margins",
    "0.9",
    "--resolutions",
    "8",
]


@pytest.mark.slow
def test_the_command_writes_tables_figures_and_charts(home, monkeypatch):
    monkeypatch.chdir(home)
    command.main([*OPTIONS, "--rotations", "-90", "90", "--json", "copy.json"])
    folder = Path("model_files/reader/robustness")
    written = json.loads((folder / "robustness-faces-test.json").read_text())
    assert written == json.loads(Path("copy.json").read_text())
    assert written["count"] == 90 and written["dataset"] == "faces"
    names = ["unchanged", "rotation-90", "rotation+90", "margin0.9", "resolution8"]
    assert [row["name"] for row in written["changes"]] == names
    for row in written["changes"]:
        table = predictions.read(folder / f"predictions-faces-test-{row['name']}.csv")
        figures = metrics.evaluate(table)
        assert row["tasks"]["gender"]["accuracy"] == figures["gender"]["accuracy"]
        assert row["tasks"]["age"]["interval"] == figures["age"]["interval"]
    for task in ("gender", "age"):
        picture = cv2.imread(str(folder / f"robustness-faces-test-{task}.png"))
        assert (picture < 128).mean() > 0.005  # something is drawn
        assert "pixels a side" in (folder / f"robustness-faces-test-{task}.svg").read_text()


@pytest.mark.slow
def test_the_same_command_makes_the_same_of_the_tables_that_are_there(home, monkeypatch):
    monkeypatch.chdir(home)
    folder = Path("model_files/reader/robustness")
    kept = []
    for _ in range(2):
        command.main([*OPTIONS, "--rotations"])
        charts = [path.read_bytes() for path in sorted(folder.glob("robustness-faces-test-*"))]
        made = sorted(folder.glob("predictions-*"))
        kept.append((charts, [path.stat().st_mtime_ns for path in made]))
    assert kept[0] == kept[1]


@pytest.mark.slow
def test_a_dataset_that_was_trained_on_is_divided_as_then(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    config = Path("model_files/reader/config.json")
    config.write_text(json.dumps({"settings": {"dataset": "faces.csv", "split_seed": 3}}))
    try:
        command.main([*OPTIONS, "--rotations"])
        assert "split_3" in capsys.readouterr().out
        command.main([*OPTIONS, "--rotations", "--split-seed", "0"])
        assert "split_0" in capsys.readouterr().out
    finally:
        config.unlink()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--resolutions", "33"], "33.*32 pixels"),
        (["--split", "train"], "train.*test"),
        (["--run", "nobody"], "nobody"),
    ],
)
def test_bad_input_is_named_in_one_line(home, monkeypatch, options, named):
    monkeypatch.chdir(home)
    with pytest.raises(InputError, match=named) as raised:
        command.main([*OPTIONS, *options])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "options", [["--rotations", "181"], ["--margins", "nan"], ["--margins", "0"], ["--count", "0"]]
)
def test_impossible_amounts_are_refused(options, capsys):
    with pytest.raises(SystemExit) as raised:
        command.main([*OPTIONS, *options])
    assert raised.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_dataset_without_a_label_that_is_predicted_is_refused(home, monkeypatch):
    monkeypatch.chdir(home)
    table = pd.read_csv("faces.csv")[["file", "split"]].assign(race="White")
    table.to_csv("races.csv", index=False)
    with pytest.raises(InputError, match=r"races\.csv.*gender, age"):
        command.main([*OPTIONS, "--dataset", "races.csv"])
