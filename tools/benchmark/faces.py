"""The pictures that are measured with: UTKFace's, or drawn ones under names like them."""

import argparse
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import numpy as np


def add_source_argument(parser: argparse.ArgumentParser) -> None:
    """The option that says where the pictures are, for `find`."""
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="UTKFace's images (default: those of $FACES_DIR/UTKFace, else drawn faces)",
    )


def find(source: Path | None) -> Path | None:
    """The folder of UTKFace: the one stated, or $FACES_DIR/UTKFace; None if that is not there.

    Raises:
        InputError: the stated one is no folder.
    """
    if source is None and "FACES_DIR" in os.environ:
        default = Path(os.environ["FACES_DIR"], "UTKFace")
        return default if default.is_dir() else None
    if source is not None and not source.is_dir():
        raise InputError(f"{source}: no such folder; give --source the folder of UTKFace")
    return source


def draw(folder: Path, count: int) -> None:
    """Fill a folder with SyntheticFaces' drawings, 200x200 JPEGs under names as UTKFace's are."""
    from vggface_gender.base import labels
    from vggface_gender.datasets.synthetic_faces.synthetic_faces_dataset_builder import Builder
    from vggface_gender.datasets.utk_face.utk_face_dataset_builder import GENDERS

    folder.mkdir()
    for i, face in enumerate(itertools.islice(Builder.labelled(None), count)):
        gender, race = GENDERS.index(face.gender), labels.UTKFACE_RACES.index(face.race)
        name = f"{face.age:.0f}_{gender}_{race}_{i:017d}.jpg.chip.jpg"
        if isinstance(face.image, bytes):  # not a file's path: they are drawn in memory
            (folder / name).write_bytes(face.image)


def sample(source: Path, count: int, *, folder: Path) -> list[Path]:
    """Fill a folder with links to `count` of a folder's images, spread evenly; all if it has fewer.

    Raises:
        InputError: there are none.
    """
    paths = images(source)
    if not paths:
        raise InputError(f"{source}: no images found; give --source the folder of UTKFace")
    links = []
    for i in range(min(count, len(paths))):
        path = paths[i * len(paths) // min(count, len(paths))]
        link = folder / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
        links.append(link)
    return links


def images(folder: Path) -> list[Path]:
    """Every image below a folder, in the order in which a dataset's build meets them."""
    from vggface_gender.datasets.sources import images_under

    listed = (item.image for item in images_under(folder, within=folder))
    return [Path(image) for image in listed if isinstance(image, str)]


def crops(paths: Sequence[Path], size: int) -> "np.ndarray":
    """Image files as crops (n, size, size, 3) `uint8` RGB."""
    import numpy as np

    from benchmark import decoding

    jpegs = [path.read_bytes() for path in paths]
    return np.concatenate(list(decoding.with_opencv(jpegs, size)))


def write_photo(path: Path) -> Path:
    """A portrait in the public domain that scikit-image ships.

    Raises:
        InputError: scikit-image isn't installed.
    """
    from PIL import Image

    try:
        from skimage import data
    except ImportError:
        raise InputError(
            "the row predict needs scikit-image's photo: pip install scikit-image"
        ) from None
    Image.fromarray(data.astronaut()).save(path)
    return path
