"""GenderDataset: Matroid's "agegender_cleaned", folders whose names end in age and gender."""

import re
from collections.abc import Iterator
from pathlib import Path

from vggface_gender.base import labels
from vggface_gender.datasets.builder import FacesBuilder, Labelled, images_under

LEAF = re.compile(r"(?P<age>\d{2})[^0-9A-Za-z]?(?P<gender>[FM])$")  # "..._25_F"
PARTS = ("aligned", "valid")


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the unpacked archive, `agegender_cleaned`."""

    TITLE = 'GenderDataset, Matroid\'s "agegender_cleaned" archive of faces by age and gender'
    TERMS = "none published with it"
    HOMEPAGE = "https://www.matroid.com"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "aligned/ and valid/, with leaf folders whose names end like 25_F"
    )
    FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
    NOTES = ("aligned/ and valid/ are taken together and divided 60/20/20 by gender",)

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        yield from leaves(source)


def leaves(source: Path) -> Iterator[Labelled]:
    """Every image in the archive's leaf folders, labelled by the folder's name."""
    inner = source / "combined"
    for part in PARTS:
        for image in images_under((inner if inner.is_dir() else source) / part, within=source):
            match = LEAF.search(image.image.parent.name)
            if not match:
                yield image._replace(problem="its folder's name doesn't end in age and F or M")
                continue
            yield image._replace(age=float(match["age"]), gender=labels.gender(match["gender"]))
