"""Pseudo-labels: what is accepted, thinned and drawn, how it is scored, and that it can be learnt.

The classifier is one whose answers are known: how much more red than blue a crop is.
"""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vggface_gender import datasets, multitask, predict
from vggface_gender.base import console
from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import FAIRFACE_RACES, GENDERS, UTKFACE_RACES
from vggface_gender.data import records
from vggface_gender.datasets import mixes
from vggface_gender.datasets.synthetic_faces import drawing
from vggface_gender.evaluation import overlap, predictions, pseudo_labels
from vggface_gender.inference import classifier
from vggface_gender.photos import faces

TOOLS = Path(__file__).resolve().parents[1] / "tools"
SIZE, PADDING = 40, 0.4


# --- which faces are kept


def test_each_label_has_a_threshold_of_its_own():
    probability = np.array([[0.9, 0.1], [0.96, 0.04], [0.1, 0.9], [0.3, 0.7], [0.97, 0.03]])
    assert pseudo_labels.accept(probability, [0.97, 0.8]).tolist() == [False, False, True, False, 1]
    assert pseudo_labels.accept(probability, [0.5, 0.95]).tolist() == [True, True, False, False, 1]
    assert not pseudo_labels.accept(probability, [1, 1]).any()
    label, confidence = pseudo_labels.told(np.array([[0.5, 0.5], [0.2, 0.8]]))
    assert label.tolist() == [0, 1] and confidence.tolist() == [0.5, 0.8]


def hashes(rows):
    """Bits (n, 256) as hashes."""
    return np.packbits(np.asarray(rows, bool), axis=1).view(np.uint64)


def test_of_near_alikes_the_surest_stays_and_others_are_left_alone():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 2, (2, 256))
    near, nearer = one.copy(), one.copy()
    near[:24] ^= 1
    nearer[100:110] ^= 1
    far = one.copy()
    far[:25] ^= 1
    planted = hashes([one, other, near, nearer])
    assert pseudo_labels.thin(planted, [0.9, 0.8, 0.95, 0.9], 24).tolist() == [0, 1, 1, 1]
    assert pseudo_labels.thin(planted, [0.9, 0.8, 0.85, 0.99], 24).tolist() == [0, 1, 1, 1]
    assert pseudo_labels.thin(planted, [0.99, 0.8, 0.85, 0.9], 24).tolist() == [1, 1, 0, 0]
    assert pseudo_labels.thin(hashes([one, far]), [0.9, 0.8], 24).tolist() == [1, 1]
    assert pseudo_labels.thin(hashes([one, far]), [0.9, 0.8], 25).tolist() == [1, 0]
    assert pseudo_labels.thin(hashes([one, one]), [0.7, 0.7], 0).tolist() == [1, 0]
    assert pseudo_labels.thin(np.zeros((0, 4), np.uint64), [], 24).tolist() == []


def test_what_stays_is_apart_and_what_goes_is_like_something_surer():
    rng = np.random.default_rng(1)
    bits = np.zeros((300, 256), int)
    bits[:, :40] = rng.integers(0, 2, (300, 40))
    confidence = rng.random(300)
    stays = pseudo_labels.thin(hashes(bits), confidence, 12)
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    assert 10 < stays.sum() < 290
    among = apart[np.ix_(stays, stays)]
    assert (among[~np.eye(len(among), dtype=bool)] > 12).all()
    for gone in np.flatnonzero(~stays):
        assert (apart[gone][stays & (confidence > confidence[gone])] <= 12).any()


def test_draws_are_at_random_by_the_seed_and_not_the_surest():
    label = np.array([0] * 300 + [1] * 40 + [2] * 100)
    drawn = pseudo_labels.draw(label, 40, seed=3)
    assert np.bincount(label[drawn]).tolist() == [40, 40, 40]
    assert drawn.tolist() == pseudo_labels.draw(label, 40, seed=3).tolist()
    assert drawn.tolist() != pseudo_labels.draw(label, 40, seed=4).tolist()
    assert pseudo_labels.draw(label, 1000, seed=0).all()
    assert not pseudo_labels.draw(label, 0, seed=0).any()
    times = np.mean([pseudo_labels.draw(label, 40, seed)[:300] for seed in range(2000)], axis=0)
    assert abs(times - 40 / 300).max() < 0.04  # each of them alike: five standard errors


def told_of(label, confidence):
    """Probabilities (n, 2) of which the label's is the confidence."""
    probability = np.stack([1 - np.asarray(confidence)] * 2, axis=1)
    probability[np.arange(len(label)), label] = confidence
    return probability


def test_every_face_is_accounted_for():
    rng = np.random.default_rng(0)
    label = rng.choice(2, 500, p=(0.7, 0.3))
    probability = told_of(label, rng.uniform(0.5, 1, 500))
    codes = hashes(rng.integers(0, 2, (500, 256)))
    codes[10:40] = codes[50:80]
    arguments = (probability, [0.7, 0.8], codes, 24)
    steps = pseudo_labels.choose(*arguments, balanced=True, most=61, seed=1)
    accepted = pseudo_labels.accept(probability, [0.7, 0.8])
    assert steps["accepted"].tolist() == np.flatnonzero(accepted).tolist()
    assert 1 <= len(steps["accepted"]) - len(steps["thinned"]) <= 30
    rarest = np.bincount(label[steps["thinned"]]).min()
    assert np.bincount(label[steps["balanced"]]).tolist() == [rarest, rarest]
    assert np.bincount(label[steps["kept"]]).tolist() == [30, 30]
    again = pseudo_labels.choose(*arguments, balanced=True, most=61, seed=1)
    assert again["kept"].tolist() == steps["kept"].tolist()
    assert len(pseudo_labels.choose(*arguments, most=61)["kept"]) == 61
    everything = pseudo_labels.choose(*arguments)
    assert everything["kept"].tolist() == everything["thinned"].tolist()
    for name, numbers in pseudo_labels.tally(probability, GENDERS, steps).items():
        assert numbers["told"] == (label == GENDERS.index(name)).sum()
        away = sum(numbers[what] for what in ("thinned away", "balanced away", "beyond max"))
        assert numbers["accepted"] - away == numbers["kept"] == 30


def test_with_a_label_that_none_has_there_is_nothing_to_balance_with():
    probability = told_of([0, 0, 1], [0.9, 0.9, 0.6])
    codes = hashes(np.random.default_rng(0).integers(0, 2, (3, 256)))
    steps = pseudo_labels.choose(probability, [0.8, 0.8], codes, 24, balanced=True)
    assert len(steps["thinned"]) == 2 and len(steps["kept"]) == 0


# --- the sweep


def frame(told, truth, names=GENDERS, task="gender", **others):
    """A predictions table of (label, confidence) and true labels; the rest is shared evenly."""
    outputs = np.zeros((len(told), len(names)))
    for row, (label, confidence) in zip(outputs, told, strict=True):
        row[:] = (1 - confidence) / (len(names) - 1)
        row[names.index(label)] = confidence
    return predictions.table(
        [f"{i}.jpg" for i in range(len(told))],
        {task: truth, **others},
        {task: outputs},
        {task: names},
    )


def wilson(hits, n, z=1.959963984540054):
    middle, half = hits + z * z / 2, z * np.sqrt(hits * (n - hits) / n + z * z / 4)
    return (middle - half) / (n + z * z), (middle + half) / (n + z * z)


def test_the_sweep_against_figures_made_by_hand():
    told = [("female", 0.95)] * 40 + [("male", 0.8)] * 10 + [("male", 0.99)] * 50
    truth = ["female"] * 36 + ["male"] * 4 + ["female"] * 5 + ["male"] * 5
    truth += ["male"] * 45 + [None] * 5
    race = ["White"] * 50 + ["Black"] * 50
    swept = pseudo_labels.sweep(frame(told, truth, race=race), "gender", (0.7, 0.9, 0.97, 0.999))
    row = swept.set_index(["threshold", "by", "group"])

    def check(at, faces, accepted, labelled, hits):
        one = row.loc[at]
        assert (one.faces, one.accepted, one.labelled) == (faces, accepted, labelled)
        assert one.acceptance == pytest.approx(accepted / faces, abs=1e-12)
        if labelled:
            assert one.accuracy == pytest.approx(hits / labelled, abs=1e-12)
            assert (one.low, one.high) == pytest.approx(wilson(hits, labelled), abs=1e-9)
        else:
            assert np.isnan([one.accuracy, one.low, one.high]).all()
        assert one.small == (labelled < 30)

    check((0.7, "all", "all"), 100, 100, 95, 36 + 5 + 45)
    check((0.9, "all", "all"), 100, 90, 85, 36 + 45)
    check((0.97, "all", "all"), 100, 50, 45, 45)
    check((0.999, "all", "all"), 100, 0, 0, 0)
    check((0.7, "told", "male"), 60, 60, 55, 50)
    check((0.9, "told", "male"), 60, 50, 45, 45)
    check((0.97, "told", "female"), 40, 0, 0, 0)
    check((0.7, "gender", "male"), 54, 54, 54, 50)
    check((0.9, "gender", "male"), 49 + 5, 49, 49, 45)
    check((0.9, "gender", "female"), 41, 36, 36, 36)
    check((0.9, "race", "White"), 50, 40, 40, 36)
    check((0.9, "gender x race", "male, White"), 9, 4, 4, 0)
    check((0.97, "gender x race", "male, Black"), 45, 45, 45, 45)
    check((0.97, "race", "White"), 50, 0, 0, 0)
    text = pseudo_labels.describe(swept)
    assert "95.3% of 85 " in text and "0.0% of 4*" in text
    assert "{:.1%} to {:.1%}".format(*wilson(81, 85)) in text


def test_without_true_labels_there_is_acceptance_alone():
    told = [("female", 0.6), ("male", 0.9), ("male", 0.7), ("male", 0.95)]
    swept = pseudo_labels.sweep(frame(told, [None] * 4), "gender", (0.5, 0.9))
    assert set(swept.by) == {"all", "told"} and not swept.labelled.any()
    assert swept.accepted.tolist() == [4, 1, 3, 2, 0, 2]
    assert "50.0%" in pseudo_labels.describe(swept)


def test_what_is_scored_is_the_label_that_is_given():
    """Two of seven races share most of a face, but the label given is the third."""
    outputs = np.zeros((1, 7))
    third, *two = map(FAIRFACE_RACES.index, ("White", "East Asian", "Southeast Asian"))
    outputs[0, third], outputs[0, two] = 0.4, 0.3
    names = {"race": FAIRFACE_RACES}
    for true, accuracy in (("White", 1), ("Asian", 0)):
        table = predictions.table(["a"], {"race": [true]}, {"race": outputs}, names)
        swept = pseudo_labels.sweep(table, "race", [0.35])
        assert swept.accuracy[0] == accuracy and swept.group[swept.by == "race"].tolist() == [true]


def test_five_races_are_scored_by_seven():
    told = [("Asian", 0.9), ("Asian", 0.9), ("Others", 0.9), ("White", 0.9)]
    truth = ["East Asian", "Indian", "Middle Eastern", "White"]
    swept = pseudo_labels.sweep(frame(told, truth, UTKFACE_RACES, "race"), "race", [0.5])
    by_race = swept[swept.by == "race"].set_index("group").accuracy
    assert swept.accuracy[0] == 0.75
    assert by_race[["East Asian", "Indian", "Middle Eastern", "White"]].tolist() == [1, 0, 1, 1]


# --- the tool


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("pseudo_label", TOOLS / "pseudo_label.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["pseudo_label"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """The file of a classifier: p(female) is the sigmoid of 20 times red minus blue, in [0, 1]."""
    crop = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(crop))
    features = keras.Input((3,))
    answers = keras.layers.Dense(2, activation="softmax", name="gender")
    head = keras.Model(features, {"gender": answers(features)}, name="head")
    answers.set_weights([np.array([[10, -10], [0, 0], [-10, 10]]), np.zeros(2)])
    tasks, about = {"gender": GENDERS}, {"dataset": "mine.csv[:20%]"}
    backbone = keras.Model(crop, x, name="colours")
    path = tmp_path_factory.mktemp("run") / "colours.keras"
    classifier.save(classifier.build(backbone, head, tasks, PADDING, "float32", about), path)
    return str(path)


def picture(seed, more_red, size=SIZE):
    """A picture (size, size, 3) `uint8` RGB, of blotches of its own, so much redder than blue."""
    blotches = np.random.default_rng(seed).uniform(60, 150, (8, 8, 1))
    grey = cv2.resize(blotches, (size, size), interpolation=cv2.INTER_CUBIC)
    tint = 255 * more_red / 2 * np.array([1, 0, -1])
    return np.clip(grey[..., None] + tint, 0, 255).astype(np.uint8)


def save(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])


def confidence(more_red):
    return 1 / (1 + np.exp(-20 * abs(more_red)))


@pytest.fixture
def crops(tmp_path, monkeypatch) -> Path:
    """Sixty crops, twice as many red (female) as blue ones, and a table of their true labels.

    They are the redder or bluer the higher their number; every fifth has another true label.
    """
    monkeypatch.chdir(tmp_path)
    lines = ["file,gender,race"]
    for i in range(60):
        sign = 1 if i % 3 else -1
        save(tmp_path / "crops" / f"{i:02d}.jpg", picture(i, sign * (0.05 + i / 300)))
        true = GENDERS[(sign < 0) != (i % 5 == 0)]
        lines.append(f"crops/{i:02d}.jpg,{true},{UTKFACE_RACES[i % 2]}")
    (tmp_path / "true.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def content(folder):
    return {file.name: file.read_bytes() for file in (folder / "crops").iterdir()}


def test_crops_to_a_table(tool, run, crops):
    tool.main(["crops", "--crops", "--run", run, "--out", "out", "--thresholds", "male=0.9"])
    table = pd.read_csv("out/faces.csv")
    assert list(table) == ["file", "gender", "confidence", "source", "split"]
    number = table.source.str.extract(r"crops/(\d+)\.jpg", expand=False).astype(int)
    expected = [
        i for i in range(60) if confidence(0.05 + i / 300) > (0.95 if i % 3 else 0.9) + 0.001
    ]
    unclear = {i for i in range(60) if abs(confidence(0.05 + i / 300) - 0.95) < 0.002}
    assert set(number) ^ set(expected) <= unclear and 20 < len(table) < 55
    assert table.gender.tolist() == ["female" if i % 3 else "male" for i in number]
    np.testing.assert_allclose(table.confidence, confidence(0.05 + number / 300), atol=0.01)
    assert set(table.split) == {"train"}
    for file, i in zip(table.file, number, strict=True):
        kept = cv2.imread(f"out/{file}")[..., ::-1].astype(int)
        assert kept.shape == (SIZE, SIZE, 3)
        assert abs(kept - cv2.imread(f"crops/{i:02d}.jpg")[..., ::-1]).mean() < 3
    assert {file.name for file in Path("out/crops").iterdir()} == {Path(f).name for f in table.file}
    said = predictions.read("out/predictions.csv")
    assert len(said) == 60 and said.gender.isna().all()
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["thresholds"] == {"female": 0.95, "male": 0.9}
    assert [summary["labels"][g]["told"] for g in GENDERS] == [40, 20]
    assert sum(numbers["kept"] for numbers in summary["labels"].values()) == len(table)


def test_hidden_labels_score_and_choose_nothing(tool, run, crops, capsys):
    options = ["crops", "--crops", "--run", run, "--threshold", "0.8", "--balance", "--max", "21"]
    tool.main([*options, "--out", "without"])
    tool.main([*options, "--out", "with", "--hidden", "true.csv", "--sweep"])
    Path("false.csv").write_text(  # every label the other one
        Path("true.csv").read_text().replace("female", "f").replace("male", "female")
    )
    tool.main([*options, "--out", "false", "--hidden", "false.csv"])
    for other in ("with", "false"):
        assert Path(other, "faces.csv").read_bytes() == Path("without/faces.csv").read_bytes()
        assert content(Path(other)) == content(Path("without"))
    table = pd.read_csv("with/faces.csv")
    assert table.gender.value_counts().to_dict() == {"female": 10, "male": 10}
    number = table.source.str.extract(r"(\d+)\.jpg", expand=False).astype(int)
    kept = json.loads(Path("with/summary.json").read_text())["kept"]
    assert kept["accuracy"] == pytest.approx((number % 5 > 0).mean()) and kept["labelled"] == 20
    assert "kept whose true label is known" in capsys.readouterr().out
    swept = pd.read_csv("with/sweep.csv").set_index(["threshold", "by", "group"])
    assert swept.accuracy[0.5, "all", "all"] == pytest.approx(0.8)
    assert swept.faces[0.5, "race", "White"] == 30
    assert len(json.loads(Path("with/sweep.json").read_text())) == len(swept)
    expected = pseudo_labels.sweep(
        predictions.read("with/predictions.csv"), "gender", pseudo_labels.SWEEP
    )
    pd.testing.assert_frame_equal(expected, pd.read_csv("with/sweep.csv"))


def test_a_sweep_alone_keeps_no_faces_and_a_seed_draws_others(tool, run, crops):
    tool.main(["crops", "--crops", "--run", run, "--out", "swept", "--sweep", "0.9", "0.6"])
    names = {file.name for file in Path("swept").iterdir()}
    assert names == {"predictions.csv", "summary.json", "sweep.csv", "sweep.json"}
    assert pd.read_csv("swept/sweep.csv").threshold.unique().tolist() == [0.6, 0.9]
    options = ["crops", "--crops", "--run", run, "--threshold", "0.8", "--max", "9"]
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        tool.main([*options, "--seed", seed, "--out", out])
    a, b, c = (pd.read_csv(f"{out}/faces.csv") for out in "abc")
    assert len(a) == len(c) == 9 and a.equals(b) and not a.equals(c)


def write_video(path, pictures, rate):
    kind = cv2.VideoWriter_fourcc(*{".avi": "MJPG", ".mp4": "mp4v"}[path.suffix])
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), kind, rate, (width, height))
    assert writer.isOpened()
    for rgb in pictures:
        writer.write(np.ascontiguousarray(rgb[..., ::-1]))
    writer.release()


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_video_of_two_faces_is_thinned_to_two(tool, run, tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    drawn = [drawing.draw(rng, gender, race="White", age=40.0, size=160) for gender in GENDERS]
    tints = [np.array([50, 0, -50]), np.array([-50, 0, 50])]
    shown = [np.clip(one + tint, 0, 255) for one, tint in zip(drawn, tints, strict=True)]
    # Each for a second at a time, a little darker every frame, so that no two are the same bytes.
    pictures = [(shown[i // 10 % 2] * (1 - 0.002 * i)).astype(np.uint8) for i in range(60)]
    write_video(tmp_path / f"clip{suffix}", pictures, 10)
    options = [f"clip{suffix}", "--crops", "--run", run, "--threshold", "0.6"]
    tool.main([*options, "--every", "0.25", "--out", "out"])
    said = predictions.read("out/predictions.csv")
    times = said.name.str.extract(r"@([\d.]+)$", expand=False).astype(float)
    # Frames are a tenth of a second apart: the first at or after every quarter.
    assert times.tolist() == [
        pytest.approx(np.ceil(2.5 * i - 1e-9) / 10, abs=0.002) for i in range(24)
    ]
    table = pd.read_csv("out/faces.csv")
    assert sorted(table.gender) == ["female", "male"]
    for gender, source, file in zip(table.gender, table.source, table.file, strict=True):
        place = said.name.tolist().index(source)
        assert said[f"gender_{gender}"][place] == said[f"gender_{gender}"].max()
        kept = cv2.imread(f"out/{file}")[..., ::-1].astype(int)
        wanted = cv2.resize(pictures[round(times[place] * 10)], (SIZE, SIZE))
        assert abs(kept - wanted).mean() < 12
    tool.main([*options, "--near", "0", "--every", "0.1", "--out", "all"])
    assert len(pd.read_csv("all/predictions.csv")) == 60


def test_a_dataset_is_labelled_in_the_classifiers_frame(tool, run, crops, capsys):
    table = Path("true.csv").rename("mine.csv")
    dataset = datasets.prepare(str(table), data_dir="records")
    options = ["--dataset", "mine.csv", "--data-dir", "records", "--run", run]
    tool.main([*options, "--threshold", "0.8", "--out", "out", "--sweep", "0.8"])
    assert "the classifier was trained on this dataset" in capsys.readouterr().out
    said = predictions.read("out/predictions.csv")
    truth = records.labels(dataset, "train")
    assert said.name.tolist() == truth.name.tolist() and said.gender.equals(truth.gender)
    trained = classifier.load(run)
    (part,) = records.batches(dataset, "train", 100, SIZE, PADDING).as_numpy_iterator()
    expected = trained.predict(part["image"])["gender"]
    np.testing.assert_allclose(predictions.probabilities(said, "gender"), expected, atol=1e-5)
    kept = pd.read_csv("out/faces.csv")
    places = [truth.name.tolist().index(source) for source in kept.source]
    assert places == np.flatnonzero(expected.max(axis=1) >= 0.8).tolist()
    for file, place in zip(kept.file, places, strict=True):
        crop = cv2.imread(f"out/{file}")[..., ::-1].astype(int)
        assert abs(crop - part["image"][place]).mean() < 3
    with pytest.raises(InputError, match=r"no split best: give --split train or"):
        tool.main([*options, "--split", "best", "--out", "other"])


# --- training on them


@pytest.fixture
def labelled(tool, run, crops, draw_table) -> Path:
    """A folder with pseudo/faces.csv and, of true labels, one.csv."""
    tool.main(["crops", "--crops", "--run", run, "--threshold", "0.7", "--out", "pseudo"])
    (crops / "drawn").mkdir()
    one = pd.read_csv(draw_table(crops / "drawn", 120, SIZE))
    one["split"] = ["train"] * 80 + ["validation"] * 20 + ["test"] * 20
    one.to_csv("drawn/one.csv", index=False)
    return crops


def test_they_are_a_table_for_training_alone(labelled, capsys):
    count = len(pd.read_csv("pseudo/faces.csv"))
    dataset = datasets.prepare("pseudo/faces.csv", data_dir="records")
    assert dataset.counts == {"train": count} and count > 40
    assert "nothing is drawn for validation or test" in capsys.readouterr().out
    folded = datasets.prepare("pseudo/faces.csv", data_dir="records", fold=(0, 5))
    assert folded.counts == {"train": count}
    table = pd.read_csv("pseudo/faces.csv").set_index("file")
    read = records.labels(dataset, "train").set_index("name")
    assert read.gender.to_dict() == table.gender.to_dict()
    mixed = mixes.prepare("drawn/one.csv[:50%]+pseudo/faces.csv*0.3", data_dir="records")
    assert mixed.counts == {"train": 40 + count, "validation": 20, "test": 20}
    assert mixed.parts[1].weight == 0.3 and mixed.classes("gender") == GENDERS
    # The same labels, said to be somebody's own, are divided.
    table.drop(columns="confidence").to_csv("pseudo/own.csv")
    own = datasets.prepare("pseudo/own.csv", data_dir="records")
    assert set(own.counts) == {"train", "validation", "test"}


@pytest.mark.parametrize("order", ["{one}[:50%]+{told}*0.3", "{told}*0.3+{one}"])
def test_a_training_takes_them_as_a_part_of_a_mix(labelled, order):
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=4)(keras.layers.Rescaling(1 / 255)(crop))
    keras.Model(crop, x, name="tiny").save("tiny.keras")
    name = order.format(one="drawn/one.csv", told="pseudo/faces.csv")
    options = ["--tasks", "gender", "--backbone", "tiny.keras", "--batch", "16", "--run", "x"]
    options += ["--head-epochs", "1", "--epochs", "1", "--data-dir", "records"]
    multitask.main(["--dataset", name, *options])
    run = Path("model_files/x")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["dataset"] == "one" and metrics["count"] == 20
    tables = {path.name for path in run.glob("predictions-*-test.csv")}
    assert tables == {"predictions-one-test.csv"}


# --- photographs


def test_photographs_give_their_faces(tool, run, faces_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path in predict.find_photos([str(faces_dir / "photos")]):
        with Image.open(path) as photo:  # smaller, so that the detector is quick
            photo.thumbnail((800, 800))
            photo.convert("RGB").save(f"{path.stem}.png")
    photos = predict.find_photos(["."])
    Path("text.jpg").write_text("this is no photo")
    options = ["--run", run, "--threshold", "0", "--near", "0", "--out", "out"]
    tool.main([*map(str, photos), "text.jpg", *options])
    assert "error: text.jpg: not an image" in capsys.readouterr().err
    summary = json.loads(Path("out/summary.json").read_text())
    assert (summary["pictures"], summary["unreadable"], summary["without a face"]) == (10, 1, 0)
    table = pd.read_csv("out/faces.csv")
    assert len(photos) == 9 and len(table) == summary["faces"] >= 16
    by_photo = table.groupby(table.source.str.rpartition("#")[0]).file.agg(list)
    assert set(by_photo.index) == {str(photo) for photo in photos}
    for photo in photos[:3]:
        rgb = faces.read_photo(photo)
        found = faces.detect(rgb, threshold=predict.THRESHOLD)
        wanted = faces.align(rgb, found, SIZE, PADDING)
        kept = [cv2.imread(f"out/{file}")[..., ::-1] for file in by_photo[str(photo)]]
        assert abs(np.stack(kept).astype(int) - wanted).mean() < 4


def test_a_photo_that_is_there_twice_is_kept_once(tool, run, faces_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = faces_dir / "photos" / "rose_leslie.jpg"
    smaller = cv2.resize(cv2.imread(str(photo)), None, fx=0.8, fy=0.8)
    cv2.imwrite("again.jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 80])
    others = [str(photo), "again.jpg", str(faces_dir / "photos" / "obama.jpg")]
    tool.main([*others, "--run", run, "--threshold", "0", "--out", "out"])
    said = predictions.read("out/predictions.csv")
    surest = pseudo_labels.told(predictions.probabilities(said, "gender"))[1][:2].argmax()
    kept = pd.read_csv("out/faces.csv").source.tolist()
    assert kept == [said.name[surest], said.name[2]]


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing.jpg"], "no face in 1 pictures (1 can't be read)"),
        (["missing.mp4"], "no face in 1 pictures (1 can't be read)"),
        (["crops", "--crops", "--threshold", "0.9999"], "of 60 faces none reaches its label's"),
        (["crops", "--crops", "--task", "race"], "does not tell race: gender"),
        (["crops", "--crops", "--thresholds", "child=0.9"], "--thresholds child: give any of"),
        (["crops", "--crops", "--hidden", "none.csv"], "none.csv: not a readable CSV file"),
        (["crops", "--crops", "--hidden", "others.csv"], "others.csv lists none of the photos"),
        (["crops", "--crops", "--balance", "--max", "1"], "--max 1 is less than one face for each"),
        (
            ["crops", "--crops", "--balance", "--thresholds", "male=1"],
            "no face told male is left, so there is nothing to balance with",
        ),
        (["empty"], "empty: no images in this folder"),
        (["--dataset", "Nobody"], "no dataset Nobody"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tool, run, crops, capfd, arguments, complaint):
    Path("empty").mkdir()
    Path("others.csv").write_text("file,gender\nelsewhere.jpg,f\n")
    status = console.run(lambda: tool.main([*arguments, "--run", run, "--out", "out"]))
    *told, last = capfd.readouterr().err.splitlines()
    assert status == 2 and last.startswith("error: ") and complaint in last
    assert all(line.startswith("error: missing") for line in told)
    assert not Path("out").exists() and not list(Path().glob(".part-*"))


def test_what_is_there_is_not_written_over(tool, run, crops):
    Path("out").mkdir()
    options = ["crops", "--crops", "--run", run, "--threshold", "0.8", "--out", "out"]
    tool.main(options)
    before = content(Path("out"))
    with pytest.raises(InputError, match="out is there, and no empty folder"):
        tool.main([*options, "--threshold", "0.6"])
    assert content(Path("out")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.jpg", "--dataset", "UTKFace"],
        ["--dataset", "UTKFace", "--hidden", "a.csv"],
        ["a.jpg", "--thresholds", "female"],
        ["a.jpg", "--thresholds", "female=2"],
        ["a.jpg", "--threshold", "1.5"],
        ["a.jpg", "--every", "0"],
    ],
)
def test_nonsense_is_refused_before_anything_is_read(tool, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        tool.main([*arguments, "--out", "out"])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_videos_hash_is_that_of_its_crops(tool):
    """What thins faces is the hash that finds photos among training photos."""
    crop = picture(0, 0.1)
    found = tool.to_jpeg(crop)
    apart = overlap.prints([found]).hashes[0] ^ overlap.difference_hash(crop)
    assert np.bitwise_count(apart).sum() <= overlap.NEAR
