"""The file that a split's features lie in: HDF5, a row an image, each with its own checksum.

It holds `features` (n, ...), float32 or float16; `checksums` (n,) uint32, the CRC-32 of each row;
and of float16 `scales` (n,) float32, which each row is to be multiplied with. HDF5 is asked where
these lie and no more: rows are read and written at their places by plain system calls. So memory
does not grow with the file, as it does with one that is mapped, which counts as used as far as it
was read; and a kill leaves rows without their checksum, never an HDF5 file that can't be opened.
"""

import os
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from vggface_gender.base import disk
from vggface_gender.base.errors import InputError

VERIFIED_AT_ONCE = 2**24  # bytes
FLOAT16_BITS = 15  # the greatest power of two that float16 has is 2**15


class FeaturesFile:
    """Features on disk as an array (n, ...) of float32, which reads the rows that are asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path, *, shape: Sequence[int], dtype: str, writable: bool = False):
        """Open a file that `create` made.

        Args:
            shape: (n, ...) that it must have.
            dtype: "float32" or "float16", that it must have.

        Raises:
            OSError, KeyError, ValueError: there is none, or it is none of these, or cut.
        """
        self.path, self.shape = path, tuple(shape)
        self._stored = np.dtype(dtype)
        layout = _layout(self.shape, self._stored)
        with h5py.File(path, "r", locking=False) as file:
            self._offsets = {name: _offset(file[name], *layout[name]) for name in layout}
        self._descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        ends = [self._offsets[name] + _size(*layout[name]) for name in layout]
        if os.fstat(self._descriptor).st_size < max(ends):
            raise ValueError(f"{path} is cut")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Rows (m, ...) float32, by their numbers or as a slice."""
        chosen = range(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        chosen = np.asarray(chosen, np.int64)
        values = self._read("features", chosen).astype(np.float32, copy=False)
        if self._is_scaled:
            scales = self._read("scales", chosen)
            values *= scales.reshape(-1, *[1] * (values.ndim - 1))
        return values

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows (m, ...) of finite float32, and then their checksums.

        As float16 each row is divided by a power of two that puts its largest value into float16's
        range, as high as can be: none is too large, and none is lost beside it.
        """
        parts = {"features": np.ascontiguousarray(rows, np.float32)}
        if self._is_scaled:
            _, exponents = np.frexp(np.abs(rows.reshape(len(rows), -1)).max(axis=1))
            up = FLOAT16_BITS - exponents
            scaled = np.ldexp(rows, up.reshape(-1, *[1] * (rows.ndim - 1)))
            parts = {
                "features": np.ascontiguousarray(scaled, np.float16),
                "scales": np.ldexp(np.float32(1), -up).astype(np.float32),
            }
        for name, values in (parts | {"checksums": _checksums(parts)}).items():
            self._write(values, self._offsets[name] + start * values[:1].nbytes)

    def whole(self) -> int:
        """How many rows from the first on are as they were written: all, of a whole file."""
        rows = max(1, VERIFIED_AT_ONCE // max(1, self._row_size("features")))
        for start in range(0, len(self), rows):
            chosen = np.arange(start, min(start + rows, len(self)))
            names = ("features", "scales") if self._is_scaled else ("features",)
            found = _checksums({name: self._read(name, chosen) for name in names})
            wrong = np.flatnonzero(found != self._read("checksums", chosen))
            if len(wrong):
                return start + int(wrong[0])
        return len(self)

    @property
    def _is_scaled(self) -> bool:
        return self._stored == np.float16

    def _row_size(self, name: str) -> int:
        shape, dtype = _layout(self.shape, self._stored)[name]
        return _size(shape, dtype) // len(self)

    def _read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows as they are stored, those that follow one another in one call."""
        shape, dtype = _layout(self.shape, self._stored)[name]
        values = np.empty((len(rows), *shape[1:]), dtype)
        offset, size = self._offsets[name], self._row_size(name)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist()
        for first, end in zip(starts, [*starts[1:], len(rows)], strict=False):
            self._fill(values[first:end], offset + int(rows[first]) * size)
        return values

    def _fill(self, values: np.ndarray, offset: int) -> None:
        wanted = values.reshape(-1).view(np.uint8)
        done = 0
        while done < len(wanted):
            got = os.pread(self._descriptor, len(wanted) - done, offset + done)
            if not got:
                raise InputError(f"{self.path} was cut while it was read: give the command again")
            wanted[done : done + len(got)] = np.frombuffer(got, np.uint8)
            done += len(got)

    def _write(self, values: np.ndarray, offset: int) -> None:
        left = values.reshape(-1).view(np.uint8).data
        while left:
            done = os.pwrite(self._descriptor, left, offset)
            left, offset = left[done:], offset + done


def create(path: Path, *, shape: Sequence[int], dtype: str) -> None:
    """A file with room for all features on the disk, none of which is whole yet.

    Raises:
        OSError: such as that there is no room.
    """
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # From this version on HDF5's own structures have checksums; later ones mark a file as open.
    with h5py.File(path, "w", libver=("v108", "v108"), locking=False) as file:
        for name, (extent, kind) in _layout(tuple(shape), np.dtype(dtype)).items():
            space = h5py.h5s.create_simple(extent)
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(kind), space, dcpl=made)
    with open(path, "r+b") as file:
        disk.allocate(file.fileno(), os.fstat(file.fileno()).st_size)


def size(shape: Sequence[int], dtype: str) -> int:
    """The bytes that a file of such features takes, but for a few thousand."""
    return sum(_size(*each) for each in _layout(tuple(shape), np.dtype(dtype)).values())


def _layout(shape: tuple[int, ...], dtype: np.dtype) -> dict[str, tuple]:
    """The shape and dtype of each array in a file."""
    scales = {"scales": (shape[:1], np.dtype(np.float32))} if dtype == np.float16 else {}
    return {"features": (shape, dtype), "checksums": (shape[:1], np.dtype(np.uint32))} | scales


def _size(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return dtype.itemsize * int(np.prod(shape))


def _offset(stored: h5py.Dataset, shape: tuple[int, ...], dtype: np.dtype) -> int:
    offset = stored.id.get_offset()
    if stored.shape != shape or stored.dtype != dtype or offset is None:
        raise ValueError(f"{stored.name} is {stored.dtype} {stored.shape}")
    return offset


def _checksums(parts: dict[str, np.ndarray]) -> np.ndarray:
    """The CRC-32 (n,) of each row of arrays (n, ...) together."""
    found = [0] * len(next(iter(parts.values())))
    for values in parts.values():
        rows = values.reshape(len(values), -1).view(np.uint8)
        found = [zlib.crc32(row.data, before) for row, before in zip(rows, found, strict=True)]
    return np.array(found, np.uint32)
