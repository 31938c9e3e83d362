"""The tool that measures what alignment is worth."""

import cv2
import numpy as np
import pytest

import alignment
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import predictions


def test_a_seed_gives_one_box_and_boxes_differ():
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    one, again, other = (
        alignment.cut_out(image, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (one == again).all() and one.shape != other.shape
    for seed in range(30):
        made = alignment.cut_out(image, rng=np.random.default_rng(seed))
        shorter, longer = sorted(made.shape[:2])
        assert 159 <= shorter <= 321 and longer <= 1.3 * shorter + 2


def test_a_box_shows_the_picture_turned_by_15_degrees_at_most():
    image = np.zeros((200, 200, 3), np.uint8)
    cv2.line(image, (100, 0), (100, 199), (255, 255, 255), 5)
    for seed in range(10):
        made = alignment.cut_out(image, rng=np.random.default_rng(seed))[..., 0]
        down, across = np.nonzero(made > 127)
        slope = np.polyfit(down, across, 1)[0]  # stretching across makes it steeper
        assert abs(slope) <= 1.3 * np.tan(np.deg2rad(15.5))


def test_what_can_not_be_measured_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        alignment.main(["--source", str(tmp_path), "--out", str(tmp_path / "full")])
    with pytest.raises(InputError, match="0 faces"):
        alignment.main(["--source", str(tmp_path / "none"), "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_figures_are_those_of_the_tables(faces_dir, tmp_path, capsys):
    out = tmp_path / "out"
    alignment.main(["--source", str(faces_dir / "UTKFace"), "--out", str(out), "--count", "30"])
    printed = capsys.readouterr().out
    for name in ("as-published", "cut-out-aligned", "cut-out-used-whole"):
        table = predictions.read(out / f"predictions-{name}.csv")
        right = (table["gender"] == np.where(table.gender_male > 0.5, "male", "female")).mean()
        assert len(table) == 30 and f"{right:.1%}" in printed
