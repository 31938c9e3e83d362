"""The report's charts, as SVG within the page: small multiples, each as wide as a phone.

A classifier has one colour and one mark in all of them.
"""

import io
import re
from collections.abc import Mapping, Sequence

import markupsafe
import matplotlib
import matplotlib.axes
import matplotlib.backends.backend_agg
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from vggface_gender.base import text
from vggface_gender.evaluation import palette
from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE

FAINT = 0.3  # opacity of what is of few faces
CLOSE = 0.02  # of the coverage: points so close have one name
WIDTH = 3.7  # inches: 355 CSS pixels
PIXELS = 150  # an inch, of a figure as a picture
PERCENT = matplotlib.ticker.PercentFormatter(1.0, decimals=0)

Audits = Mapping[str, Mapping]  # by classifier, what `audit.audit` gives of one dataset


def groups(audits: Audits, title: str) -> markupsafe.Markup:
    """Every group's accuracy with its interval, a line a group, a mark a classifier.

    Small groups are faint.
    """
    rows = _rows(audits)
    figure = _figure(WIDTH, (0.16 + 0.045 * len(audits)) * len(rows) + 1.1)
    axes = figure.subplots()
    apart = _apart(len(audits))
    for run, (name, audit) in enumerate(audits.items()):
        colour, mark = palette.run(run)
        for place, (grouping, group) in enumerate(rows):
            figures = audit["groups"].get(grouping, {}).get(group)
            if figures is None:
                continue
            y = place + apart[run]
            alpha = FAINT if figures["small"] else 1
            axes.plot(figures["interval"], [y, y], color=colour, linewidth=1.4, alpha=alpha)
            axes.plot(figures["accuracy"], y, mark, color=colour, markersize=4, alpha=alpha)
        called = f"{name}, {audit['count']:,} faces"
        axes.plot([], [], mark, color=colour, markersize=4, label=called)
    for place in range(1, len(rows)):
        if rows[place][0] != rows[place - 1][0]:
            axes.axhline(place - 0.5, color="#bbbbbb", linewidth=0.8)
    counts = _counts(audits)
    axes.set_yticks(range(len(rows)), [f"{row[1]} ({counts[row]})" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    ends = (
        one["interval"][0]
        for audit in audits.values()
        for members in audit["groups"].values()
        for one in members.values()
        if not one["small"]
    )
    lowest = min(ends, default=0.0)
    axes.set_xlim(max(0.0, np.floor(10 * lowest) / 10 - 0.05), 1.005)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.grid(axis="x", color="#e6e6e6")
    axes.set_xlabel(f"accuracy, {CONFIDENCE:.0%} interval")
    return _finished(figure, title, _said(audits, "accuracy by group"))


def _rows(audits: Audits) -> list[tuple[str, str]]:
    """The groupings and groups that any classifier has faces of, in the order of the first."""
    every: dict[str, dict[str, None]] = {}
    for audit in audits.values():
        for grouping, members in audit["groups"].items():
            every.setdefault(grouping, {}).update(dict.fromkeys(members))
    return [(grouping, group) for grouping, members in every.items() for group in members]


def _counts(audits: Audits) -> dict[tuple[str, str], str]:
    """The faces that the classifiers have of each group, each count once: "33, 47"."""
    counts: dict[tuple[str, str], dict[int, None]] = {}
    for audit in audits.values():
        for grouping, members in audit["groups"].items():
            for group, figures in members.items():
                counts.setdefault((grouping, group), {})[figures["count"]] = None
    return {key: ", ".join(f"{count:,}" for count in its) for key, its in counts.items()}


def _apart(count: int) -> np.ndarray:
    """How far from a row's middle each classifier's mark is."""
    return np.linspace(-0.24, 0.24, count) if count > 1 else np.zeros(1)


def reliability(audits: Audits, title: str) -> markupsafe.Markup:
    """A reliability diagram: the accuracy of predictions against their confidence."""
    figure = _figure(WIDTH, 3.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1, linestyle="--")
    lowest = 0.5
    for run, (name, audit) in enumerate(audits.items()):
        colour, mark = palette.run(run)
        bins = audit["calibration"]["bins"]
        lowest = min(lowest, *(one["from"] for one in bins))
        for one in bins:
            alpha = FAINT if one["count"] < SMALL else 1
            axes.plot([one["confidence"]] * 2, one["interval"], color=colour, alpha=alpha)
            axes.plot(
                one["confidence"], one["accuracy"], mark, color=colour, markersize=4, alpha=alpha
            )
        ece = audit["calibration"]["ece"]
        axes.plot([], [], mark, color=colour, markersize=4, label=f"{name}, error {ece:.3f}")
    axes.set_xlim(lowest, 1.01)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("confidence")
    axes.set_ylabel(f"accuracy, {CONFIDENCE:.0%} interval")
    return _finished(figure, title, _said(audits, "accuracy by confidence"))


def coverage(audits: Audits, title: str) -> markupsafe.Markup:
    """A risk-coverage curve: the error rate of the predictions kept, against their share."""
    figure = _figure(WIDTH, 3.2)
    axes = figure.subplots()
    highest = 0.0
    for run, (name, audit) in enumerate(audits.items()):
        colour, mark = palette.run(run)
        rows = [row for row in audit["abstention"] if row["accuracy"] is not None]
        points = [(row["answered"], 1 - row["accuracy"]) for row in rows]
        highest = max([highest, *(risk for _, risk in points)])
        axes.plot(*zip(*points, strict=True), f"{mark}-", color=colour, markersize=4, label=name)
        if run == 0:
            for called, point in names_of_points([row["threshold"] for row in rows], points):
                # Above and to the left, where the curve, which rises to the right, is not.
                axes.annotate(
                    called, point, textcoords="offset points", xytext=(-3, 5), ha="right", size=7
                )
    axes.set_xlim(0, 1.05)
    axes.set_ylim(0, highest * 1.15 + 1e-3)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    axes.set_xlabel("coverage: share of faces with a prediction")
    axes.set_ylabel("risk: error rate among them")
    return _finished(figure, title, _said(audits, "error rate by coverage"))


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


def confusion(audit: Mapping, title: str) -> markupsafe.Markup:
    """A confusion matrix: of each true label, the share that each label is predicted for."""
    diagonal = ", ".join(
        f"{name} {share:.0%}"
        for name, share in zip(audit["labels"], _shares(audit).diagonal(), strict=True)
    ).replace("_", " ")
    figure = confusion_figure(audit, title)
    return svg(figure, f"{title}: confusion matrix; recalls: {diagonal}")


def confusion_figure(figures: Mapping, title: str) -> matplotlib.figure.Figure:
    """The same, to be drawn in whatever form.

    Args:
        figures: of a classification task: its `labels`, and `confusion`, counts with a row for each
            true label.
    """
    names = [name.replace("_", " ") for name in figures["labels"]]
    totals = np.sum(figures["confusion"], axis=1)
    shares = _shares(figures)
    figure = _figure(WIDTH, 0.3 * len(names) + 1.7)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.6 else "black"
        axes.text(
            column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=7
        )
    labels = [f"{name} ({int(n):,})" for name, n in zip(names, totals, strict=True)]
    axes.set_yticks(range(len(names)), labels)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_ylabel("true (faces)")
    axes.set_xlabel("predicted, % of the true label")
    axes.tick_params(length=0)
    return _titled(figure, title)


def _shares(figures: Mapping) -> np.ndarray:
    """Of each true label, the share that each label is predicted for: (k, k)."""
    counts = np.array(figures["confusion"], float)
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)


def pixels(figure: matplotlib.figure.Figure) -> np.ndarray:
    """A figure as a picture: (h, w, 3) `uint8`."""
    _plain(figure)
    figure.set_dpi(PIXELS)
    canvas = matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def svg(figure: matplotlib.figure.Figure, said: str = "") -> markupsafe.Markup:
    """A figure as an `<svg>` element, the same text for the same figure.

    Args:
        said: what the picture shows, for those who don't see it.
    """
    _plain(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = re.sub("<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    label = f'<svg role="img" aria-label="{markupsafe.escape(said)}" '
    return markupsafe.Markup(drawn.replace("<svg ", label, 1) if said else drawn)


def _plain(figure: matplotlib.figure.Figure) -> None:
    """Leave out the frame's lines that say nothing."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)


def _said(audits: Audits, what: str) -> str:
    """What a chart shows, in words: each classifier's accuracy, and its worst group."""
    parts = []
    for name, audit in audits.items():
        gap = max(
            filter(None, audit["gaps"].values()), key=lambda gap: gap["difference"], default=None
        )
        worst = f", least {gap['worst']}" if gap else ""
        parts.append(f"{name} {text.percent(audit['accuracy'])}{worst}")
    return f"{what}: {'; '.join(parts)}"


def _finished(figure: matplotlib.figure.Figure, title: str, said: str) -> markupsafe.Markup:
    """A chart of one panel with its legend and its title above."""
    return svg(_titled(figure, title), f"{title}: {said}")


def _titled(figure: matplotlib.figure.Figure, title: str) -> matplotlib.figure.Figure:
    """The same figure with its title and its legend."""
    (axes,) = figure.axes
    axes.set_title(title, fontsize=8, loc="left", x=0, wrap=True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(8)
    handles, names = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, names, loc="outside upper left", ncols=1, frameon=False, fontsize=7.5
        )
    return figure


def _figure(width: float, height: float) -> matplotlib.figure.Figure:
    # Not pyplot, which keeps figures and asks for a display.
    return matplotlib.figure.Figure((width, height), layout="constrained")
