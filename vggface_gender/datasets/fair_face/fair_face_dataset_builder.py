"""FairFace: faces from YFCC-100M balanced over seven races, labelled in a CSV a half."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets.builder import FacesBuilder, Labelled

# What a spreadsheet makes of "3-9" and "10-19", in the orders that its locales write dates.
MANGLED_AGES = {"03-Sep": "3-9", "3-Sep": "3-9", "9-Mar": "3-9", "09-Mar": "3-9"} | {
    "Oct-19": "10-19",
    "19-Oct": "10-19",
}
OLDEST = "more than 70"
HALVES = {"train": "train", "val": "test"}  # FairFace's name for a half to our split


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` holds the CSVs and the folders `train` and, if at hand, `val`."""

    TITLE = "FairFace, 97,698 faces of seven races (86,744 for training, 10,954 for validation)"
    TERMS = "CC BY 4.0"
    HOMEPAGE = "https://github.com/joojs/fairface"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "fairface_label_train.csv and train/*.jpg, and fairface_label_val.csv and val/*.jpg "
        "(the padding=0.25 images)"
    )
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
            if not table.exists():
                raise InputError(f"{table}: not found; expected {cls.MANUAL_DOWNLOAD_INSTRUCTIONS}")
            rows = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            if missing := {"file", "age", "gender", "race"} - set(rows):
                raise InputError(f"{table}: no column {', '.join(sorted(missing))}")
            for row in rows.itertuples():
                image = source / row.file
                yield Labelled(
                    name=row.file,
                    image=image,
                    gender=labels.gender(row.gender),
                    race=labels.race(row.race),
                    age=years(row.age),
                    split=split,
                    problem=None if image.exists() else "listed, but not there",
                )


def years(band: str) -> float | None:
    """The middle year of one of FairFace's age bands, mended where a spreadsheet mangled it."""
    band = MANGLED_AGES.get(band.strip(), band.strip())
    if band == OLDEST:
        return 75.0
    match = re.fullmatch(r"(\d+)-(\d+)", band)
    return (int(match[1]) + int(match[2])) / 2 if match else None
