"""UTKFace: aligned and cropped faces whose labels are their file names."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vggface_gender.base import ages, labels
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, images_under

GENDERS = ("male", "female")  # by the digit in the name
RACES = labels.UTKFACE_RACES  # likewise
NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_(?P<stamp>\d{14,20})\D")

# Three names lack the race. The published corrections, by date stamp: age, gender, race.
CORRECTIONS = {
    "20170116174525125": (39, "male", "Black"),
    "20170109150557335": (61, "female", "Indian"),
    "20170109142408075": (61, "female", "Black"),
}
CORRECTED = "; ".join(f"{stamp} is {a}, {g}, {r}" for stamp, (a, g, r) in CORRECTIONS.items())


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the folder of `[age]_[gender]_[race]_[stamp]` images."""

    FACTS = catalogue.NAMED["UTKFace"]
    # dlib.get_face_chip with padding 0.25 shows 1.09 times the frame of these chips.
    PADDING = ((1 + 2 * 0.25) / 1.09 - 1) / 2
    NOTES = (f"three names without a race have the published corrections: {CORRECTED}",)

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        for image in images_under(source, within=source):
            yield image._replace(**parse(PurePosixPath(image.name).name))


def parse(name: str) -> dict:
    """The labels that a UTKFace file name gives, as fields of `Labelled`."""
    stamp = re.search(r"_(\d{14,20})\D", name)
    if stamp and stamp[1] in CORRECTIONS:
        age, gender, race = CORRECTIONS[stamp[1]]
        return {"age": float(age), "gender": gender, "race": race}
    match = NAME.match(name)
    if not match:
        return {"problem": "its name is not [age]_[gender]_[race]_[yyyymmddHHMMSSFFF]"}
    if int(match["age"]) > ages.OLDEST:
        return {"problem": f"its age, {match['age']}, is above {ages.OLDEST}"}
    return {
        "age": float(match["age"]),
        "gender": GENDERS[int(match["gender"])],
        "race": RACES[int(match["race"])],
    }
