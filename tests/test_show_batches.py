"""show_batches: a sheet of crops, each beside augmented copies of it."""

from pathlib import Path

import cv2
import numpy as np

from vggface_gender import show_batches


def test_each_row_begins_with_a_crop_as_it_is(drawn, workplace):
    data = ["--dataset", str(drawn.table), "--data-dir", str(drawn.records)]
    layout = ["--rows", "3", "--columns", "2", "--size", "48"]
    for name, more in (("none.png", ["--augment", "all=0"]), ("all.png", [])):
        show_batches.main([*data, *layout, "--out", name, *more])
    plain, augmented = (cv2.imread(name).astype(int) for name in ("none.png", "all.png"))
    assert plain.shape == augmented.shape == (3 * 48, 3 * 48, 3)
    np.testing.assert_array_equal(plain[:, :48], augmented[:, :48])
    for column in (1, 2):
        copies = slice(48 * column, 48 * column + 48)
        # Without changes a copy differs by what two interpolations round differently.
        assert np.abs(plain[:, copies] - plain[:, :48]).mean() < 4
        assert np.abs(augmented[:, copies] - plain[:, :48]).mean() > 5
    show_batches.main([*data, *layout, "--augment", "all=0"])
    assert (workplace / "model_files" / "crops-faces.png").read_bytes() == Path(
        "none.png"
    ).read_bytes()
