"""Damaged copies of a valid file, each read in a fork of its own, which has all imports done."""

import contextlib
import faulthandler
import os
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vggface_gender.base.errors import InputError

LIMIT = 10  # seconds of processor time after which a reading counts as a hang


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """A copy with bytes changed, a piece copied elsewhere, or its end cut off."""
    copy = np.frombuffer(data, np.uint8).copy()
    # Headers matter most: half of the changes are in the first kilobytes.
    reach = len(copy) if random.random() < 0.5 else min(len(copy), 4096)
    kind = random.integers(6)
    for place in random.integers(0, reach, 1 + random.geometric(0.3)):
        if kind == 0:
            copy[place] ^= 1 << random.integers(8)
        elif kind in (1, 2):
            copy[place] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.integers(256)])
        elif kind == 3:
            copy[place : place + 8] = random.choice([0, 0xFF])
        elif kind == 4:
            length = int(random.integers(1, 64))
            piece = copy[random.integers(0, reach) :][:length]
            copy[place : place + len(piece)] = piece[: len(copy) - place]
    return copy[: random.integers(reach)].tobytes() if kind == 5 else copy.tobytes()


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """How reading ends: "read", "refused", "hung", a signal's name, or an exception's traceback."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))  # a fork's time begins at 0
        try:
            read(path)
            text = "read"
        except InputError as error:
            text = "refused" if "\n" not in str(error) else f"two lines: {error}"
        except BaseException:
            text = traceback.format_exc()
        os.write(into, text.encode(errors="replace")[-4000:])
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return text
    ended = signal.Signals(os.WTERMSIG(status))
    return "hung" if ended == signal.SIGXCPU else ended.name


def fuzz(
    read: Callable[[Path], object],
    valid: Path,
    *,
    count: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    keep: Path | None = None,
    damage: Callable[[bytes, np.random.Generator], bytes] = damaged,
) -> Counter[str]:
    """How often reading damaged copies of a file ends in which way.

    Args:
        read: what reads a file; it may raise `InputError`.
        valid: a small file that it can read.
        count, seconds: when to stop.
        keep: a folder for the copies that ended in any other way than read or refused.
        damage: makes a copy out of the file's bytes.
    """
    data = valid.read_bytes()
    random = np.random.default_rng(seed)
    path = valid.with_name(f"damaged{valid.suffix}")
    ends: Counter[str] = Counter()
    start = time.monotonic()
    while (count is None or ends.total() < count) and (
        seconds is None or time.monotonic() - start < seconds
    ):
        path.write_bytes(damage(data, random))
        end = outcome(read, path)
        ends[end] += 1
        if keep and end not in ("read", "refused"):
            with contextlib.suppress(FileExistsError):
                path.rename(keep / f"{ends.total()}{valid.suffix}")
    return ends
