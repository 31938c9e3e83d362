"""dlib's numbers and strings, against what dlib itself writes and what no encoder writes."""

import math
import re

import dlib
import dlib_files as files
import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.weights.dlib_serialized import Reader


@pytest.fixture
def reader(tmp_path):
    """A function that makes a reader of some bytes."""

    def make(data: bytes) -> Reader:
        (tmp_path / "some.dat").write_bytes(data)
        return Reader(tmp_path / "some.dat", expected="file.dat", remedy="get another")

    return make


@pytest.mark.parametrize(
    "value", [0, 1, -1, 127, 128, -255, 256, 65535, 65536, -70000, 2**31, 2**47 + 1, -(2**62)]
)
def test_integers_are_read_as_dlib_writes_them(value, reader):
    (data,) = dlib.rectangle(value, 0, 5, 6).__getstate__()
    file = reader(data)
    assert [file.integer("side") for _ in range(4)] == [value, 0, 5, 6]
    file.finish()
    assert files.integer(value) == data[: len(files.integer(value))]


def test_floats_are_read_as_dlib_writes_them(reader):
    values = [1.0, 0.0, -0.1, math.pi, 1e300, -1e-300, 5e-324, math.inf, -math.inf, math.nan]
    (data,) = dlib.vector(values).__getstate__()
    file = reader(data)
    assert file.integer("rows") == -len(values)  # dlib's mark of the format that followed the first
    assert file.integer("columns") == -1
    np.testing.assert_array_equal([file.floating("value") for _ in values], values)
    file.finish()


@pytest.mark.parametrize("value", ["", "con_4", "x" * 300])
def test_strings(value, reader):
    assert reader(files.string(value)).string("name") == value


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("integer", b"\x00", "an integer of 1 to 8 bytes, found byte 0x00"),
        ("integer", b"\x09" + bytes(9), "found byte 0x09"),
        ("integer", b"\x41\x01", "found byte 0x41"),
        ("integer", b"\x04\x01\x02", "4 byte(s), found the end of the file after 2"),
        ("boolean", b"\x01", "the character 0 or 1, found byte 0x01"),
        ("string", files.integer(-3) + b"abc", "a string of -3 bytes"),
        ("string", files.integer(10**15), "the end of the file after 0"),
        ("floating", files.integers(1, 5000), "1 * 2^5000"),
        ("floating", files.integers(1, 2**63), f"1 * 2^{2**63}"),
    ],
)
def test_what_no_encoder_writes_is_refused(kind, data, message, reader):
    file = reader(data)
    with pytest.raises(InputError, match=re.escape(message)):
        getattr(file, kind)("it")


def test_the_writers_floats_are_dlibs():
    (data,) = dlib.vector([0.04, -3.0, 0.0]).__getstate__()
    assert data == files.integers(-3, -1) + b"".join(
        files.floating(v, 53) for v in (0.04, -3.0, 0.0)
    )
