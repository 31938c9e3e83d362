"""Which record stands in which split."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.base.packed import Packed
from vggface_gender.base.splits import SPLITS
from vggface_gender.datasets.assignment import assign, folds

if TYPE_CHECKING:
    from vggface_gender.datasets.checks import Checked


def divide(
    images: Iterable["Checked"], fractions: Mapping[str, float], *, seed: int
) -> tuple[dict[str, Packed["Checked"]], dict[str, str]]:
    """The images by split, and why some are left out, by name.

    A dataset that names no splits is divided by `fractions`. In one that does, its validation and
    test stay as they are; whichever it lacks is cut from train. Exact duplicates and one person's
    images are kept on one side; a copy, outside test, of what the dataset itself puts into test
    (or, outside validation, of what it puts there) is left out.

    Args:
        images: read several times.
    """
    cut = {split: fractions[split] for split in drawn(images)}
    divided: dict[str, Packed[Checked]] = {split: Packed() for split in SPLITS}
    train: Packed[Checked] = Packed()  # and what is named for nothing: it makes up what is missing
    left_out: dict[str, str] = {}
    seen: dict[str, str] = {}  # where the images of test and validation are, by digest
    for split in ("test", "validation", "train"):
        taken = {}
        for image in images:
            if (image.item.split or "train") != split:
                continue
            if twin := seen.get(image.digest):
                left_out[image.item.name] = f"the same image as {twin}"
            elif split == "train":
                train.append(image)
            else:
                divided[split].append(image)
                taken[image.digest] = f"{image.item.name}, which is in {split}"
        seen |= taken
    assigned = assign(
        **_traits(train), fractions={"train": 1 - sum(cut.values()), **cut}, seed=seed
    )
    for image, split in zip(train, assigned, strict=True):
        divided[split].append(image)
    return {split: part for split, part in divided.items() if len(part)}, left_out


def drawn(images: Iterable["Checked"]) -> list[str]:
    """Which of validation and test the dataset doesn't name, so that they are drawn from train.

    None where labels are a classifier's predictions: such a dataset is there to be trained on.
    """
    named = set()
    for image in images:
        if image.item.is_predicted:
            return []
        named.add(image.item.split)
    return [split for split in ("validation", "test") if split not in named]


def with_test_fold(
    images: Collection["Checked"], fold: tuple[int, int], *, seed: int
) -> tuple[Packed["Checked"], dict[str, str]]:
    """The images with one fold named for test and the others for train; and why some are left out.

    The folds are the dataset's own where it has some, else drawn with `seed`, persons and exact
    duplicates on one side. Splits that the dataset names are set aside. Where its own folds share
    a person with the test fold, the images of that person outside it are left out.

    Args:
        fold: which one, from 0, in the order of the dataset's own numbers; and of how many.

    Raises:
        InputError: the dataset's own folds are of another number, or some images have none.
    """
    chosen, count = fold
    fold_of = _own_folds(images, count) or folds(**_traits(images), count=count, seed=seed)
    is_test = [k == chosen for k in fold_of]
    if not any(is_test):
        raise InputError(
            f"fold {chosen} of {count} is empty: there are fewer people; ask for fewer folds"
        )
    tested = {i.item.subject for i, yes in zip(images, is_test, strict=True) if yes} - {None}
    kept: Packed[Checked] = Packed()
    left_out = {}
    for image, yes in zip(images, is_test, strict=True):
        item = image.item
        if not yes and item.subject in tested:
            left_out[item.name] = f"its person, {item.subject}, is in the test fold too"
        else:
            named = item._replace(split="test" if yes else "train")
            kept.append(image._replace(item=named))
    return kept, left_out


def _own_folds(images: Iterable["Checked"], count: int) -> list[int]:
    """Each image's fold, from 0, where the dataset has folds; [] where it has none."""
    stated = [image.item.fold for image in images]
    own = sorted({fold for fold in stated if fold is not None})
    if not own:
        return []
    if without := [image.item.name for image in images if image.item.fold is None]:
        raise InputError(f"{without[0]} has no fold, and others have: give every image one")
    if len(own) != count:
        raise InputError(
            f"the dataset has folds of its own, {', '.join(map(str, own))}: "
            f"ask for {len(own)} folds, not {count}"
        )
    return [own.index(fold) for fold in stated if fold is not None]


def _traits(images: Collection["Checked"]) -> dict:
    """What `assign` balances by and ties together: labels; contents and people."""
    known: dict[tuple, tuple] = {}
    strata = ((image.item.gender, image.item.race) for image in images)
    return {
        "names": [image.item.name for image in images],
        "strata": [known.setdefault(stratum, stratum) for stratum in strata],  # each held once
        "ties": [digests(images), [image.item.subject for image in images]],
    }


def digests(images: Collection["Checked"]) -> np.ndarray:
    """What the images' files are recognized by: (n,) bytes."""
    return np.fromiter((image.digest.encode() for image in images), "S32", len(images))
