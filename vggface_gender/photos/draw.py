"""Drawn copies of photos: a box around each face and, beside it, what was predicted of it."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from vggface_gender.photos import layout
from vggface_gender.photos.layout import Rectangle

SIDE = 640  # the longer side, in pixels, that a drawn copy has at least
COLOUR = "#ffd400"  # one for all: boxes are not coloured by what is predicted of people
PAPER = "white"  # under a legend
SMALLEST = 11  # points of a text that can still be read
# A box of one detector goes from the eyebrows to the chin, of the other from the hair to the mouth:
# above and below it, so much of its height may be face, too.
FOREHEAD, CHIN = 0.3, 0.15
SHRINK = (1.0, 0.8, 0.65)  # of a label's size, to be tried before a legend is


class Style(NamedTuple):
    """How texts are drawn."""

    points: float
    align: str = "center"

    @property
    def margin(self) -> float:
        """Around a text, in pixels."""
        return self.points / 4


def draw(
    photo: np.ndarray, boxes: Sequence[Sequence[int]], *, labels: Sequence[str]
) -> Image.Image:
    """A copy of the photo with every face's box and label.

    Small photos are enlarged for the text to be legible. A label stands beside its box, within the
    picture, where it covers neither a face nor another label. Where there is no room for all of
    them, boxes have numbers, and the labels are a legend under the picture, or to the right of a
    high one.

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
    drawn = [_four([round(x * scale) for x in box]) for box in boxes]
    for box in drawn:
        pen.rectangle(box, outline=COLOUR, width=max(2, max(picture.size) // 250))
    if not drawn:
        return picture
    for shrink in SHRINK:
        styles = [
            Style(max(SMALLEST, shrink * _points(text, box, picture.size)))
            for text, box in zip(labels, drawn, strict=True)
        ]
        if _put_beside(pen, drawn, labels, styles, size=picture.size):
            return picture
    if len(drawn) > 1:
        _number(pen, drawn, picture.size)
    return _with_legend(picture, labels)


def patch(text: str, points: float) -> np.ndarray:
    """A label alone, to be laid over frames of a video: uint8 RGB (h, w, 3)."""
    style = Style(points)
    width, height = _extent(text, style)
    picture = Image.new("RGB", (round(width), round(height)))
    _label(ImageDraw.Draw(picture), text, (0, 0, *picture.size), style)
    return np.array(picture)


def over(
    frame: np.ndarray,
    boxes: Sequence[Sequence[float]],
    *,
    patches: Sequence[Sequence[np.ndarray]],
) -> np.ndarray:
    """A frame of a video with boxes and labels.

    Args:
        frame: uint8 RGB (h, w, 3); drawn on.
        boxes: left, top, right, bottom of each face.
        patches: of each box its label (see `patch`), and smaller ones, to be drawn if the others
            have no room.
    """
    height, width = frame.shape[:2]
    frame = np.ascontiguousarray(frame)
    colour, line = ImageColor.getrgb(COLOUR), max(2, max(width, height) // 400)
    for left, top, right, bottom in boxes:
        corners = (round(left), round(top)), (round(right), round(bottom))
        cv2.rectangle(frame, *corners, colour, line)
    faces = [_whole(_four(box)) for box in boxes]
    for given in patches:
        extents = [(label.shape[1], label.shape[0]) for label in given]
        placed = layout.beside(faces, extents, size=(width, height))
        if not placed.covered or given is patches[-1]:
            for (left, top, _, _), label in zip(placed.labels, given, strict=True):
                x, y = int(left), int(top)
                shown = frame[y : y + len(label), x : x + label.shape[1]]
                shown[:] = label[: shown.shape[0], : shown.shape[1]]
            break
    return frame


def _put_beside(
    pen: ImageDraw.ImageDraw,
    boxes: Sequence[Rectangle],
    texts: Sequence[str],
    styles: Sequence[Style],
    *,
    size: tuple[int, int],
    anyhow: bool = False,
) -> bool:
    """Draw labels beside their boxes if there is room for all of them; whether there was.

    Args:
        size: of the picture.
        anyhow: draw them even if they cover something, which is as little as can be.
    """
    extents = [_extent(text, style) for text, style in zip(texts, styles, strict=True)]
    faces = [_whole(box) for box in boxes]
    placed = layout.beside(faces, extents, size=size)
    fits = all(w < size[0] and h < size[1] for w, h in extents)
    if not anyhow and (placed.covered or not fits):
        return False
    for text, place, style in zip(texts, placed.labels, styles, strict=True):
        _label(pen, text, place, style)
    return True


def _number(pen: ImageDraw.ImageDraw, boxes: Sequence[Rectangle], size: tuple[int, int]) -> None:
    """Draw a number beside each box, in the largest size that there is room for."""
    numbers = [str(i) for i in range(1, len(boxes) + 1)]
    typical = float(np.median([right - left for left, _, right, _ in boxes]))
    points = max(SMALLEST, min(typical / 4, max(size) / 40))
    for shrink in SHRINK:
        styles = [Style(max(SMALLEST, shrink * points))] * len(boxes)
        if _put_beside(pen, boxes, numbers, styles, size=size, anyhow=shrink == SHRINK[-1]):
            return


def _with_legend(picture: Image.Image, labels: Sequence[str]) -> Image.Image:
    """The picture on a larger sheet, with the labels, numbered if there are several, beside it."""
    lines = [", ".join(label.splitlines()) for label in labels]
    if len(lines) > 1:
        lines = [f"{i}  {line}" for i, line in enumerate(lines, start=1)]
    style = Style(max(13, max(picture.size) / 60), "left")
    extents = [
        (width + style.points, height) for width, height in (_extent(line, style) for line in lines)
    ]
    widest, high = (max(each) for each in zip(*extents, strict=True))
    is_high = picture.height > picture.width and len(lines) * high > picture.height / 4
    if is_high:
        count = -(-len(lines) * high // picture.height)  # columns beside it
        corners = layout.columns(extents, count * widest)
        start = (picture.width, 0)
    else:
        corners = layout.columns(extents, picture.width)
        start = (0, picture.height)
    right = max(start[0] + x + widest for x, _ in corners)
    bottom = max(start[1] + y + high for _, y in corners)
    sheet_size = (max(picture.width, round(right)), max(picture.height, round(bottom)))
    sheet = Image.new("RGB", sheet_size, PAPER)
    sheet.paste(picture)
    pen = ImageDraw.Draw(sheet)
    for line, (x, y) in zip(lines, corners, strict=True):
        place = (start[0] + x + style.margin, start[1] + y + high / 2)
        pen.text(place, line, "black", _font(style.points), anchor="lm")
    return sheet


def _label(pen: ImageDraw.ImageDraw, text: str, place: Rectangle, style: Style) -> None:
    """Draw a text in the middle of its rectangle."""
    pen.rectangle(place, fill=COLOUR)
    middle = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
    pen.text(middle, text, "black", _font(style.points), anchor="mm", align=style.align)


def _points(text: str, box: Rectangle, size: tuple[int, int]) -> float:
    """The size of a label's font: such as suits its box, and no wider than the picture.

    Args:
        size: the picture's (width, height) in pixels.
    """
    side = max(size)
    points = min(max((box[2] - box[0]) / 5, side / 100, 12), side / 30)
    width = _extent(text, Style(points))[0]
    return points / max(1.0, width / (0.9 * size[0]))


@functools.lru_cache(maxsize=1024)
def _extent(text: str, style: Style) -> tuple[float, float]:
    """The width and height of a text with its margin, in pixels."""
    left, top, right, bottom = _pen().textbbox((0, 0), text, _font(style.points))
    return right - left + 2 * style.margin, bottom - top + 2 * style.margin


@functools.cache
def _pen() -> ImageDraw.ImageDraw:
    return ImageDraw.Draw(Image.new("RGB", (1, 1)))


@functools.lru_cache(maxsize=64)
def _font(points: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)


def _whole(box: Rectangle) -> Rectangle:
    """All of a face, of which a box holds a part."""
    left, top, right, bottom = box
    height = bottom - top
    return left, top - FOREHEAD * height, right, bottom + CHIN * height


def _four(numbers: Sequence[float]) -> Rectangle:
    left, top, right, bottom = numbers
    return left, top, right, bottom
