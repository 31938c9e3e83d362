"""Perturbed crops: rotated, framed more tightly or widely, or of low resolution.

Every perturbation is applied to the record's own image on its way to the network's side, so what it
shows beyond the crop are real pixels as far as the record has them. Beyond the record's border its
pixels are repeated, as for an unchanged crop in a frame wider than the record's (`own_share` says
how much of a crop is the record's own).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.photos import crops

# By kind of perturbation, what its amount is.
KINDS = {
    "rotation": "rotation, degrees counter-clockwise",
    "margin": "side of the crop, 1 as framed",
    "resolution": "resolution, pixels a side",
}
AMOUNTS: dict[str, tuple[float, ...]] = {  # of each kind, where nobody asks for others
    "rotation": (-30.0, -15.0, 15.0, 30.0),
    "margin": (0.8, 0.9, 1.1, 1.25),
    "resolution": (16, 24, 32, 48, 64),
}


class Perturbation(NamedTuple):
    """One way to change a crop.

    `rotation`: degrees, counter-clockwise. `margin`: the crop's side as a share of the framed one,
    over 1 for more around the face. `resolution`: pixels a side, before the crop is enlarged again.
    """

    kind: str
    amount: float

    @property
    def name(self) -> str:
        """Of its tables: `rotation+15`, `margin1.25`, `resolution32`, `unchanged`."""
        if self == UNCHANGED:
            return self.kind
        return f"{self.kind}{self.amount:{'+' if self.kind == 'rotation' else ''}g}"


UNCHANGED = Perturbation("unchanged", 0)


def chosen(amounts: Mapping[str, Sequence[float]], *, size: int) -> list[Perturbation]:
    """Perturbations by these amounts, each once, after `UNCHANGED`.

    Args:
        amounts: by kind, as in `AMOUNTS`.
        size: the network's side in pixels.

    Raises:
        InputError: a resolution is higher than that.
    """
    if too_fine := [pixels for pixels in amounts["resolution"] if pixels > size]:
        raise InputError(
            f"a resolution of {too_fine[0]:g}: the classifier reads {size} pixels a side; give at "
            f"most {size}"
        )
    several = [Perturbation(kind, amount) for kind, each in amounts.items() for amount in each]
    return list({one.name: one for one in (UNCHANGED, *several)}.values())


def standard(size: int) -> list[Perturbation]:
    """Those of `AMOUNTS` that make a difference to a network of this side in pixels."""
    lower = [pixels for pixels in AMOUNTS["resolution"] if pixels < size]
    return chosen(AMOUNTS | {"resolution": tuple(lower)}, size=size)


def crop(
    image: np.ndarray, size: int, *, frame: float, perturbation: Perturbation = UNCHANGED
) -> np.ndarray:
    """A perturbed crop of an image.

    Args:
        image: (h, w, 3) `uint8` RGB, a record's.
        size: the side in pixels that the network takes.
        frame: how much of the image to show, as `crops.fit` takes it.

    Returns:
        (size, size, 3) `uint8` RGB; with `UNCHANGED` what `crops.fit` gives, and so with a rotation
        by 0, a margin of 1 and a resolution of `size`.
    """
    kind, amount = perturbation
    if kind == "rotation":
        return _rotated(image, size, frame, amount)
    if kind == "margin":
        return crops.fit(image, size, frame=frame * amount)
    if kind == "resolution":
        return crops.fit(crops.fit(image, int(amount), frame=frame), size)
    return crops.fit(image, size, frame=frame)


def own_share(frame: float, perturbation: Perturbation = UNCHANGED) -> float:
    """How much of a crop's area shows the record's own square; the rest repeats its border."""
    kind, amount = perturbation
    side = frame * (amount if kind == "margin" else 1)
    angle = math.radians(amount if kind == "rotation" else 0)
    steps = ((np.arange(1000) + 0.5) / 1000 - 0.5) * side  # from the middle, in sides of the record
    across, down = np.meshgrid(steps, steps)
    x = math.cos(angle) * across - math.sin(angle) * down
    y = math.sin(angle) * across + math.cos(angle) * down
    return float(((abs(x) <= 0.5) & (abs(y) <= 0.5)).mean())


def _rotated(image: np.ndarray, size: int, frame: float, degrees: float) -> np.ndarray:
    """`crops.fit` of an image rotated about its middle."""
    image = crops.central(image)
    side = len(image)
    # Room for what a frame wider than the image shows, so that borders repeated rotate with it.
    margin = round(side * max(frame - 1, 0) / 2)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1.0)
    matrix[:, 2] += margin
    rotated = cv2.warpAffine(
        image,
        matrix,
        (side + 2 * margin, side + 2 * margin),
        flags=cv2.INTER_CUBIC,  # sharper than linear: what is measured is rotation, not blur
        borderMode=cv2.BORDER_REPLICATE,
    )
    return crops.fit(rotated, size, frame=min(frame, 1.0))
