"""A folder of one's own: one folder a class, at its top or in train/, validation/ and test/."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, folders_in, images_under

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
    FACTS = catalogue.FOLDER

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        named = {path: SPLIT_FOLDERS.get(path.name.lower()) for path in folders_in(source)}
        splits = {path: split for path, split in named.items() if split}
        if splits:
            _refuse_beside(next(iter(splits)), [path for path in named if path not in splits])
        for parent in splits or [source]:
            for folder in folders_in(parent):
                label = class_label(folder)
                for image in images_under(folder, within=source):
                    yield image._replace(split=splits.get(parent), **label)


def _refuse_beside(split: Path, others: Iterable[Path]) -> None:
    """Raise an InputError for images in a class folder that lies beside a split's folder."""
    for folder in others:
        if _is_class(folder) and any(images_under(folder, within=folder)):
            raise InputError(
                f"{folder.parent}: the class folder {folder.name} lies beside the split folder "
                f"{split.name}; put every class folder into a split folder (train, validation, "
                "test), or none"
            )


def _is_class(folder: Path) -> bool:
    try:
        class_label(folder)
    except InputError:
        return False
    return True


def class_label(folder: Path) -> dict:
    """The label that a class folder's name gives, as a field of `Labelled`.

    Raises:
        InputError: it is no label.
    """
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
