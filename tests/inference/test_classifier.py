"""Classifiers: one file, loaded by Keras alone, equal to backbone and head, in any precision."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from vggface_gender import backbones
from vggface_gender.base.errors import InputError
from vggface_gender.inference import classifier
from vggface_gender.training import heads

TASKS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian"), "age": ()}


def tiny_backbone(size=32):
    crop = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescale")(crop)
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu", name="conv")(x)
    return keras.Model(crop, x, name="tiny")


def build(backbone, head, **options):
    about = {"tasks": TASKS, "padding": 0.25, "precision": "float32", "about": {}}
    return classifier.build(backbone, head, **about | options)


@pytest.fixture
def trained():
    keras.utils.set_random_seed(1)
    backbone = tiny_backbone()
    head = heads.build("compact", backbone.output_shape[1:], tasks=TASKS)
    return build(backbone, head, about={"backbone": "tiny"})


def crops_of(size, count=9):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def softmax(logits):
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def logits_of(trained, crops):
    backbone, head = trained.parts()
    return head.predict(backbone.predict(crops, verbose=0), verbose=0)


def test_it_answers_as_backbone_then_head(trained):
    crops = crops_of(32)
    logits = logits_of(trained, crops)
    got = trained.predict(crops, batch_size=4)
    for task in ("gender", "race"):
        np.testing.assert_allclose(got[task], softmax(logits[task]), atol=1e-5)
    np.testing.assert_allclose(got["age"], logits["age"][:, 0], rtol=1e-5)
    assert got["age"].shape == (9,) and got["race"].shape == (9, 3)
    np.testing.assert_allclose(got["race"].sum(1), 1, atol=1e-6)


def test_a_large_network_takes_fewer_crops_at_once(trained):
    crop = keras.Input((256, 256, 3))
    x = keras.layers.Conv2D(512, 1, strides=1, name="large")(crop)  # 134 MB for a crop
    x = keras.layers.GlobalAveragePooling2D()(x)
    large = build(keras.Model(crop, x), heads.build("compact", (512,), tasks=TASKS))
    assert (large.largest_batch, trained.largest_batch) == (2, 64)
    taken = []

    def predict(crops):
        taken.append(len(crops))
        return {task: np.zeros(len(crops)) for task in TASKS}

    large.model.predict_on_batch = predict
    assert len(large.predict(crops_of(8, 5))["age"]) == 5
    assert taken == [2, 2, 1]


def test_a_temperature_divides_the_logits_and_moves_no_label(trained, tmp_path):
    crops = crops_of(32)
    logits = logits_of(trained, crops)
    classifier.save(classifier.calibrated(trained, {"race": 0.4}), tmp_path / "c.keras")
    cooled = classifier.load(tmp_path / "c.keras")
    assert cooled.temperatures == {"race": 0.4}
    got, before = cooled.predict(crops), trained.predict(crops)
    np.testing.assert_allclose(got["race"], softmax(logits["race"] / 0.4), atol=1e-5)
    np.testing.assert_array_equal(got["gender"], before["gender"])
    # Of temperatures the last count: they replace, and are not multiplied by, those before.
    again = classifier.calibrated(cooled, {"gender": 2.0})
    np.testing.assert_allclose(again.predict(crops)["race"], before["race"], atol=1e-6)
    scored = classifier.scoring(cooled).predict(crops)
    assert set(scored) == {"gender", "race"}
    np.testing.assert_allclose(scored["race"], logits["race"], rtol=1e-4, atol=1e-5)


def test_no_crops_give_no_answers(trained):
    got = trained.predict(crops_of(32, 0))
    assert got["gender"].shape == (0, 2) and got["age"].shape == (0,)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_crops_of_any_number_type_in_0_to_255_give_the_same(trained, dtype):
    crops = crops_of(32)
    got, expected = trained.predict(crops.astype(dtype)), trained.predict(crops)
    np.testing.assert_allclose(got["gender"], expected["gender"], atol=1e-6)


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda crops: crops / 255, r"as if in \[0, 1\].*\[0, 255\]"),
        (lambda crops: crops / 127.5 - 1, "from -1"),
        (lambda crops: crops * 300.0, "from 0 to"),
        (lambda crops: np.where(crops > 9, crops, np.nan), "hold NaN"),
        (lambda crops: crops[..., 0], "of shape"),
        (lambda crops: crops[..., :1], "of shape"),
        (lambda crops: np.concatenate([crops, crops[..., :1]], -1), "of shape"),
        (lambda crops: crops.transpose(0, 3, 1, 2), "of shape"),
        (lambda crops: crops[0], "of shape"),
        (lambda crops: crops > 100, "of bool"),
    ],
)
def test_crops_that_would_be_misread_are_refused(trained, change, why):
    with pytest.raises(InputError, match=f"^crops .*{why}") as caught:
        trained.predict(change(crops_of(32)))
    assert "\n" not in str(caught.value)


def test_a_black_crop_is_a_crop(trained):
    black = np.zeros((1, 32, 32, 3), np.uint8)
    got, expected = trained.predict(black.astype(np.float32)), trained.predict(black)
    np.testing.assert_array_equal(got["gender"], expected["gender"])


@pytest.mark.parametrize("shape, square", [((40, 32), np.s_[4:36]), ((32, 51), np.s_[:, 9:41])])
def test_of_crops_that_are_not_square_the_middle_counts(trained, shape, square):
    crops = np.random.default_rng(0).integers(0, 256, (3, *shape, 3), np.uint8)
    middle = np.stack([crop[square] for crop in crops])
    got, expected = trained.predict(crops), trained.predict(middle)
    np.testing.assert_array_equal(got["race"], expected["race"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_refused_when_it_is_loaded(trained, tmp_path, bad):
    kernel = trained.model.get_layer("tiny").get_layer("conv").kernel
    weights = np.array(kernel)
    weights[0, 1, 2, 3] = bad
    kernel.assign(weights)
    classifier.save(trained, tmp_path / "bad.keras")
    with pytest.raises(InputError, match=r"bad\.keras: damaged, 1 of 600 numbers in .*conv/kernel"):
        classifier.load(tmp_path / "bad.keras")


def test_an_answer_that_is_no_number_is_refused(trained):
    head = trained.parts()[1]
    bias = next(variable for variable in head.variables if variable.path.endswith("gender/bias"))
    bias.assign([np.nan, 0])
    with pytest.raises(InputError, match="gender is not a number for 9 of 9 faces"):
        trained.predict(crops_of(32))


def test_crops_of_another_size_are_resized_within(trained):
    import cv2

    crops = crops_of(48)
    resized = np.stack([cv2.resize(crop.astype(np.float32), (32, 32)) for crop in crops])
    got, expected = trained.predict(crops), trained.predict(resized)
    np.testing.assert_allclose(got["gender"], expected["gender"], atol=1e-4)


def test_it_comes_back_from_its_file(trained, tmp_path):
    path = tmp_path / "classifier.keras"
    classifier.save(trained, path)
    assert list(tmp_path.iterdir()) == [path]
    loaded = classifier.load(path)
    assert (loaded.tasks, loaded.size, loaded.padding) == (TASKS, 32, 0.25)
    assert loaded.precision == "float32" and loaded.about == {"backbone": "tiny"}
    crops = crops_of(32)
    for task, expected in trained.predict(crops).items():
        np.testing.assert_array_equal(loaded.predict(crops)[task], expected)


LOAD = """
import sys, numpy as np, keras, vggface_gender
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
crops = np.load(sys.argv[2])
np.savez(sys.argv[3], **model.predict(crops, verbose=0))
"""


@pytest.mark.slow
def test_keras_alone_loads_it_in_safe_mode_in_another_process(tmp_path, faces_dir):
    """With dlib's real network and real faces: the file is all that is needed."""
    from vggface_gender.photos import crops

    keras.utils.set_random_seed(1)
    backbone = backbones.load("dlib")
    tasks = {"gender": ("female", "male")}
    head = heads.build("compact", backbone.output_shape[1:], tasks=tasks)
    paths = sorted((faces_dir / "UTKFace").iterdir())[:16]
    images = np.stack([crops.fit(crops.decode(p.read_bytes()), 150) for p in paths])
    # As after training: normalized features, so that the head tells faces apart.
    features = backbone.predict(images, verbose=0).reshape(16, -1)
    head.get_layer("normalize").moving_mean.assign(features.mean(0))
    head.get_layer("normalize").moving_variance.assign(features.var(0))
    made = build(backbone, head, tasks=tasks)
    classifier.save(made, tmp_path / "c.keras")
    np.save(tmp_path / "crops.npy", images)
    files = [str(tmp_path / name) for name in ("c.keras", "crops.npy", "answers.npz")]
    subprocess.run([sys.executable, "-c", LOAD, *files], check=True, capture_output=True)
    expected = softmax(head.predict(backbone.predict(images, verbose=0), verbose=0)["gender"])
    got = np.load(tmp_path / "answers.npz")["gender"]
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert np.ptp(got[:, 0]) > 0.1  # different faces, different answers


@pytest.mark.slow
def test_a_mirrored_one_answers_with_the_mean_from_its_file_alone(trained, tmp_path):
    backbone, head = trained.parts()
    both = build(backbone, head, mirror=True)
    crops = crops_of(32)
    one, other = trained.predict(crops), trained.predict(crops[:, :, ::-1])
    assert np.abs(one["age"] - other["age"]).max() > 1e-3
    classifier.save(both, tmp_path / "c.keras")
    np.save(tmp_path / "crops.npy", crops)
    files = [str(tmp_path / name) for name in ("c.keras", "crops.npy", "answers.npz")]
    subprocess.run([sys.executable, "-c", LOAD, *files], check=True, capture_output=True)
    elsewhere = np.load(tmp_path / "answers.npz")
    half = classifier.load(tmp_path / "c.keras", "mixed_bfloat16")
    assert half.parts()[1].get_layer("gender").compute_dtype == "float32"
    in_half = half.predict(crops)
    for task, expected in one.items():
        mean = (expected + other[task]) / 2
        np.testing.assert_allclose(both.predict(crops)[task], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(elsewhere[task], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(in_half[task], mean, rtol=0.05, atol=0.05)


def test_a_file_of_form_1_whose_head_gave_probabilities_predicts_as_before(trained, tmp_path):
    """Such files have softmaxes and years in the head, and temperatures of log-probabilities."""
    backbone, head = trained.parts()
    config = head.get_config()
    for layer in config["layers"]:
        if layer["config"]["name"] in TASKS:
            layer["config"]["activation"] = "softmax"
    old_head = keras.Model.from_config(config)
    old_head.set_weights(head.get_weights())
    outputs = old_head.output | {
        "age": keras.layers.Reshape((), name="age")(old_head.output["age"])
    }
    old_head = keras.Model(old_head.input, outputs, name="head")
    crop = keras.Input((None, None, 3), name="crop")
    x = keras.layers.Resizing(32, 32, dtype="float32", name="resize")(crop)
    answers = old_head(backbone(x, training=False))
    tiny = np.finfo(np.float32).tiny
    answers["race"] = keras.ops.softmax(keras.ops.log(answers["race"] + tiny) / 0.7)
    keras.Model(crop, answers, name="classifier").save(tmp_path / "old.keras")
    contract = {
        "tasks": TASKS,
        "size": 32,
        "padding": 0.25,
        "precision": "float32",
        "about": {},
        "mirror": False,
        "temperatures": {"race": 0.7},
    }
    with zipfile.ZipFile(tmp_path / "old.keras", "a") as archive:
        archive.writestr(classifier.CONTRACT, json.dumps(contract))
    old = keras.saving.load_model(tmp_path / "old.keras")
    read = classifier.load(tmp_path / "old.keras")
    crops = crops_of(32)
    for task, expected in old.predict(crops, verbose=0).items():
        np.testing.assert_allclose(read.predict(crops)[task], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(logits_of(read, crops)["race"], logits_of(trained, crops)["race"])


def test_a_file_of_a_newer_form_is_not_guessed_at(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "FORM", 3)
    classifier.save(trained, tmp_path / "c.keras")
    monkeypatch.undo()
    with pytest.raises(InputError, match="of form 3, written by a newer version"):
        classifier.load(tmp_path / "c.keras")


def test_precision_is_changed_in_the_backbone_and_nowhere_else(trained, tmp_path):
    path = tmp_path / "classifier.keras"
    classifier.save(trained, path)
    half = classifier.load(path, "mixed_bfloat16")
    inner = half.model.get_layer("tiny")
    assert inner.get_layer("conv").compute_dtype == "bfloat16"
    assert inner.get_layer("rescale").compute_dtype == "float32"
    assert half.model.get_layer("resize").compute_dtype == "float32"
    assert all(la.compute_dtype == "float32" for la in half.model.get_layer("head").layers)
    assert all(v.dtype == "float32" for v in half.model.trainable_variables)
    crops = crops_of(32)
    got, expected = half.predict(crops)["gender"], trained.predict(crops)["gender"]
    np.testing.assert_allclose(got, expected, atol=0.03)
    assert (got != expected).any()


def test_trained_in_16_bits_and_read_in_32(trained, tmp_path):
    model = backbones.with_precision(trained.model, "mixed_bfloat16")
    path = tmp_path / "classifier.keras"
    classifier.save(classifier.Classifier(model, TASKS, 32, 0.25, "mixed_bfloat16", {}), path)
    exact = classifier.load(path, "float32")
    crops = crops_of(32)
    expected = trained.predict(crops)["gender"]
    np.testing.assert_allclose(exact.predict(crops)["gender"], expected, atol=1e-6)


def damage(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "text":
        path.write_text("not a model")
    elif how == "no contract":
        with zipfile.ZipFile(path) as archive:
            members = {n: archive.read(n) for n in archive.namelist() if n != classifier.CONTRACT}
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, member)
    elif how == "gone":
        path.unlink()


@pytest.mark.parametrize("how", ["cut", "text", "no contract", "gone"])
def test_a_damaged_file_is_one_clear_line(trained, tmp_path, how):
    path = tmp_path / "classifier.keras"
    classifier.save(trained, path)
    damage(path, how)
    with pytest.raises(InputError, match=r"classifier\.keras") as caught:
        classifier.load(path)
    assert "\n" not in str(caught.value)


def test_a_failed_save_leaves_the_file_before_it(trained, tmp_path, monkeypatch):
    path = tmp_path / "classifier.keras"
    classifier.save(trained, path)
    before = path.read_bytes()
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        classifier.save(trained, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
