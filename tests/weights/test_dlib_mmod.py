"""dlib's serialized face detector against a writer of our own (`dlib_files`), and damaged files."""

import re

import dlib_files as files
import fuzzing
import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.weights import dlib_dat, dlib_mmod


@pytest.fixture(scope="module")
def detector() -> dlib_mmod.Detector:
    return dlib_mmod.read(dlib_mmod.find())


def test_arrays_hold_every_byte_of_the_file_that_is_used(detector):
    ours = files.encode_mmod(detector.arrays, detector.window, detector.overlap)
    theirs = dlib_mmod.find().read_bytes()
    assert len(ours) == len(theirs)
    different = np.flatnonzero(np.frombuffer(ours, np.uint8) != np.frombuffer(theirs, np.uint8))
    # Statistics of the last batch: two numbers a filter, four bytes each; the writer has 0.
    unused = b"".join(4 * filters * b"\0" for filters in 2 * (16, 32, 32, 45, 45, 45))
    assert 0 < different.size <= len(unused)


def test_other_weights_come_back_as_they_were_written(detector, tmp_path):
    rng = np.random.default_rng(0)
    other = {
        name: rng.uniform(0, 1, array.shape).astype(np.float32)
        for name, array in detector.arrays.items()
    }
    (tmp_path / "other.dat").write_bytes(files.encode_mmod(other, (60, 90), 0.125))
    back = dlib_mmod.read(tmp_path / "other.dat")
    assert (back.window, back.overlap) == ((60, 90), 0.125)
    assert list(back.arrays) == list(other)
    for name, array in other.items():
        np.testing.assert_array_equal(back.arrays[name], array, err_msg=name)


@pytest.mark.parametrize("length", [0, 1, 10, 25, 53, 100, 150, 5000, 5110, -4, -1])
def test_truncated(length, tmp_path):
    whole = dlib_mmod.find().read_bytes()
    path = tmp_path / "cut.dat"
    path.write_bytes(whole[:length])
    offset, text = files.refusal(dlib_mmod.read, path)
    assert "the end of the file" in text and offset <= len(whole[:length])


def test_trailing_bytes(tmp_path):
    whole = dlib_mmod.find().read_bytes()
    path = tmp_path / "long.dat"
    path.write_bytes(whole + b"\x01\x00")
    offset, text = files.refusal(dlib_mmod.read, path)
    assert offset == len(whole) and "2 more byte(s)" in text


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        (files.string("loss_mmod_"), files.string("loss_metr_"), "name of the loss"),
        (files.integers(1, 80, 80), files.integers(4, 80, 80), "options: expected 1, found 4"),
        (files.integers(1, 80, 80), files.integers(1, 80, 0), "height of the window: expected fr"),
        (files.string("con_4"), files.string("con_6"), "type of down_1: expected 'con_4'"),
        (files.integers(16, 5, 5, 2, 2), files.integers(16, 5, 5, 1, 2), "row stride of down_1"),
        (files.integers(45, 5, 5, 1, 1, 2, 2), files.integers(45, 5, 5, 1, 1, 0, 2), "row padding"),
        (files.string("bn_con2"), files.string("affine_"), "type of normalization of down_1"),
        (files.string("relu_"), files.string("sig__"), "type of down_1_relu"),
        (files.floating(1e-4, 53), files.floating(1e-3, 53), "epsilon of normalization of down_1"),
        (b"input_rgb_image_pyramid", b"input_rgb_image_pyramit", "type of the input"),
    ],
)
def test_another_layer_is_refused(found, instead, message, tmp_path):
    whole = dlib_mmod.find().read_bytes()
    path = tmp_path / "other.dat"
    path.write_bytes(whole.replace(found, instead, 1))
    offset, text = files.refusal(dlib_mmod.read, path)
    assert message in text
    assert abs(offset - whole.index(found)) < 30


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [("variance", -0.1, "from 0 to inf"), ("kernel", np.nan, "finite"), ("mean", np.inf, "finite")],
)
def test_numbers_that_can_not_be_are_refused(part, value, message, detector, tmp_path):
    other = detector.arrays | {f"conv_2/{part}": detector.arrays[f"conv_2/{part}"].copy()}
    other[f"conv_2/{part}"].flat[3] = value
    (tmp_path / "other.dat").write_bytes(files.encode_mmod(other))
    _, text = files.refusal(dlib_mmod.read, tmp_path / "other.dat")
    assert message in text and "conv_2" in text


@pytest.mark.parametrize("name", ["shape_predictor_5_face_landmarks.dat", dlib_dat.NAME])
def test_other_dlib_files_are_refused(name):
    offset, _ = files.refusal(dlib_mmod.read, dlib_mmod.find().with_name(name))
    assert offset < 20


def test_no_file(tmp_path):
    for path in (tmp_path / "none.dat", tmp_path):
        with pytest.raises(InputError, match=re.escape(str(path))):
            dlib_mmod.read(path)


@pytest.mark.slow
def test_damaged_files_end_in_a_line(tmp_path):
    path = tmp_path / "valid.dat"
    path.write_bytes(dlib_mmod.find().read_bytes())
    ends = fuzzing.fuzz(dlib_mmod.read, path, count=25)
    assert ends.keys() <= {"read", "refused"} and ends["refused"]
