"""Reading in a process of its own: what comes back, and how a crash, a hang or hunger is told."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.weights import isolated, matconvnet


# Readers, which the child imports from here.
def arrays(path, **options):
    yield np.arange(6, dtype=">f8").reshape(2, 3)
    yield np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    yield np.zeros((0, 3), np.float16)
    yield np.arange(10)[::2]
    return {"path": str(path), **options}


def crash(path):
    ctypes.string_at(0)
    yield


def hang(path):
    while True:
        pass
    yield


def eat(path):
    yield np.ones(2**31)  # 16 GiB


def fail(path):
    raise KeyError("a line\nand another")
    yield


def refuse(path):
    print("something for the screen")  # which is no answer
    raise InputError(f"{path}: no")
    yield


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ä file\udcff.bin"  # not UTF-8 either
    path.write_bytes(b"x")
    return path


def test_arrays_and_facts_come_back(file):
    facts, got = isolated.read(arrays, file, note="é")
    assert facts == {"path": str(file), "note": "é"}
    _, expected = isolated.here(arrays, file)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert got[1].flags.f_contiguous


@pytest.mark.parametrize(
    ("reader", "options", "message"),
    [
        (crash, {}, r"crashed on it \(SIGSEGV\): .*; ask for another"),
        (hang, {"seconds": 0.1}, "took more than 0 s to read"),
        (eat, {}, "needs more than the 3.0 GiB"),
        (fail, {}, "can't be read .KeyError: "),
        (refuse, {}, ": no$"),
    ],
)
def test_a_reader_that_ends_badly_is_told_in_one_line(file, reader, options, message):
    with pytest.raises(InputError, match=message) as error:
        isolated.read(reader, file, remedy="ask for another", **options)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def test_a_missing_file_is_told_without_a_process(tmp_path):
    with pytest.raises(InputError, match=r"none\.mat: no such file"):
        isolated.read(arrays, tmp_path / "none.mat")


def test_a_file_that_crashes_scipy_is_refused():
    path = Path(__file__).resolve().parents[3] / "shared" / "cases" / "21-hostile" / "segv.mat"
    if not path.is_file():
        pytest.skip(f"no {path}")
    # A wild pointer is either fault, or leads to numbers that make no sense, as chance has it.
    refusal = r"its parser crashed on it \(SIG(SEGV|BUS)\)|not a whole MATLAB file"
    with pytest.raises(InputError, match=refusal):
        matconvnet.read(path)


def test_it_works_from_a_script_without_a_guard(tmp_path):
    """As in a notebook, or a script that does its work at the top."""
    (tmp_path / "reader.py").write_text("def read(path):\n    yield from ()\n    return 5\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import reader\nfrom vggface_gender.weights import isolated\n"
        "print(isolated.read(reader.read, __file__)[0])\n"
    )
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert made.stdout == "5\n"
