"""Answers as a table on disk, row by row, which a killed command leaves readable.

A CSV file in UTF-8 with a row a face, or a row that says why there is none. All rows of a photo are
appended at once, and its last columns say what they are of: `content`, the hash of the photo's
file, and `made_by`, that of the classifier and the settings. So a later command can go on where one
was killed: what was torn is dropped, what is there is not looked at again, and answers of two
classifiers never stand in one table.
"""

import collections
import contextlib
import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vggface_gender.base import extras, files, locks
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.inference.answers import PhotoAnswer
from vggface_gender.inference.track_answers import VideoAnswer

# The columns before and after those of the tasks, and what they hold where it is no text.
BEFORE = {
    "photo": str,
    "status": str,
    "error": str,
    "width": int,
    "height": int,
    "faces": int,  # of the photo, or people in the video: so many rows it has, or one if none
    "face": int,  # which of them, from 1
    "start": float,  # seconds, of a video
    "end": float,
    "frames": int,  # in which the face was found
    "left": int,
    "top": int,
    "right": int,
    "bottom": int,
    "score": float,
}
AFTER = {"small_faces": int, "content": str, "made_by": str}
HEAD = 1024  # bytes that say what a file is
FULLEST = 20_000  # rows of a Parquet file's row group, which are held at once
ENCODING, ERRORS = "utf-8", "backslashreplace"  # of names that are no text


def columns(
    tasks: Mapping[str, Sequence[str]], wanted: Iterable[str], *, sampled: bool = False
) -> dict[str, type]:
    """The table's columns, with the type of what they hold.

    Args:
        tasks: the classifier's: see `interface.Predictor`.
        wanted: those that are answered.
        sampled: whether answers are means of several, and have an uncertainty each.
    """
    found: dict[str, type] = dict(BEFORE)
    for task in wanted:
        if TASKS[task].is_classification:
            found[task] = str
            found |= dict.fromkeys(TASKS[task].output_columns(tasks[task]), float)
        else:
            found[task] = float
        if TASKS[task].is_classification or sampled:
            found[f"{task}_uncertainty"] = float
    return found | AFTER


def made_by(classifier: Path, **settings: Any) -> str:
    """A short hash of a classifier's file and of the settings that answers depend on."""
    said = json.dumps([files.digest(classifier), settings], sort_keys=True)
    return hashlib.blake2b(said.encode(), digest_size=6).hexdigest()


class Table:
    """A table that rows are appended to: see `opened`."""

    def __init__(
        self,
        file: io.FileIO,
        columns: Collection[str],
        *,
        made_by: str,
        known: Mapping[tuple[str, str], str],
        names: Collection[str],
    ):
        """Begin with what is there already; `opened` does that.

        Args:
            known: (name, content) to status of what the table has.
            names: of all that is to be answered.
        """
        self.file, self.columns, self.made_by = file, columns, made_by
        self.rows = 0  # appended
        self._known = known
        self._moved: dict[str, collections.Counter] = {}  # content to status to count
        given = set(map(_written, names))
        for (name, content), status in known.items():
            if name not in given:
                self._moved.setdefault(content, collections.Counter())[status] += 1

    def known(self, name: str, content: str | None) -> str | None:
        """The status that the table has for an input; None where it has to be looked at.

        The same content under another name counts where that name is not given this time: the file
        was moved. It counts for one input alone.
        """
        if content is None:
            return None
        if status := self._known.get((_written(name), content)):
            return status
        for status, count in self._moved.get(content, {}).items():
            if count:
                self._moved[content][status] -= 1
                return status
        return None

    def add(self, answer: PhotoAnswer | VideoAnswer) -> None:
        """Append the rows of an answer.

        Raises:
            OSError: the disk refuses.
        """
        rows = answer.to_rows()
        about = {"faces": sum(row["face"] is not None for row in rows), "made_by": self.made_by}
        about |= {"content": answer.content, "small_faces": answer.small}
        said = _lines([[(row | about).get(name) for name in self.columns] for row in rows])
        _append(self.file, said)
        self.rows += len(rows)


@contextlib.contextmanager
def opened(
    path: Path,
    columns: Collection[str],
    *,
    made_by: str,
    names: Collection[str] = (),
    resume: bool = False,
) -> Iterator[Table]:
    """A table to append to, at `path`, which nobody else writes meanwhile.

    Args:
        columns, made_by: see the functions of that name.
        names: of all that is to be answered, as given.
        resume: keep what a table that is there already has; else it is replaced.

    Raises:
        InputError: what is there is no such table, or, to be resumed, was made by another
            classifier or with other settings; or another command writes it.
        OSError: it can't be written.
    """
    require_own(path, begins)
    with locks.held(path, wait=False):
        known: dict[tuple[str, str], str] = {}
        if resume and path.exists():
            with files.whole(path) as part:
                known = _mend(path, part, columns, made_by)
        with _open(path, "ab" if known else "wb") as file:
            if not known:
                _append(file, _lines([list(columns)]))
            yield Table(file, columns, made_by=made_by, known=known, names=names)
            os.fsync(file.fileno())


def _open(path: Path, mode: str) -> io.FileIO:
    try:
        return io.FileIO(path, mode)
    except FileNotFoundError:  # its folder is there
        raise InputError(f"{path}: no file can be made there; name another place") from None


def require_own(path: Path, begins: Callable[[bytes], bool]) -> None:
    """Refuse to replace what is not ours.

    Args:
        begins: says whether a file that begins so is one of ours.

    Raises:
        InputError: there is a folder, a device, or a file of something else.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder; name a file")
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"{path}: not a regular file; name another")
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not begins(head):
        raise InputError(f"{path}: not a table of predict; name another file, or delete this one")


def begins(head: bytes) -> bool:
    """Whether a table may begin so: with its header, or a torn beginning of it."""
    header = ",".join(BEFORE).encode()
    return head.startswith(header) or header.startswith(head)


def begins_parquet(head: bytes) -> bool:
    """Whether a Parquet file begins so; an empty one may be replaced, too."""
    return head.startswith(b"PAR1") or not head


def read(path: Path) -> Iterator[list[dict[str, str]]]:
    """A table's answers, one after the other: all the rows of each, without what is torn.

    Raises:
        InputError: it is no such table.
    """
    records = _records(path)
    header = next(records, None)
    if header is None:
        return  # nothing whole was written
    if not {*BEFORE, *AFTER} <= set(header):
        raise InputError(f"{path}: not a table of predict --csv; name another file")
    group: list[dict[str, str]] = []
    for cells in records:
        if len(cells) != len(header):
            continue
        row = dict(zip(header, cells, strict=True))
        if row["face"] in ("", "1"):
            group = []
        group.append(row)
        if row["face"] == "" or row["face"] == row["faces"] == str(len(group)):
            yield group
            group = []


def _records(path: Path) -> Iterator[list[str]]:
    """A CSV file's records, without a last one that does not end its line."""
    with open(path, "rb") as binary:
        end = binary.seek(0, os.SEEK_END)
        binary.seek(max(0, end - 1))
        is_torn = binary.read(1) != b"\n"
    with open(path, encoding=ENCODING, errors=ERRORS, newline="") as file:
        reader = csv.reader(file)
        last: list[str] | None = None
        with contextlib.suppress(csv.Error):  # torn in a cell
            for cells in reader:
                if last is not None:
                    yield last
                last = cells
            if last is not None and not is_torn:
                yield last


def to_parquet(table: Path, path: Path, *, columns: Mapping[str, type]) -> None:
    """Write a table as Parquet, whole or not at all, in memory that does not grow with it.

    Args:
        columns: see the function of that name.

    Raises:
        InputError: pyarrow is not installed.
    """
    arrow, parquet = _pyarrow()
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])
    with files.whole(path) as part, parquet.ParquetWriter(part, schema) as writer:
        rows: list[dict] = []
        for group in read(table):
            rows += [
                {name: kind(row[name]) if row[name] else None for name, kind in columns.items()}
                for row in group
            ]
            if len(rows) >= FULLEST:
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(arrow.Table.from_pylist(rows, schema=schema))


def require_pyarrow() -> None:
    """Raise an InputError where Parquet can't be written, before anything is done for it."""
    _pyarrow()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"Parquet takes pyarrow: {extras.remedy('parquet')}, or give --csv"
        ) from None
    return pyarrow, pyarrow.parquet


def _mend(path: Path, part: Path, columns: Collection[str], made: str) -> dict:
    """Copy what is whole of a table and of known content; (name, content) to status of that.

    What could not be opened has no content, and is tried again.
    """
    known: dict[tuple[str, str], str] = {}
    with open(part, "wb", buffering=0) as file:
        _append(file, _lines([list(columns)]))
        for rows in read(path):
            first = rows[0]
            if list(first) != list(columns) or first["made_by"] != made:
                raise InputError(
                    f"{path}: made by another classifier or with other settings; give those again, "
                    "or name another table"
                )
            if first["content"]:
                _append(file, _lines([list(row.values()) for row in rows]))
                known[first["photo"], first["content"]] = first["status"]
    return known


def _written(name: str) -> str:
    """A name as the table has it."""
    return name.encode(ENCODING, ERRORS).decode(ENCODING)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(ENCODING, ERRORS)


def _append(file: io.FileIO, content: bytes) -> None:
    """Write all of it: unbuffered, so that a kill loses nothing that was said to be written."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
