"""A folder of one's own: one folder a class, at its top or in train/, validation/ and test/."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from vggface_gender.base import splits as base_splits
from vggface_gender.base.errors import InputError
from vggface_gender.base.readings import READINGS
from vggface_gender.datasets import catalogue
from vggface_gender.datasets.builder import FacesBuilder
from vggface_gender.datasets.sources import Labelled, folders_in, images_under


class Builder(FacesBuilder):
    """TFDS builder; `manual_dir` is the folder. Its config is named after the folder."""

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="folder")]
    FACTS = catalogue.FOLDER

    @classmethod
    def labelled(cls, source: Path) -> Iterator[Labelled]:
        named = {path: base_splits.split(path.name) for path in folders_in(source)}
        splits = {path: split for path, split in named.items() if split}
        if splits:
            _refuse_beside(next(iter(splits)), [path for path in named if path not in splits])
        classes = {parent: folders_in(parent) for parent in splits or [source]}
        if {folder.name for folders in classes.values() for folder in folders} == {"0", "1"}:
            raise InputError(
                f"{source}: class folders 0 and 1: what they stand for differs between datasets; "
                "name them female and male (or, where they are ages, 0 years and 1 year)"
            )
        for parent, folders in classes.items():
            for folder in folders:
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
    for task, reading in READINGS.items():
        label = reading.read(folder.name)
        if label is not None:
            return {task: label}
    allowed = "; ".join(f"{task}: {reading.allowed}" for task, reading in READINGS.items())
    raise InputError(f"{folder}: a class folder is named after its label ({allowed})")
