"""A table of one's own: a CSV with `file` and any of gender, race, age, subject, fold and split.

A column `confidence` says that the labels are a classifier's (`vggface-gender pseudo_label`). Such
a table is for training alone: nothing of it is drawn for validation or test.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, cell, problem_of, read_table
from vggface_gender.datasets.splits import SPLITS

OLDEST = 130  # years
ALLOWED = {
    "gender": "female or male",
    "race": f"{', '.join(labels.UTKFACE_RACES)}, or one of FairFace's seven",
    "age": f"years from 0 to {OLDEST}",
    "fold": "a whole number",
    "split": ", ".join(SPLITS),
}


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the CSV file. Its config is named after the file."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="table")]
    FACTS = catalogue.TABLE

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        rows = read(source)
        if not set(rows) & set(labels.TASKS):
            raise InputError(f"{source}: no labels; expected a column gender, race or age")
        if len(twice := rows.file[rows.file.duplicated()]):
            raise InputError(f"{source}: {twice.iloc[0]} is listed twice; list each file once")
        for number, row in enumerate(rows.to_dict("records"), start=2):  # line 1 is the header
            yield parse(row, source, number=number)

    @classmethod
    def notes(cls, source: Path | None) -> Sequence[str]:
        unknown = sorted(set(read(source)) - set(catalogue.TABLE_COLUMNS)) if source else []
        return [f"columns not used: {', '.join(unknown)}"] if unknown else []


def read(source: Path) -> pd.DataFrame:
    """The table as text.

    Raises:
        InputError: it is not a CSV file with a column `file`.
    """
    return read_table(source, needed=["file"], expected=catalogue.TABLE.files)


def parse(row: dict[str, str], source: Path, *, number: int) -> Labelled:
    """One line of the table; an empty cell is a missing label.

    Raises:
        InputError: a cell says something that can't be understood.
    """
    readers: dict[str, Callable[[str], Any]] = {
        "gender": labels.gender,
        "race": labels.race,
        "age": lambda text: float(text) if 0 <= float(text) <= OLDEST else None,
        "fold": int,
        "split": lambda text: text if text in SPLITS else None,
    }
    said: dict[str, Any] = {}
    for column, reader in readers.items():
        try:
            said[column] = cell(row, column, read=reader)
        except ValueError as error:
            raise InputError(
                f"{source}, line {number}: {error}; give {ALLOWED[column]}, or nothing"
            ) from None
    image = source.parent / row["file"]
    return Labelled(
        name=row["file"],
        image=image,
        subject=cell(row, "subject", read=str),
        problem=problem_of(image),
        is_predicted=bool(row.get("confidence", "").strip()),
        **said,
    )
