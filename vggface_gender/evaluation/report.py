"""One HTML page of figures: no network, no script, everything within, so a mail can carry it.

Charts are matplotlib's SVG, pictures JPEG within the page. What a section shows is data that its
caller computed from predictions tables; nothing here reads a model.
"""

import base64
from collections.abc import Mapping, Sequence
from importlib import resources

import cv2
import jinja2
import matplotlib.figure
import numpy as np

from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import matrix_report, report_charts, robustness_figure
from vggface_gender.evaluation.groups import SMALL

THUMB = 96  # pixels of a face in a montage
THRESHOLD = 0.9  # the confidence from which the table of groups has them answered


def page(
    title: str,
    sections: Sequence[Mapping],
    *,
    matrix: Sequence[Mapping],
    notes: str,
    heat_map: matplotlib.figure.Figure | None = None,
    detections: Sequence[Mapping] = (),
) -> str:
    """The page.

    Args:
        sections: one a classifier, dataset and task: `title`; `audit` (see `audit.audit`); the
            `temperature` in the classifier, or None; `figures`, a list of `title` and `picture`
            (see `thumbnail`); `montages`, a list of `title` and `faces`, each a `picture` with a
            `caption`; `robustness`, what `robustness.summarize` gives, or None.
        matrix: the cells (see `matrix.cells`).
        notes: plain text on what the page is of, paragraphs apart by blank lines.
        heat_map: of the matrix (see `matrix_figure.figure`).
        detections: one a dataset: its name as `dataset`, and what `detection.measure` gives.
    """
    template = resources.files("vggface_gender.evaluation").joinpath("report.html").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = _percent
    environment.filters["points"] = _points
    return environment.from_string(template).render(
        title=title,
        notes=[part for part in notes.split("\n\n") if part],
        sections=[(section, _charts(section)) for section in sections],
        matrix=matrix,
        dropped=matrix_report.dropped(matrix),
        heat_map=heat_map and report_charts.svg(heat_map),
        detections=detections,
        small=SMALL,
        threshold=THRESHOLD,
        mae=TASKS["age"].score_name,
    )


def thumbnail(crop: np.ndarray, side: int = THUMB) -> str:
    """A crop (h, w, 3) `uint8` RGB as a `data:` address of a JPEG of the side."""
    height, width = crop.shape[:2]
    small = cv2.resize(crop, (side, round(side * height / width)), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _charts(section: Mapping) -> dict:
    audit, robustness = section["audit"], section["robustness"]
    return {
        "groups": report_charts.groups(audit["groups"]),
        "reliability": report_charts.reliability(audit["calibration"]),
        "coverage": report_charts.coverage(audit["abstention"]),
        "robustness": robustness
        and report_charts.svg(
            robustness_figure.figure(robustness, audit["task"], title=section["title"])
        ),
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}".replace("-0.0%", "0.0%")


def _points(difference: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{100 * difference:.1f}".replace("-0.0", "0.0")
