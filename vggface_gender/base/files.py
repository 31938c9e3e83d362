"""Files that are whole or not there: written beside their place, then renamed.

What is not whole yet lies in a hidden folder `.part-*` beside its place, which its writer locks. A
killed writer's lock is dropped by the kernel, and whoever next writes there sweeps what it left.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vggface_gender.base import locks
from vggface_gender.base.errors import InputError

PART_PREFIX = ".part-"  # of what is not whole yet
_swept: set[Path] = set()  # folders that this process has swept: once is enough


@contextlib.contextmanager
def whole(path: str | os.PathLike, *, replace: bool = False) -> Iterator[Path]:
    """Give a path to write to that becomes `path` only if the block succeeds.

    The temporary file (or folder, where the block makes one) has the name of `path`, since writers
    choose a format by it, in a hidden folder beside it. Whatever goes wrong, `path` is as it was
    before. A file replaces a file; a folder replaces only an empty one, or any if so asked.

    Args:
        replace: take away a folder that is at `path`, whatever it holds, just before.

    Raises:
        InputError: there is something at `path` that is neither a file nor a folder.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe, `/dev/null`
        raise InputError(f"{path}: not a regular file; name another")
    # A name of its own, since that of `path` may be as long as names can be.
    with aside(path.parent) as folder:
        part = folder / path.name
        yield part
        if replace and path.is_dir():
            remove(path)
        os.replace(part, path)


@contextlib.contextmanager
def aside(parent: str | os.PathLike) -> Iterator[Path]:
    """Give a hidden folder in `parent`, made if need be, for what is not whole yet.

    It is removed in the end. First, what killed writers left in `parent` is swept.
    """
    parent = Path(parent)
    locks.make_folder(parent)
    if (place := parent.resolve()) not in _swept:
        _swept.add(place)
        sweep(parent)
    folder, lock = _made_and_locked(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove(path: str | os.PathLike) -> None:
    """Remove a folder at once, as far as anyone who looks for it can see; nothing if there is none.

    It is renamed first: removed file by file, it could be met in halves, and a kill would leave it
    so.
    """
    path = Path(path)
    if path.exists():
        with aside(path.parent) as folder:
            path.rename(folder / path.name)


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder; what others are writing is left alone."""
    for part in folder.glob(f"{PART_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process sweeps it too, or owns it
            lock = os.open(part, os.O_RDONLY)
            try:
                if locks.try_lock(lock):
                    shutil.rmtree(part, ignore_errors=True)
            finally:
                os.close(lock)


def _made_and_locked(parent: Path) -> tuple[Path, int]:
    """A new folder and its open descriptor, which holds the lock."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=PART_PREFIX, dir=parent))
        except FileNotFoundError:
            raise InputError(f"{parent}: no file can be made there; name another place") from None
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # swept before it could be locked
        if locks.try_lock(lock) is not False and locks.is_at(lock, folder):
            return folder, lock
        os.close(lock)


def write_json(content: Mapping | Sequence, path: str | os.PathLike) -> None:
    """Write JSON, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")


def digest(path: str | os.PathLike) -> str:
    """A hash of a file's content, which stands for it in keys."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest_of(content: bytes) -> str:
    """`digest` of a file that holds just these bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
