"""The detector's file in the package is what its tool makes of dlib's weights."""

import json

import numpy as np
import onnx
import pytest

import make_detector
from vggface_gender.backbones import dlib_mmod
from vggface_gender.photos import detect_cnn
from vggface_gender.weights import dlib_mmod as weights


def test_the_file_in_the_package_is_what_the_tool_makes(tmp_path, capsys):
    make_detector.main(["--out", str(tmp_path / "made.onnx")])
    made = onnx.load(tmp_path / "made.onnx")
    kept = onnx.load(detect_cnn.FILE)
    # Not byte by byte: processors round the folded weights differently in the last bit.
    for ours, theirs in zip(made.graph.initializer, kept.graph.initializer, strict=True):
        assert ours.name == theirs.name
        arrays = (onnx.numpy_helper.to_array(each) for each in (ours, theirs))
        np.testing.assert_allclose(*arrays, rtol=1e-5, atol=1e-7)
    for model in (made, kept):
        del model.graph.initializer[:]
    assert made == kept
    assert "scores differ from Keras's by at most" in capsys.readouterr().out


def test_the_file_says_what_its_scores_mean():
    said = {each.key: each.value for each in onnx.load(detect_cnn.FILE).metadata_props}
    found = weights.read(weights.find())
    assert json.loads(said["detector"]) == {
        "window": [80, 80],
        "overlap": found.overlap,
        "mean": [122.782, 117.001, 104.298],
    }
    assert "public domain" in said["licence"]
    detector = detect_cnn.load()
    assert (detector.window, detector.overlap) == (found.window, found.overlap)
    assert detect_cnn.FILE.stat().st_size < 1_000_000


def test_a_file_that_scores_otherwise_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(make_detector, "difference", lambda *_: float("nan"))
    with pytest.raises(SystemExit, match="does not score as the Keras model does"):
        make_detector.main(["--out", str(tmp_path / "made.onnx")])
    assert not list(tmp_path.iterdir())


def test_another_network_is_another_file():
    arrays = weights.read(weights.find()).arrays
    other = dlib_mmod.build(arrays | {"score/bias": arrays["score/bias"] + 0.5})
    content = make_detector.to_onnx(other, {})
    assert make_detector.difference(other, content) < make_detector.TOLERANCE
    assert make_detector.difference(dlib_mmod.build(arrays), content) == pytest.approx(
        0.5, abs=1e-3
    )
