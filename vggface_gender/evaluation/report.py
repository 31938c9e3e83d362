"""One HTML page of figures: no network, no script, everything within, so a mail can carry it.

For someone who was not there: what was asked, the three most important findings in sentences, and
then the charts. They are matplotlib's SVG, pictures JPEG, tables to take along CSV within the page.
What a section shows is data that its caller computed from predictions tables; nothing here reads a
model. Read on a screen, on a phone and on paper: what is folded is not printed.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

import cv2
import jinja2
import markupsafe
import matplotlib.figure
import numpy as np

from vggface_gender.base import text
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import (
    findings,
    groups,
    matrix_report,
    report_charts,
    robustness_figure,
)
from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE

THUMB = 96  # pixels of a face in a montage
MOST_SUSPECTS = 14  # faces with a likely wrong label that are shown
THRESHOLD = 0.9  # the confidence from which the table of groups has them answered


def page(
    title: str,
    sections: Sequence[Mapping],
    *,
    compared: Sequence[Mapping],
    matrix: Sequence[Mapping],
    about: Mapping[str, str],
    notes: str,
    suspects_csv: str = "",
    heat_map: matplotlib.figure.Figure | None = None,
    detections: Sequence[Mapping] = (),
) -> str:
    """The page.

    Args:
        sections: one a classifier, dataset and task: `run`, `dataset`, `task`, `is_in_domain`;
            `audit` (see `audit.audit`); the `temperature` in the classifier, or None; `figures`, a
            list of `title` and `picture` (see `thumbnail`); `suspects` and `errors` (see the
            functions of these names in `sections`); `robustness`, what `robustness.summarize`
            gives, or None.
        compared: see `findings.differences`.
        matrix: the cells (see `matrix.cells`).
        about: how the page was made, by what: "date", "command", "versions".
        notes: plain text on what the page is of, paragraphs apart by blank lines.
        suspects_csv: see `sections.suspects_csv`.
        heat_map: of the matrix (see `matrix_figure.figure`).
        detections: one a dataset: its name as `dataset`, and what `detection.measure` gives.
    """
    template = resources.files("vggface_gender.evaluation").joinpath("report.html").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = _percent
    environment.filters["points"] = _points
    environment.filters["unpredicted"] = _unpredicted
    environment.filters["score"] = lambda score, task: TASKS[task].format(score)
    return environment.from_string(template).render(
        title=title,
        about=about,
        notes=[part for part in notes.split("\n\n") if part],
        question=findings.summary(sections) if sections else "",
        findings=findings.most_important(sections, compared) if sections else [],
        sections=sections,
        compared=compared,
        parts=_by_task(sections),
        gaps=_gaps(sections),
        matrix=matrix,
        columns=_columns(matrix),
        dropped=matrix_report.dropped(matrix),
        heat_map=heat_map and report_charts.svg(heat_map, _said(matrix)),
        robustness=[
            (section, report_charts.svg(_robustness(section), f"Robustness, {_name(section)}"))
            for section in sections
            if section["robustness"]
        ],
        shown=_shown_maps(sections),
        suspected=_suspected(sections),
        detections=detections,
        suspects_csv=_address(suspects_csv),
        small=SMALL,
        threshold=THRESHOLD,
        confidence=f"{CONFIDENCE:.0%}",
        power=f"{groups.POWER:.0%}",
        mae=TASKS["age"].score_name,
    )


def thumbnail(crop: np.ndarray, side: int = THUMB) -> str:
    """A crop (h, w, 3) `uint8` RGB as a `data:` address of a JPEG of the side."""
    height, width = crop.shape[:2]
    small = cv2.resize(crop, (side, round(side * height / width)), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _address(table: str) -> str:
    """A table as a `data:` address, that a link saves; "" of none."""
    encoded = base64.b64encode(table.encode("utf-8", "surrogateescape")).decode()
    return f"data:text/csv;charset=utf-8;base64,{encoded}" if table else ""


def _name(section: Mapping) -> str:
    return f"{section['run']} on {section['dataset']}: {section['task']}"


def _by_task(sections: Sequence[Mapping]) -> list[dict]:
    """For each task its charts, a chart a dataset with all its classifiers, and its sections."""
    parts = []
    for task in dict.fromkeys(section["task"] for section in sections):
        its = [section for section in sections if section["task"] == task]
        datasets: dict[str, dict[str, Mapping]] = {}
        for section in its:
            datasets.setdefault(section["dataset"], {})[section["run"]] = section["audit"]
        sure = {
            dataset: kept
            for dataset, audits in datasets.items()
            if (kept := {run: one for run, one in audits.items() if one["calibration"]})
        }
        parts.append(
            {
                "task": task,
                "sections": its,
                "groups": _charts(report_charts.groups, datasets, f"{task}: accuracy by group"),
                "reliability": _charts(report_charts.reliability, sure, f"{task}: reliability"),
                "coverage": _charts(report_charts.coverage, sure, f"{task}: risk and coverage"),
                "confusion": [
                    report_charts.confusion(one["audit"], _title(task, one)) for one in its
                ],
            }
        )
    return parts


def _title(task: str, section: Mapping) -> str:
    return f"{task}: {section['run']} on {section['dataset']} ({section['audit']['count']:,} faces)"


def _charts(
    chart: Callable[[report_charts.Audits, str], markupsafe.Markup],
    datasets: Mapping[str, Mapping[str, Mapping]],
    what: str,
) -> list[markupsafe.Markup]:
    """One chart for each dataset, named by what it shows, its dataset and count."""
    return [
        chart(audits, f"{what}\n{dataset}, {_faces(audits)} faces")
        for dataset, audits in datasets.items()
    ]


def _faces(audits: Mapping[str, Mapping]) -> str:
    """How many faces the classifiers of a chart have, each count once."""
    return " and ".join(
        f"{count:,}" for count in dict.fromkeys(one["count"] for one in audits.values())
    )


def _gaps(sections: Sequence[Mapping]) -> list[dict]:
    """The largest gap by each grouping, a row for each, the surest first in each task."""
    rows = [
        {"section": section, "by": by, "accuracy": section["audit"]["groups"][by]} | gap
        for section in sections
        for by, gap in section["audit"]["gaps"].items()
        if gap
    ]
    return sorted(rows, key=lambda row: (row["section"]["task"], -row["interval"][0]))


def _columns(matrix: Sequence[Mapping]) -> dict[str, bool]:
    """Which columns of the matrix have anything to show."""
    return {task: any(task in cell for cell in matrix) for task in TASKS} | {
        "overlap": any(cell["overlap"] is not None for cell in matrix),
        "unpredicted": any(
            "unpredicted" in cell.get(task, {}) for cell in matrix for task in TASKS
        ),
        "without": any("without_overlap" in cell.get("gender", {}) for cell in matrix),
    }


def _said(matrix: Sequence[Mapping]) -> str:
    """The heat map in words."""
    cells = [
        f"{cell['run']} on {cell['dataset']} "
        + ", ".join(
            f"{task} {its.format(cell[task][its.score])}"
            for task, its in TASKS.items()
            if task in cell
        )
        for cell in matrix
    ]
    return "Scores of " + "; ".join(cells)


def _shown_maps(sections: Sequence[Mapping]) -> list[Mapping]:
    """The sections whose maps are shown at once: of each classifier and task one dataset, that it
    was trained on if there is one. The others' are folded."""
    best: dict[tuple[str, str], Mapping] = {}
    for section in sections:
        key = (section["run"], section["task"])
        if section["figures"] and (key not in best or _is_better(section, best[key])):
            best[key] = section
    return list(best.values())


def _is_better(section: Mapping, other: Mapping) -> bool:
    return bool(section["is_in_domain"]) and not other["is_in_domain"]


def _suspected(sections: Sequence[Mapping]) -> list[dict]:
    """For each dataset and task the faces whose label is likely wrong: those that the most
    classifiers suspect first, then those that one is surest of."""
    found = []
    for key in dict.fromkeys((section["dataset"], section["task"]) for section in sections):
        its = [one for one in sections if (one["dataset"], one["task"]) == key and one["suspects"]]
        votes: dict[str, list[dict]] = {}
        for section in its:
            for face in section["suspects"]:
                votes.setdefault(face["name"], []).append(face)
        surest = sorted(
            votes.values(),
            key=lambda faces: (-len(faces), -max(one["confidence"] for one in faces)),
        )
        if surest:
            shown = [
                faces[0] | {"votes": len(faces), "picture": picture}
                for faces in surest
                if (picture := next(filter(None, (one["picture"] for one in faces)), None))
            ]
            counts = {section["run"]: len(section["suspects"]) for section in its}
            about = {"dataset": key[0], "task": key[1], "counts": counts}
            found.append(about | {"faces": shown[:MOST_SUSPECTS]})
    return found


def _robustness(section: Mapping) -> matplotlib.figure.Figure:
    return robustness_figure.figure(section["robustness"], section["task"], title=_name(section))


def _unpredicted(cell: Mapping) -> int:
    """A cell's faces without a prediction of the first task that it has."""
    return next((cell[task].get("unpredicted", 0) for task in TASKS if task in cell), 0)


def _percent(share: float | None) -> str:
    return "–" if share is None else text.percent(share).replace("-0.0%", "0.0%")


def _points(difference: float | None) -> str:
    """A difference of shares, in percentage points."""
    return "–" if difference is None else f"{100 * difference:.1f}".replace("-0.0", "0.0")
