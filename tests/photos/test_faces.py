"""Photos of every kind, whole and damaged, and the faces in them."""

import functools
import io
import struct
import threading
import zlib

import cv2
import dlib
import numpy as np
import pytest
from PIL import Image
from skimage.transform import estimate_transform, warp

from vggface_gender.base.errors import InputError
from vggface_gender.photos import faces

# The clearly visible faces of each photo, counted by people.
COUNTS = {
    "biden.jpg": 1,
    "obama.jpg": 1,
    "rgba_32bit.png": 1,
    "rose_leslie.jpg": 1,
    "couple.jpg": 2,
    "kit_with_rose.jpg": 2,
    "two_people.jpg": 2,
    "obama_and_biden.jpg": 2,
}

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
    """A smooth picture, 32 high and 48 wide, that no flip or turn maps to itself."""
    y, x = np.mgrid[:32, :48]
    return np.stack([x * 5, y * 7, (x + 2 * y) * 2], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def photos_dir(faces_dir):
    return faces_dir / "photos"


@pytest.fixture(scope="module")
def seen(photos_dir):
    """A photo's pixels and its faces, by its name."""

    @functools.cache
    def read_and_detect(name):
        photo = faces.read_photo(photos_dir / name)
        return photo, faces.detect(photo)

    return read_and_detect


def encoded(image, format, **options) -> io.BytesIO:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


def decode(file) -> np.ndarray:
    photo = faces.decode(file, "test file")
    assert photo.dtype == np.uint8
    return photo


def difference(one, other) -> int:
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other).max()


def overlap(one, other) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


# Reading


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


def test_read_photo_agrees_with_opencv(photos_dir):
    for path in photos_dir.iterdir():
        expected = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        assert difference(faces.read_photo(path), expected) <= 1, path.name


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


def test_faults_are_told_in_one_line(tmp_path, rgb):
    def fault(name, data=None):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            faces.read_photo(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        return message

    assert "No such file" in fault("missing.jpg")
    assert "empty" in fault("empty.jpg", b"")
    assert "not an image" in fault("text.jpg", b"this is no photograph\n" * 20)
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


# Detecting


@pytest.mark.parametrize("name", COUNTS)
def test_every_clear_face_is_found(seen, name):
    _, found = seen(name)
    if name == "obama_and_biden.jpg":  # a small, partly hidden child may be found or not
        found = [face for face in found if face.box[1] < 1000]
    assert len(found) == COUNTS[name]
    assert [face.box[0] for face in found] == sorted(face.box[0] for face in found)
    for face in found:
        left, top, right, bottom = face.box
        assert face.score >= 0 and all(isinstance(x, int) for x in face.box)
        assert face.landmarks.shape == (5, 2)
        assert np.all((face.landmarks > (left, top)) & (face.landmarks < (right, bottom)))
        left_eye, right_eye = face.landmarks[2:4].mean(0), face.landmarks[:2].mean(0)
        nose = face.landmarks[4]
        assert left_eye[0] < nose[0] < right_eye[0] and nose[1] > max(left_eye[1], right_eye[1])


def test_crowd_and_face_at_the_edge(seen):
    photo, found = seen("selfie_many_people.jpg")
    assert len(found) >= 4
    assert found[0].box[0] == 0  # its rectangle reaches beyond the photo; the box does not
    surer = faces.detect(photo, threshold=1.0)
    assert 0 < len(surer) < len(found) and min(face.score for face in surer) >= 1


def test_boxes_agree_with_dlib_on_the_plain_photo(seen):
    detector = dlib.get_frontal_face_detector()
    for name in ("obama.jpg", "kit_with_rose.jpg"):
        photo, found = seen(name)
        expected = sorted(
            (r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in detector(photo, 1)
        )
        boxes = [face.box for face in found]
        assert all(overlap(*pair) > 0.6 for pair in zip(boxes, expected, strict=True))


@pytest.mark.parametrize("name", ["couple.jpg", "obama.jpg", "two_people.jpg"])
def test_small_faces_in_small_photos_are_found(seen, name):
    photo, found = seen(name)
    scale = 28 / max(face.box[2] - face.box[0] for face in found)
    size = [round(side * scale) for side in photo.shape[1::-1]]
    small = faces.detect(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
    for face, expected in zip(small, found, strict=True):
        assert overlap(face.box, [scale * x for x in expected.box]) > 0.6


def test_faces_of_a_large_photo_are_where_they_are(seen):
    photo, [expected] = seen("obama.jpg")
    found = faces.detect(cv2.resize(photo, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC))
    face = max(found, key=lambda face: face.score)
    assert overlap(face.box, [5 * x for x in expected.box]) > 0.6
    assert np.abs(face.landmarks / 5 - expected.landmarks).max() < 6


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (40, 30), (300, 400)])
def test_photo_without_a_face(size):
    assert faces.detect(np.full((*size, 3), 127, np.uint8)) == []
    crops = faces.align(np.zeros((*size, 3), np.uint8), [])
    assert crops.shape == (0, 150, 150, 3) and crops.dtype == np.uint8


def test_threads_do_not_disturb_each_other(photos_dir):
    names = ["kit_with_rose.jpg", "rose_leslie.jpg", "selfie_many_people.jpg"]
    photos = [faces.read_photo(photos_dir / name) for name in names]
    alone = [[face.box for face in faces.detect(photo, 0)] for photo in photos]
    together = [[] for _ in photos]

    def work(i):
        together[i] += [[face.box for face in faces.detect(photos[i], 0)] for _ in range(4)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [[boxes] * 4 for boxes in alone]


# Aligning


@pytest.mark.parametrize(("size", "padding"), [(150, 0.25), (224, 0.4), (64, 0.0)])
def test_align_is_dlibs_face_chip(seen, size, padding):
    photo, found = seen("couple.jpg")
    predictor = faces._landmark_predictor()
    expected = []
    for face in found:
        left, top, right, bottom = face.box
        shape = predictor(photo, dlib.rectangle(left, top, right - 1, bottom - 1))
        expected.append(dlib.get_face_chip(photo, shape, size=size, padding=padding))
    crops = faces.align(photo, found, size, padding)
    assert crops.dtype == np.uint8 and difference(crops, np.stack(expected)) == 0


def test_align_puts_landmarks_where_dlibs_mean_face_has_them(seen):
    # The mean face's five points in the unit square, from dlib's image_transforms/interpolation.h.
    mean_face = np.array(
        [
            (0.8595674595992, 0.2134981538014),
            (0.6460604764104, 0.2289674387677),
            (0.1205750620789, 0.2137274526848),
            (0.3340850613712, 0.2290642403242),
            (0.4901123135679, 0.6277975316475),
        ]
    )
    photo, [face] = seen("obama.jpg")
    size, padding = 500, 0.25  # larger than in the photo, so that nothing is averaged
    places = (mean_face + padding) / (1 + 2 * padding) * size
    turn = estimate_transform("similarity", places, face.landmarks)
    expected = warp(photo, turn, output_shape=(size, size), order=1, preserve_range=True)
    [crop] = faces.align(photo, [face], size, padding)
    assert np.abs(crop - expected).mean() < 4
    [narrower] = faces.align(photo, [face], size, padding - 0.01)  # the bound is not lax
    assert np.abs(narrower - expected).mean() > 6


def test_a_photo_that_is_a_crop_is_its_central_square(faces_dir):
    path = next((faces_dir / "UTKFace").glob("*.jpg"))
    photo = faces.read_photo(path)
    [crop] = faces.align(photo, [faces.whole(photo)], size=200)
    assert difference(crop, photo) == 0

    wide = np.zeros((50, 170, 3), np.uint8)
    wide[:, 60:110] = 255
    assert faces.whole(wide).box == (60, 0, 110, 50)
    [crop] = faces.align(wide, [faces.whole(wide)], size=25)
    assert crop.shape == (25, 25, 3) and crop.min() == 255
