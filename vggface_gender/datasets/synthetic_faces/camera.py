"""The camera: a painted person rotated in depth, framed, put before a background and exposed."""

import math

import cv2
import numpy as np

from vggface_gender.datasets.synthetic_faces.canvas import CORNER, Canvas
from vggface_gender.datasets.synthetic_faces.scene import Scene

# dlib's mean face (`get_face_chip_details` in image_transforms/interpolation.h) puts the corners of
# the eyes at these places of a chip without padding; padding 0.25 makes the chip's side 1.5 of it.
_CHIP_SIDE = 1 + 2 * 0.25
PUPIL_DISTANCE = ((0.860 + 0.646) - (0.121 + 0.334)) / 2 / _CHIP_SIDE  # of the chip's side
_EYE_HEIGHT = (0.25 + 0.221) / _CHIP_SIDE  # of the chip's side, from its top


def photograph(
    canvas: Canvas, depth: np.ndarray, *, scene: Scene, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Turn the person, add a background, blur and noise: uint8 RGB of shape (size, size, 3)."""
    x, y = pose_map(canvas, depth, scene=scene, size=size)
    person = cv2.remap(
        cv2.merge(list(canvas.rgba)), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    background = cv2.resize(scene.background, (size, size), interpolation=cv2.INTER_CUBIC)
    *planes, alpha = cv2.split(person)
    rgb, behind = np.array(planes), np.array(cv2.split(background))
    photo = behind + alpha * (rgb - behind)  # (3, size, size)
    grey = photo.mean(0)
    photo = (grey + scene.saturation * (photo - grey)) * scene.gains[:, None, None]
    photo = cv2.GaussianBlur(cv2.merge(list(photo)), (0, 0), scene.blur * size)
    grain = rng.standard_normal((size, size, 1), np.float32)  # of a camera: mostly in luminance
    return np.clip(np.round(photo + scene.noise * grain), 0, 255).astype(np.uint8)


def pose_map(
    canvas: Canvas, depth: np.ndarray, *, scene: Scene, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the photo the canvas's x and y, in pixels, that is seen there.

    Before roll, scale and shift, a surface point (x, y, z) is seen at x cos(yaw) + z sin(yaw) and
    y cos(pitch) + z sin(pitch). Since z depends on x and y, they are found by iteration, which
    converges except at the far rim of a head that is rotated the most.
    """
    unit = size * PUPIL_DISTANCE * scene.scale
    steps = np.arange(size, dtype=np.float32)
    across = (steps - size / 2) / unit - scene.shift[0]
    along = (steps[:, None] - size * _EYE_HEIGHT) / unit - scene.shift[1]
    cos, sin = math.cos(scene.roll), math.sin(scene.roll)
    u, v = cos * across + sin * along, cos * along - sin * across
    left, top = CORNER.tolist()
    x, y = u, v
    for _ in range(4):
        at = (x - left) * canvas.unit, (y - top) * canvas.unit
        z = cv2.remap(depth, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x = (u - z * math.sin(scene.yaw)) / math.cos(scene.yaw)
        y = (v - z * math.sin(scene.pitch)) / math.cos(scene.pitch)
    return (x - left) * canvas.unit, (y - top) * canvas.unit
