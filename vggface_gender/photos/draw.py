"""Drawn copies of photos: a box around each face and, beside it, what was predicted of it."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vggface_gender.base.text import cut

SIDE = 640  # the longer side, in pixels, that a drawn copy has at least
COLOUR = "#ffd400"  # one for all: boxes are not coloured by what is predicted of people
MAX_NAME = 255  # bytes in a file's name, on the file systems of Linux, macOS and Windows

Rectangle = Sequence[float]  # left, top, right, bottom


def draw(
    photo: np.ndarray, boxes: Sequence[Sequence[int]], *, labels: Sequence[str]
) -> Image.Image:
    """A copy of the photo with every face's box and label.

    Small photos are enlarged for the text to be legible. A label stands above its box, or
    where around it less of other labels and faces is covered, and never reaches out of the picture.

    Args:
        photo: uint8 RGB, shape `(h, w, 3)`.
        boxes: left, top, right, bottom of each face in pixels of the photo.
        labels: a text for each; may have several lines.
    """
    picture = Image.fromarray(photo)
    scale = max(1.0, SIDE / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    picture = picture.resize((width, height))
    pen = ImageDraw.Draw(picture)
    drawn = [[round(x * scale) for x in box] for box in boxes]
    for box in drawn:
        pen.rectangle(box, outline=COLOUR, width=max(2, max(picture.size) // 250))

    covered: list[Rectangle] = list(drawn)
    for box, text in zip(drawn, labels, strict=True):
        points = _points(pen, text, box=box, size=picture.size)
        font = ImageFont.load_default(points)
        extent = pen.textbbox((0, 0), text, font)
        label = _place(extent, points / 4, box=box, covered=covered, size=picture.size)
        covered.append(label)
        pen.rectangle(label, fill=COLOUR)
        middle = ((label[0] + label[2]) / 2, (label[1] + label[3]) / 2)
        pen.text(middle, text, "black", font, anchor="mm", align="center")
    return picture


def drawing_paths(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Where each photo's drawn copy goes: `folder/<name>-faces.jpg`, numbered where names collide.

    No two photos share a path, and no path is that of a photo. A name that would be too long for a
    file is cut short.
    """
    taken = {_same(photo) for photo in photos}
    paths = []
    for photo in photos:
        numbers = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
        candidates = (folder / _named(photo.stem, f"-faces{number}.jpg") for number in numbers)
        path = next(path for path in candidates if _same(path) not in taken)
        taken.add(_same(path))
        paths.append(path)
    return paths


def _named(stem: str, ending: str) -> str:
    """A file's name of a stem and an ending, the stem cut to what a name can hold."""
    return cut(stem, MAX_NAME - len(os.fsencode(ending))) + ending


def _same(path: Path) -> str:
    """A key that two paths share if they can be one file, on systems blind to case too."""
    return str(path.resolve()).casefold()


def _points(pen: ImageDraw.ImageDraw, text: str, *, box: Rectangle, size: tuple[int, int]) -> float:
    """The size of a label's font: such as suits its box, and no wider than the picture.

    Args:
        size: the picture's (width, height) in pixels.
    """
    side = max(size)
    points = min(max((box[2] - box[0]) / 5, side / 100, 12), side / 30)
    width = pen.textbbox((0, 0), text, ImageFont.load_default(points))[2]
    return points / max(1.0, width / (0.9 * size[0]))


def _place(
    text: Rectangle,
    margin: float,
    *,
    box: Rectangle,
    covered: Sequence[Rectangle],
    size: tuple[int, int],
) -> tuple[float, float, float, float]:
    """A label's rectangle: of the places around a face's box, the one that covers least.

    Args:
        text: the text's own bounding box; margin is left around it.
        box, covered: the face's box, and what should be left free.
        size: of the picture (width, height), which the rectangle is kept inside of.
    """
    width, height = text[2] - text[0] + 2 * margin, text[3] - text[1] + 2 * margin
    left, top, right, bottom = box
    places = []
    for x, y in ((left, top - height), (left, bottom), (right, top), (left - width, top)):
        x, y = max(0, min(x, size[0] - 1 - width)), max(0, min(y, size[1] - 1 - height))
        places.append((x, y, x + width, y + height))
    return min(places, key=lambda place: sum(_overlap(place, other) for other in covered))


def _overlap(one: Rectangle, other: Rectangle) -> float:
    """The area that two rectangles share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)
