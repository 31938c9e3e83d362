"""Images: which can be used, which bytes a record holds, what is damaged."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import trees
from PIL import Image

from vggface_gender.base.errors import InputError
from vggface_gender.data import records
from vggface_gender.datasets import checks
from vggface_gender.datasets.sources import Labelled, images_under
from vggface_gender.photos import crops, read


def break_images(folder: Path, good: Path) -> set[str]:
    """Put one file of each kind of damage into `folder`; their names."""
    damaged = {
        "empty.jpg": b"",
        "text.jpg": b"this is not an image",
        "cut.jpg": good.read_bytes()[: good.stat().st_size // 2],
        "header.jpg": good.read_bytes()[:30],
    }
    for name, content in damaged.items():
        (folder / name).write_bytes(content)
    return {*damaged}


def checked(path: Path) -> checks.Checked | str:
    """What is found of a single image, or why it can't be used."""
    good, skipped = checks.check([Labelled(path.name, path)])
    return good[0] if good else skipped[path.name]


def test_damaged_files_are_left_out_and_listed(plan, tmp_path):
    source = trees.folder(tmp_path, {"female": 50, "male": 50})
    broken = break_images(source / "female", source / "female" / "0.jpg")
    planned = plan(source)
    assert sum(planned.summary["counts"].values()) == 100
    assert planned.summary["skipped"].keys() == {f"female/{name}" for name in broken}
    assert all("BytesIO" not in why for why in planned.summary["skipped"].values())


def test_over_five_percent_damaged_stops_unless_told_to_go_on(plan, tmp_path):
    source = trees.folder(tmp_path, {"female": 20, "male": 20})
    break_images(source / "female", source / "female" / "0.jpg")
    with pytest.raises(InputError, match="4 of 44") as caught:
        plan(source)
    assert "\n" not in str(caught.value)
    assert sum(plan(source, keep_going=True).summary["counts"].values()) == 40


def test_pipes_and_names_that_are_no_text_are_left_out(tmp_path):
    folder = trees.folder(tmp_path, {"female": 2})
    os.mkfifo(folder / "female" / "pipe.jpg")
    undecoded = os.fsencode(folder) + b"/female/caf\xe9.jpg"
    trees.write(folder / "other.jpg").rename(Path(os.fsdecode(undecoded)))
    good, skipped = checks.check(list(images_under(folder, within=folder)))
    assert [image.item.name for image in good] == ["female/0.jpg", "female/1.jpg"]
    assert {os.fsencode(name) for name in skipped} == {b"female/pipe.jpg", b"female/caf\xe9.jpg"}


def test_upright_jpegs_are_copied_byte_for_byte(tmp_path):
    path = trees.write(tmp_path / "0.jpg")
    found = checked(path)
    assert found.is_plain and found.size == (trees.SIDE, trees.SIDE)
    assert checks.jpeg(found) == path.read_bytes()


def test_a_rotated_jpeg_is_stored_upright(tmp_path):
    smooth = cv2.resize(cv2.imread(str(trees.write(tmp_path / "0.png"))), (64, 64))
    rotated = Image.fromarray(cv2.rotate(smooth, cv2.ROTATE_90_CLOCKWISE))
    exif = Image.Exif()
    exif[0x0112] = 8  # to be shown, turn it 90 degrees anticlockwise
    rotated.save(tmp_path / "rotated.jpg", quality=98, subsampling=0, exif=exif)
    stored = checks.jpeg(checked(tmp_path / "rotated.jpg"))
    with Image.open(io.BytesIO(stored)) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert np.abs(np.asarray(image).astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_records_hold_the_pixels_that_photos_are_read_as(mode, tmp_path):
    path = tmp_path / "face.jpg"
    Image.open(trees.write(tmp_path / "0.png")).convert(mode).resize((64, 64)).save(path)
    found = checked(path)
    assert found.is_plain == (mode != "CMYK")
    decoded = crops.decode(checks.jpeg(found)).astype(int)
    assert np.abs(decoded - read.read_photo(path)).mean() < 3


def test_duplicates_stand_on_one_side_of_the_split(prepare, tmp_path):
    source = trees.folder(tmp_path, {"female": 30, "male": 30})
    for path in source.rglob("*.jpg"):
        trees.write(path, int(path.stem) % 10)
    dataset = prepare(source)
    sides: dict[bytes, set] = {}
    for split in dataset.counts:
        for record in records.records(dataset, split).as_numpy_iterator():
            sides.setdefault(record["image"], set()).add(split)
    assert len(sides) == 10 and all(len(of) == 1 for of in sides.values())
    assert dataset.summary["duplicates"] == {
        "images": 60,
        "contents": 10,
        "with different labels": 10,
    }
