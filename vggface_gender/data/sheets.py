"""Sheets of crops, to look at."""

import numpy as np


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Crops (n, size, size, 3) `uint8` side by side in rows: (rows * size, columns * size, 3)."""
    size = images.shape[1]
    rows = -(-len(images) // columns)
    tiles = np.zeros((rows * columns, size, size, 3), np.uint8)
    tiles[: len(images)] = images
    tiles = tiles.reshape(rows, columns, size, size, 3)
    return tiles.swapaxes(1, 2).reshape(rows * size, columns * size, 3)
