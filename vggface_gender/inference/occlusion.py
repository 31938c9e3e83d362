"""What in a crop a prediction depends on: parts of it are covered, one after the other.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014). It takes
forward passes alone, so it works on any classifier; Grad-CAM takes gradients, so Keras.
"""

import numpy as np

GRID = 8  # places a side
COVER = 0.25  # of the crop's side, so that neighbouring covers overlap


def covered(crop: np.ndarray, *, grid: int = GRID, cover: float = COVER) -> np.ndarray:
    """Copies of a crop with a square covered in each: (grid * grid, h, w, 3), row by row.

    The cover has the crop's mean colour, which itself says little.

    Args:
        crop: (h, w, 3) `uint8`.
    """
    height, width = crop.shape[:2]
    copies = np.repeat(crop[None], grid * grid, axis=0)
    colour = crop.mean(axis=(0, 1)).astype(crop.dtype)
    for i, copy in enumerate(copies):
        y, x = (i // grid + 0.5) / grid, (i % grid + 0.5) / grid
        top, bottom = (round(max(0, min(1, y + d)) * height) for d in (-cover / 2, cover / 2))
        left, right = (round(max(0, min(1, x + d)) * width) for d in (-cover / 2, cover / 2))
        copy[top:bottom, left:right] = colour
    return copies


def drops(whole: float, parts: np.ndarray, *, grid: int = GRID) -> np.ndarray:
    """How much an output falls where each place is covered: (grid, grid), row by row.

    Args:
        whole: the output for the crop itself.
        parts: (grid * grid,) for the copies of `covered`.
    """
    return (whole - np.asarray(parts, np.float64)).reshape(grid, grid)
