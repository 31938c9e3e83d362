"""FairFace: faces from YFCC-100M balanced over seven races, labelled in a CSV a half."""

import re
from collections.abc import Iterator
from pathlib import Path

from vggface_gender.base import labels
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, problem_of, read_table

# What a spreadsheet makes of "3-9" and "10-19", in the orders that its locales write dates.
MANGLED_AGES = {"03-Sep": "3-9", "3-Sep": "3-9", "9-Mar": "3-9", "09-Mar": "3-9"} | {
    "Oct-19": "10-19",
    "19-Oct": "10-19",
}
OLDEST = "more than 70"
COLUMNS = ("file", "age", "gender", "race")
HALVES = {"train": "train", "val": "test"}  # FairFace's name for a half to our split


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` holds the CSVs and the folders `train` and, if at hand, `val`."""

    FACTS = catalogue.NAMED["FairFace"]
    PADDING = 0.25
    NOTES = (
        "ages are bands; a record holds the band's middle year (and 75 for 'more than 70')",
        "ages that a spreadsheet turned into dates are repaired: 03-Sep is 3-9, Oct-19 is 10-19",
        "the published validation half is the test split and validation is a tenth of train; "
        "where that half is absent, test is cut from train too (80/10/10)",
    )

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        has_val = (source / "fairface_label_val.csv").exists() and (source / "val").is_dir()
        for half, split in HALVES.items():
            table = source / f"fairface_label_{half}.csv"
            if half == "val" and not has_val:
                continue
            rows = read_table(table, needed=COLUMNS, expected=cls.FACTS.files)
            for row in rows.itertuples():
                image = source / row.file
                yield Labelled(
                    name=row.file,
                    image=image,
                    gender=labels.gender(row.gender),
                    race=labels.race(row.race),
                    age=years(row.age),
                    split=split,
                    problem=problem_of(image),
                )


def years(band: str) -> float | None:
    """The middle year of one of FairFace's age bands, mended where a spreadsheet mangled it."""
    band = MANGLED_AGES.get(band.strip(), band.strip())
    if band == OLDEST:
        return 75.0
    match = re.fullmatch(r"(\d+)-(\d+)", band)
    return (int(match[1]) + int(match[2])) / 2 if match else None
