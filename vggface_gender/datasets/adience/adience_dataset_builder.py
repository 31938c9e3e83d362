"""Adience: faces from Flickr albums, labelled in five tab-separated files, one a fold.

Nothing is dropped for want of a label: what a row doesn't say is missing in its record. That is not
the cleaning behind the count that is often quoted, 17,055 of 19,370 faces (T. Kim, "Generalizing
MLPs With Dropouts, Batch Normalization, and Skip Connections", 2021): it left out 748 faces without
an age, 1,170 more without a gender (u, or empty), and then 397 in which a face detector found none
(322) or one that it was unsure of (75). By labels alone 17,452 remain.
"""

import collections
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vggface_gender.base import labels
from vggface_gender.base.readings import READINGS, Reading
from vggface_gender.base.text import listed
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, problem_of
from vggface_gender.datasets.tables import Table, finder, labels_of, read_table

FOLDS = range(5)
COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
NOTHING = ("u", "none", "(none)", "unknown")  # its words for a label that is missing


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` holds the five fold files and the folder `aligned`."""

    FACTS = catalogue.NAMED["Adience"]
    # The publishers' aligner (github.com/eranid/adience_align) lays 68 landmarks on a model in a
    # square of 544, shown in one of 816. Landmarks that dlib found in 1,074 of FairFace's faces,
    # laid on it alike, make the median frame that of dlib.get_face_chip with this padding (half of
    # the faces: 0.60 to 0.67). Its middle is lower, by a sixteenth of the frame.
    PADDING = 0.63
    NOTES = (
        "ages are bins; a record holds the middle year of the bin that its row's first year lies "
        "in, and none where that lies between two bins",
        "a subject is a Flickr account: its album, with all who are in it, is kept on one side",
    )

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        find = finder(source)
        for fold, table in tables(source).items():
            for number, row in table.rows():
                face = f"landmark_aligned_face.{row['face_id']}.{row['original_image']}"
                name, image = find(f"aligned/{row['user_id']}/{face}")
                said = {task: "" if says_nothing(row[task]) else row[task] for task in KNOWN}
                yield Labelled(
                    name=name,
                    image=image or str(source / name),
                    subject=row["user_id"],
                    fold=fold,
                    problem=None if image else problem_of(source / name),
                    **labels_of(said, f"{table_name(fold)}, line {number}", known=KNOWN),
                )

    @classmethod
    def notes(cls, source: Path | None) -> Sequence[str]:
        found = tables(source).values() if source else ()
        texts = (row["age"].strip() for table in found for _, row in table.rows())
        between = collections.Counter(text for text in texts if is_between_bins(text))
        counted = listed([f"{text} ({n:,})" for text, n in between.most_common()], 20)
        return [*cls.NOTES, *([f"ages between two bins, so missing: {counted}"] if between else [])]


def table_name(fold: int) -> str:
    """The file of a fold's rows."""
    return f"fold_{fold}_data.txt"


def tables(source: Path) -> dict[int, Table]:
    """Each fold's table."""
    expected = catalogue.NAMED["Adience"].files
    return {
        fold: read_table(
            source / table_name(fold), needed=COLUMNS, expected=expected, separator="\t"
        )
        for fold in FOLDS
    }


def years(age: str) -> float | None:
    """The middle year of the bin that an age belongs to: the one that holds its first year.

    That reads what the files have besides the eight bins as they should be: "(8, 12)", "(27, 32)",
    "(38, 42)", "(38, 48)", "(8, 23)", "(25, 23)" and years such as "13". None for "None" and for a
    year between two bins, such as "35".
    """
    first = _first_year(age)
    bins = [(a, b) for a, b in labels.ADIENCE_AGE_BINS if first is not None and a <= first <= b]
    return sum(bins[0]) / 2 if bins else None


def is_between_bins(age: str) -> bool:
    """Whether an age is a year, or begins with one, that no bin holds."""
    return _first_year(age) is not None and years(age) is None


def says_nothing(text: str) -> bool:
    """Whether a label is missing: the files say so, or no bin holds its year."""
    return text.strip().lower() in NOTHING or is_between_bins(text)


def _first_year(age: str) -> int | None:
    match = re.fullmatch(r"\(?(\d+)(?:, ?\d+\))?", age.strip())
    return int(match[1]) if match else None


KNOWN = {
    "gender": READINGS["gender"],
    "age": Reading(years, "one of its groups, such as (25, 32), or a year"),
}
