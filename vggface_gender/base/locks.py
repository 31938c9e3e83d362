"""Locks: what is being written has one writer at a time, in this process or in any other."""

import contextlib
import errno
import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from vggface_gender.base.errors import InputError

_LONGEST = 255  # bytes of a file's name
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
# Of file systems without locks: there nobody is kept out. NFS has none for folders (EBADF).
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)


@contextlib.contextmanager
def held(
    thing: str | os.PathLike, *, wait: bool = True, say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock of a file or folder, there or not, while the block writes it.

    The lock is a file `.NAME.lock` beside it, removed at the end; the kernel drops the lock with
    the process, however that ends, so what a killed one left keeps nobody out. It is not
    reentrant: a block must not ask for a lock that it holds. Where nothing may be written, nobody
    writes: the block goes ahead without a lock, and can read.

    Args:
        wait: wait for another writer to be done, and `say` so; else refuse.
        say: takes one line; by default it goes to standard error.

    Raises:
        InputError: another process holds it and `wait` is false.
    """
    thing = Path(thing)
    lock = _taken(_place(thing), thing, wait=wait, say=say or _complain)
    try:
        yield
    finally:
        if lock is not None:
            with contextlib.suppress(OSError):  # removed while it is held: see `is_at`
                _place(thing).unlink(missing_ok=True)
            os.close(lock)


def sweep(thing: str | os.PathLike) -> None:
    """Remove the lock that a killed writer left of a file or folder; that of a living one stays."""
    if _place(Path(thing)).exists():
        with contextlib.suppress(InputError), held(thing, wait=False):
            pass


def _taken(place: Path, thing: Path, *, wait: bool, say: Callable[[str], None]) -> int | None:
    """The open and locked file; None where there can be none."""
    make_folder(place.parent)
    while True:
        lock = _open(place)
        if lock is None:
            return None
        try:
            if try_lock(lock) is False:
                holder = f"process {number}" if (number := _read(place)) else "another process"
                if not wait:
                    raise InputError(
                        f"{thing} is being written by {holder}: wait until it is done, or name "
                        "another"
                    )
                say(f"{thing} is being written by {holder}: waiting until it is done")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if is_at(lock, place):
                with contextlib.suppress(OSError):  # opened for reading
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, str(os.getpid()).encode(), 0)
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # its holder removed it while we waited: begin again


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        InputError: the file system makes none there, as `/proc`.
        OSError: it may not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        raise InputError(f"{folder}: no folder can be made there; name another place") from None


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder; False if another holds its lock, None if it can't have one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def is_at(descriptor: int, place: Path) -> bool:
    """Whether an open file or folder is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(place))
    except FileNotFoundError:
        return False


def _place(thing: Path) -> Path:
    name = f".{thing.name}.lock"
    if len(os.fsencode(name)) > _LONGEST:
        digest = hashlib.blake2b(os.fsencode(thing.name), digest_size=16).hexdigest()
        name = f".{digest}.lock"
    return thing.with_name(name)


def _open(place: Path) -> int | None:
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):  # the second: made by someone else
        try:
            return os.open(place, flags, 0o666)
        except OSError as error:
            if error.errno not in (*_NOT_WRITABLE, errno.ENOENT):
                raise
    return None


def _read(place: Path) -> str:
    with contextlib.suppress(OSError):
        return place.read_text()
    return ""


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
