"""What goes into a classifier and what comes out of it: arrays that mean what they should.

A network answers any numbers. Crops in `[0, 1]` would be answered as black pictures are, and
weights that are no numbers with probabilities that are none.
"""

from collections.abc import Mapping

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.photos.crops import square

EXPECTED = "give RGB in [0, 255], uint8 or float, of shape (n, h, w, 3)"


def crops(given: np.ndarray) -> np.ndarray:
    """Crops as a network takes them: (n, side, side, 3), their central squares.

    Args:
        given: (n, h, w, 3) RGB in `[0, 255]`, of integers or floats.

    Raises:
        InputError: they are grey, of other channels or one crop alone, hold what is no number in
            `[0, 255]`, or are floats of which none is above 1, though not all are 0.
    """
    given = np.asarray(given)
    if given.ndim != 4 or given.shape[3] != 3 or 0 in given.shape[1:]:
        raise InputError(f"crops of shape {given.shape}: {EXPECTED}")
    if given.dtype.kind not in "iuf":
        raise InputError(f"crops of {given.dtype}: {EXPECTED}")
    if given.dtype != np.uint8 and given.size:
        least, most = float(given.min()), float(given.max())
        if np.isnan(least):
            raise InputError(f"crops hold NaN: {EXPECTED}")
        if not (least >= 0 and most <= 255):
            raise InputError(f"crops from {least:g} to {most:g}: {EXPECTED}")
        if given.dtype.kind == "f" and 0 < most <= 1:
            raise InputError(
                f"crops whose brightest value is {most:g}, as if in [0, 1]: {EXPECTED}"
            )
    left, top, right, bottom = square(*given.shape[1:3])
    return given[:, top:bottom, left:right]


def require_finite(outputs: Mapping[str, np.ndarray]) -> None:
    """Raise an InputError unless all outputs of a network, (n, ...) by task, are finite."""
    for task, output in outputs.items():
        is_finite = np.isfinite(output).all(axis=tuple(range(1, output.ndim)))
        if not is_finite.all():
            raise InputError(
                f"the classifier's {task} is not a number for {np.sum(~is_finite):,} of "
                f"{len(output):,} faces; compute in float32, or train it again"
            )
