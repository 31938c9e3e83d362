"""Pictures of Grad-CAM's maps: laid over a crop, and averaged over groups of faces."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vggface_gender.base import labels
from vggface_gender.data import sheets
from vggface_gender.evaluation.gradcam import RIGHT, WRONG, Average, Group, Summary

SIDE, MARGIN, LINE = 120, 8, 30  # pixels: a picture's side, the gap between two, a line of text
NAMES = 170  # the width of the rows' names
COLUMNS = {RIGHT: "correct predictions", WRONG: "incorrect predictions"}
OPACITY = 0.45
ACROSS = 8  # pictures in a row of examples: four pairs


def overlay(crop: np.ndarray, heat: np.ndarray, *, opacity: float = OPACITY) -> np.ndarray:
    """A crop with its map laid over in colours, from blue (0) to red (the map's greatest).

    Args:
        crop: (h, w, 3) `uint8` RGB.
        heat: a map (rows, columns) from 0 up.

    Returns:
        (h, w, 3) `uint8` RGB.
    """
    height, width = crop.shape[:2]
    smooth = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    levels = np.clip(smooth / max(float(smooth.max()), 1e-12), 0, 1)
    colours = cv2.applyColorMap((levels * 255).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    return cv2.addWeighted(np.ascontiguousarray(colours), opacity, crop, 1 - opacity, 0)


def averages(found: Mapping[Group, Average], *, title: str = "") -> Image.Image:
    """Average faces and maps: a row a gender and race, a pair of pictures for right and for wrong.

    Where a group has no face that was predicted so, the place stays empty.

    Args:
        found: see `gradcam.Summary`.
        title: a line above the pictures.
    """
    rows = _rows(found)
    stride = SIDE + MARGIN
    top = LINE * 2 if title else LINE
    sheet = Image.new(
        "RGB", (NAMES + 2 * stride * len(COLUMNS), top + stride * max(len(rows), 1)), "white"
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    if title:
        pen.text((MARGIN, LINE / 2), title, "black", font, anchor="lm")
    for place, column in enumerate(COLUMNS.values()):
        pen.text((NAMES + 2 * stride * place, top - LINE / 2), column, "black", font, anchor="lm")
    for line, row in enumerate(rows):
        y = top + stride * line
        pen.text(
            (MARGIN, y + SIDE / 2),
            ", ".join(filter(None, row)) or "all",
            "black",
            font,
            anchor="lm",
        )
        for place, column in enumerate(COLUMNS):
            if (average := found.get((*row, column))) is not None:
                _pair(sheet, average, (NAMES + 2 * stride * place, y), font)
    return sheet


def examples(summary: Summary) -> Image.Image | None:
    """Faces and their maps laid over them, of correct predictions first; None without any face."""
    pairs = [
        picture
        for column in COLUMNS
        for crop, heat in summary.examples[column]
        for picture in (crop, overlay(crop, heat))
    ]
    return Image.fromarray(sheets.sheet(np.stack(pairs), ACROSS)) if pairs else None


def _rows(found: Mapping[Group, Average]) -> Sequence[tuple[str, str]]:
    """The gender and race of every group that may have an average, in the labels' order."""
    races = labels.races_of({race for _, race, _ in found} - {""}) or ("",)
    genders = labels.GENDERS if any(gender for gender, _, _ in found) else ("",)
    return [(gender, race) for gender in genders for race in races]


def _pair(
    sheet: Image.Image,
    average: Average,
    at: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Paste an average face, and beside it its map laid over, with the count of faces."""
    x, y = at
    face = cv2.resize(average.face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    for place, picture in enumerate((face, overlay(face, average.heat))):
        sheet.paste(Image.fromarray(picture), (x + (SIDE + MARGIN) * place, y))
    pen = ImageDraw.Draw(sheet)
    count, corner = f"{average.count:,}", (x + 4, y + SIDE - 4)
    pen.text(corner, count, "white", font, anchor="lb", stroke_width=2, stroke_fill="black")
