"""Files that are not trusted, read in a process of their own.

A damaged file, or one that was made to do harm, can crash a native parser (SciPy's and HDF5's among
them), fill the memory or run for ever. Here that ends a child process, and the caller has an
`InputError` of one line. The child's time is limited everywhere, its memory where the system can.

Arrays come back as raw bytes through a pipe, straight into place: nothing is pickled, and 580 MB
take half a second. The child is started anew, not forked and without the caller's main module, so
that it is the same on every system and however large the caller is.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO, Any

import numpy as np

from vggface_gender.base.errors import InputError, first_line

# A reader gives arrays, one after the other, and returns facts that JSON can hold.
Arrays = Generator[np.ndarray, None, Any]

_MEMORY = 3 * 2**30  # bytes of address space, of which Python and its libraries take a sixth
_MEMORY_SHARE = 3  # and so many times the file's size
_SECONDS = 4.0  # of processor time, and
_SPEED = 20e6  # a second for so many bytes; full-size networks are read at five times that
_PATIENCE = 15  # times as long on the clock: other work, and slow disks

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import {0}; {0}._serve()"


def read(
    reader: Callable[..., Arrays],
    path: str | os.PathLike,
    *,
    remedy: str = "download or unpack it again",
    memory: int | None = None,
    seconds: float | None = None,
    **options: Any,
) -> tuple[Any, list[np.ndarray]]:
    """What a reader gives for a file, and the arrays, both from a child process.

    Args:
        reader: a function at the top of a module, called as `reader(path, **options)`.
        remedy: what to do about a file that breaks it, for errors.
        memory: bytes of address space that the child may take; by default 3 GiB and three times the
            file's size.
        seconds: of processor time that the file may take; by default 4, and one more for every
            20 MB.
        options: what JSON can hold.

    Raises:
        InputError: the file is missing; the reader refused it, crashed, or took more memory or time
            than it may.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give one that exists")
    size = path.stat().st_size
    memory = memory or _MEMORY + _MEMORY_SHARE * size
    seconds = seconds or _SECONDS + size / _SPEED
    request = {
        "reader": [reader.__module__, reader.__qualname__],
        "path": os.fsencode(path).hex(),  # which need not be UTF-8
        "memory": memory,
        "seconds": seconds,
        "options": options,
    }
    command = [sys.executable, "-c", _START.format(__name__), json.dumps(sys.path)]
    # One thread: each more takes address space, and reading has no use for them.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as child:
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        clock = threading.Timer(_PATIENCE * seconds, end)
        clock.start()
        try:
            assert child.stdin and child.stdout
            with contextlib.suppress(BrokenPipeError):  # it is gone already; below says why
                child.stdin.write(json.dumps(request).encode() + b"\n")
                child.stdin.close()
            facts, arrays = _received(child.stdout)
        except BaseException:
            child.kill()
            raise
        finally:
            clock.cancel()
    if facts is None:
        ended = "late" if late.is_set() else child.returncode
        raise InputError(f"{path}: {_end(ended, memory, seconds)}; {remedy}")
    if "error" in facts:
        raise InputError(facts["error"])
    return facts["result"], arrays


def here(reader: Callable[..., Arrays], path: Path) -> tuple[Any, list[np.ndarray]]:
    """As `read`, but in this process, which a file that was made to do harm may crash."""
    steps, arrays = reader(path), []
    while True:
        try:
            arrays.append(next(steps))
        except StopIteration as stop:
            return stop.value, arrays
        except (InputError, MemoryError):
            raise
        except Exception as error:
            raise InputError(_unreadable(path, error)) from error


def _received(pipe: IO[bytes]) -> tuple[dict | None, list[np.ndarray]]:
    """The arrays and the last message; None where the child ended before it."""
    arrays: list[np.ndarray] = []
    while line := pipe.readline():
        if not line.endswith(b"\n"):
            break
        message = json.loads(line)
        if "shape" not in message:
            return message, arrays
        order = message["order"]
        array = np.empty(message["shape"], np.dtype(message["dtype"]), order=order)
        bytes_left = memoryview(array.reshape(-1, order=order).view(np.uint8).data)
        while bytes_left:
            count = pipe.readinto(bytes_left)  # type: ignore[attr-defined]
            if not count:
                return None, []
            bytes_left = bytes_left[count:]
        arrays.append(array)
    return None, []


def _end(ended: int | str, memory: int, seconds: float) -> str:
    """Why a child that said nothing came to its end."""
    if ended == "late" or ended == -getattr(signal, "SIGXCPU", 0):
        return f"took more than {seconds:.0f} s to read; it is damaged, or made to take for ever"
    if ended == -getattr(signal, "SIGKILL", 0):
        return "the system ended the process that read it, as where memory runs out"
    name = str(ended)
    with contextlib.suppress(ValueError, TypeError):
        name = signal.Signals(-int(ended)).name
    return f"its parser crashed on it ({name}): it is damaged, or made to do harm"


def _unreadable(path: Path, error: Exception) -> str:
    """What a parser's own exception says, in one line."""
    reason = " ".join(first_line(error).split())[:300]
    return f"{path}: can't be read ({type(error).__name__}: {reason}); damaged?"


def _serve() -> None:
    """The child: a request on standard input, its answer on standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # for whatever prints
    request = json.loads(sys.stdin.buffer.readline())
    path = Path(os.fsdecode(bytes.fromhex(request["path"])))
    module, name = request["reader"]
    reader: Callable[..., Arrays] = getattr(importlib.import_module(module), name)
    _limit(request["memory"], request["seconds"])

    def answer(message: dict) -> None:
        answers.write(json.dumps(message).encode() + b"\n")

    try:
        steps = reader(path, **request["options"])
        while True:
            try:
                array = next(steps)
            except StopIteration as stop:
                answer({"result": stop.value})
                break
            order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
            flat = (array.T if order == "F" else np.ascontiguousarray(array)).reshape(-1)
            answer({"shape": array.shape, "dtype": array.dtype.str, "order": order})
            answers.write(flat.view(np.uint8).data)
    except InputError as error:
        answer({"error": " ".join(str(error).splitlines())})
    except MemoryError:
        limit = request["memory"] / 2**30
        answer({"error": f"{path}: needs more than the {limit:.1f} GiB that reading it may take"})
    except Exception as error:  # parsers raise nearly anything on a damaged file
        answer({"error": _unreadable(path, error)})
    answers.flush()
    os._exit(0)  # the arrays need not be freed one by one


def _limit(memory: int, seconds: float) -> None:
    """End this process where it takes more than this, if the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    times = resource.getrusage(resource.RUSAGE_SELF)
    soonest = int(times.ru_utime + times.ru_stime + seconds) + 1
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, soonest),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS limits no address space
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
