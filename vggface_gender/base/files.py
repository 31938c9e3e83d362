"""Files that are whole or not there: written beside their place, then renamed."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PART_PREFIX = ".part-"  # of what is not whole yet


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Give a path to write to that becomes `path` only if the block succeeds.

    The temporary file (or folder, where the block makes one) has the name of `path`, since writers
    choose a format by it, in a hidden folder beside it. Whatever goes wrong, `path` is as it was
    before. A file replaces a file; a folder replaces only an empty one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, since that of `path` may be as long as names can be.
    folder = Path(tempfile.mkdtemp(prefix=PART_PREFIX, dir=path.parent))
    part = folder / path.name
    try:
        yield part
        os.replace(part, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(content: Mapping | Sequence, path: str | os.PathLike) -> None:
    """Write JSON, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")


def digest(path: str | os.PathLike) -> str:
    """A hash of a file's content, which stands for it in keys."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
