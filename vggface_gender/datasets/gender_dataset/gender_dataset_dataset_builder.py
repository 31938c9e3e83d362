"""GenderDataset: Matroid's "agegender_cleaned", folders whose names end in age and gender."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vggface_gender.base import labels
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, images_under

LEAF = re.compile(r"(?P<age>\d{2})[^0-9A-Za-z]?(?P<gender>[FM])$")  # "..._25_F"
PARTS = ("aligned", "valid")


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the unpacked archive, `agegender_cleaned`."""

    FACTS = catalogue.NAMED["GenderDataset"]
    FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
    NOTES = ("aligned/ and valid/ are taken together and divided 60/20/20 by gender",)

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        yield from leaves(source)


def leaves(source: Path) -> Iterator[Labelled]:
    """Every image in the archive's leaf folders, labelled by the folder's name."""
    inner = source / "combined"
    top = inner if inner.is_dir() else source
    for part in PARTS:
        for image in images_under(top / part, within=source):
            yield image._replace(**parse(PurePosixPath(image.name).parent.name))


def parse(leaf: str) -> dict:
    """The labels that a leaf folder's name gives, as fields of `Labelled`."""
    match = LEAF.search(leaf)
    if not match:
        return {"problem": "its folder's name doesn't end in age and F or M"}
    return {"age": float(match["age"]), "gender": labels.gender(match["gender"])}
