"""Files that lie elsewhere: URLs such as `s3://bucket/faces/1.jpg`, read with fsspec.

Which kinds there are, and what each takes, fsspec says: s3 takes the package s3fs, gs gcsfs.
"""

import re
from typing import Any

from vggface_gender.base import extras
from vggface_gender.base.errors import InputError, first_line

_URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(name: str) -> bool:
    """Whether a name is the URL of a file elsewhere; that of a file here (`file:`) is none.

    >>> is_url("s3://bucket/1.jpg"), is_url("faces/1.jpg")
    (True, False)
    """
    return _URL.match(name) is not None


def read(url: str) -> bytes:
    """A file's content.

    Raises:
        InputError: there is none, or it can't be read.
    """
    system, path = _system(url)
    try:
        return system.cat_file(path)
    except Exception as error:  # each system has errors of its own
        raise InputError(f"{url}: {_reason(error)}; give a file that can be read") from None


def find(url: str, *, deep: bool = False) -> list[str]:
    """The URLs of the files that one stands for, sorted: a file, a folder's, or a pattern's.

    Args:
        deep: enter the folders within a folder.

    Raises:
        InputError: it can't be looked up.
    """
    system, path = _system(url)
    try:
        if any(sign in path for sign in "*?["):
            found = [name for name in system.glob(path) if not system.isdir(name)]
        elif system.isdir(path):
            found = system.find(path, maxdepth=None if deep else 1)
        else:
            return [url]
    except Exception as error:
        raise InputError(f"{url}: {_reason(error)}; give a folder that can be read") from None
    scheme = url.partition("://")[0]
    return sorted(f"{scheme}://{name}" for name in map(_without_scheme, found))


def _system(url: str) -> tuple[Any, str]:
    extras.require("fsspec")
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except Exception as error:  # no such kind, or its package is not installed
        raise InputError(f"{url}: {_reason(error)}") from None


def _without_scheme(name: str) -> str:
    return name.partition("://")[2] if is_url(name) else name


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return first_line(error)
