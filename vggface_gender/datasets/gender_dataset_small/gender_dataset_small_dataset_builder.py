"""GenderDataset_Small: a tenth of GenderDataset, divided the same way."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.gender_dataset import gender_dataset_dataset_builder as whole
from vggface_gender.datasets.sources import Labelled

SHARE = 0.1


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the unpacked archive, `agegender_cleaned`."""

    FACTS = catalogue.NAMED["GenderDataset_Small"]
    FRACTIONS = whole.Builder.FRACTIONS
    NOTES = (*whole.Builder.NOTES, "a tenth of each gender, chosen by a hash of the names")

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        by_gender: dict[str | None, list[Labelled]] = {}
        for item in whole.leaves(source):
            by_gender.setdefault(item.gender, []).append(item)
        for items in by_gender.values():
            items.sort(key=lambda item: hashlib.blake2b(os.fsencode(item.name)).digest())
            yield from items[: max(1, round(SHARE * len(items)))]
