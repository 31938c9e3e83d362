"""The head's surface: its depth, towards the camera, and the light on it."""

import cv2
import numpy as np

from vggface_gender.datasets.synthetic_faces.appearance import Face
from vggface_gender.datasets.synthetic_faces.canvas import Canvas
from vggface_gender.datasets.synthetic_faces.scene import Scene


def depth_of(canvas: Canvas, face: Face) -> np.ndarray:
    """The depth of the head's surface, float32 (side, side): a rounded front with features."""
    x = np.clip(canvas.x, -1.2, 1.2)  # hair and background do not bend further back
    y = canvas.y
    # One row a feature: centre x, centre y, width, height, depth. Each is a Gaussian, which is the
    # product of one along x and one along y, so that all of them are one matrix product.
    middle = [
        (0, 0.15, 0.16, 0.42, 0.13),  # bridge of the nose
        (0, face.nose - 0.16, 0.21, 0.22, 0.32),  # its tip
        (0, face.mouth, 0.45, 0.3, 0.10),
        (0, face.mouth + face.mouth_open + face.lips, 0.3, 0.08, 0.05),  # lower lip
        (0, face.chin - 0.2, 0.3, 0.2, 0.10),
    ]
    sides = [
        (0.8 * face.nose_width, face.nose - 0.08, 0.1, 0.1, 0.09),  # wings of the nose
        (0.42, face.brow + 0.08, 0.36, 0.12, face.brow_ridge),
        (0.5, 0.0, 0.32, 0.17, -0.11),  # eye sockets
        (0.5, 0.0, 0.18, 0.12, 0.06),  # eyes
        (0.64, 0.5, 0.3, 0.28, 0.08),  # cheeks
    ]
    mirrored = [(-cx, *rest) for cx, *rest in sides]
    cx, cy, width, height, amount = np.array([*middle, *sides, *mirrored]).T[..., None]
    along_x = np.exp(-(((canvas.x - cx) / width) ** 2))  # (features, side)
    along_y = amount * np.exp(-(((y - cy) / height) ** 2))
    front = -0.5 * x**2 - 0.15 * x**4 - 0.12 * (y[:, None] - 0.3) ** 2
    return (front + along_y.T @ along_x).astype(np.float32)


def light(canvas: Canvas, scene: Scene, *, depth: np.ndarray, head: np.ndarray) -> None:
    """Shade the skin by Lambert's law, with a little of Blinn and Phong's highlight."""
    down, right = np.gradient(depth, 1 / canvas.unit)
    length = np.sqrt(right**2 + down**2 + 1)

    def cosine(towards: np.ndarray) -> np.ndarray:  # to the surface's normal, 0 from behind
        x, y, z = (towards / np.linalg.norm(towards)).tolist()
        return np.maximum((z - x * right - y * down) / length, 0)

    shade = scene.ambient + (1 - scene.ambient) * cosine(scene.light)
    halfway = scene.light + np.array([0, 0, 1])  # from the light to the camera
    highlight = cv2.pow(cosine(halfway), 30)
    rgb = canvas.rgba[:3]
    rgb += head * (rgb * (shade - 1) + 255 * scene.shine * highlight)
