"""Pictures of what predictions depend on: maps over crops, averages of groups, parts of a face."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from vggface_gender.base import labels
from vggface_gender.evaluation import face_regions, palette
from vggface_gender.evaluation.explanations import FEW, RIGHT, WRONG, Average, Group, Summary

SIDE, MARGIN, LINE = 120, 8, 30  # pixels: a picture's side, the gap between two, a line of text
CAPTION = 38  # two lines of small text below an example
NAMES = 170  # the width of the rows' names
STRIDE = SIDE + MARGIN
COLUMNS = {RIGHT: "correct predictions", WRONG: "incorrect predictions"}
MARKS = {RIGHT: palette.LABELS[2], WRONG: palette.LABELS[1]}  # green and orange, with their words
OPACITY = 0.45
ACROSS = 4  # examples in a row: pairs of a crop and its map
DPI = 110  # of the picture of regions
SCALE = (150, 12)  # pixels: the width and height of the colour scale

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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
    return cv2.addWeighted(_colours(levels), opacity, crop, 1 - opacity, 0)


def averages(found: Mapping[Group, Average], *, title: str = "") -> Image.Image:
    """Average faces and maps: a row a gender and race, a pair of pictures for right and for wrong.

    Where a group has no face that was predicted so, the place stays empty. An average of fewer than
    `FEW` faces is framed, and its count marked.

    Args:
        found: see `explanations.Summary`.
        title: a line above the pictures.
    """
    rows = _rows(found)
    top = LINE * 2 if title else LINE
    height = top + STRIDE * max(len(rows), 1) + LINE
    sheet = Image.new("RGB", (NAMES + 2 * STRIDE * len(COLUMNS), height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    if title:
        pen.text((MARGIN, LINE / 2), title, "black", font, anchor="lm")
    for place, column in enumerate(COLUMNS.values()):
        pen.text((NAMES + 2 * STRIDE * place, top - LINE / 2), column, "black", font, anchor="lm")
    for line, row in enumerate(rows):
        y = top + STRIDE * line
        named = ", ".join(filter(None, row)) or "all"
        pen.text((MARGIN, y + SIDE / 2), named, "black", font, anchor="lm")
        for place, column in enumerate(COLUMNS):
            if (average := found.get((*row, column))) is not None:
                _average(sheet, average, (NAMES + 2 * STRIDE * place, y), font)
    note = f"* fewer than {FEW} faces" if any(a.count < FEW for a in found.values()) else ""
    _scale(sheet, height - LINE / 2, note)
    return sheet


def examples(summary: Summary, *, title: str = "") -> Image.Image | None:
    """Faces beside their maps, with the true and the predicted label; None without any face.

    Correct predictions come first. Each pair has a frame and a caption that say which it is.

    Args:
        title: a line above the pictures.
    """
    shown = {column: each for column, each in summary.examples.items() if each}
    if not shown:
        return None
    lines = {column: -(-len(each) // ACROSS) for column, each in shown.items()}
    tall = SIDE + CAPTION + MARGIN
    top = LINE if title else 0
    height = top + sum(LINE + tall * count for count in lines.values()) + LINE
    sheet = Image.new("RGB", (MARGIN + ACROSS * (2 * SIDE + 2 * MARGIN), height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    small = ImageFont.load_default(13)
    if title:
        pen.text((MARGIN, LINE / 2), title, "black", font, anchor="lm")
    y = top
    for column, each in shown.items():
        pen.text((MARGIN, y + LINE / 2), COLUMNS[column], MARKS[column], font, anchor="lm")
        y += LINE
        for place, example in enumerate(each):
            row, across = divmod(place, ACROSS)
            left, up = MARGIN + across * (2 * SIDE + 2 * MARGIN), y + row * tall
            _pair(sheet, example.crop, overlay(example.crop, example.heat), (left, up), gap=0)
            pen.rectangle((left, up, left + 2 * SIDE - 1, up + SIDE - 1), None, MARKS[column], 2)
            below = up + SIDE + 4
            pen.text((left, below), f"true: {example.true}", "black", small)
            pen.text(
                (left, below + 16),
                f"predicted: {example.predicted} ({column})",
                MARKS[column],
                small,
            )
        y += tall * lines[column]
    _scale(sheet, height - LINE / 2)
    return sheet


def regions(
    table: pd.DataFrame, face: np.ndarray, *, padding: float, title: str = "", unit: str = ""
) -> Image.Image:
    """The parts of the face on the mean face, and how much of the predictions depends on each.

    Args:
        table: see `face_regions.table`.
        face: (size, size, 3) `uint8` RGB, the mean crop.
        padding: the crops' frame.
        unit: what the drops are, to read.
    """
    has_drops = table["drop"].notna().any()
    figure = Figure(figsize=(11 if has_drops else 8.5, 3.6), layout="constrained")
    axes = figure.subplots(1, 3 if has_drops else 2, width_ratios=[1, 1.3, 1.3][: 2 + has_drops])
    _plan(axes[0], face, padding)
    names = table["region"].tolist()
    places = np.arange(len(names))[::-1]
    axes[1].barh(places, table["share"], color=palette.SCORE, height=0.6)
    axes[1].errorbar(
        table["share"], places, xerr=_ends(table, "share"), fmt="none", ecolor=palette.ALL
    )
    axes[1].plot(table["area"], places, "|", color=palette.LABELS[1], markersize=16, mew=3)
    axes[1].set_yticks(places, [f"{place + 1} {name}" for place, name in enumerate(names)])
    axes[1].set_xlabel("share of importance (orange: of the crop's area)")
    if has_drops:
        axes[2].barh(places, table["drop"], color=palette.SCORE, height=0.6)
        axes[2].errorbar(
            table["drop"], places, xerr=_ends(table, "drop"), fmt="none", ecolor=palette.ALL
        )
        axes[2].set_yticks(places, [""] * len(names))
        axes[2].set_xlabel(f"if it is covered{unit and f': {unit}'}")
    for axis in axes[1:]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.axvline(0, color=palette.ALL, linewidth=0.8)
    count = int(table["faces"].max())
    few = f" (fewer than {FEW})" if count < FEW else ""
    figure.suptitle(f"{title}{title and ', '}{count:,} faces{few}", fontsize=11)
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=DPI)
    return Image.open(encoded).convert("RGB")


def _ends(table: pd.DataFrame, column: str) -> np.ndarray:
    """The lengths of the error bars below and above: (2, rows)."""
    low, high = table[f"{column}_low"], table[f"{column}_high"]
    lengths = np.stack([table[column] - low, high - table[column]])
    return np.maximum(np.nan_to_num(lengths), 0)


def _plan(axis: Any, face: np.ndarray, padding: float) -> None:
    """The mean face with the regions' borders, and their numbers."""
    plan = face_regions.plan(padding)
    side = face_regions.SIDE
    axis.imshow(cv2.resize(face, (side, side), interpolation=cv2.INTER_LINEAR))
    number = 0
    for place in range(len(face_regions.REGIONS)):
        where = plan == place
        if not where.any():
            continue
        number += 1
        axis.contour(where, [0.5], colors=palette.LABELS[1], linewidths=1)
        # The place of the largest part that is farthest from its border.
        inside = cv2.distanceTransform(np.pad(where, 1).astype(np.uint8), cv2.DIST_L2, 5)[
            1:-1, 1:-1
        ]
        y, x = np.unravel_index(inside.argmax(), inside.shape)
        axis.text(
            *(x, y, str(number)),
            color="white",
            fontsize=9,
            weight="bold",
            ha="center",
            va="center",
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": palette.ALL, "linewidth": 0},
        )
    axis.set_axis_off()


def _rows(found: Mapping[Group, Average]) -> Sequence[tuple[str, str]]:
    """The gender and race of every group that may have an average, in the labels' order."""
    races = labels.races_of({race for _, race, _ in found} - {""}) or ("",)
    genders = labels.GENDERS if any(gender for gender, _, _ in found) else ("",)
    return [(gender, race) for gender in genders for race in races]


def _average(sheet: Image.Image, average: Average, at: tuple[int, int], font: Font) -> None:
    """Paste an average face, and beside it its map laid over, with the count of faces."""
    x, y = at
    face = cv2.resize(average.face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    _pair(sheet, face, overlay(face, average.heat), at, gap=MARGIN)
    pen = ImageDraw.Draw(sheet)
    count, corner = f"{average.count:,}", (x + 4, y + SIDE - 4)
    if average.count < FEW:
        count += "*"
        pen.rectangle((x - 2, y - 2, x + STRIDE + SIDE + 1, y + SIDE + 1), None, MARKS[WRONG], 2)
    pen.text(corner, count, "white", font, anchor="lb", stroke_width=2, stroke_fill="black")


def _pair(
    sheet: Image.Image,
    left: np.ndarray,
    right: np.ndarray,
    at: tuple[int, int],
    *,
    gap: int,
) -> None:
    """Paste two pictures side by side."""
    x, y = at
    for place, picture in enumerate((left, right)):
        how = cv2.INTER_AREA if len(picture) > SIDE else cv2.INTER_CUBIC
        fitted = cv2.resize(picture, (SIDE, SIDE), interpolation=how)
        sheet.paste(Image.fromarray(fitted), (x + (SIDE + gap) * place, y))


def _scale(sheet: Image.Image, y: float, note: str = "") -> None:
    """Draw what the colours mean, and a note to the right of it."""
    width, height = SCALE
    levels = np.linspace(0, 1, width, dtype=np.float32)[None].repeat(height, axis=0)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    pen.text((MARGIN, y), "importance: 0", "black", font, anchor="lm")
    left = MARGIN + round(pen.textlength("importance: 0", font)) + 6
    sheet.paste(Image.fromarray(_colours(levels)), (left, round(y - height / 2)))
    said = "the greatest of each map" + (f"     {note}" if note else "")
    pen.text((left + width + 6, y), said, "black", font, anchor="lm")


def _colours(levels: np.ndarray) -> np.ndarray:
    """Levels (h, w) from 0 to 1 as colours (h, w, 3) `uint8` RGB, from blue to red."""
    coloured = cv2.applyColorMap((levels * 255).astype(np.uint8), cv2.COLORMAP_JET)
    return np.ascontiguousarray(coloured[..., ::-1])
