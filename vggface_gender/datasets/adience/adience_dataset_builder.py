"""Adience: faces from Flickr albums, labelled in five tab-separated files, one a fold.

Nothing is dropped for want of a label: what a row doesn't say is missing in its record. That is not
the cleaning behind the count that is often quoted, 17,055 of 19,370 faces (T. Kim, "Generalizing
MLPs With Dropouts, Batch Normalization, and Skip Connections", 2021): it left out 748 faces without
an age, 1,170 more without a gender (u, or empty), and then 397 in which a face detector found none
(322) or one that it was unsure of (75). By labels alone 17,452 remain.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from vggface_gender.base import labels
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, problem_of, read_table

FOLDS = range(5)
COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")


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
        for fold in FOLDS:
            path = source / f"fold_{fold}_data.txt"
            rows = read_table(path, needed=COLUMNS, expected=cls.FACTS.files, separator="\t")
            for row in rows.itertuples():
                face = f"landmark_aligned_face.{row.face_id}.{row.original_image}"
                name = f"aligned/{row.user_id}/{face}"
                image = source / name
                yield Labelled(
                    name=name,
                    image=image,
                    gender=labels.gender(row.gender),
                    age=years(row.age),
                    subject=row.user_id,
                    fold=fold,
                    problem=problem_of(image),
                )


def years(age: str) -> float | None:
    """The middle year of the bin that an age belongs to: the one that holds its first year.

    That reads what the files have besides the eight bins as they should be: "(8, 12)", "(27, 32)",
    "(38, 42)", "(38, 48)", "(8, 23)", "(25, 23)" and years such as "13". None for "None" and for a
    year between two bins, such as "35".
    """
    match = re.match(r"\(?(\d+)", age.strip())
    if not match:
        return None
    bins = [(a, b) for a, b in labels.ADIENCE_AGE_BINS if a <= int(match[1]) <= b]
    return sum(bins[0]) / 2 if bins else None
