"""The features file: any rows read back, numbers beyond float16's range, what is whole."""

import resource

import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.data import features_file
from vggface_gender.data.features_file import FeaturesFile


def written(path, rows, dtype, at_once=7):
    features_file.create(path, shape=rows.shape, dtype=dtype)
    file = FeaturesFile(path, shape=rows.shape, dtype=dtype, writable=True)
    for start in range(0, len(rows), at_once):
        file.write(start, rows[start : start + at_once])
    return FeaturesFile(path, shape=rows.shape, dtype=dtype)


@pytest.mark.parametrize("shape", [(50, 3), (50, 2, 4, 5), (1, 1)])
def test_float32_is_kept_as_it_is_whatever_rows_are_read(tmp_path, shape):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal(shape, np.float32)
    file = written(tmp_path / "it.h5", rows, "float32")
    assert file.whole() == len(file) == shape[0] and file.shape == shape
    np.testing.assert_array_equal(file, rows)
    for chosen in (
        slice(0, 0),
        slice(10, 30),
        slice(40, 90),
        np.array([], int),
        np.zeros(1, int),
        rng.permutation(shape[0]),
        rng.integers(shape[0], size=99),
    ):
        np.testing.assert_array_equal(file[chosen], rows[chosen])


def test_float16_keeps_numbers_of_any_size(tmp_path):
    rng = np.random.default_rng(0)
    sizes = np.array([0, 1e-30, 1e-8, 1, 255, 65503, 65504, 65505, 1e6, 1e20, 3e38], np.float32)
    rows = sizes[:, None] * rng.uniform(-1, 1, (len(sizes), 500)).astype(np.float32)
    rows[:, 0] = sizes
    file = written(tmp_path / "it.h5", rows, "float16")
    assert file.whole() == len(rows)
    for got, wanted, size in zip(file[:], rows, sizes, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2**-11, atol=size / 2e8)


def test_what_float16_can_say_is_said_exactly(tmp_path):
    rows = np.float32([[0, 1, -2.5, 1000], [2**-20, 0, 2**-18, 0]])
    np.testing.assert_array_equal(written(tmp_path / "it.h5", rows, "float16"), rows)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_whole_up_to_the_first_that_was_not_written(tmp_path, dtype):
    rows = np.zeros((20, 6), np.float32)  # as a part of a disk that was never written is read
    features_file.create(tmp_path / "it.h5", shape=rows.shape, dtype=dtype)
    file = FeaturesFile(tmp_path / "it.h5", shape=rows.shape, dtype=dtype, writable=True)
    assert file.whole() == 0
    for start, end, expected in ((0, 5, 5), (10, 15, 5), (5, 10, 15), (15, 20, 20)):
        file.write(start, rows[start:end])
        assert file.whole() == expected


def test_the_space_is_taken_when_the_file_is_created(tmp_path):
    shape = (1000, 5000)
    features_file.create(tmp_path / "it.h5", shape=shape, dtype="float16")
    assert (tmp_path / "it.h5").stat().st_blocks * 512 >= features_file.size(shape, "float16") > 1e7


def test_a_file_that_is_cut_while_it_is_open_is_said_so(tmp_path):
    file = written(tmp_path / "it.h5", np.ones((20, 600), np.float32), "float32")
    with open(tmp_path / "it.h5", "r+b") as other:
        other.truncate(30_000)
    with pytest.raises(InputError, match="cut while it was read"):
        file[np.arange(20)]


def test_reading_a_file_takes_the_memory_of_a_batch(tmp_path):
    shape, batch = (20_000, 5_000), np.ones((100, 5_000), np.float32)  # 200 MB
    features_file.create(tmp_path / "it.h5", shape=shape, dtype="float16")
    file = FeaturesFile(tmp_path / "it.h5", shape=shape, dtype="float16", writable=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for start in range(0, shape[0], 100):
        file.write(start, batch)
        assert file[start : start + 100].all()
    assert file.whole() == shape[0]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # kB
