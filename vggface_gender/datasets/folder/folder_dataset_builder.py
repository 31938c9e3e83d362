"""A folder of one's own: one folder a class, at its top or in train/, validation/ and test/."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets.builder import FacesBuilder, Labelled, images_under

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the folder. Its config is named after the folder."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="folder")]
    TITLE = "a folder of images"
    TERMS = "the owner's"
    HOMEPAGE = ""
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "class folders (female, male; or races; or ages), or those in train/, validation/, test/"
    )

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        folders = [path for path in sorted(source.iterdir()) if path.is_dir()]
        splits = {
            p: SPLIT_FOLDERS[p.name.lower()] for p in folders if p.name.lower() in SPLIT_FOLDERS
        }
        for parent in splits or [source]:
            for folder in sorted(path for path in parent.iterdir() if path.is_dir()):
                label = class_label(folder)
                for image in images_under(folder, within=source):
                    yield image._replace(split=splits.get(parent), **label)


def class_label(folder: Path) -> dict:
    """The label that a class folder's name gives, as a field of `Labelled`."""
    name = folder.name
    if gender := labels.gender(name):
        return {"gender": gender}
    if race := labels.race(name):
        return {"race": race}
    if name.isdecimal():
        return {"age": float(name)}
    raise InputError(
        f"{folder}: a class folder is named after a gender (female, male), a race "
        f"({', '.join(labels.UTKFACE_RACES)}; or FairFace's seven) or an age in years"
    )
