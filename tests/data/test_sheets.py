"""Sheets of crops: row by row, the rest black."""

import numpy as np

from vggface_gender.data import sheets


def test_the_sheet_shows_crops_row_by_row():
    images = np.stack([np.full((16, 16, 3), 6 * i, np.uint8) for i in range(30)])
    sheet = sheets.sheet(images, 8)
    assert sheet.shape == (64, 128, 3)
    for i in range(32):
        row, column = divmod(i, 8)
        tile = sheet[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        assert (tile == (6 * i if i < 30 else 0)).all()
