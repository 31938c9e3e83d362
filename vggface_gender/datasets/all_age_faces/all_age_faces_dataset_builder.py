"""AllAgeFaces: faces whose names say a serial number, by gender, and the age."""

import re
from collections.abc import Iterator
from pathlib import Path

from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import NOT_THERE, Labelled, images_under

NAME = re.compile(r"(?P<person>\d{5})A(?P<age>\d{2})")
LAST_FEMALE, LAST = 7380, 13321  # serial numbers: women from 0, then men
ARCHIVE = "All-Age-Faces Dataset"  # the folder that the archive unpacks to
# The archive spells the first so; without any of them the images lie at the top.
IMAGES = ("aglined faces", "aligned faces", "original images")
LISTS = {"train.txt": "train", "val.txt": "test"}  # in `image sets`: its halves to our splits


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the unpacked archive."""

    FACTS = catalogue.NAMED["AllAgeFaces"]
    STATES_SPLITS = True
    PADDING = None  # neither its page nor the names of its files say how faces were framed
    NOTES = (
        "the published validation half is the test split and validation is a tenth of train; "
        "where image sets/ is absent, the images are divided 80/10/10",
    )

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        inner = source / ARCHIVE
        top = inner if inner.is_dir() else source
        folder = next((top / name for name in IMAGES if (top / name).is_dir()), top)
        listed = halves(top / "image sets")
        for item in images_under(folder, within=source):
            path = source / item.name
            if path.parent != folder:
                continue  # another kind of picture, in a folder of its own
            yield item._replace(split=listed.pop(path.stem, None), **parse(path.stem))
        for stem, split in listed.items():
            image = folder / f"{stem}.jpg"
            name = image.relative_to(source).as_posix()
            yield Labelled(name, str(image), split=split, problem=NOT_THERE)


def halves(folder: Path) -> dict[str, str]:
    """The split of each image, by its name without the ending; {} where a list is absent."""
    if not all((folder / name).is_file() for name in LISTS):
        return {}
    return {
        line.split()[0].removesuffix(".jpg"): split
        for name, split in LISTS.items()
        for line in (folder / name).read_text(errors="replace").splitlines()
        if line.strip()
    }


def parse(stem: str) -> dict:
    """The labels that an image's name without its ending gives, as fields of `Labelled`."""
    match = NAME.fullmatch(stem)
    if not match:
        return {"problem": "its name is not a serial number of five digits, A and an age of two"}
    if int(match["person"]) > LAST:
        return {"problem": f"its serial number is above {LAST}, the last"}
    return {
        "gender": "female" if int(match["person"]) <= LAST_FEMALE else "male",
        "age": float(match["age"]),
        "subject": match["person"],
    }
