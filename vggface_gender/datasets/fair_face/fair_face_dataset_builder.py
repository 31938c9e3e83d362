"""FairFace: faces from YFCC-100M balanced over seven races, labelled in a CSV a half."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from vggface_gender.base import ages
from vggface_gender.base.readings import READINGS, Reading
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, problem_of
from vggface_gender.datasets.tables import Table, finder, labels_of, mended_ages, read_table

COLUMNS = ("file", "age", "gender", "race")
HALVES = {"train": "train", "val": "test"}  # FairFace's name for a half to our split
# Its ages are bands: a number is a code, as of some copies, not an age in years.
KNOWN = READINGS | {"age": Reading(ages.of_band, "a band such as 3-9, or more than 70")}


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` holds the CSVs and the folders `train` and, if at hand, `val`."""

    FACTS = catalogue.NAMED["FairFace"]
    PADDING = 0.25
    NOTES = (
        "ages are bands; a record holds the band's middle year (and 75 for 'more than 70')",
        "the published validation half is the test split and validation is a tenth of train; "
        "where that half is absent, test is cut from train too (80/10/10)",
    )

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        find = finder(source)
        for path, table in tables(source).items():
            split = HALVES[path.stem.rpartition("_")[2]]
            for number, row in table.rows():
                name, image = find(row["file"])
                yield Labelled(
                    name=name,
                    image=image or str(source / name),
                    split=split,
                    problem=None if image else problem_of(source / name),
                    **labels_of(row, f"{path.name}, line {number}", known=KNOWN),
                )

    @classmethod
    def notes(cls, source: Path | None) -> Sequence[str]:
        found = tables(source).values() if source else ()
        return [*cls.NOTES, *mended_ages(row["age"] for table in found for _, row in table.rows())]


def tables(source: Path) -> dict[Path, Table]:
    """The table of each half that is at hand, by its path."""
    expected = catalogue.NAMED["FairFace"].files
    has_val = (source / "fairface_label_val.csv").exists() and (source / "val").is_dir()
    paths = [source / f"fairface_label_{half}.csv" for half in HALVES if half != "val" or has_val]
    return {path: read_table(path, needed=COLUMNS, expected=expected) for path in paths}
