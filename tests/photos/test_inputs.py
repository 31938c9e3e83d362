"""What is no photo in a form that photos have: an error of one line, that names it."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from vggface_gender.base.errors import InputError
from vggface_gender.photos import inputs


def png() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def truncated() -> Image.Image:
    return Image.open(io.BytesIO(png()[:1000]))


def closed_image() -> Image.Image:
    image = Image.open(io.BytesIO(png()))
    image.close()
    return image


def closed_file() -> io.BytesIO:
    file = io.BytesIO(png())
    file.close()
    return file


def pipe() -> io.BufferedReader:
    reading, writing = os.pipe()
    os.close(writing)
    return os.fdopen(reading, "rb")


def released() -> memoryview:
    view = memoryview(png())
    view.release()
    return view


@pytest.mark.parametrize(
    "given",
    [
        truncated,
        closed_image,
        closed_file,
        pipe,
        released,
        lambda: Image.new("RGB", (0, 5)),
        lambda: "with\0nul.jpg",
        lambda: memoryview(png())[::2],
        lambda: io.StringIO("text"),
    ],
)
def test_what_cannot_be_read_is_an_input_error_of_a_line(given):
    picture = inputs.picture(given(), "the third" if given.__name__ != "<lambda>" else None)
    with pytest.raises(InputError) as caught:
        picture.read()
    named = picture.name.replace("\0", "")
    assert named.split("\n")[0][:4] in str(caught.value)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def test_grey_with_premultiplied_alpha_is_read_as_with_alpha():
    image = Image.new("LA", (2, 3), (200, 255))
    photo = inputs.picture(image.convert("La")).read()
    np.testing.assert_array_equal(photo, np.full((3, 2, 3), 200))
