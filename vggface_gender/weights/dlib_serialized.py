"""dlib's serialized numbers, strings and tensors, read one after the other.

The format is read off dlib's sources: `dlib/serialize.h` (numbers, strings), `dlib/cuda/tensor.h`,
and `dlib/dnn/layers.h` for what every layer's record ends with.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from vggface_gender.base.errors import InputError

Value = TypeVar("Value")

# Exponents that mark what no mantissa gives.
_SPECIAL_FLOATS = {32000: math.inf, 32001: -math.inf, 32002: math.nan}


class Reader:
    """A file read from its start; `what` names the thing being read, for errors.

    Every method raises `InputError` where the file has something else, or ends.
    """

    def __init__(self, path: str | os.PathLike, *, expected: str, remedy: str):
        """Open a file.

        Args:
            path: the file.
            expected: what it should be, for errors.
            remedy: where to get one that is whole, for errors.
        """
        self.path = path
        self.offset = 0  # of the next byte
        self._expected = expected
        self._remedy = remedy
        try:
            self._data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; give the path of {expected}") from error

    def _take(self, count: int, what: str) -> bytes:
        """The next so many bytes."""
        start, self.offset = self.offset, self.offset + count
        if self.offset > len(self._data):
            left = f"the end of the file after {len(self._data) - start}"
            raise self._error(start, what, f"{count} byte(s)", left)
        return self._data[start : self.offset]

    def integer(self, what: str) -> int:
        """A control byte (bit 7: the sign, bits 0-3: how many bytes follow), then the magnitude."""
        start = self.offset
        (control,) = self._take(1, what)
        count = control & 0x0F
        if control & 0x70 or not 1 <= count <= 8:
            raise self._error(start, what, "an integer of 1 to 8 bytes", f"byte {control:#04x}")
        magnitude = int.from_bytes(self._take(count, what), "little")
        return -magnitude if control & 0x80 else magnitude

    def boolean(self, what: str) -> bool:
        """One character, 0 or 1."""
        start = self.offset
        character = self._take(1, what)
        if character not in (b"0", b"1"):
            raise self._error(start, what, "the character 0 or 1", f"byte {character[0]:#04x}")
        return character == b"1"

    def string(self, what: str) -> str:
        """The count of bytes, then the bytes."""
        start = self.offset
        count = self.integer(what)
        if count < 0:
            raise self._error(start, what, "a string", f"a string of {count} bytes")
        return self._take(count, what).decode("latin-1")  # which can show any byte in an error

    def floating(self, what: str) -> float:
        """Two integers, mantissa and exponent: mantissa * 2^exponent, or a special value."""
        start = self.offset
        mantissa, exponent = self.integer(what), self.integer(what)
        if exponent in _SPECIAL_FLOATS:
            return _SPECIAL_FLOATS[exponent]
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            found = f"{mantissa} * 2^{exponent}"
            raise self._error(start, what, "a floating-point number", found) from None

    def shape(self, what: str) -> tuple[int, ...]:
        """Four integers: samples, channels, rows, columns."""
        return tuple(self.integer(what) for _ in range(4))

    def tensor(self, what: str, shape: tuple[int, ...]) -> np.ndarray:
        """The data of a tensor that must have this shape, flat, float32."""
        self.expect(self.integer, f"tensor version of {what}", 2)
        self.expect(self.shape, f"shape of {what}", shape)
        start = self.offset
        values = np.frombuffer(self._take(4 * math.prod(shape), what), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise self._error(start, what, "finite numbers", "an infinite one, or no number")
        return values

    def alias(self, what: str, shape: tuple[int, ...]) -> None:
        """The shape under which a layer sees a part of its weights; no data."""
        self.expect(self.integer, f"alias version of {what}", 1)
        self.expect(self.shape, f"shape of {what}", shape)

    def integers(self, what: str, **expected: int) -> None:
        """Integers that must be these, in this order."""
        for part, value in expected.items():
            self.expect(self.integer, f"{part.replace('_', ' ')} of {what}", value)

    def multipliers(self, what: str) -> None:
        """Four rates that only training uses: of learning and of decay, for kernel and for bias."""
        for _ in range(4):
            self.floating(f"multipliers of {what}")

    def state(self, what: str, *, holds_input: bool = False) -> None:
        """What ends every layer: three flags, then tensors of its last run, saved empty."""
        for _ in range(3):
            self.boolean(f"flags of {what}")
        for _ in range(3):
            self.tensor(f"gradients and output of {what}", (0, 0, 0, 0))
        if holds_input:  # the first layer also counts the samples that an image is made into
            self.integers(what, sample_expansion=1)

    def expect(self, read: Callable[[str], object], what: str, expected: object) -> None:
        """Read one thing, which must be `expected`."""
        start = self.offset
        found = read(what)
        if found != expected:
            raise self._error(start, what, repr(expected), f"{found!r:.60}")

    def within(
        self,
        read: Callable[[str], Value],
        what: str,
        least: float,
        most: float,
    ) -> Value:
        """Read a number, or numbers, from `least` to `most`."""
        start = self.offset
        found = read(what)
        if not np.all((least <= np.asarray(found)) & (np.asarray(found) <= most)):
            raise self._error(start, what, f"from {least:g} to {most:g}", f"{found!r:.60}")
        return found

    def finish(self) -> None:
        """Refuse what follows the last thing read."""
        left = len(self._data) - self.offset
        if left:
            raise self._error(self.offset, "after the network", "the end", f"{left} more byte(s)")

    def _error(self, offset: int, what: str, expected: str, found: str) -> InputError:
        return InputError(
            f"{self.path} isn't a whole {self._expected}: byte {offset}, {what}: "
            f"expected {expected}, found {found}; {self._remedy}"
        )
