"""The classifier that comes with the package: half precision, its making, its place in a wheel."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import default_card
import half_precision
import make_default
from vggface_gender import backbones, evaluate
from vggface_gender.base import labels, runs
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import card, metrics, predictions
from vggface_gender.inference import classifier
from vggface_gender.training import heads, losses, run

ROOT = Path(__file__).resolve().parents[2]
TASKS = {"gender": labels.GENDERS, "race": labels.FAIRFACE_RACES, "age": ()}


def tiny(width: int = 8) -> classifier.Classifier:
    """A network whose head's kernel has 64 * width * 256 numbers."""
    keras.utils.set_random_seed(1)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescale")(crop)
    x = keras.layers.Conv2D(width, 5, strides=4, padding="same", name="conv")(x)
    backbone = keras.Model(crop, keras.layers.ReLU(name="relu")(x), name="tiny")
    return built(backbone, about={"backbone": "dlib"})


def built(backbone: keras.Model, **about) -> classifier.Classifier:
    head = heads.build("compact", backbone.output_shape[1:], tasks=TASKS)
    return classifier.build(
        backbone, head, tasks=TASKS, padding=0.25, precision="float32", **{"about": {}} | about
    )


# Half precision

STOCK = """
import sys, warnings
import keras, numpy as np
warnings.simplefilter("error")
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
assert not any(name.startswith("vggface_gender") for name in sys.modules)
assert not model.get_layer("head").compiled
np.savez(sys.argv[2], *[weight.numpy() for weight in model.weights])
"""


def compiled(made: classifier.Classifier) -> keras.Model:
    """The head as training compiles it, with losses that stock Keras does not know."""
    head = made.parts()[1]
    losses.compile(head, keras.optimizers.Adam(), weights={})
    return head


def check_rounded(made: classifier.Classifier, read: list[np.ndarray]) -> None:
    """Weights read from a half-precision file are the classifier's, the large ones rounded."""
    rounded = 0
    for weight, got in zip(made.model.weights, read, strict=True):
        value = weight.numpy()
        assert got.dtype == value.dtype
        if value.size >= half_precision.SMALL:
            rounded += 1
            np.testing.assert_array_equal(got, value.astype(np.float16).astype(np.float32))
            assert (got != value).any()
            np.testing.assert_allclose(got, value, rtol=2**-11, atol=2**-25)
        else:
            np.testing.assert_array_equal(got, value)
    assert 0 < rounded < len(read)


def test_large_weights_are_rounded_and_the_others_as_they_were(tmp_path):
    made = tiny()
    compiled(made)
    half_precision.save(made, tmp_path / "half.keras")
    read = keras.saving.load_model(tmp_path / "half.keras", safe_mode=True)
    assert not read.get_layer("head").compiled
    check_rounded(made, [weight.numpy() for weight in read.weights])


@pytest.mark.slow  # a new process that imports Keras
def test_stock_keras_reads_the_same_weights(tmp_path):
    made = tiny()
    compiled(made)
    path, values = tmp_path / "half.keras", tmp_path / "values.npz"
    half_precision.save(made, path)
    subprocess.run([sys.executable, "-c", STOCK, path, values], check=True, capture_output=True)
    check_rounded(made, list(np.load(values).values()))


@pytest.mark.slow
def test_training_leaves_nothing_in_the_half_file(tmp_path):
    made = tiny()
    head = compiled(made)
    features = np.zeros((4, *head.input_shape[1:]))
    targets = {"gender": np.eye(2)[[0, 1, 0, 1]], "race": np.eye(7)[:4], "age": np.ones((4, 1))}
    head.fit(features, targets, verbose=0)
    sizes, names = {}, {}
    for half, write in ((False, made.model.save), (True, lambda at: half_precision.save(made, at))):
        path = tmp_path / f"{half}.keras"
        write(path)
        sizes[half] = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
            names[half] = set()
            weights.visit(names[half].add)
    assert any("optimizer" in name for name in names[False])
    assert names[True] == {name for name in names[False] if "optimizer" not in name}
    assert sizes[True] < sizes[False] / 4  # of weights, and two moments of each, in float32
    loaded = classifier.load(tmp_path / "True.keras")
    assert (loaded.tasks, loaded.size, loaded.padding) == (TASKS, 32, 0.25)


@pytest.mark.parametrize("scale", [1e6, 1e-7])
def test_what_half_precision_cannot_hold_stays_as_it_is(tmp_path, scale):
    """Numbers beyond 65,504 would be infinite, and those below 6e-8 nothing."""
    made = tiny()
    layer = made.parts()[1].get_layer("dense_256")
    kernel = np.random.default_rng(0).normal(size=layer.kernel.shape).astype(np.float32) * scale
    layer.kernel.assign(kernel)
    half_precision.save(made, tmp_path / "half.keras")
    loaded = classifier.load(tmp_path / "half.keras")
    np.testing.assert_array_equal(loaded.parts()[1].get_layer("dense_256").kernel, kernel)


@pytest.mark.slow
def test_dlibs_network_in_half_precision(tmp_path, faces_dir):
    """5.9 million numbers in under 12 MB, and answers on real faces that hardly move."""
    from vggface_gender.photos import crops

    keras.utils.set_random_seed(1)
    backbone = backbones.load("dlib")
    made = built(backbone)
    head = made.parts()[1]
    paths = sorted((faces_dir / "FairFace" / "train").iterdir())[:64]
    images = np.stack([crops.fit(crops.decode(path.read_bytes()), 150) for path in paths])
    # As after training: normalized features, so that the head tells faces apart.
    features = backbone.predict(images, verbose=0).reshape(len(images), -1)
    head.get_layer("normalize").moving_mean.assign(features.mean(0))
    head.get_layer("normalize").moving_variance.assign(features.var(0))
    path = tmp_path / "half.keras"
    half_precision.save(made, path)
    assert made.model.count_params() > 5_800_000
    assert path.stat().st_size < make_default.LARGEST[runs.CLASSIFIER]
    expected, got = made.predict(images), classifier.load(path).predict(images)
    for task, most in make_default.TOLERANCE.items():
        off = np.abs(got[task] - expected[task])
        assert 0 < off.max() < most
    assert np.ptp(expected["gender"][:, 0]) > 0.3  # different faces, different answers


# The folder model_files/default


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """Made-up files named and labelled as FairFace's and UTKFace's are."""
    import cv2

    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    lines = ["file,age,gender,race,service_test"]
    for place in ("FairFace/train", "UTKFace"):
        (folder / place).mkdir(parents=True)
    for i in range(120):
        race, gender = i % 7, i // 7 % 2
        crop = rng.integers(0, 256, (40, 40, 3), np.uint8)
        lines.append(
            f"train/{i}.jpg,20-29,{labels.GENDERS[gender].title()},{labels.FAIRFACE_RACES[race]},1"
        )
        cv2.imwrite(str(folder / "FairFace" / "train" / f"{i}.jpg"), crop)
        name = f"{1 + i}_{gender}_{i % 5}_{20170101000000000 + i}.jpg.chip.jpg"
        cv2.imwrite(str(folder / "UTKFace" / name), crop[::-1])
    (folder / "FairFace" / "fairface_label_train.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def tfrecords(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("tfrecords"))


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A package without a default classifier, which the working folder is the checkout of."""
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "vggface_gender" / "base" / "runs.py"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished_run(sources: Path, tfrecords: str, **settings) -> Path:
    """A run as a training on FairFace would leave it, its network untrained."""
    from vggface_gender import datasets

    dataset = datasets.prepare("FairFace", sources / "FairFace", data_dir=tfrecords)
    folder = runs.MODEL_FILES / "mine"
    somewhere = str(Path("faces/dlib.keras").resolve())
    settings = {
        "fingerprint": dataset.fingerprint,
        "counts": dataset.counts,
        "split_seed": 0,
        "file": somewhere,
    } | settings
    usual = {"command": "transfer", "dataset": "FairFace", "backbone": "dlib", "seed": 0}
    run.begin(folder, usual | settings)
    classifier.save(tiny(), folder / runs.CLASSIFIER)
    (folder / runs.METRICS).write_text("{}")
    return folder


def make(sources: Path, tfrecords: str, *more: str) -> None:
    line = ["--run", "mine", "--source", str(sources), "--data-dir", tfrecords]
    make_default.main([*line, *more])


@pytest.mark.slow
def test_a_run_becomes_the_default_classifier(sources, tfrecords, place, capsys):
    finished_run(sources, tfrecords)
    old = runs.MODEL_FILES / "default"
    old.mkdir()
    (old / "model_card.md").write_text("of the one before")
    make(sources, tfrecords)
    printed = capsys.readouterr().out

    folder = runs.find(None).parent
    assert folder.samefile(old)
    figures = {"FairFace": runs.METRICS, "UTKFace": "metrics-UTKFace-test.json"}
    files = {runs.CLASSIFIER, runs.ONNX, "config.json", "model_card.md", *figures.values()}
    assert {path.name for path in folder.iterdir()} == files
    assert {path.name for path in runs.MODEL_FILES.iterdir()} == {
        *("mine", "default", "default-evaluation")
    }
    settings = json.loads((folder / "config.json").read_text())["settings"]
    assert settings["file"] == "dlib.keras" and settings["dataset"] == "FairFace"
    assert classifier.load(folder / runs.CLASSIFIER).precision == "float32"

    # Its figures are those that `evaluate` computes, and prints, of the file.
    for name, file in figures.items():
        table = predictions.read(f"model_files/default-evaluation/predictions-{name}-test.csv")
        written = json.loads((folder / file).read_text())
        assert json.loads(json.dumps(metrics.evaluate(table))) == written["tasks"]
        assert metrics.report(written) in printed
        assert f"{written['tasks']['gender']['accuracy']:.1%}" in (folder / card.CARD).read_text()
    for path in folder.iterdir():
        content = path.read_bytes()
        assert str(place).encode() not in content and str(sources).encode() not in content

    # Evaluating it again writes nothing into its folder.
    before = {path: path.read_bytes() for path in folder.iterdir()}
    line = ["--dataset", "FairFace", "--data-dir", tfrecords, "--split", "validation"]
    evaluate.main(line)
    evaluate.main([*line, "--run", "default", "--out", "elsewhere"])
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    for where in ("model_files/default-evaluation", "elsewhere"):
        table = predictions.read(f"{where}/predictions-FairFace-validation.csv")
        assert json.loads(Path(where, "metrics-FairFace-validation.json").read_text())[
            "count"
        ] == len(table)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"dataset": "UTKFace"}, "its dataset is UTKFace"),
        ({"backbone": "vggface"}, "its backbone is vggface"),
        ({"init": "UTKFace-gender"}, "continued from UTKFace-gender"),
        ({"fingerprint": "another"}, "not the records that .* was trained on"),
    ],
)
def test_another_run_is_refused_and_nothing_changed(sources, tfrecords, place, settings, message):
    finished_run(sources, tfrecords, **settings)
    with pytest.raises(InputError, match=message):
        make(sources, tfrecords)
    assert [path.name for path in runs.MODEL_FILES.iterdir()] == ["mine"]


def test_an_unfinished_run_is_refused(sources, tfrecords, place):
    (finished_run(sources, tfrecords) / runs.METRICS).unlink()
    with pytest.raises(InputError, match=r"no metrics\.json"):
        make(sources, tfrecords)


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["LARGEST", "TOLERANCE"])
def test_a_file_that_fails_its_check_is_not_kept(sources, tfrecords, place, monkeypatch, limit):
    finished_run(sources, tfrecords)
    strict = {
        "LARGEST": dict.fromkeys(make_default.LARGEST, 1000),
        "TOLERANCE": dict.fromkeys(TASKS, 1e-12),
    }
    monkeypatch.setattr(make_default, limit, strict[limit])
    with pytest.raises(SystemExit, match="error: "):
        make(sources, tfrecords)
    assert [path.name for path in runs.MODEL_FILES.iterdir()] == ["mine"]


def test_the_card_in_the_repository_is_what_the_tool_would_write(tmp_path):
    """Whoever changes the words writes them anew; the figures are those of the JSON beside it."""
    stored = ROOT / "model_files" / "default"
    # The classifier first: figures must not be older.
    for path in sorted(stored.iterdir(), key=lambda path: path.name != runs.CLASSIFIER):
        shutil.copyfile(path, tmp_path / path.name)
    numbers = classifier.load(stored / runs.CLASSIFIER).model.count_params()
    text = (stored / card.CARD).read_text(encoding="utf-8")
    assert default_card.text(tmp_path, numbers=numbers) == text


# Packaging


@pytest.mark.slow
@pytest.mark.parametrize("has_default", [False, True])
def test_a_wheel_brings_the_default_classifier_that_there_is(tmp_path, has_default):
    """Of this tree, or of one that has a made-up classifier; installed, it is found."""
    tree = tmp_path / "tree"
    shutil.copytree(
        ROOT / "vggface_gender",
        tree / "vggface_gender",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    here, there = (root / "model_files" / "default" for root in (ROOT, tree))
    if has_default and (here / runs.CLASSIFIER).exists():
        shutil.copytree(here, there)
    elif has_default:
        there.mkdir(parents=True)
        for name in (runs.CLASSIFIER, runs.ONNX, "config.json", runs.METRICS, "model_card.md"):
            (there / name).write_text("made up")
    pip = [sys.executable, "-m", "pip", "-q"]
    done = subprocess.run(
        [*pip, "wheel", "--no-deps", "-w", tmp_path, tree], capture_output=True, text=True
    )
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("no registry to fetch setuptools from")
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("vggface_gender/default/")}
        assert "vggface_gender/datasets/fair_face/README.md" in archive.namelist()
        for name in ("faces_cnn.onnx", "frontal_face.svm"):  # the face detectors
            assert f"vggface_gender/photos/{name}" in archive.namelist()
        expected = sorted(there.iterdir()) if has_default else []
        assert held == {f"vggface_gender/default/{path.name}" for path in expected}
        for path in expected:
            assert archive.read(f"vggface_gender/default/{path.name}") == path.read_bytes()
        archive.extractall(tmp_path / "installed")
    code = "from vggface_gender.base import runs; print(runs.default())"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "installed", capture_output=True, text=True
    ).stdout.strip()
    found = tmp_path / "installed" / "vggface_gender" / "default" / runs.CLASSIFIER
    assert told == (str(found) if has_default else "None")
