"""Files with tables that others made: CSV of any usual form, or Parquet, whole or in chunks."""

import codecs
import csv
import glob
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from vggface_gender.base import extras
from vggface_gender.base.errors import InputError, first_line

if TYPE_CHECKING:
    from pyarrow import parquet

PARQUET = ".parquet"
ENDINGS = (".csv", ".tsv", ".txt", PARQUET)
LARGE = 2**28  # bytes: a larger file is read in chunks
CHUNK = 2**17  # rows
PIECE = 2**20  # rows of a piece of Parquet, about
WANTED = "give a CSV or Parquet file with a row a face"


def read(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file as it stands there.

    Raises:
        InputError: it is no such file, or has no rows.
    """
    if path.suffix.lower() == PARQUET:
        try:
            return pd.read_parquet(path)
        except ImportError:
            raise InputError(extras.absence("pyarrow")) from None
        except (OSError, ValueError) as error:
            raise _no_parquet(path, error) from None
    try:
        content = _decoded(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {WANTED}") from None
    header, *rows = _rows(io.StringIO(content, newline=""), path)
    if not rows:
        raise InputError(f"{path}: no rows; {WANTED} under a line that names the columns")
    return _frame(header, rows)


def _no_parquet(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a Parquet file ({first_line(error)}); {WANTED}")


def _rows(lines: Iterable[str], path: Path) -> Iterator[list[str]]:
    """The cells of a CSV file's header, then of every row that has some."""
    lines = iter(lines)
    head = next(lines, "")
    separator = max(",\t;|", key=head.count)
    if head.startswith("sep="):  # a spreadsheet's own line
        separator, head = head.strip()[-1], ""
    try:
        reader = csv.reader(itertools.chain([head], lines), delimiter=separator, strict=True)
        header = next((cells for cells in reader if cells), [])
        twice = [name for name in header if name.strip() and header.count(name) > 1]
        if twice:
            raise InputError(f"{path}: several columns are called {twice[0]!r}; keep one")
        yield header
        for number, cells in enumerate(reader, 2):
            if len(cells) == len(header) and any(cells):
                yield cells
            elif any(cells):
                raise InputError(
                    f"{path}: row {number}: {len(cells)} cells under {len(header)} column names; "
                    "quote text that holds the separator"
                )
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file ({error}); {WANTED}") from None


def _frame(header: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=header, dtype=object)
    return frame.loc[:, [bool(name.strip()) for name in header]]  # a spreadsheet's empty columns


def _decoded(content: bytes) -> str:
    """A file's text: UTF-8, UTF-16 by its mark, else as Western spreadsheets write it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def is_large(table: Path) -> bool:
    """Whether a table is read in chunks: a folder of files, a pattern, or a large file."""
    return not table.is_file() or table.stat().st_size > LARGE


class Piece(NamedTuple):
    """A file, or row groups of a Parquet file, which are read chunk by chunk."""

    path: Path
    row_groups: tuple[int, ...] | None = None  # None of a CSV file
    first: int = 0  # the place of its first row in the file
    rows: int | None = None  # None where they are not counted yet


def pieces(table: Path) -> list[Piece]:
    """The pieces of a table in files, in their order; files without rows have none.

    Args:
        table: a file, a folder of files, or a pattern (`answers/*.parquet`).

    Raises:
        InputError: there is no such file, or none has rows, or one is no Parquet or CSV file.
    """
    if table.is_dir():
        paths = [path for path in table.iterdir() if path.suffix.lower() in ENDINGS]
    elif table.exists() or not glob.has_magic(str(table)):
        paths = [table]
    else:
        paths = [Path(path) for path in glob.glob(str(table), recursive=True)]
    paths = sorted(path for path in paths if not path.name.startswith("."))
    if not paths:
        raise InputError(f"{table}: there are no files {', '.join(ENDINGS)}; {WANTED}")
    found: list[Piece] = []
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: No such file or directory; {WANTED}")
        found += _of_parquet(path) if path.suffix.lower() == PARQUET else _of_csv(path)
    if not found:
        raise InputError(f"{table}: no rows; {WANTED}")
    return found


def _of_parquet(path: Path) -> list[Piece]:
    with _opened(path) as file:
        sizes = (
            [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            if file.metadata.num_rows
            else []
        )
    starts = list(itertools.accumulate(sizes, initial=0))
    together = itertools.groupby(range(len(sizes)), key=lambda number: starts[number] // PIECE)
    groups = [tuple(numbers) for _, numbers in together]
    return [
        Piece(path, its, starts[its[0]], starts[its[-1] + 1] - starts[its[0]]) for its in groups
    ]


def _of_csv(path: Path) -> list[Piece]:
    has_rows = next(_csv_chunks(Piece(path), None, 1), None) is not None
    return [Piece(path)] if has_rows else []


def _opened(path: Path) -> "parquet.ParquetFile":
    try:
        from pyarrow import parquet
    except ImportError:
        raise InputError(extras.absence("pyarrow")) from None
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise _no_parquet(path, error) from None


def chunks(
    piece: Piece, columns: Sequence[str] | None = None, *, rows: int = CHUNK
) -> Iterator[pd.DataFrame]:
    """The rows of a piece, some at a time; the index has their places in the file.

    Args:
        columns: those wanted; None: all.
        rows: in a chunk, at the most.

    Raises:
        InputError: a column isn't there, or it is no such file.
    """
    place = piece.first
    read_some = _csv_chunks if piece.row_groups is None else _parquet_chunks
    for frame in read_some(piece, columns, rows):
        yield frame.set_axis(range(place, place + len(frame)))
        place += len(frame)


def _parquet_chunks(
    piece: Piece, columns: Sequence[str] | None, rows: int
) -> Iterator[pd.DataFrame]:
    with _opened(piece.path) as file:
        _require(columns, file.schema_arrow.names, piece.path)
        groups = list(piece.row_groups or ())
        # In one thread: parts are done side by side, and each more holds memory of its own.
        batches = file.iter_batches(rows, row_groups=groups, columns=columns, use_threads=False)
        for batch in batches:
            yield batch.to_pandas(use_threads=False)


def _csv_chunks(piece: Piece, columns: Sequence[str] | None, rows: int) -> Iterator[pd.DataFrame]:
    try:
        with open(piece.path, "rb") as file:
            is_wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        encoding = "utf-16" if is_wide else "utf-8-sig"
        with open(piece.path, newline="", encoding=encoding) as lines:
            every = _rows(lines, piece.path)
            header = next(every)
            _require(columns, header, piece.path)
            while some := list(itertools.islice(every, rows)):
                frame = _frame(header, some)
                yield frame if columns is None else frame[list(columns)]
    except OSError as error:
        raise InputError(f"{piece.path}: {error.strerror}; {WANTED}") from None
    except UnicodeError:
        raise InputError(
            f"{piece.path}: not UTF-8, which a table that is read in chunks has to be: convert it"
        ) from None


def _require(columns: Sequence[str] | None, there: Sequence[str], path: Path) -> None:
    for column in columns or ():
        if column not in there:
            raise InputError(
                f"{path}: no column {column!r}, which other files of the table have: all must "
                "have the same columns"
            )
