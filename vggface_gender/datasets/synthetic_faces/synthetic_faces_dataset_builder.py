"""SyntheticFaces: faces drawn by the package, for trying things out where no data is at hand."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled
from vggface_gender.datasets.synthetic_faces import drawing

COUNT = 2000


class Builder(FacesBuilder):
    """TFDS builder; draws its faces, so it needs no source."""

    FACTS = catalogue.NAMED["SyntheticFaces"]
    FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
    PADDING = 0.25
    NOTES = ("drawings, not people: a figure on them says nothing about real faces",)

    @classmethod
    def labelled(cls, source: Path | None) -> Iterator[Labelled]:
        for i in tqdm(range(COUNT), desc="drawing faces", unit="", leave=False, mininterval=1):
            rng = np.random.default_rng(i)
            gender, race, age = drawing.sample_labels(rng)
            crop = drawing.draw(rng, gender, race=race, age=age)
            _, encoded = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
            yield Labelled(f"{i:05d}.jpg", encoded.tobytes(), gender, race, age)
