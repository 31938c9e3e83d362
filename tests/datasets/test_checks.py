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
    good, skipped = checks.check([Labelled(path.name, str(path))])
    return next(iter(good)) if len(good) else skipped[path.name]


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


def test_one_name_that_is_no_text_does_not_lose_the_build(prepare, tmp_path):
    source = trees.folder(tmp_path, {"female": 50, "male": 50})
    odd = Path(os.fsdecode(os.fsencode(source) + b"/male/caf\xe9.jpg"))
    (source / "male" / "99.jpg").rename(odd)
    dataset = prepare(source)
    assert sum(dataset.counts.values()) == 99
    assert list(dataset.summary["skipped"]) == [f"male/{odd.name}"]


def test_upright_jpegs_are_copied_byte_for_byte(tmp_path):
    path = trees.write(tmp_path / "0.jpg")
    found = checked(path)
    assert found.is_plain and found.size == (trees.SIDE, trees.SIDE)
    assert checks.encoded(found) == path.read_bytes()


def test_a_rotated_jpeg_is_stored_upright(tmp_path):
    smooth = cv2.resize(cv2.imread(str(trees.write(tmp_path / "0.png"))), (64, 64))
    rotated = Image.fromarray(cv2.rotate(smooth, cv2.ROTATE_90_CLOCKWISE))
    exif = Image.Exif()
    exif[0x0112] = 8  # to be shown, turn it 90 degrees anticlockwise
    rotated.save(tmp_path / "rotated.jpg", quality=98, subsampling=0, exif=exif)
    stored = checks.encoded(checked(tmp_path / "rotated.jpg"))
    with Image.open(io.BytesIO(stored)) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert np.abs(np.asarray(image).astype(int) - smooth).mean() < 3


def assert_same_pixels(path: Path) -> bool:
    """Hold an image's record to the pixels that it has as a photo; whether its bytes are kept."""
    found = checked(path)
    assert isinstance(found, checks.Checked), found
    stored = crops.decode(checks.encoded(found))
    np.testing.assert_array_equal(stored, read.read_photo(path))
    assert found.size == stored.shape[1::-1]
    return found.is_plain


@pytest.fixture
def picture() -> Image.Image:
    """Smooth colours with some noise, of odd sides."""
    noise = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    smooth = cv2.resize(noise, (83, 61), interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(smooth ^ np.random.default_rng(1).integers(0, 8, smooth.shape, np.uint8))


def test_records_hold_the_pixels_of_real_faces(faces_dir):
    utkface = sorted((faces_dir / "UTKFace").iterdir())[::160][:148]
    fairface = sorted((faces_dir / "FairFace" / "train").iterdir())[::34][:147]
    for path in [*utkface, *fairface, *(faces_dir / "photos").glob("b*.jpg")]:
        assert assert_same_pixels(path)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1"])
def test_records_hold_the_pixels_of_jpegs_of_every_subsampling(
    picture, tmp_path, subsampling, progressive
):
    factors = {"4:4:4": 0x111111, "4:2:2": 0x211111, "4:2:0": 0x221111, "4:4:0": 0x121111}
    options = [
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors.get(subsampling, 0x411111)),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)),
    ]
    for quality in (20, 95):
        path = tmp_path / f"{quality}.jpg"
        options += [cv2.IMWRITE_JPEG_QUALITY, quality]
        assert cv2.imwrite(str(path), np.asarray(picture)[..., ::-1], options)
        assert assert_same_pixels(path)


@pytest.mark.parametrize("orientation", range(10))
def test_records_hold_the_pixels_of_rotated_jpegs(picture, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    picture.save(tmp_path / "whole.jpg", exif=exif)
    is_upright = orientation in (0, 1, 9)  # 0 and 9 mean nothing
    assert assert_same_pixels(tmp_path / "whole.jpg") == is_upright
    for cut in (1, 6, 20):
        picture.save(tmp_path / "cut.jpg", exif=exif.tobytes()[:-cut])
        assert_same_pixels(tmp_path / "cut.jpg")


@pytest.mark.parametrize("mode", ["L", "CMYK", "YCbCr"])
def test_records_hold_the_pixels_of_jpegs_in_other_colours(picture, tmp_path, mode):
    path = tmp_path / "face.jpg"
    picture.convert(mode).save(path)
    assert assert_same_pixels(path) == (mode != "CMYK")
    content = path.read_bytes()
    if mode == "CMYK":
        start = content.index(b"\xff\xee\x00\x0eAdobe")
        path.write_bytes(content[:start] + content[start + 16 :])
        assert not assert_same_pixels(path)
    if mode == "YCbCr":
        picture.save(path, keep_rgb=True)  # stored as RGB, with no other space between
        assert assert_same_pixels(path)


@pytest.mark.parametrize("ending", ["png", "webp", "bmp", "tiff", "gif", "avif", "ppm", "jp2"])
def test_records_hold_the_pixels_of_other_formats(picture, tmp_path, ending):
    picture.save(tmp_path / f"face.{ending}")
    assert not assert_same_pixels(tmp_path / f"face.{ending}")


def test_records_hold_the_pixels_of_files_that_failed(faces_dir):
    folder = faces_dir.parent / "cases" / "21-hostile"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    for path in folder.glob("*.jpg"):
        assert_same_pixels(path)


def test_photos_and_records_refuse_the_same_damaged_jpegs(picture):
    """A byte that looks like a marker ends the pixels early: OpenCV makes the rest up."""
    file = io.BytesIO()
    picture.save(file, "JPEG")
    whole = file.getvalue()
    middle = len(whole) - 1000
    refused = 0
    for marker in (0xD9, 0xC4, 0xDD, 0xE1):
        damaged = whole[:middle] + bytes([0xFF, marker]) + whole[middle + 2 :]
        _, skipped = checks.check([Labelled("x", damaged)])
        try:
            read.decode(io.BytesIO(damaged), "x")
        except InputError:
            refused += 1
            assert skipped
        else:
            assert not skipped
    assert refused


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
