"""What surrounds every command: exit statuses, one-line errors, quiet libraries."""

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator

from vggface_gender.base import extras, memory
from vggface_gender.base.errors import LONGEST, InputError
from vggface_gender.base.parts import Unfinished
from vggface_gender.base.text import shortened

# What the machine may refuse a sound program, and what its user can do about it.
_REMEDIES = {
    errno.ENOSPC: "make room, then give the same command again",
    errno.EDQUOT: "make room in your quota, then give the same command again",
    errno.EFBIG: "files may not be that large here; name another place",
    errno.EACCES: "allow it, or name another place",
    errno.EROFS: "name another place",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name another place",
    errno.EEXIST: "name another place",
}


def quiet() -> None:
    """Pick Keras's backend and silence TensorFlow's log; call before either is imported."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard what native code writes to standard error, such as TensorFlow's notes at import.

    TensorFlow 2.21 writes some of them before it reads TF_CPP_MIN_LOG_LEVEL.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def run(main: Callable[[], int | None]) -> int:
    """Run a command's `main` and return its exit status.

    0 means that the job, or a share of it, was done, 2 that the input was bad or that the disk
    refused (one line on standard error says what), 130 that Ctrl-C stopped it, 141 that the reader
    of its output went away. SIGTERM is made to unwind like Ctrl-C, so that half-written files are
    removed. Programming errors keep their traceback.
    """
    quiet()
    memory.few_arenas()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us (`2>&-`)
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for names that it can't encode
    with contextlib.suppress(ValueError):  # not in the main thread: leave the signals alone
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status = main() or 0
        sys.stdout.flush()  # a failure here can still be reported; at exit it can't
        return status
    except KeyboardInterrupt:
        print("stopped; the same command resumes from what was finished", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone (`| head`)
        _drop_output()
        return 141
    except Unfinished as stopped:
        print(stopped)
        return 0
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else _refusal(error) or _absence(error)
        if reason is None:
            raise
        line = shortened(" ".join(reason.splitlines()), LONGEST)
        print(f"error: {line}", file=sys.stderr)
        _drop_output()
        return 2


def _refusal(error: Exception) -> str | None:
    """What the machine refused and what to do about it; None for any other error."""
    code = getattr(error, "errno", None)
    if code is None:  # HDF5 and TensorFlow have errors of their own that quote the system's
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        code = next((each for each in full if os.strerror(each) in str(error)), None)
    if code not in _REMEDIES:
        return None
    # Of a file that was to be renamed, the name that it should have got.
    place = getattr(error, "filename2", None) or getattr(error, "filename", None) or "writing"
    return f"{place}: {os.strerror(code)}; {_REMEDIES[code]}"


def _absence(error: Exception) -> str | None:
    """What to do about a library that is not installed; None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    library = error.name.partition(".")[0]
    if library == __package__.partition(".")[0]:
        return None  # a module of our own is missing: a programming error
    if extras.of(library) and extras.is_here():
        return extras.absence(library)
    return (
        f"{library} is not installed in this Python ({sys.executable}): start the command in the "
        "environment that the package was installed in, such as `.venv/bin/python` after `make`, "
        "or install the package with `pip install .`"
    )


def _drop_output() -> None:
    """If standard output can't be written, forget what it holds: Python would try again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
