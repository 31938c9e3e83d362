"""Which faces a classifier has met before: recognized by content, under whatever name they come.

A training leaves `trained_on.npz` beside its classifier: 40 bytes for each image that it learned
from, those of the classifier that it began with among them (see `prints.Prints`). Of the images
that only chose its epoch it keeps the digests: exact copies of these are no test either.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggface_gender.base import files, runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import held_out, overlap
from vggface_gender.evaluation.predictions import EXACT, NEAR
from vggface_gender.evaluation.provenance import TRAINED_ON
from vggface_gender.photos import prints
from vggface_gender.photos.prints import Prints


class Learned(NamedTuple):
    """The images that a classifier learned from."""

    trained: Prints  # of every image trained on
    chosen: np.ndarray  # (m,) uint64: digests of the images that chose the epoch
    unknown: tuple[str, ...] = ()  # classifiers it began with whose images are not known


def place(classifier: Path) -> Path:
    """Where what a classifier's file learned from is kept; only a run's own file has that."""
    return classifier.parent / TRAINED_ON


def write(learned: Learned, classifier: Path) -> None:
    """Keep what a classifier's file learned from beside it, for that very file."""
    with files.whole(place(classifier)) as part:
        np.savez(
            part,
            digests=learned.trained.digests,
            hashes=learned.trained.hashes,
            chosen=learned.chosen,
            unknown=np.array(learned.unknown, dtype=str),
            classifier=np.array(files.digest(classifier)),
        )


def read(classifier: Path) -> Learned | None:
    """What a classifier's file learned from; None where that was not kept, or is another file's.

    Raises:
        InputError: the file is damaged.
    """
    path = place(classifier)
    if classifier.name != runs.CLASSIFIER or not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            digests, hashes, chosen = kept["digests"], kept["hashes"], kept["chosen"]
            unknown, owner = tuple(map(str, kept["unknown"])), str(kept["classifier"])
    except Exception as error:  # NumPy and zipfile raise whatever a damaged byte leads to
        raise InputError(
            f"{path}: damaged ({type(error).__name__}): restore it, or delete it to do without a "
            "check for faces that were trained on"
        ) from None
    is_one = digests.dtype == chosen.dtype == hashes.dtype == np.uint64
    if not is_one or digests.ndim != 1 or hashes.shape != (len(digests), 4):
        raise InputError(f"{path}: not what a training writes: restore it, or delete it")
    if owner != files.digest(classifier):
        return None
    return Learned(Prints(digests, hashes), chosen, unknown)


def continued(learned: Learned, init: Path) -> Learned:
    """With what another classifier had learned from, that it began with or that taught it.

    Args:
        init: that one's file.
    """
    before = read(init)
    if before is None:
        return learned._replace(unknown=(*learned.unknown, runs.called(init)))
    return Learned(
        prints.joined([before.trained, learned.trained]),
        np.concatenate([before.chosen, learned.chosen]),
        (*before.unknown, *learned.unknown),
    )


def carry(origin: Path, copy: Path) -> None:
    """Keep with a copy of a classifier, such as one in half precision, what the original learned.

    Nothing is kept where that is not known.
    """
    if learned := read(origin):
        write(learned, copy)


def marks(
    classifier: Path, dataset: Dataset, *, split: str, learned: Learned | None = None
) -> list[str | None] | None:
    """Which of a split's faces a classifier was trained on, in the order of `records.labels`.

    Args:
        classifier: its file.
        learned: what it learned from; None for what is kept beside it.

    Returns:
        `EXACT`, `NEAR` or None for each face; None in place of all where it is not known what the
        classifier learned from, or where its own training split, or the one that chose its epoch,
        is asked for by name.
    """
    learned = learned or read(classifier)
    if learned is None or is_own(classifier, dataset, split=split):
        return None
    return compare(overlap.of_split(dataset, split), learned)


def compare(faces: Prints, learned: Learned) -> list[str | None]:
    """`EXACT`, `NEAR` or None for each of some faces."""
    found = overlap.find(faces, learned.trained)
    exact = found.exact | np.isin(faces.digests, learned.chosen)
    return [
        EXACT if is_exact else NEAR if is_near else None
        for is_exact, is_near in zip(exact.tolist(), found.near.tolist(), strict=True)
    ]


def is_own(classifier: Path, dataset: Dataset, *, split: str) -> bool:
    """Whether a split is one that a classifier's run learned from, not one to test it on."""
    return split in ("train", "validation") and held_out.is_in_domain(classifier, dataset.name)


def about(classifier: Path, dataset: Dataset, *, split: str) -> dict:
    """What is known of a classifier's training images, for a metrics file.

    Returns:
        `images`, how many there are, None where that is not known; `unknown`, the classifiers that
        it began with whose images are not known; and `is_own`, where that is so (see `is_own`).
    """
    learned = read(classifier)
    found: dict = {"images": len(learned.trained.digests) if learned else None}
    found["unknown"] = list(learned.unknown) if learned else []
    return found | ({"is_own": True} if is_own(classifier, dataset, split=split) else {})
