"""Maps of what a prediction depends on, from forward passes alone: occlusion, and RISE.

Either works on any classifier, through its probabilities. For a classification task a map says how
much the probability of a label depends on a place; for age, by how many years the answer changes
with it, up or down.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.evaluation.gradcam import Explain
from vggface_gender.inference import occlusion
from vggface_gender.inference.interface import Predictor

BATCH_SIZE = 64
MASKS = 512  # of RISE
CELLS = 7  # a mask's, a side, as in the paper
PLACES = 16  # rows and columns of RISE's map
SEEN = 0.5  # the share of a crop that a mask shows


def occluded(classifier: Predictor, task: str) -> Explain:
    """A function that explains crops by covering parts of them (see `inference.occlusion`).

    Returns:
        A function as `gradcam.explainer` gives: maps (b, 8, 8) of how far the output falls where a
        place is covered, and 0 where it rises; of age, how far it moves.
    """

    def maps_of(crop: np.ndarray, output: Callable, whole: float) -> np.ndarray:
        return occlusion.drops(whole, output(occlusion.covered(crop)))

    return _explainer(classifier, task, maps_of)


def rise(classifier: Predictor, task: str, *, masks: int = MASKS, seed: int = 0) -> Explain:
    """A function that explains crops by RISE (Petsiuk, Das and Saenko, BMVC 2018).

    A crop is seen through many random smooth masks. A place's value is the output's mean over the
    masks, each weighted by how much of the place it shows, less the mean of all: what seeing the
    place adds. What a mask hides has the crop's mean colour, in place of the paper's black.

    Args:
        masks: how many.
        seed: of the masks, which are the same for every crop.

    Returns:
        A function as `gradcam.explainer` gives: maps (b, `PLACES`, `PLACES`) from 0 up.
    """

    def maps_of(crop: np.ndarray, output: Callable, whole: float) -> np.ndarray:
        seen, weights = random_masks(crop.shape[0], count=masks, seed=seed)
        colour = crop.mean(axis=(0, 1))
        outputs = np.concatenate(
            [
                output(_through(crop, colour, seen[start : start + BATCH_SIZE]))
                for start in range(0, masks, BATCH_SIZE)
            ]
        )
        added = outputs - outputs.mean()
        return np.tensordot(added, weights, axes=1) / np.maximum(weights.sum(axis=0), 1e-9)

    return _explainer(classifier, task, maps_of)


class Masks(NamedTuple):
    """Random smooth masks: how much of each pixel is seen, from 0 to 1."""

    pixels: np.ndarray  # (count, size, size) float32
    places: np.ndarray  # (count, PLACES, PLACES) float32: the same, averaged


@functools.lru_cache(maxsize=1)
def random_masks(size: int, *, count: int, seed: int = 0) -> Masks:
    """Random smooth masks: coarse grids of cells that are seen or not, enlarged and moved.

    Args:
        size: their side in pixels.
    """
    rng = np.random.default_rng(seed)
    cell = -(-size // CELLS)
    grids = (rng.random((count, CELLS + 1, CELLS + 1)) < SEEN).astype(np.float32)
    side = (CELLS + 1) * cell
    masks = np.empty((count, size, size), np.float32)
    for mask, grid in zip(masks, grids, strict=True):
        y, x = rng.integers(0, side - size + 1, 2)
        large = cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR)
        mask[:] = large[y : y + size, x : x + size]
    places = [cv2.resize(mask, (PLACES, PLACES), interpolation=cv2.INTER_AREA) for mask in masks]
    return Masks(masks, np.stack(places))


def _through(crop: np.ndarray, colour: np.ndarray, masks: np.ndarray) -> np.ndarray:
    shown = colour + masks[..., None] * (crop - colour)
    return np.round(shown).astype(np.uint8)


def _explainer(classifier: Predictor, task: str, maps_of: Callable) -> Explain:
    """A function of crops and, if given, labels, that explains them one by one."""
    outputs_of = outputs(classifier, task)

    def explained(
        crops: np.ndarray, wanted: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        whole = outputs_of(crops)
        is_age = whole.ndim == 1
        places = whole if is_age else whole.argmax(axis=1) if wanted is None else wanted
        maps = []
        for crop, one, place in zip(crops, whole, places, strict=True):

            def output(copies: np.ndarray, place=place) -> np.ndarray:
                found = outputs_of(copies)
                return found if is_age else found[:, place]

            found = maps_of(crop, output, one if is_age else one[place])
            maps.append(np.abs(found) if is_age else np.maximum(found, 0))
        return np.array(maps, np.float32), np.asarray(places)

    return explained


def outputs(classifier: Predictor, task: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function of crops (n, h, w, 3) to a task's outputs, `float64` (n, classes) or (n,) years.

    Raises:
        InputError: the classifier does not predict it.
    """
    if task not in classifier.tasks:
        raise InputError(f"the classifier does not predict {task}: {', '.join(classifier.tasks)}")
    return lambda crops: np.asarray(
        classifier.predict(crops, batch_size=BATCH_SIZE)[task], np.float64
    )
