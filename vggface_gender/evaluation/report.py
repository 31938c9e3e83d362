"""One HTML page from audits: no network, no script, everything within, so a mail can carry it.

Charts are matplotlib's SVG, pictures JPEG within the page. What a section shows is data that its
caller computed from predictions tables; nothing here reads a model.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources

import cv2
import jinja2
import markupsafe
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from vggface_gender.evaluation import robustness
from vggface_gender.evaluation.audit import SMALL

THUMB = 96  # pixels of a face in a montage
THRESHOLD = 0.9  # the confidence from which the table of groups has them answered
COLOUR, FAINT = "#1f4e79", "#c7d3e0"


def page(
    title: str,
    sections: Sequence[Mapping],
    matrix: Sequence[Mapping],
    notes: str,
    detections: Sequence[Mapping] = (),
) -> str:
    """The page.

    Args:
        sections: one a classifier, dataset and task: `title`; `audit` (see `audit.audit`); the
            `temperature` in the classifier, or None; `figures`, a list of `title` and `picture`
            (see `thumbnail`); `montages`, a list of `title` and `faces`, each a `picture` with a
            `caption`; `robustness`, what `robustness.summarize` gives, or None.
        matrix: the cells of `tools/cross_evaluate.py`.
        notes: plain text on what the page is of, paragraphs apart by blank lines.
        detections: one a dataset: its name as `dataset`, and what `detection.measure` gives.
    """
    template = resources.files("vggface_gender.evaluation").joinpath("report.html").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = _percent
    charts = [
        {
            "groups": group_chart(section["audit"]["groups"]),
            "reliability": reliability_chart(section["audit"]["calibration"]),
            "coverage": coverage_chart(section["audit"]["abstention"]),
            "robustness": section["robustness"]
            and _svg(robustness.figure(section["robustness"], section["audit"]["task"])),
        }
        for section in sections
    ]
    return environment.from_string(template).render(
        title=title,
        notes=[part for part in notes.split("\n\n") if part],
        sections=list(zip(sections, charts, strict=True)),
        matrix=matrix,
        detections=detections,
        small=SMALL,
        threshold=THRESHOLD,
    )


def thumbnail(crop: np.ndarray, side: int = THUMB) -> str:
    """A crop (h, w, 3) `uint8` RGB as a `data:` address of a JPEG of the side."""
    height, width = crop.shape[:2]
    small = cv2.resize(crop, (side, round(side * height / width)), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def group_chart(groups: Mapping[str, Mapping[str, Mapping]]) -> markupsafe.Markup:
    """Every group's accuracy with its interval, a line a group; small groups faint."""
    rows = [
        (grouping, name, group)
        for grouping, members in groups.items()
        for name, group in members.items()
    ]
    figure = _figure(7, 0.24 * len(rows) + 0.6)
    axes = figure.subplots()
    for place, (_, _, group) in enumerate(rows):
        low, high = group["interval"]
        colour = FAINT if group["small"] else COLOUR
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot(group["accuracy"], place, "o", color=colour, markersize=5)
    labels = [f"{name}  ({group['count']:,})" for _, name, group in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    for place in range(1, len(rows)):
        if rows[place][0] != rows[place - 1][0]:
            axes.axhline(place - 0.5, color="#dddddd", linewidth=0.8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(min(0.5, *(group["interval"][0] for *_, group in rows)), 1.0)
    axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0, decimals=0))
    axes.grid(axis="x", color="#eeeeee")
    axes.set_xlabel("accuracy, 95% interval", fontsize=8)
    return _svg(figure)


def reliability_chart(calibration: Mapping) -> markupsafe.Markup:
    """How often answers of a confidence are right, against the confidence."""
    figure = _figure(3.4, 3.1)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1, linestyle="--")
    for one in calibration["bins"]:
        colour = FAINT if one["count"] < SMALL else COLOUR
        axes.plot([one["confidence"]] * 2, one["interval"], color=colour, linewidth=1.5)
        axes.plot(one["confidence"], one["accuracy"], "o", color=colour, markersize=4)
    axes.set_xlim(min(0.5, *(one["from"] for one in calibration["bins"])), 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence", fontsize=8)
    axes.set_ylabel("right", fontsize=8)
    return _svg(figure)


def coverage_chart(abstention: Sequence[Mapping]) -> markupsafe.Markup:
    """The error among what is answered, against the share answered."""
    figure = _figure(3.4, 3.1)
    axes = figure.subplots()
    rows = [row for row in abstention if row["accuracy"] is not None]
    axes.plot(
        [row["answered"] for row in rows],
        [1 - row["accuracy"] for row in rows],
        "o-",
        color=COLOUR,
        markersize=4,
    )
    for row in rows:
        axes.annotate(
            f"{row['threshold']:g}",
            (row["answered"], 1 - row["accuracy"]),
            textcoords="offset points",
            xytext=(4, 4),
            fontsize=7,
        )
    axes.set_xlim(0, 1.05)
    axes.set_ylim(0, None)
    axes.set_xlabel("share answered", fontsize=8)
    axes.set_ylabel("wrong among them", fontsize=8)
    return _svg(figure)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}".replace("-0.0%", "0.0%")


def _figure(width: float, height: float) -> "matplotlib.figure.Figure":
    # Not pyplot, which keeps figures and asks for a display.
    return matplotlib.figure.Figure((width, height), layout="constrained")


def _svg(figure: "matplotlib.figure.Figure") -> markupsafe.Markup:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub("<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return markupsafe.Markup(text)
