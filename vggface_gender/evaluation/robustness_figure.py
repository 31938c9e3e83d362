"""A chart of a classifier's score by the amount of each perturbation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from vggface_gender.base import files
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import palette
from vggface_gender.evaluation.intervals import CONFIDENCE
from vggface_gender.evaluation.perturbations import KINDS, UNCHANGED

Point = tuple[float, Mapping]  # the amount of a perturbation, and a task's figures


def figure(summary: Mapping, task: str, *, title: str = "") -> matplotlib.figure.Figure:
    """A panel for each kind of perturbation: the score with its interval, by the amount.

    The unchanged crops stand in every panel: at 0 degrees, a margin of 1, the network's own side.

    Args:
        summary: see `robustness.summarize`.
        title: above the chart.
    """
    its, rows = TASKS[task], summary["changes"]
    neutral = {"rotation": 0.0, "margin": 1.0, "resolution": float(summary["size"])}
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    # Not pyplot, which keeps figures and asks for a display.
    drawn = matplotlib.figure.Figure((3.4 * len(kinds), 3.7), dpi=150, layout="constrained")
    panels = drawn.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        points = [
            (row["amount"] if row["kind"] == kind else neutral[kind], row["tasks"][task])
            for row in rows
            if row["kind"] in (kind, UNCHANGED.kind)
        ]
        points.sort(key=lambda point: point[0])
        _panel(axes, points, its.score)
        axes.axvline(neutral[kind], color="#cccccc", linewidth=1, zorder=0)
        axes.set_xlabel(KINDS[kind], fontsize=8)
        if kind == "resolution":
            axes.set_xscale("log", base=2)
        amounts = [amount for amount, _ in points]
        axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts])
        axes.minorticks_off()
    if its.is_classification:
        panels[0].yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    panels[0].yaxis.set_major_locator(matplotlib.ticker.MaxNLocator("auto", steps=[1, 2, 5, 10]))
    panels[0].set_ylabel(f"{task}, {its.score_name}, {CONFIDENCE:.0%} interval", fontsize=8)
    # Below the panels, where it hides no curve.
    named = panels[0].get_legend_handles_labels()
    drawn.legend(*named, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    if title:
        drawn.suptitle(title, fontsize=10)
    return drawn


def save(drawn: matplotlib.figure.Figure, stem: Path) -> list[Path]:
    """Write a chart as PNG and as SVG, the same bytes for the same chart; returns the files."""
    written = []
    for suffix, about in ((".png", {}), (".svg", {"Date": None})):
        file = stem.with_name(stem.name + suffix)
        fixed = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "robustness"})
        with files.whole(file) as part, fixed:
            drawn.savefig(part, metadata=about)
        written.append(file)
    return written


def _panel(axes: matplotlib.axes.Axes, points: Sequence[Point], score: str) -> None:
    """Draw one kind's scores, of each gender and of all faces."""
    amounts = [amount for amount, _ in points]
    for gender, colour in palette.GENDERS.items():
        if gender in points[0][1]["by_gender"]:
            scores = [one["by_gender"][gender][score] for _, one in points]
            axes.plot(amounts, scores, color=colour, linewidth=1.2, linestyle="--", label=gender)
    of_all = np.array([one[score] for _, one in points])
    low, high = np.array([one["interval"] or [one[score]] * 2 for _, one in points]).T
    axes.errorbar(
        amounts,
        of_all,
        np.clip([of_all - low, high - of_all], 0, None),
        color=palette.ALL,
        linewidth=1.6,
        marker="o",
        markersize=4,
        capsize=3,
        label="all",
    )
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
