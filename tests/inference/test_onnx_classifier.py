"""Classifiers on ONNX Runtime: equal to Keras's, refused where they are none."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from test_classifier import TASKS, build, crops_of, tiny_backbone

import vggface_gender
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.exports import onnx as exporting
from vggface_gender.exports import parity
from vggface_gender.inference import backends, classifier, onnx_classifier
from vggface_gender.photos import read
from vggface_gender.training import heads


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a tiny classifier as Keras's file and as ONNX."""
    folder = tmp_path_factory.mktemp("made")
    backbone = tiny_backbone()
    head = heads.build("compact", backbone.output_shape[1:], tasks=TASKS)
    trained = build(
        backbone, head, about={"backbone": "tiny"}, temperatures={"gender": 0.5}, mirror=True
    )
    classifier.save(trained, folder / runs.CLASSIFIER)
    exporting.save(
        trained, folder / runs.ONNX, made_from=folder / runs.CLASSIFIER, licence="for a test"
    )
    return folder


@pytest.mark.parametrize(("size", "count"), [(32, 9), (50, 1), (20, 65)])
def test_answers_and_features_are_kerass(made, size, count):
    keras_ = classifier.load(made / runs.CLASSIFIER)
    ours = onnx_classifier.load(made / runs.ONNX)
    crops = crops_of(size, count)
    for task, difference in parity.differences(keras_, ours, crops=crops).items():
        assert difference.is_within(1e-5 if task != "age" else 1e-3), task
    np.testing.assert_allclose(ours.embed(crops), keras_.embed(crops), atol=1e-4)
    wide = np.zeros((2, 40, 60, 3), np.uint8)
    wide[:, :, 10:50] = crops_of(40, 2)
    assert all(
        np.array_equal(answer, ours.predict(wide[:, :, 10:50])[task])
        for task, answer in ours.predict(wide).items()
    )


def test_it_is_a_classifier_by_itself(made, tmp_path):
    ours = onnx_classifier.load(made / runs.ONNX)
    assert (ours.tasks, ours.size, ours.padding) == (TASKS, 32, 0.25)
    assert (ours.about, ours.licence) == ({"backbone": "tiny"}, "for a test")
    model = onnx.load(made / runs.ONNX)
    axes = [
        axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim
    ]
    assert axes == ["batch", "height", "width", 3]


def test_none_are_answered_by_none(made):
    for each in (classifier.load(made / runs.CLASSIFIER), onnx_classifier.load(made / runs.ONNX)):
        answers = each.predict(np.zeros((0, 32, 32, 3), np.uint8))
        assert {task: answer.shape for task, answer in answers.items()} == {
            "gender": (0, 2),
            "race": (0, 3),
            "age": (0,),
        }
        assert (
            each.embed(np.zeros((0, 32, 32, 3), np.uint8)).shape
            == each.embed(crops_of(32, 1))[:0].shape
        )


def test_crops_that_are_none_are_refused_as_kerass_are(made):
    ours = onnx_classifier.load(made / runs.ONNX)
    for crops in (crops_of(32) / 255, crops_of(32)[0], crops_of(32)[..., :1]):
        with pytest.raises(InputError, match="give RGB"):
            ours.predict(crops)


def test_the_file_beside_is_taken_only_if_it_was_made_from_this_one(made, tmp_path):
    for name in (runs.CLASSIFIER, runs.ONNX):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    path = tmp_path / runs.CLASSIFIER
    assert isinstance(backends.load(path), onnx_classifier.OnnxClassifier)
    assert isinstance(backends.load(path, backend="keras"), classifier.Classifier)
    assert isinstance(backends.load(tmp_path / runs.ONNX), onnx_classifier.OnnxClassifier)
    other = classifier.load(path)
    classifier.save(other, path)  # written anew: other bytes
    assert isinstance(backends.load(path), classifier.Classifier)
    with pytest.raises(InputError, match="vggface-gender export"):
        backends.load(path, backend="onnx")


def test_what_is_no_classifier_is_one_line(made, tmp_path):
    content = (made / runs.ONNX).read_bytes()
    plain = onnx.load(made / runs.ONNX)
    del plain.metadata_props[:]
    damaged = onnx.load(made / runs.ONNX)
    for each in damaged.metadata_props:
        if each.key == "classifier.json":
            each.value = json.dumps({"tasks": {"mood": []}})
    for name, written, said in (
        ("cut", content[: len(content) // 2], "not a model that ONNX Runtime"),
        ("empty", b"", "not a model that ONNX Runtime"),
        ("text", b"this is none", "not a model that ONNX Runtime"),
        ("other", plain.SerializeToString(), "not a classifier of this package"),
        ("odd", damaged.SerializeToString(), "is damaged"),
    ):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(written)
        with pytest.raises(InputError, match=said) as caught:
            backends.load(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        onnx_classifier.load(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="no device gpu"):
        onnx_classifier.load(made / runs.ONNX, device="gpu")


@pytest.mark.slow
def test_weights_that_16_bits_hold_are_stored_in_them_and_no_others(made, tmp_path):
    trained = classifier.load(made / runs.CLASSIFIER)
    kernel = max(trained.model.weights, key=lambda weight: weight.shape.num_elements())
    assert kernel.shape.num_elements() >= exporting.LARGE
    sizes = []
    for value in (kernel.numpy(), kernel.numpy().astype(np.float16)):
        kernel.assign(value)
        exporting.save(trained, tmp_path / "a.onnx")
        sizes.append((tmp_path / "a.onnx").stat().st_size)
        ours = onnx_classifier.load(tmp_path / "a.onnx")
        for difference in parity.differences(trained, ours, crops=crops_of(32)).values():
            assert difference.largest < 1e-3 and difference.relabelled == 0
    assert sizes[0] - sizes[1] > 1.9 * kernel.shape.num_elements()


def test_onnx_runtime_reports_nothing_and_writes_nothing(tmp_path):
    code = "import vggface_gender as vg; vg.load()"
    environment = {"TMPDIR": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.iterdir())


def test_the_default_answers_photos_without_tensorflow(faces_dir, tmp_path):
    """The same answers as Keras's, to the digits that are published."""
    photos = [str(faces_dir / "photos" / name) for name in ("obama.jpg", "couple.jpg")]
    code = (
        "import sys, json, vggface_gender as vg; model = vg.load();"
        f"print(json.dumps([a.to_dict() for a in model.predict({photos!r}, "
        "tasks=('gender', 'race', 'age'))]));"
        "assert not {'tensorflow', 'keras', 'pandas', 'scipy'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    keras_ = vggface_gender.load(backend="keras")
    expected = keras_.predict(photos, tasks=("gender", "race", "age"))
    assert [len(answer["faces"]) for answer in answers] == [1, 2]
    for one, other in zip(answers, (each.to_dict() for each in expected), strict=True):
        for face, same in zip(one["faces"], other["faces"], strict=True):
            assert face["box"] == same["box"]
            assert face["gender"]["probability"] == pytest.approx(
                same["gender"]["probability"], abs=1e-4
            )
            assert face["race"]["label"] == same["race"]["label"]
            assert face["age"]["years"] == pytest.approx(same["age"]["years"], abs=0.1)
    assert read.read_photo(photos[0]).shape[1] == answers[0]["width"]
