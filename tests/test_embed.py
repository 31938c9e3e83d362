"""embed: what it writes is what the network gives, as CSV and as HDF5; bad input is one line."""

import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import onnx_files
import pandas as pd
import pytest

from vggface_gender import backbones, embed
from vggface_gender.base import console, geometry
from vggface_gender.photos import align, crops, detect, read


@pytest.fixture
def portrait(tmp_path) -> Path:
    """A photo with one face."""
    data = pytest.importorskip("skimage.data")
    assert cv2.imwrite(str(tmp_path / "portrait.png"), data.astronaut()[..., ::-1])
    return tmp_path / "portrait.png"


def numbers(table: pd.DataFrame) -> np.ndarray:
    return table.filter(regex=r"^e\d+$").to_numpy(np.float32)


def test_a_photos_faces_are_aligned_and_embedded(portrait, tmp_path, capsys):
    (tmp_path / "plain.png").write_bytes(cv2.imencode(".png", np.zeros((80, 80, 3), np.uint8))[1])
    photos = [str(portrait), str(tmp_path / "plain.png")]
    arguments = [*photos, "--detector", "hog"]

    assert embed.main([*arguments, "--out", str(tmp_path / "faces.csv")]) == 0

    out, error = capsys.readouterr()
    assert "1 faces, 128 numbers each (backbone dlib, layer embedding, padding 0.25)" in out
    assert "photos without a face: 1" in error
    table = pd.read_csv(tmp_path / "faces.csv")
    photo = read.read_photo(portrait)
    (face,) = detect.detect(photo, detector="hog", threshold=0.2)
    crop = align.align(photo, [face], size=150, padding=0.25)
    expected = backbones.load("dlib", layer="embedding").predict_on_batch(crop)
    assert table[["left", "top", "right", "bottom"]].to_numpy().tolist() == [list(face.box)]
    np.testing.assert_allclose(table.score, face.score, rtol=1e-6)
    np.testing.assert_allclose(numbers(table), expected, rtol=1e-4, atol=1e-5)

    assert embed.main([*arguments, "--out", str(tmp_path / "faces.h5")]) == 0
    with h5py.File(tmp_path / "faces.h5") as file:
        np.testing.assert_array_equal(file["embeddings"][:], numbers(table))
        assert file["embeddings"].dtype == np.float32
        assert file["name"].asstr()[:].tolist() == [str(portrait)]
        assert file["right"][:].tolist() == [face.box[2]]
        said = dict(file.attrs)
    assert (said["backbone"], said["layer"]) == ("dlib", "embedding")
    assert (said["padding"], said["size"], said["detector"]) == (0.25, 150, "hog")


def test_crops_are_brought_from_their_frame_to_the_networks(tmp_path, write_image):
    weights = onnx_files.write(tmp_path / "arc.onnx")
    image = write_image(tmp_path / "crop.png", size=150)
    given = ["--detector", "none", "--frame", "0.25", "--backbone", str(tmp_path / "arc.onnx")]

    assert embed.main([str(image), *given, "--out", str(tmp_path / "one.h5")]) == 0

    share = (1 + 2 * geometry.ARCFACE_PADDING) / 1.5
    crop = crops.fit(read.read_photo(image), 144, frame=share)[:112, 15:127].astype(float)
    expected = onnx_files.embeddings((crop[None] - 127.5) / 127.5, weights)
    with h5py.File(tmp_path / "one.h5") as file:
        np.testing.assert_allclose(file["embeddings"][:], expected, rtol=1e-4, atol=1e-4)
        assert np.isnan(file["score"][0]) and file["right"][0] == 150
        assert file.attrs["backbone"].endswith("arc.onnx:rgb:127.5:127.5")


def test_a_crop_that_is_too_small_has_no_row_and_no_embedding(tmp_path, write_image):
    """So that the next one's row holds its own numbers."""
    onnx_files.write(tmp_path / "arc.onnx")
    small = write_image(tmp_path / "a.png", size=40)
    large = write_image(tmp_path / "b.png", size=150)
    given = ["--detector", "none", "--frame", "0.25", "--backbone", str(tmp_path / "arc.onnx")]
    tables = []
    for photos in ([small, large], [large]):
        line = [*map(str, photos), *given, "--min-face", "100"]
        assert embed.main([*line, "--out", str(tmp_path / "one.csv")]) == 0
        tables.append(pd.read_csv(tmp_path / "one.csv"))
    pd.testing.assert_frame_equal(*tables)


def test_a_datasets_split_is_written_with_its_labels(drawn, tmp_path, workplace):
    given = ["--dataset", str(drawn.table), "--data-dir", str(drawn.records), "--split", "test"]
    backbone = ["--backbone", str(drawn.backbone), "--layer", "conv2"]
    for ending in ("csv", "h5"):
        assert embed.main([*given, *backbone, "--out", f"test.{ending}"]) == 0
    table = pd.read_csv("test.csv")
    known = pd.read_csv(drawn.table).set_index("file").loc[table["name"]]
    for column in ("gender", "race", "age"):
        assert table[column].fillna("").tolist() == known[column].fillna("").tolist()
    model = backbones.load(str(drawn.backbone), layer="conv2")
    files = [drawn.table.parent / name for name in table["name"]]
    pictures = np.stack([crops.fit(read.read_photo(file), 32) for file in files])
    expected = model.predict_on_batch(pictures).reshape(len(files), -1)
    np.testing.assert_allclose(numbers(table), expected, rtol=1e-4, atol=1e-5)
    with h5py.File("test.h5") as file:
        np.testing.assert_array_equal(file["embeddings"][:], numbers(table))
        assert file["gender"].asstr()[:].tolist() == table["gender"].fillna("").tolist()
        assert file.attrs["split"] == "test"


def test_a_runs_own_features_are_written(tiny_run, tmp_path, write_image):
    image = write_image(tmp_path / "crop.png", size=40)
    given = [str(image), "--crops", "--run", str(tiny_run), "--layer", "shared"]
    assert embed.main([*given, "--out", str(tmp_path / "x.csv")]) == 0
    assert numbers(pd.read_csv(tmp_path / "x.csv")).shape == (1, 256)


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, workplace):
    Path("bad.jpg").write_text("no picture")
    Path("clip.mp4").write_text("no video")
    for arguments, problem in (
        (["--out", "x.csv"], "give photos or a --dataset"),
        (["a.jpg", "--dataset", "UTKFace", "--out", "x.csv"], "give photos or a --dataset"),
        (["bad.jpg", "--out", "x.txt"], "ends in .csv or .h5"),
        (["bad.jpg", "--out", "x.csv", "--frame", "0.25"], "give it with --detector none"),
        (["bad.jpg", "--out", "x.csv", "--backbone", "no.onnx"], "no such file"),
        (["bad.jpg", "--out", "x.csv", "--detector", "eyes"], "no detector eyes"),
        (["clip.mp4", "--out", "x.csv"], "embed takes photos"),
        (["bad.jpg", "--out", "x.csv"], "bad.jpg"),
        (["bad.jpg", "--out", "x.csv", "--layer", "nose"], "no layer nose"),
    ):
        assert console.run(lambda given=arguments: embed.main(given)) == 2
        out, error = capsys.readouterr()
        assert problem in error and error.count("\n") == 1 and out == "", arguments
    assert sorted(path.name for path in Path().iterdir()) == ["bad.jpg", "clip.mp4"]


def test_photos_that_cant_be_read_are_named(tmp_path, capsys, workplace, write_image):
    write_image(Path("good.png"))
    Path("bad.jpg").write_text("no picture")
    given = ["bad.jpg", "good.png", "--detector", "none"]
    assert console.run(lambda: embed.main([*given, "--out", "x.csv"])) == 1
    assert "bad.jpg" in capsys.readouterr().err
    assert pd.read_csv("x.csv")["name"].tolist() == ["good.png"]
    assert console.run(lambda: embed.main(["bad.jpg", "bad.jpg", "--out", "y.csv"])) == 2
    assert not Path("y.csv").exists()


@pytest.mark.slow
def test_the_command_as_people_start_it(tmp_path, write_image):
    image = write_image(tmp_path / "crop.png")
    line = [sys.executable, "-m", "vggface_gender", "embed", str(image), "--crops", "--out"]
    done = subprocess.run([*line, str(tmp_path / "x.csv")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
