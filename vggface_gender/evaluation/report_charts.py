"""The report's charts, as SVG within the page."""

import io
import re
from collections.abc import Mapping, Sequence

import markupsafe
import matplotlib
import matplotlib.figure
import matplotlib.ticker

from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE
from vggface_gender.evaluation.palette import FAINT, SCORE

CLOSE = 0.02  # of the coverage: points so close have one name
PERCENT = matplotlib.ticker.PercentFormatter(1.0, decimals=0)


def groups(found: Mapping[str, Mapping[str, Mapping]]) -> markupsafe.Markup:
    """Every group's accuracy with its interval, a line a group; small groups faint.

    Args:
        found: `groups` of `audit.audit`.
    """
    rows = [
        (grouping, name, group) for grouping, each in found.items() for name, group in each.items()
    ]
    figure = _figure(7, 0.24 * len(rows) + 0.6)
    axes = figure.subplots()
    for place, (_, _, group) in enumerate(rows):
        colour = FAINT if group["small"] else SCORE
        axes.plot(group["interval"], [place, place], color=colour, linewidth=2)
        axes.plot(group["accuracy"], place, "o", color=colour, markersize=5)
    labels = [f"{name}  ({group['count']:,})" for _, name, group in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    for place in range(1, len(rows)):
        if rows[place][0] != rows[place - 1][0]:
            axes.axhline(place - 0.5, color="#dddddd", linewidth=0.8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(min(0.5, *(group["interval"][0] for *_, group in rows)), 1.0)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_title("Accuracy by group", fontsize=9)
    axes.grid(axis="x", color="#eeeeee")
    axes.set_xlabel(f"accuracy, {CONFIDENCE:.0%} interval", fontsize=8)
    return svg(figure)


def reliability(calibration: Mapping) -> markupsafe.Markup:
    """A reliability diagram: the accuracy of predictions of a confidence, against the confidence.

    Args:
        calibration: see `calibration.calibration`.
    """
    figure = _figure(3.6, 3.3)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1, linestyle="--")
    for one in calibration["bins"]:
        colour = FAINT if one["count"] < SMALL else SCORE
        axes.plot([one["confidence"]] * 2, one["interval"], color=colour, linewidth=1.5)
        axes.plot(one["confidence"], one["accuracy"], "o", color=colour, markersize=4)
    axes.set_title("Reliability", fontsize=9)
    axes.set_xlim(min(0.5, *(one["from"] for one in calibration["bins"])), 1)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("confidence", fontsize=8)
    axes.set_ylabel(f"accuracy, {CONFIDENCE:.0%} interval", fontsize=8)
    return svg(figure)


def coverage(abstention: Sequence[Mapping]) -> markupsafe.Markup:
    """A risk-coverage curve: the error rate of the predictions that are kept, against their share.

    Args:
        abstention: see `calibration.abstention`.
    """
    figure = _figure(3.6, 3.3)
    axes = figure.subplots()
    rows = [row for row in abstention if row["accuracy"] is not None]
    points = [(row["answered"], 1 - row["accuracy"]) for row in rows]
    coverages, risks = [coverage for coverage, _ in points], [risk for _, risk in points]
    axes.plot(coverages, risks, "o-", color=SCORE, markersize=4)
    for name, point in names_of_points([row["threshold"] for row in rows], points):
        # Above and to the left, where the curve, which rises to the right, is not.
        axes.annotate(name, point, textcoords="offset points", xytext=(-3, 5), ha="right", size=7)
    axes.set_title("Risk and coverage", fontsize=9)
    axes.set_xlim(0, 1.05)
    axes.set_ylim(0, max(risks, default=0) * 1.15 + 1e-3)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    axes.set_xlabel("coverage: share of faces with a prediction", fontsize=8)
    axes.set_ylabel("risk: error rate among them", fontsize=8)
    return svg(figure)


def names_of_points(
    thresholds: Sequence[float], points: Sequence[tuple[float, float]]
) -> list[tuple[str, tuple[float, float]]]:
    """What each point is called, those that lie on one another together: "0.5 to 0.7".

    Args:
        thresholds: (n,) ascending.
        points: (n,) coverage, from 0 to 1, and risk.
    """
    together: list[list[int]] = []
    for place, (coverage, _) in enumerate(points):
        if together and abs(points[together[-1][0]][0] - coverage) < CLOSE:
            together[-1].append(place)
        else:
            together.append([place])
    return [
        (
            " to ".join(f"{thresholds[end]:g}" for end in dict.fromkeys((its[0], its[-1]))),
            points[its[0]],
        )
        for its in together
    ]


def svg(figure: matplotlib.figure.Figure) -> markupsafe.Markup:
    """A figure as an `<svg>` element, the same text for the same figure."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub("<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return markupsafe.Markup(text)


def _figure(width: float, height: float) -> matplotlib.figure.Figure:
    # Not pyplot, which keeps figures and asks for a display.
    return matplotlib.figure.Figure((width, height), layout="constrained")
