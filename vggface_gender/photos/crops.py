"""JPEG bytes to a crop of the side and in the frame that a network takes, and back.

OpenCV on whole batches in `uint8`: per CPU second it decodes and fits more images than TensorFlow's
decoder and resizing do (`tools/benchmark.py` compares the two).
"""

import io

import cv2
import numpy as np
from PIL import Image

QUALITY = 95  # of a JPEG that a crop is kept as; above it files grow and pictures hardly change


def decode(jpeg: bytes) -> np.ndarray:
    """The image in JPEG bytes: (h, w, 3) `uint8` RGB.

    An EXIF orientation is left alone: what is kept as a record is upright.

    Raises:
        ValueError: OpenCV can't decode it.
    """
    how = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), how)
    if image is None:
        raise ValueError("the image can't be decoded")
    return image


def to_jpeg(image: np.ndarray, *, quality: int = QUALITY) -> bytes:
    """An image as JPEG bytes, its colours at full resolution (no chroma subsampling).

    Args:
        image: (h, w, 3) `uint8` RGB.
        quality: 1 to 95, as Pillow counts it.
    """
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=quality, subsampling=0)
    return encoded.getvalue()


def fit(image: np.ndarray, size: int, *, frame: float = 1.0) -> np.ndarray:
    """Show `frame` times as much of the scene at (size, size, 3), `uint8` RGB.

    Args:
        image: (h, w, 3) `uint8`.
        size: side of the result in pixels.
        frame: 1 keeps what is seen; less cuts to the middle; more repeats the border's pixels.
    """
    height, width = image.shape[:2]
    if frame != 1.0:
        down, across = round(height * (frame - 1) / 2), round(width * (frame - 1) / 2)
        if frame > 1:
            image = cv2.copyMakeBorder(image, down, down, across, across, cv2.BORDER_REPLICATE)
        else:
            image = image[-down : height + down, -across : width + across]
    if image.shape[:2] == (size, size):
        return np.ascontiguousarray(image)
    # Between one and two pixels for one, four neighbours are enough; beyond, area averages.
    shrinks = min(image.shape[:2]) > 2 * size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=how)
