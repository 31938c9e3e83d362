"""Room on the disk: required before work is begun, and checked before libraries write."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from vggface_gender.base.errors import InputError

# Errors of file systems that take no space ahead.
_CAN_NOT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def require(folder: Path, needed: int, *, what: str) -> None:
    """Refuse to begin what a folder's disk has no room for.

    Args:
        folder: there or not yet.
        needed: bytes.
        what: is to be written, in the plural.

    Raises:
        InputError: fewer bytes are free.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise InputError(
            f"{folder}: {what} need {size(needed)} and {size(free)} are free; make room, or name "
            "another place"
        )


def check(folder: Path, needed: int) -> None:
    """Take so many bytes of a folder's disk for a moment, to see that there are as many.

    Before HDF5 writes: where it meets a full disk it leaves files that it can't close, and the
    process may crash at its end.

    Raises:
        OSError: there are not, or a quota does not allow it.
    """
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        try:
            allocate(file.fileno(), needed)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from None


def allocate(descriptor: int, size: int) -> None:
    """Take the disk's space for so many bytes of an open file, where the system can do so.

    Raises:
        OSError: there is not so much, or a quota does not allow it.
    """
    try:
        os.posix_fallocate(descriptor, 0, max(1, size))
    except AttributeError:  # not on macOS
        pass
    except OSError as error:
        if error.errno not in _CAN_NOT:
            raise


def size(count: int) -> str:
    """Bytes to read: "1.2 GB", "35 MB", "12 bytes"."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.{int(count < 10 * unit)}f} {name}"
    return f"{count} bytes"
