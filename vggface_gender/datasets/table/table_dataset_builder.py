"""A table of one's own: a CSV with `file` and any of gender, race, age, subject, fold and split.

A column `confidence` says that a classifier told the labels (tools/pseudo_label.py). Such a table
is for training alone: nothing of it is drawn for validation or test.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import tensorflow_datasets as tfds

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import splits
from vggface_gender.datasets.builder import FacesBuilder, Labelled

COLUMNS = ("file", "gender", "race", "age", "subject", "fold", "split", "confidence")


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the CSV file. Its config is named after the file."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="table")]
    TITLE = "a table of images"
    TERMS = "the owner's"
    HOMEPAGE = ""
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a CSV file with the column file and any of {', '.join(COLUMNS[1:])}"
    )

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        try:
            rows = pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except (OSError, ValueError) as error:  # ValueError: pandas's parser errors, bad UTF-8
            raise InputError(f"{source}: not a readable CSV file: {error}") from None
        if "file" not in rows:
            raise InputError(
                f"{source}: no column file; expected {cls.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        if not set(rows) & set(labels.TASKS):
            raise InputError(f"{source}: no labels; expected a column gender, race or age")
        if unknown := set(rows) - set(COLUMNS):
            print(f"{source}: columns not used: {', '.join(sorted(unknown))}")
        if len(twice := rows.file[rows.file.duplicated()]):
            raise InputError(f"{source}: {twice.iloc[0]} is listed twice; list each file once")
        for number, row in enumerate(rows.to_dict("records"), start=2):  # line 1 is the header
            yield parse(row, source, number)


def parse(row: dict[str, str], source: Path, number: int) -> Labelled:
    """One line of the table; an empty cell is a missing label.

    Raises:
        InputError: a cell says something that can't be understood.
    """

    def cell(column, convert):
        text = row.get(column, "").strip()
        if not text:
            return None
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None:
            raise InputError(f"{source}, line {number}: {text!r} is not a known {column}")
        return value

    image = source.parent / row["file"]
    return Labelled(
        name=row["file"],
        image=image,
        gender=cell("gender", labels.gender),
        race=cell("race", labels.race),
        age=cell("age", lambda text: float(text) if 0 <= float(text) <= 130 else None),
        subject=cell("subject", str),
        fold=cell("fold", int),
        split=cell("split", lambda text: text if text in splits.SPLITS else None),
        problem=None if image.is_file() else "listed, but not there",
        told=bool(row.get("confidence", "").strip()),
    )
