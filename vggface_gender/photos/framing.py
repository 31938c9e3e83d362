"""Pictures of one face each, whose frame is not known, brought into one frame.

The face is found and aligned, as it is in photos. It is cut more widely than a network takes it, so
that what augmentation turns and shifts into view is there.
"""

from typing import NamedTuple

import numpy as np

from vggface_gender.base import geometry
from vggface_gender.photos import THRESHOLD, crops, detect
from vggface_gender.photos.align import align

PADDING = 0.5  # of dlib's chips: a crop of `geometry.PADDING` is its middle three quarters
SIDE = 320  # pixels, of which that crop has 240: a network takes 224 at most
BYTES = 40_000  # more than most of them take as JPEG
VERSION = 1  # raised where the same picture comes to give other pixels


class Framed(NamedTuple):
    """A picture's face in the common frame."""

    image: np.ndarray  # uint8 RGB, shape `(SIDE, SIDE, 3)`
    is_aligned: bool  # False where no face was found, so that the whole picture was taken


def frame(picture: np.ndarray) -> Framed:
    """The face of a picture, aligned; or the whole picture, where none is found.

    The whole picture's central square is taken for a crop of `geometry.PADDING`: around it the
    outermost pixels are repeated.

    Args:
        picture: uint8 RGB, shape `(h, w, 3)`, of any size.
    """
    face = detect.main_face(picture, threshold=THRESHOLD)
    if face.landmarks is None:
        wider = (1 + 2 * PADDING) / (1 + 2 * geometry.PADDING)
        return Framed(crops.fit(picture, SIDE, frame=wider), False)
    return Framed(align(picture, [face], size=SIDE, padding=PADDING)[0], True)


def settings() -> dict:
    """What the pixels depend on besides the picture, as JSON: for what is made of them."""
    return {
        "detector": detect.chosen("auto"),
        "threshold": THRESHOLD,
        "padding": PADDING,
        "side": SIDE,
        "quality": crops.QUALITY,
        "version": VERSION,
    }
