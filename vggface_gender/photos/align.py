"""Detected faces to crops: upright, of one size and in one frame."""

from collections.abc import Sequence

import dlib
import numpy as np

from vggface_gender.base.geometry import PADDING
from vggface_gender.photos import crops
from vggface_gender.photos.detect import Face


def align(
    photo: np.ndarray, faces: Sequence[Face], *, size: int = 150, padding: float = PADDING
) -> np.ndarray:
    """Crops of the faces, rotated upright and scaled to one size, as `dlib.get_face_chip` does it.

    A similarity transform takes a face's landmarks to those of dlib's mean face (Davis King,
    `dlib/image_transforms/interpolation.h`, `get_face_chip_details`).

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`, which the faces were found in.
        faces: those with landmarks are aligned by them, others are what their box holds.
        size: side of a crop in pixels.
        padding: margin on each side of the face, as a fraction of its size, where it is aligned:
            the crop's side is `1 + 2 * padding` of the mean face's.

    Returns:
        uint8 RGB, shape `(len(faces), size, size, 3)`; black where a crop reaches beyond the photo.
    """
    photo = np.ascontiguousarray(photo)
    aligned = np.empty((len(faces), size, size, 3), np.uint8)
    for crop, (box, _, landmarks) in zip(aligned, faces, strict=True):
        if landmarks is None:
            left, top, right, bottom = box
            crop[:] = crops.fit(photo[top:bottom, left:right], size)
        else:
            points = [dlib.point(int(x), int(y)) for x, y in landmarks]
            shape = dlib.full_object_detection(dlib.rectangle(*box), points)
            # Not get_face_chips: there, a crop's pixels depend a little on the photo's other faces.
            crop[:] = dlib.get_face_chip(photo, shape, size, padding)
    return aligned
