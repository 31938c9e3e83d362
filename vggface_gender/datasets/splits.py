"""Which record stands in which split."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vggface_gender.base.errors import InputError
from vggface_gender.base.splits import SPLITS
from vggface_gender.datasets.assignment import assign, folds

if TYPE_CHECKING:
    from vggface_gender.datasets.checks import Checked


def divide(
    images: Sequence["Checked"], fractions: Mapping[str, float], *, seed: int
) -> tuple[dict[str, list["Checked"]], dict[str, str]]:
    """The images by split, and why some are left out, by name.

    A dataset that names no splits is divided by `fractions`. In one that does, its validation and
    test stay as they are; whichever it lacks is cut from train. Exact duplicates and one person's
    images are kept on one side; a copy, outside test, of what the dataset itself puts into test
    (or, outside validation, of what it puts there) is left out.
    """
    cut = {split: fractions[split] for split in drawn(images)}
    divided: dict[str, list[Checked]] = {split: [] for split in SPLITS}
    left_out: dict[str, str] = {}
    seen: dict[str, Checked] = {}  # by digest, over the splits that are done
    for split in ("test", "validation", "train"):
        part = []
        for image in images:
            if (image.item.split or "train") != split:
                continue
            if twin := seen.get(image.digest):
                left_out[image.item.name] = (
                    f"the same image as {twin.item.name}, which is in {twin.item.split}"
                )
            else:
                part.append(image)
        seen |= {image.digest: image for image in part}
        divided[split] = part
    # What is named for train, or for nothing, makes up what is missing.
    train, divided["train"] = divided["train"], []
    assigned = assign(
        **_traits(train), fractions={"train": 1 - sum(cut.values()), **cut}, seed=seed
    )
    for image, split in zip(train, assigned, strict=True):
        divided[split].append(image)
    return {split: part for split, part in divided.items() if part}, left_out


def drawn(images: Iterable["Checked"]) -> list[str]:
    """Which of validation and test the dataset doesn't name, so that they are drawn from train.

    None where labels are a classifier's predictions: such a dataset is there to be trained on.
    """
    items = [image.item for image in images]
    if any(item.is_predicted for item in items):
        return []
    named = {item.split for item in items}
    return [split for split in ("validation", "test") if split not in named]


def with_test_fold(
    images: Sequence["Checked"], fold: tuple[int, int], *, seed: int
) -> tuple[list["Checked"], dict[str, str]]:
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
    kept, left_out = [], {}
    for image, yes in zip(images, is_test, strict=True):
        item = image.item
        if not yes and item.subject in tested:
            left_out[item.name] = f"its person, {item.subject}, is in the test fold too"
        else:
            named = item._replace(split="test" if yes else "train")
            kept.append(image._replace(item=named))
    return kept, left_out


def _own_folds(images: Sequence["Checked"], count: int) -> list[int]:
    """Each image's fold, from 0, where the dataset has folds; [] where it has none."""
    items = [image.item for image in images]
    own = sorted({item.fold for item in items if item.fold is not None})
    if not own:
        return []
    if without := [item.name for item in items if item.fold is None]:
        raise InputError(f"{without[0]} has no fold, and others have: give every image one")
    if len(own) != count:
        raise InputError(
            f"the dataset has folds of its own, {', '.join(map(str, own))}: "
            f"ask for {len(own)} folds, not {count}"
        )
    return [own.index(item.fold) for item in items if item.fold is not None]


def _traits(images: Sequence["Checked"]) -> dict:
    """What `assign` balances by and ties together: labels; contents and people."""
    items = [image.item for image in images]
    return {
        "names": [item.name for item in items],
        "strata": [(item.gender, item.race) for item in items],
        "ties": [[image.digest for image in images], [item.subject for item in items]],
    }
