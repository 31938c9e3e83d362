"""Photos of every kind, whole and damaged, as files and in folders."""

import base64
import io
import os
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vggface_gender.base.errors import InputError
from vggface_gender.photos import heic, read

# How the EXIF standard says that upright pixels lie in a file of each orientation.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth picture, 32 high and 48 wide, that no flip or rotation maps to itself."""
    y, x = np.mgrid[:32, :48]
    return np.stack([x * 5, y * 7, (x + 2 * y) * 2], -1).astype(np.uint8)


def encoded(image, format, **options) -> io.BytesIO:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


def decode(file) -> np.ndarray:
    photo = read.decode(file, "test file")
    assert photo.dtype == np.uint8
    return photo


def difference(one, other) -> int:
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other).max()


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(rgb, format, orientation):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](rgb))
    file = encoded(stored, format, exif=exif, **options.get(format, {}))
    assert difference(decode(file), rgb) <= (3 if format == "JPEG" else 0)


def test_damaged_exif_does_not_cost_the_photo(rgb):
    file = encoded(rgb, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert difference(decode(file), rgb) == 0


def test_read_photo_agrees_with_opencv(faces_dir):
    for path in (faces_dir / "photos").iterdir():
        expected = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        assert difference(read.read_photo(path), expected) <= 1, path.name


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_are_exact(rgb, format):
    assert difference(decode(encoded(rgb, format)), rgb) == 0


def test_grey_and_black_and_white(rgb):
    grey = rgb[..., 0]
    assert difference(decode(encoded(grey, "PNG")), np.dstack([grey] * 3)) == 0
    assert difference(decode(encoded(grey, "JPEG", quality=100)), np.dstack([grey] * 3)) <= 2
    bits = grey > 100
    expected = np.dstack([bits * 255] * 3)
    assert difference(decode(encoded(Image.fromarray(bits), "PNG")), expected) == 0


def test_palette_with_and_without_transparency(rgb):
    indices = (rgb[..., 0] // 64).astype(np.uint8)
    palette = np.array([[250, 10, 20], [0, 200, 30], [5, 6, 7], [90, 80, 70]], np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette.tobytes())
    for format in ("PNG", "GIF"):
        assert difference(decode(encoded(image, format)), palette[indices]) == 0
        palette_on_white = palette.copy()
        palette_on_white[1] = 255
        file = encoded(image, format, transparency=1)
        assert difference(decode(file), palette_on_white[indices]) == 0


def test_transparency_is_laid_over_white(rgb):
    alpha = np.linspace(0, 255, rgb.shape[0] * rgb.shape[1]).reshape(rgb.shape[:2])
    alpha = alpha.round().astype(np.uint8)
    share = alpha[..., None] / 255
    file = encoded(np.dstack([rgb, alpha]), "PNG")
    assert difference(decode(file), (rgb * share + 255 * (1 - share)).round()) <= 1
    file = encoded(Image.merge("LA", [Image.fromarray(rgb[..., 0]), Image.fromarray(alpha)]), "PNG")
    expected = np.dstack([rgb[..., :1] * share + 255 * (1 - share)] * 3)
    assert difference(decode(file), expected.round()) <= 1


@pytest.mark.parametrize("ending", [".png", ".tiff", ".pgm"])
def test_16_bit_grey_is_scaled(ending):
    deep = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16)
    _, data = cv2.imencode(ending, deep)
    expected = np.dstack([np.round(deep / 257)] * 3)
    assert difference(decode(io.BytesIO(data.tobytes())), expected) == 0


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_16_bit_colour_is_scaled(rgb, ending):
    deep = rgb.astype(np.uint16) * 257
    _, data = cv2.imencode(ending, deep[..., ::-1])
    assert difference(decode(io.BytesIO(data.tobytes())), rgb) <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bit_pixels_are_refused(dtype):
    file = encoded(np.full((8, 8), 100_000, dtype), "TIFF")
    with pytest.raises(InputError, match=r"^test file: 32-bit pixels.*8 or 16 bits$"):
        decode(file)


def cmyk_jpeg(samples, transform=None) -> io.BytesIO:
    """A JPEG that holds four channels as given; Adobe's marker says how they are to be understood.

    Args:
        samples: (h, w, 4) uint8.
        transform: 0 for inverted CMYK, 2 for YCCK; None leaves the marker out.
    """
    # Pillow inverts what it is given, and writes the marker with transform 0.
    data = encoded(Image.fromarray(255 - samples, "CMYK"), "JPEG", quality=100).getvalue()
    start = data.index(b"\xff\xee\x00\x0eAdobe")
    marker = data[start : start + 16]
    new = b"" if transform is None else marker[:-1] + bytes([transform])
    return io.BytesIO(data.replace(marker, new))


def test_cmyk_jpegs_of_all_three_kinds(rgb):
    key = np.full(
        rgb.shape[:2], 40, np.uint8
    )  # ink of which 0 is none, as in cyan, magenta, yellow
    expected = (rgb * ((255 - key[..., None]) / 255)).round()
    inks = np.dstack([255 - rgb, key])
    assert difference(decode(cmyk_jpeg(255 - inks, transform=0)), expected) <= 4
    assert difference(decode(cmyk_jpeg(inks)), expected) <= 4
    # In YCCK the inverted colours are stored as the luma and chroma of their own inverse.
    luma_chroma = np.asarray(Image.fromarray(255 - rgb).convert("YCbCr"))
    ycck = cmyk_jpeg(np.dstack([luma_chroma, 255 - key]), transform=2)
    assert difference(decode(ycck), expected) <= 6


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_several(format):
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
    file = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert difference(decode(file), np.full((30, 40, 3), (255, 0, 0), np.uint8)) <= 2


def test_each_fault_is_one_line(tmp_path, rgb):
    def fault(name, data=None):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            read.read_photo(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        return message

    assert "No such file" in fault("missing.jpg")
    assert "empty" in fault("empty.jpg", b"")
    assert "not an image" in fault("text.jpg", b"this is no photograph\n" * 20)
    assert fault("text.jpg", b"no photograph").count("text.jpg") == 1
    assert "not an image" in fault("page.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "Is a directory" in fault(".")
    for format in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"):
        data = encoded(np.random.default_rng(0).permutation(rgb), format).getvalue()
        assert fault(f"half.{format}", data[: len(data) // 2])


def test_decompression_bomb_is_refused_before_it_is_decoded(recwarn):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    for side in (11_400, 60_000):  # one is over our limit only, one over Pillow's too
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        png = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
        with pytest.raises(InputError, match="more than 128 megapixels"):
            decode(io.BytesIO(png))
    assert not recwarn.list


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_random_damage_gives_a_photo_or_a_line(rgb, format):
    random = np.random.default_rng(7)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if format in ("GIF", "BMP") else {"exif": exif}
    whole = np.frombuffer(encoded(rgb, format, **options).getvalue(), np.uint8)
    for _ in range(150):
        damaged = whole.copy()
        places = random.integers(0, min(len(damaged), 400), random.integers(1, 6))
        damaged[places] = random.integers(0, 256, len(places))
        try:
            photo = decode(io.BytesIO(damaged.tobytes()))
        except InputError as error:
            assert str(error).startswith("test file: ") and "\n" not in str(error)
        else:
            assert photo.ndim == 3 and photo.shape[2] == 3


def test_heic_is_read_or_named_with_what_it_needs():
    """There is only the first box of a photo here, which its format is known by."""
    begun = io.BytesIO(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(40))
    with pytest.raises(InputError, match=r"^test file: ") as caught:
        decode(begun)
    if not heic.is_readable():
        assert 'pip install "vggface-gender[heif]"' in str(caught.value)


# 64x64 pixels of one colour, written by pillow-heif 1.4, compressed by zlib.
HEIC = (
    "c-muNV30{GsVvAy%}izhg51nBLl8SRGck>UfiWyMwIq=N0u(b+a*CjAhJwuG5(YG&l$nzcHpIn&fe{FSfUyc"
    "f1Az<>D`#frrGa@MQBfc#l?lqrC`&d3G5HEIOLE~#u4NV!6#(h&nFY!DK)M2`%$boHBs2l6NbUo}pT9qTFfi"
    "~lCjfOwI56@s{{IhBzzkBs3_^0dm>d#;lG;v;jA$|o6dGBlz4Fvtm&YW<!vPXH0U|gYl7Q;jT^J7*ZBTLmS|"
    "gmCpHq~VoKpc5=4D`O01Am@78j&K{pJA00tJ~BnIHjX4i2Dc4C0vuxv<~^h6qa|6Eh2tsgj$L2nsz34aW7t4"
    "Nr{^%>Tb@#s6O$&+{)lp&erD-v9t4uT0P"
)


@pytest.mark.skipif(not heic.is_readable(), reason="pi-heif is not installed")
def test_heic_pixels():
    photo = np.full((64, 64, 3), (200, 90, 40), np.uint8)
    content = zlib.decompress(base64.b85decode(HEIC))
    assert difference(decode(io.BytesIO(content)), photo) <= 6
    with pytest.raises(InputError, match=r"^test file: damaged or incomplete"):
        decode(io.BytesIO(content[:-50]))


@pytest.mark.parametrize(
    "child, named",
    [
        ("import os; os.kill(os.getpid(), 11)", "damaged, and crashes the HEIC decoder"),
        ("import time; time.sleep(60)", "not decoded within"),
        ("raise OSError('no such box')", r"damaged or incomplete \(OSError: no such box\)"),
    ],
)
def test_a_heic_decoder_that_crashes_or_hangs_is_a_line(monkeypatch, child, named):
    monkeypatch.setattr(heic, "is_readable", lambda: True)
    monkeypatch.setattr(heic, "_CHILD", child)
    monkeypatch.setattr(heic, "TIMEOUT", 0.5 if "sleep" in child else 60)
    content = zlib.decompress(base64.b85decode(HEIC))
    with pytest.raises(InputError, match=f"^test file: {named}"):
        decode(io.BytesIO(content))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "z.jpg")
    with pytest.raises(InputError, match="not a regular file"):
        read.read_photo(tmp_path / "z.jpg")


def test_a_video_is_named_as_such(tmp_path):
    path = str(tmp_path / "clip.avi")
    video = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48))
    video.write(np.zeros((48, 64, 3), np.uint8))
    video.release()
    with pytest.raises(InputError, match=r"video.*save its frames as images"):
        read.read_photo(path)
    other = tmp_path / "clip.MPG"  # whose format shows in nothing but its name
    other.write_bytes(b"\0\0\1\xba" + bytes(100))
    with pytest.raises(InputError, match="video"):
        read.read_photo(other)


@pytest.mark.parametrize(
    "path, remedy",
    [
        ("-", "standard input is not read; save"),
        ("https://example.org/a.jpg", "URL.*download the photo"),
        ("FILE:///a.jpg", "URL"),
        ("photos/*.jpg", "no file matches; give photos or their folder"),
        ("photos/a?.jpg", "no file matches"),
        ("missing.jpg", "No such file"),
    ],
)
def test_what_is_no_file_is_said_with_what_to_do(path, remedy):
    with pytest.raises(InputError, match=remedy):
        read.read_photo(Path(path))


# Finding


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_folder_stands_for_its_images(tmp_path):
    images = ["a.JPG", "b.png", "c.jfif", "d.HEIC", "e.webp"]
    for name in (*images, ".hidden.png", "._a.jpg", "notes.txt", "Thumbs.db", ".DS_Store"):
        touch(tmp_path / name)
    touch(tmp_path / ".ipynb_checkpoints" / "a-checkpoint.jpg")
    touch(tmp_path / "__MACOSX" / "._a.jpg")
    found = read.find_photos([tmp_path])
    assert found.photos == [tmp_path / name for name in images]
    counts = {reason: each["count"] for reason, each in found.left_out.items()}
    assert counts == {"hidden, or a tool's": 6, "not named as an image": 1}


def test_files_stay_in_the_order_given(tmp_path):
    inside = [touch(tmp_path / "folder" / name) for name in ("1.jpg", "2.jpg")]
    named = ["z.txt", str(tmp_path / "folder"), "a.jpg", "z.txt"]
    expected = [Path("z.txt"), *inside, Path("a.jpg"), Path("z.txt")]
    assert read.find_photos(named).photos == expected


def test_a_folder_without_images_is_refused(tmp_path):
    touch(tmp_path / "notes.txt")
    touch(tmp_path / "inner" / "a.jpg")
    left = (
        r".*not named as an image: 1 .*notes\.txt\); a folder, which is not entered: 1 .*inner\)\)"
    )
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}: ") + left):
        read.find_photos([tmp_path])
