"""Parametric drawings of faces with perceived gender, race and age, framed like dlib's chips.

A face is drawn in three steps, each from numbers sampled beforehand:

1. `appearance` and `scene` sample labels and, from them, shapes, colours, pose, light and camera.
2. `painting` paints the head frontally, part over part; `surface` lights it by its slope.
3. `camera` rotates the head in depth, puts it before a background and adds blur and noise.

Lengths are in units of the distance between the pupils, with the origin midway between them, x to
the right and y down; depth z points to the camera. Colours are float RGB in [0, 255].
"""

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.base.labels import GENDERS, UTKFACE_RACES
from vggface_gender.datasets.synthetic_faces import camera, painting, surface
from vggface_gender.datasets.synthetic_faces.appearance import sample_face, sample_labels
from vggface_gender.datasets.synthetic_faces.canvas import Canvas
from vggface_gender.datasets.synthetic_faces.scene import sample_scene

__all__ = ["draw", "sample_labels"]


def draw(
    rng: np.random.Generator, gender: str, *, race: str, age: float, size: int = 200
) -> np.ndarray:
    """A drawn face, uint8 RGB of shape (size, size, 3), framed as dlib's chip with padding 0.25.

    Args:
        rng: the only source of randomness; the same state draws the same picture.
        gender: one of `GENDERS`.
        race: one of `UTKFACE_RACES`.
        age: years, from 0 to 120.
        size: side in pixels, at least 32.

    Raises:
        InputError: an argument is none of these.
    """
    if gender not in GENDERS:
        raise InputError(f"gender {gender!r}: use one of {', '.join(GENDERS)}")
    if race not in UTKFACE_RACES:
        raise InputError(f"race {race!r}: use one of {', '.join(UTKFACE_RACES)}")
    if not 0 <= age <= 120:
        raise InputError(f"age {age!r}: use years from 0 to 120")
    if size < 32:
        raise InputError(f"size {size!r}: a face needs at least 32 pixels")
    face = sample_face(rng, gender, race=race, age=age)
    scene = sample_scene(rng)
    canvas = Canvas(size * camera.PUPIL_DISTANCE)
    depth = surface.depth_of(canvas, face)
    painting.paint(canvas, face, scene=scene, depth=depth, rng=rng)
    return camera.photograph(canvas, depth, scene=scene, size=size, rng=rng)
