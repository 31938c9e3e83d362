"""Crops changed at random, for training splits alone: nothing that is evaluated comes from here.

One affine warp brings a decoded image to the network's side and frame and turns, scales, shifts
and mirrors it on the way, so geometry costs what resizing alone would; one colour matrix does
brightness, contrast and saturation. All follows from a NumPy generator: a seed gives one picture.
"""

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np

from vggface_gender.photos import crops

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601: grey of red, green, blue
_ERASED_AREA = (0.02, 0.15)  # least and most of the crop; Zhong et al. 2017, arXiv:1708.04896
_ERASED_ASPECT = (0.4, 2.5)


class Amounts(NamedTuple):
    """How far a crop may be changed: each change is drawn uniformly up to its amount.

    `NONE` changes nothing. The defaults are mild, since the faces are aligned: what they show stays
    a face that alignment could have given.
    """

    flip: float = 0.5  # probability of mirroring
    rotation: float = 8.0  # degrees, either way
    scale: float = 0.08  # share of the side, either way
    shift: float = 0.04  # share of the side, either way, across and down
    brightness: float = 0.15  # share of 255, either way
    contrast: float = 0.2  # share, either way
    saturation: float = 0.3  # share, either way
    noise: float = 6.0  # most standard deviation, of 255; half of the crops have none
    erasing: float = 0.25  # probability of one rectangle of random colour


NONE = Amounts(*[0.0] * len(Amounts._fields))


def augment(
    image: np.ndarray, size: int, *, frame: float, amounts: Amounts, rng: np.random.Generator
) -> np.ndarray:
    """A crop of the image, changed at random.

    Args:
        image: (h, w, 3) `uint8` RGB.
        size: side of the result in pixels.
        frame: how much of the scene to show, as `crops.fit` takes it; what lies beyond the image's
            border repeats it.

    Returns:
        (size, size, 3) `uint8` RGB. With `NONE` it is what `crops.fit` gives, to within what the
        two interpolations round differently.
    """
    crop = _warp(image, size, frame, amounts, rng)
    crop = _recolour(crop, amounts, rng)
    if amounts.noise and rng.random() < 0.5:
        crop = _add_noise(crop, rng.uniform(0, amounts.noise), rng)
    if rng.random() < amounts.erasing:
        _erase(crop, rng)
    return crop


def mix_up(
    images: np.ndarray,
    others: Mapping[str, np.ndarray],
    *,
    strength: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A batch blended with itself in another order (mixup, Zhang et al. 2017, arXiv:1710.09412).

    Args:
        images: (b, ...) of any dtype.
        others: arrays (b, ...) of floats to blend alike, such as one-hot targets and weights.
        strength: of the Beta distribution that the share is drawn from, for the whole batch.

    Returns:
        `float32` images and the blended arrays.
    """
    share = np.float32(max(share := rng.beta(strength, strength), 1 - share))
    order = rng.permutation(len(images))

    def blend(values: np.ndarray) -> np.ndarray:
        return share * values.astype(np.float32) + (1 - share) * values[order].astype(np.float32)

    return blend(images), {name: blend(values) for name, values in others.items()}


def _warp(
    image: np.ndarray, size: int, frame: float, amounts: Amounts, rng: np.random.Generator
) -> np.ndarray:
    image = crops.central(image)
    if len(image) > 2 * size:
        image = crops.fit(image, 2 * size)  # four neighbours would leave out pixels
    side = len(image)
    angle = np.deg2rad(rng.uniform(-amounts.rotation, amounts.rotation))
    zoom = 1 + rng.uniform(-amounts.scale, amounts.scale)
    shift = rng.uniform(-amounts.shift, amounts.shift, 2) * size
    mirror = -1 if rng.random() < amounts.flip else 1
    # From a pixel of the crop back to the image, both counted from their middles: pixel i's
    # middle is i + 1/2.
    step = side * frame / size / zoom
    cosine, sine = np.cos(angle), np.sin(angle)
    back = step * np.array([[mirror * cosine, -sine], [mirror * sine, cosine]])
    middle = size / 2 - 0.5 + shift
    offset = side / 2 - 0.5 - back @ middle
    return cv2.warpAffine(
        image,
        np.column_stack([back, offset]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _recolour(crop: np.ndarray, amounts: Amounts, rng: np.random.Generator) -> np.ndarray:
    brightness = 255 * rng.uniform(-amounts.brightness, amounts.brightness)
    contrast = 1 + rng.uniform(-amounts.contrast, amounts.contrast)
    saturation = 1 + rng.uniform(-amounts.saturation, amounts.saturation)
    if not (amounts.brightness or amounts.contrast or amounts.saturation):
        return crop
    grey = float(np.array(cv2.mean(crop)[:3]) @ _LUMA)  # contrast turns about the crop's own grey
    matrix = contrast * (saturation * np.eye(3) + (1 - saturation) * _LUMA)
    offset = np.full((3, 1), (1 - contrast) * grey + brightness)
    return cv2.transform(crop, np.hstack([matrix, offset]))


def _add_noise(crop: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    # OpenCV draws whole numbers in a third of the time that NumPy takes for as many floats; its
    # generator is the thread's own, so seeding it here touches nobody else.
    noise: np.ndarray = np.empty(crop.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(noise, 0, deviation)  # type: ignore[call-overload]  # it takes numbers, too
    return cv2.add(crop, noise, dtype=cv2.CV_8U)


def _erase(crop: np.ndarray, rng: np.random.Generator) -> None:
    """Paint a rectangle over, in place."""
    side = len(crop)
    area = rng.uniform(*_ERASED_AREA) * side * side
    aspect = np.exp(rng.uniform(*np.log(_ERASED_ASPECT)))
    height = min(side, max(1, round(np.sqrt(area * aspect))))
    width = min(side, max(1, round(np.sqrt(area / aspect))))
    top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
    crop[top : top + height, left : left + width] = rng.integers(0, 256, 3)
