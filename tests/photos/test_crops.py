"""Crops against Pillow, and frames against what they must show."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from vggface_gender.photos import crops, read


def test_decode_equals_pillow(faces_dir):
    for path in sorted((faces_dir / "UTKFace").iterdir())[:20]:
        expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert np.abs(crops.decode(path.read_bytes()) - expected).max() <= 1


def test_decode_gives_three_channels_for_grey():
    encoded = io.BytesIO()
    Image.new("L", (8, 6), 77).save(encoded, "JPEG")
    image = crops.decode(encoded.getvalue())
    assert image.shape == (6, 8, 3) and (image == 77).all()


def test_decode_refuses_what_is_no_image():
    with pytest.raises(ValueError, match="can't be decoded"):
        crops.decode(b"nothing of the kind")


@pytest.mark.parametrize("cut", [0, 6])
def test_orientation_is_left_alone_as_in_what_is_kept_as_a_record(cut):
    """OpenCV by itself rotates by an EXIF block cut short, which Pillow, and so photos, do not."""
    rows, columns = np.indices((32, 48))
    image = np.dstack([rows * 7, columns * 5, rows + columns]).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    encoded = io.BytesIO()
    Image.fromarray(image).save(
        encoded, "JPEG", quality=100, subsampling=0, exif=block[: -cut or None]
    )
    assert np.abs(crops.decode(encoded.getvalue()).astype(int) - image).max() <= 3
    if cut:
        photo = read.decode(encoded, "a photo")
        assert np.abs(photo.astype(int) - crops.decode(encoded.getvalue())).max() <= 1


def test_to_jpeg_keeps_the_colours():
    rows, columns = np.indices((32, 48))
    image = np.dstack([rows * 7, columns * 5, rows + columns]).astype(np.uint8)
    jpeg = crops.to_jpeg(image)
    assert np.abs(crops.decode(jpeg).astype(int) - image).max() <= 8
    assert len(crops.to_jpeg(image, quality=30)) < len(jpeg)


def test_fit_of_the_same_size_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    assert (crops.fit(image, 150) == image).all()


def test_a_wider_frame_repeats_the_border_and_keeps_the_middle():
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    wide = crops.fit(image, 120, frame=1.2)
    assert (wide[10:110, 10:110] == image).all()
    assert (wide[:10, 10:110] == image[:1]).all()
    assert (wide[110:, 110:] == image[-1, -1]).all()


def test_a_tighter_frame_is_the_middle():
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    tight = crops.fit(image, 64, frame=0.8)
    assert (tight == cv2.resize(image[10:90, 10:90], (64, 64))).all()


@pytest.mark.parametrize("frame", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("high, wide, inside", [(9, 0, (4, 0)), (0, 20, (0, 10))])
def test_an_image_stands_for_its_central_square(high, wide, inside, frame):
    image = np.random.default_rng(0).integers(0, 256, (64 + high, 64 + wide, 3), np.uint8)
    top, left = inside
    square = image[top : top + 64, left : left + 64]
    assert (crops.central(image) == square).all()
    assert (crops.fit(image, 48, frame=frame) == crops.fit(square, 48, frame=frame)).all()


def test_widening_and_tightening_by_the_same_factor_comes_back():
    smooth = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    image = cv2.resize(smooth, (200, 200), interpolation=cv2.INTER_CUBIC)
    back = crops.fit(crops.fit(image, 220, frame=1.1), 200, frame=1 / 1.1).astype(int)
    assert np.abs(back - image).max() <= 2


def test_much_larger_images_are_averaged_not_sampled():
    rows, columns = np.indices((600, 600))
    checkers = ((rows + columns) % 2 * 255).astype(np.uint8)
    small = crops.fit(np.dstack([checkers] * 3), 150)
    assert np.abs(small.astype(int) - 127).max() <= 1
