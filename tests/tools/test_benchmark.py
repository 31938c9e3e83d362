"""The benchmark: what it compares does the same work, and its figures follow from what it timed."""

import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmark import command, decoding, faces, timing, writing
from benchmark.report import Row
from vggface_gender.base import console, device
from vggface_gender.base.errors import InputError
from vggface_gender.datasets.utk_face import utk_face_dataset_builder as utk_face

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "benchmark.py"
TINY = 20  # images


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces") / "UTKFace"
    faces.draw(folder, TINY)
    return folder


def check_report(report: dict, names: set[str]) -> None:
    """The form of the JSON, and that every figure in it is one."""
    assert {row["row"] for row in report["rows"]} == names
    assert report["machine"]["cores"] >= 1 and report["machine"]["processor"]
    for row in report["rows"]:
        ratio = row["ratio"]
        assert len(ratio["values"]) == report["repeats"]
        assert 0 < ratio["least"] <= ratio["median"] <= ratio["most"] < math.inf
        for side in (row["ours"], row["reference"]):
            assert side["what"] and 0 < side["median"] < math.inf
        assert row["unit"] in ("images/s", "images/CPU s", "megapixels/s", "s") and row["goal"]
        assert all(0 < seconds < math.inf for seconds in row["parts"].values())


# ------------------------------------------------------------------------- the whole tool


QUICK = {"records": {"records"}, "crops": {"crops, 150", "crops, 224"}}
REST = {
    "extraction": {"extraction, dlib", "extraction, VGG-16"},
    "training": {"training"},
    "gradcam": {"gradcam"},
    "precision": {"precision, VGG-16", "precision, dlib"},
    "dlib": {"dlib"},
    "detectors": {"detectors, network", "detectors, HOG", "detectors, whole photo"},
}


@pytest.mark.parametrize("rows", [QUICK, pytest.param(REST, marks=pytest.mark.slow)])
def test_rows_within_this_process(rows, drawn, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    Path(tempfile.tempdir).mkdir()
    file = tmp_path / "made" / "figures.json"
    command.main(["--quick", "--source", str(drawn), "--rows", *rows, "--json", str(file)])

    names = set().union(*rows.values())
    if "training" in rows and (precision := device.precision()) != "float32":
        names.add(f"training, {precision}")
    report = json.loads(file.read_text())
    check_report(report, names)
    assert report["faces"].startswith(f"{TINY} images of {drawn}") and report["quick"]
    *table, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == report
    assert all(any(line.startswith(f"{name}  ") for line in table) for name in names)
    assert not list(Path(tempfile.tempdir).glob("benchmark-*"))  # AutoGraph leaves its own


@pytest.mark.slow  # two new processes that import Keras, beside the tool's own
def test_predict_in_new_processes_on_drawn_faces(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--rows", "predict", "--repeats", "2"],
        env={"PATH": "", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    check_report(report, {"predict"})
    assert "64 drawn faces" in report["faces"]
    (row,) = report["rows"]
    assert {"imports", "weights", "detection", "classification"} < row["parts"].keys()
    assert max(row["parts"].values()) < row["ours"]["median"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--source", "nowhere"], "nowhere: no such folder; give --source"),
        (["--source", "empty"], "empty: no images found; give --source"),
        (["--run", "nothing"], "no run nothing"),
        (["--rows", "speed"], "invalid choice: 'speed'"),
        (["--repeats", "0"], "0 is not a whole number from 1 up"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    try:
        status = console.run(lambda: command.main(arguments))
    except SystemExit as stopped:  # argparse
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith("error: ") and complaint in error and error.count("\n") == 1


# ------------------------------------------------------------------------- timing


def test_sides_take_turns_after_one_uncounted_call():
    calls = []

    def side(name: str, seconds: float):
        return lambda: (calls.append(name), time.sleep(seconds))

    turns = timing.in_turns("sleep", (side("a", 0.01), side("b", 0.03)), repeats=3)
    assert "".join(calls) == "ab" * 4
    assert len(turns) == 3
    assert all(a >= 0.01 and b >= 0.03 for a, b in turns)
    timing.in_turns("sleep", (side("c", 0),), repeats=2, warm_up=False)
    assert calls[8:] == ["c", "c"]


def test_cpu_time_leaves_out_waiting():
    (waiting,) = timing.in_turns(
        "sleep", (lambda: time.sleep(0.3),), repeats=1, clock=time.process_time
    )
    assert waiting[0] < 0.3


def test_figures_are_medians_of_turns():
    pairs = [(2.0, 1.0), (1.0, 3.0), (4.0, 8.0), (5.0, 4.0)]
    row = Row("name", "ours", "theirs", "s", "none", pairs).figures()
    reference, ours = np.array(pairs).T
    assert row["reference"]["median"] == np.median(reference)
    assert row["ours"]["median"] == np.median(ours)
    assert row["ratio"]["median"] == np.median(ours / reference)  # not the medians' ratio
    assert (row["ratio"]["least"], row["ratio"]["most"]) == (0.5, 3.0)


# ------------------------------------------------------------------------- the same work


def test_both_decoders_give_the_same_crops(drawn):
    jpegs = [path.read_bytes() for path in sorted(drawn.iterdir())]
    for size in (150, 224):
        ours, theirs = (
            np.concatenate(list(decode(jpegs, size))).astype(int)
            for decode in (decoding.with_opencv, decoding.with_tensorflow)
        )
        assert ours.shape == theirs.shape == (TINY, size, size, 3)
        # TensorFlow's cast rounds down.
        assert np.abs(ours - theirs).mean() < 1 and np.abs(ours - theirs).max() < 16
        assert np.abs(ours - theirs[::-1]).mean() > 5  # other faces differ more


def test_a_forward_pass_runs_over_every_crop():
    class Summed(keras.layers.Layer):
        def build(self, shape):
            self.total = self.add_weight(name="total", initializer="zeros", trainable=False)

        def call(self, x):
            self.total.assign_add(keras.ops.sum(x))
            return x

    crop = keras.Input((4, 4, 3))
    model = keras.Model(crop, Summed(name="summed")(crop))
    crops = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), np.uint8)
    run = timing.forward(model, crops, batch_size=4)
    total = model.get_layer("summed").total
    assert float(total) == 0
    for times in (1, 2):
        run()
        assert float(total) == times * crops.sum()


def test_the_bare_loop_hashes_and_writes_the_files(drawn, tmp_path):
    paths = sorted(drawn.iterdir())
    hashes = writing.bare_loop(paths, tmp_path / "bare.tfrecord")
    written = list(tf.data.TFRecordDataset(str(tmp_path / "bare.tfrecord")).as_numpy_iterator())
    assert written == [path.read_bytes() for path in paths]
    assert hashes == [hashlib.blake2b(content, digest_size=16).hexdigest() for content in written]


# ------------------------------------------------------------------------- the faces


def test_drawn_faces_are_named_and_sized_as_utkface(drawn):
    paths = sorted(drawn.iterdir())
    parsed = [utk_face.parse(path.name) for path in paths]
    assert len(paths) == TINY
    assert all(labels.keys() == {"age", "gender", "race"} for labels in parsed)
    assert len({tuple(labels.values()) for labels in parsed}) > TINY / 2
    assert all(cv2.imread(str(path)).shape == (200, 200, 3) for path in paths)


@pytest.mark.parametrize("count", [1, 7, 19, TINY, TINY + 5])
def test_a_sample_is_spread_over_the_source(drawn, tmp_path, count):
    links = faces.sample(drawn, count, folder=tmp_path / "sample")
    assert sorted(tmp_path.glob("sample/*")) == sorted(links)
    places = [sorted(drawn.iterdir()).index(link.resolve()) for link in links]
    assert len(places) == min(count, TINY)
    gaps = np.diff([*places, TINY])
    assert places[0] == 0 and gaps.min() >= 1 and gaps.max() - gaps.min() <= 1


def test_utkface_is_found_where_it_is_stated_else_in_faces_dir(drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("FACES_DIR", str(drawn.parent))
    assert faces.find(None) == drawn
    assert faces.find(tmp_path) == tmp_path
    monkeypatch.setenv("FACES_DIR", str(tmp_path))
    assert faces.find(None) is None
    monkeypatch.delenv("FACES_DIR")
    assert faces.find(None) is None
    with pytest.raises(InputError, match="no such folder"):
        faces.find(tmp_path / "missing")
