"""A record's bytes to a crop of the side and in the frame that a network takes, and back.

OpenCV on whole batches in `uint8`: per CPU second it decodes and fits more images than TensorFlow's
decoder and resizing do (`tools/benchmark.py` compares the two).
"""

import io

import cv2
import numpy as np
from PIL import Image

QUALITY = 95  # of a JPEG that a crop is kept as; above it files grow and pictures hardly change


def decode(jpeg: bytes) -> np.ndarray:
    """The image in JPEG or PNG bytes: (h, w, 3) `uint8` RGB.

    Of what a record holds (see `datasets.checks`) it gives the pixels that `read.decode` gives.

    An EXIF orientation is left alone: what is kept as a record is upright.

    Raises:
        ValueError: OpenCV can't decode it.
    """
    how = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), how)
    if image is None:
        raise ValueError("the image can't be decoded")
    return image


def is_decodable(jpeg: bytes) -> bool:
    """Whether `decode` can read a JPEG; only an eighth of its pixels are computed."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_COLOR_8) is not None


def to_jpeg(image: np.ndarray, *, quality: int = QUALITY) -> bytes:
    """An image as JPEG bytes, its colours at full resolution (no chroma subsampling).

    Args:
        image: (h, w, 3) `uint8` RGB.
        quality: 1 to 95, as Pillow counts it.
    """
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=quality, subsampling=0)
    return encoded.getvalue()


def square(height: int, width: int) -> tuple[int, int, int, int]:
    """The central square of an image: left, top, right, bottom in pixels.

    It stands for an image that is one face's crop wherever a network takes a square: in records, in
    photos that are crops already, and in arrays. A face keeps its proportions so, which it would
    not if the image were squeezed to a square.
    """
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def central(image: np.ndarray) -> np.ndarray:
    """A view of an image's central square: (h, w, ...) to (side, side, ...)."""
    left, top, right, bottom = square(*image.shape[:2])
    return image[top:bottom, left:right]


def fit(image: np.ndarray, size: int, *, frame: float = 1.0) -> np.ndarray:
    """Show `frame` times as much as an image's central square, at (size, size, 3), `uint8` RGB.

    Args:
        image: (h, w, 3) `uint8`.
        size: side of the result in pixels.
        frame: 1 keeps what is seen; less cuts to the middle; more repeats the border's pixels.
    """
    image = central(image)
    side = len(image)
    margin = round(side * (frame - 1) / 2)
    if margin > 0:
        image = cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    elif frame < 1:
        image = image[-margin : side + margin, -margin : side + margin]
    if len(image) == size:
        return np.ascontiguousarray(image)
    # Between one and two pixels for one, four neighbours are enough; beyond, area averages.
    how = cv2.INTER_AREA if len(image) > 2 * size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=how)
