"""pseudo_label from end to end: photos, videos and datasets to a table that a training takes.

The classifier is one whose answers are known: how much more red than blue a crop is.
"""

import json
import os
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vggface_gender import datasets, multitask, pseudo_label
from vggface_gender.base import console, locks
from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import GENDERS, UTKFACE_RACES
from vggface_gender.data import records
from vggface_gender.datasets import mixes
from vggface_gender.datasets.synthetic_faces import drawing
from vggface_gender.evaluation import overlap, predictions, pseudo_label_sweep, pseudo_labels
from vggface_gender.inference import classifier
from vggface_gender.photos import THRESHOLD, align, detect, prints, read
from vggface_gender.photos import crops as photos_crops
from vggface_gender.training import examples

SIZE, PADDING = 40, 0.4


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """The file of a classifier: p(female) is the sigmoid of 20 times red minus blue, in [0, 1]."""
    crop = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(crop))
    features = keras.Input((3,))
    answers = keras.layers.Dense(2, name="gender")
    head = keras.Model(features, {"gender": answers(features)}, name="head")
    answers.set_weights([np.array([[10, -10], [0, 0], [-10, 10]]), np.zeros(2)])
    tasks, about = {"gender": GENDERS}, {"dataset": "mine.csv[:20%]"}
    backbone = keras.Model(crop, x, name="colours")
    path = tmp_path_factory.mktemp("run") / "colours.keras"
    built = classifier.build(
        backbone, head, tasks=tasks, padding=PADDING, precision="float32", about=about
    )
    classifier.save(built, path)
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


def test_crops_to_a_table(run, crops):
    pseudo_label.main(
        ["crops", "--crops", "--run", run, "--out", "out", "--thresholds", "male=0.9"]
    )
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
    assert [summary["labels"][g]["predicted"] for g in GENDERS] == [40, 20]
    assert sum(numbers["kept"] for numbers in summary["labels"].values()) == len(table)


def test_hidden_labels_score_and_choose_nothing(run, crops, capsys):
    options = ["crops", "--crops", "--run", run, "--threshold", "0.8", "--balance", "--max", "21"]
    pseudo_label.main([*options, "--out", "without"])
    pseudo_label.main([*options, "--out", "with", "--hidden", "true.csv", "--sweep"])
    Path("false.csv").write_text(  # every label the other one
        Path("true.csv").read_text().replace("female", "f").replace("male", "female")
    )
    pseudo_label.main([*options, "--out", "false", "--hidden", "false.csv"])
    for other in ("with", "false"):
        assert Path(other, "faces.csv").read_bytes() == Path("without/faces.csv").read_bytes()
        assert content(Path(other)) == content(Path("without"))
    table = pd.read_csv("with/faces.csv")
    assert table.gender.value_counts().to_dict() == {"female": 10, "male": 10}
    number = table.source.str.extract(r"(\d+)\.jpg", expand=False).astype(int)
    kept = json.loads(Path("with/summary.json").read_text())["kept"]
    assert kept["accuracy"] == pytest.approx((number % 5 > 0).mean()) and kept["labelled"] == 20
    assert f"{kept['accuracy']:.1%}" in capsys.readouterr().out
    swept = pd.read_csv("with/sweep.csv").set_index(["threshold", "by", "group"])
    assert swept.accuracy[0.5, "all", "all"] == pytest.approx(0.8)
    assert swept.faces[0.5, "race", "White"] == 30
    assert len(json.loads(Path("with/sweep.json").read_text())) == len(swept)
    expected = pseudo_label_sweep.sweep(
        predictions.read("with/predictions.csv"), "gender", thresholds=pseudo_label_sweep.SWEEP
    )
    pd.testing.assert_frame_equal(expected, pd.read_csv("with/sweep.csv"))


def test_a_sweep_alone_keeps_no_faces_and_a_seed_draws_others(run, crops):
    options = ["--crops", "--run", run, "--out", "swept", "--sweep", "0.9", "0.6"]
    assert pseudo_label.main(["crops", *options]) == 0
    names = {file.name for file in Path("swept").iterdir()}
    assert names == {"predictions.csv", "summary.json", "sweep.csv", "sweep.json"}
    assert pd.read_csv("swept/sweep.csv").threshold.unique().tolist() == [0.6, 0.9]
    options = ["crops", "--crops", "--run", run, "--threshold", "0.8", "--max", "9"]
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        pseudo_label.main([*options, "--seed", seed, "--out", out])
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
def test_a_video_of_two_faces_is_thinned_to_two(run, tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    drawn = [drawing.draw(rng, gender, race="White", age=40.0, size=160) for gender in GENDERS]
    tints = [np.array([50, 0, -50]), np.array([-50, 0, 50])]
    shown = [np.clip(one + tint, 0, 255) for one, tint in zip(drawn, tints, strict=True)]
    # Each for a second at a time, a little darker every frame, so that no two are the same bytes.
    pictures = [(shown[i // 10 % 2] * (1 - 0.002 * i)).astype(np.uint8) for i in range(60)]
    write_video(tmp_path / f"clip{suffix}", pictures, 10)
    options = [f"clip{suffix}", "--crops", "--run", run, "--threshold", "0.6"]
    pseudo_label.main([*options, "--every", "0.25", "--out", "out"])
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
    pseudo_label.main([*options, "--near", "0", "--every", "0.1", "--out", "all"])
    assert len(pd.read_csv("all/predictions.csv")) == 60


def test_a_dataset_is_labelled_in_the_classifiers_frame(run, crops, capsys):
    table = Path("true.csv").rename("mine.csv")
    dataset = datasets.prepare(str(table), data_dir="records")
    options = ["--dataset", "mine.csv", "--align", "never", "--data-dir", "records", "--run", run]
    pseudo_label.main([*options, "--threshold", "0.8", "--out", "out", "--sweep", "0.8"])
    assert "note: " in capsys.readouterr().out  # the classifier was trained on it
    said = predictions.read("out/predictions.csv")
    truth = records.labels(dataset, "train")
    assert said.name.tolist() == truth.name.tolist() and said.gender.equals(truth.gender)
    trained = classifier.load(run)
    (part,) = records.batches(
        dataset, "train", batch_size=100, size=SIZE, padding=PADDING
    ).as_numpy_iterator()
    expected = trained.predict(part["image"])["gender"]
    np.testing.assert_allclose(predictions.probabilities(said, "gender"), expected, atol=1e-5)
    kept = pd.read_csv("out/faces.csv")
    places = [truth.name.tolist().index(source) for source in kept.source]
    assert places == np.flatnonzero(expected.max(axis=1) >= 0.8).tolist()
    for file, place in zip(kept.file, places, strict=True):
        crop = cv2.imread(f"out/{file}")[..., ::-1].astype(int)
        assert abs(crop - part["image"][place]).mean() < 3
    with pytest.raises(InputError, match=r"best.*train"):
        pseudo_label.main([*options, "--split", "best", "--out", "other"])


@pytest.mark.slow
def test_a_dataset_is_divided_as_the_run_had_it(run, crops, capsys):
    """Its test split is the one that was held out from the run, not that of seed 0."""
    folder = Path("model_files/mine")
    folder.mkdir(parents=True)
    shutil.copy(run, folder / "classifier.keras")
    settings = {"dataset": "true.csv", "split_seed": 3}
    (folder / "config.json").write_text(json.dumps({"settings": settings}))
    line = [
        "--dataset",
        "true.csv",
        "--align",
        "never",
        "--split",
        "test",
        "--run",
        "mine",
        "--threshold",
        "0.6",
    ]
    said = {}
    for name, more in (("own", []), ("given", ["--split-seed", "0"])):
        pseudo_label.main([*line, *more, "--out", name])
        said[name] = predictions.read(f"{name}/predictions.csv").name.tolist()
    for name, seed in (("own", 3), ("given", 0)):
        assert (
            said[name]
            == records.labels(datasets.prepare("true.csv", seed=seed), "test").name.tolist()
        )
    assert said["own"] != said["given"]


# --- training on them


@pytest.fixture
def labelled(run, crops, draw_table) -> Path:
    """A folder with pseudo/faces.csv and, of true labels, one.csv."""
    pseudo_label.main(["crops", "--crops", "--run", run, "--threshold", "0.7", "--out", "pseudo"])
    (crops / "drawn").mkdir()
    one = pd.read_csv(draw_table(crops / "drawn", 120, SIZE))
    one["split"] = ["train"] * 80 + ["validation"] * 20 + ["test"] * 20
    one.to_csv("drawn/one.csv", index=False)
    return crops


def test_they_are_a_table_for_training_alone(labelled):
    count = len(pd.read_csv("pseudo/faces.csv"))
    dataset = datasets.prepare("pseudo/faces.csv", data_dir="records")
    assert dataset.counts == {"train": count} and count > 40
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


@pytest.mark.parametrize("order", ["{one}[:50%]+{pseudo}*0.3", "{pseudo}*0.3+{one}"])
def test_a_mix_trains_on_them_at_their_weight_and_tests_without_them(labelled, order):
    name = order.format(one="drawn/one.csv", pseudo="pseudo/faces.csv")
    mix = mixes.prepare(name, data_dir="records")
    tasks = {"gender": GENDERS}
    train = examples.examples(mix, "train", tasks=tasks)
    names = [part.dataset.label for part in mix.parts]
    is_pseudo = np.array([names[part] == "faces" for part in train.part])
    assert is_pseudo.sum() == len(pd.read_csv("pseudo/faces.csv")) and not is_pseudo.all()
    ratio = train.weights["gender"][is_pseudo].max() / train.weights["gender"][~is_pseudo].min()
    assert ratio == pytest.approx(0.3)
    for split in ("validation", "test"):
        held_out = examples.examples(mix, split, tasks=tasks)
        assert 0 < len(held_out) <= 20
        assert {names[part] for part in held_out.part} == {"one"}


@pytest.mark.slow
@pytest.mark.parametrize("order", ["{one}[:50%]+{pseudo}*0.3", "{pseudo}*0.3+{one}"])
def test_a_training_takes_them_as_a_part_of_a_mix(labelled, order):
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=4)(keras.layers.Rescaling(1 / 255)(crop))
    keras.Model(crop, x, name="tiny").save("tiny.keras")
    name = order.format(one="drawn/one.csv", pseudo="pseudo/faces.csv")
    options = ["--tasks", "gender", "--backbone", "tiny.keras", "--batch-size", "16", "--run", "x"]
    options += ["--head-epochs", "1", "--epochs", "1", "--data-dir", "records"]
    multitask.main(["--dataset", name, "--align", "never", *options])
    run = Path("model_files/x")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["dataset"] == "one" and metrics["count"] == 20
    tables = {path.name for path in run.glob("predictions-*-test.csv")}
    assert tables == {"predictions-one-test.csv"}


# --- photographs


@pytest.mark.slow
def test_photographs_give_their_faces(run, faces_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path in read.find_photos([str(faces_dir / "photos")]).photos:
        with Image.open(path) as photo:  # smaller, so that the detector is quick
            photo.thumbnail((500, 500))
            photo.convert("RGB").save(f"{path.stem}.png")
    photos = read.find_photos(["."]).photos
    Path("text.jpg").write_text("this is no photo")
    Path("notes").mkdir()
    Path("notes", "a.txt").write_text("")
    Path("text.jpg").rename("notes/text.jpg")
    options = ["--run", run, "--threshold", "0", "--near", "0", "--out", "out"]
    assert pseudo_label.main([*map(str, photos), "notes", *options]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(errors) == 1 and "error: notes/text.jpg: " in errors[0]
    summary = json.loads(Path("out/summary.json").read_text())
    assert (summary["pictures"], summary["unreadable"], summary["without a face"]) == (10, 1, 0)
    assert summary["left_out"] == {"not named as an image": {"count": 1, "first": ["notes/a.txt"]}}
    table = pd.read_csv("out/faces.csv")
    assert len(photos) == 9 and len(table) == summary["faces"] >= 16
    by_photo = table.groupby(table.source.str.rpartition("#")[0]).file.agg(list)
    assert set(by_photo.index) == {str(photo) for photo in photos}
    for photo in photos[:3]:
        rgb = read.read_photo(photo)
        found = detect.detect(rgb, threshold=THRESHOLD)
        wanted = align.align(rgb, found, size=SIZE, padding=PADDING)
        kept = [cv2.imread(f"out/{file}")[..., ::-1] for file in by_photo[str(photo)]]
        assert abs(np.stack(kept).astype(int) - wanted).mean() < 4


@pytest.mark.slow
def test_a_photo_that_is_there_twice_is_kept_once(run, faces_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = faces_dir / "photos" / "rose_leslie.jpg"
    smaller = cv2.resize(cv2.imread(str(photo)), None, fx=0.8, fy=0.8)
    cv2.imwrite("again.jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 80])
    others = [str(photo), "again.jpg", str(faces_dir / "photos" / "obama.jpg")]
    pseudo_label.main([*others, "--run", run, "--threshold", "0", "--out", "out"])
    said = predictions.read("out/predictions.csv")
    _, certainty = pseudo_labels.predicted(predictions.probabilities(said, "gender"))
    most_confident = certainty[:2].argmax()
    kept = pd.read_csv("out/faces.csv").source.tolist()
    assert kept == [said.name[most_confident], said.name[2]]


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["missing.jpg"], "1 can't be read"),
        (["missing.mp4"], "1 can't be read"),
        (["crops", "--crops", "--threshold", "0.9999"], "60 faces"),
        (["crops", "--crops", "--task", "race"], "race: gender"),
        (["crops", "--crops", "--thresholds", "child=0.9"], "child: "),
        (["crops", "--crops", "--hidden", "none.csv"], "none.csv: "),
        (["crops", "--crops", "--hidden", "others.csv"], "others.csv "),
        (["crops", "--crops", "--balance", "--max", "1"], "--max 1 "),
        (["crops", "--crops", "--balance", "--thresholds", "male=1"], " male "),
        (["empty"], "empty: "),
        (["--dataset", "Nobody"], "Nobody"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, crops, capfd, arguments, named):
    Path("empty").mkdir()
    Path("others.csv").write_text("file,gender\nelsewhere.jpg,f\n")
    status = console.run(lambda: pseudo_label.main([*arguments, "--run", run, "--out", "out"]))
    *errors, last = capfd.readouterr().err.splitlines()
    assert status == 2 and last.startswith("error: ") and named in last
    assert all(line.startswith("error: missing") for line in errors)
    assert not Path("out").exists() and not list(Path().glob(".part-*"))


def test_what_is_there_is_not_written_over(run, crops):
    Path("out").mkdir()
    options = ["crops", "--crops", "--run", run, "--threshold", "0.8", "--out", "out"]
    pseudo_label.main(options)
    before = content(Path("out"))
    with pytest.raises(InputError, match="out "):
        pseudo_label.main([*options, "--threshold", "0.6"])
    assert content(Path("out")) == before
    # The same again: a kill can come when all is written.
    pseudo_label.main(options)
    assert content(Path("out")) == before
    with (
        locks.held("out"),
        pytest.raises(InputError, match=f"out is being written by process {os.getpid()}"),
    ):
        pseudo_label.main(options)


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
def test_nonsense_is_refused_before_anything_is_read(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        pseudo_label.main([*arguments, "--out", "out"])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_videos_hash_is_that_of_its_crops():
    """What thins faces is the hash that finds photos among training photos."""
    crop = picture(0, 0.1)
    found = photos_crops.to_jpeg(crop)
    apart = overlap.prints([found]).hashes[0] ^ prints.difference_hash(crop)
    assert np.bitwise_count(apart).sum() <= overlap.NEAR
