"""The matrix of runs by datasets as a heat map."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.axes
import matplotlib.figure
import matplotlib.patches
import numpy as np

from vggface_gender.base import files
from vggface_gender.base.tasks import TASKS

PANEL = 2.3  # inches: the least width of a panel, which its title needs
INSET = 0.04  # of a frame within its cell, so that neighbouring frames are two
IN_DOMAIN = "#d55e00"  # the frame of what a classifier was trained on


def figure(means: Sequence[Mapping]) -> matplotlib.figure.Figure:
    """A panel for each task: runs down, datasets across, the score (the mean over repeats) in each.

    Darker is better. In-domain cells have a frame.

    Args:
        means: see `cells.means`.
    """
    tasks = [task for task in TASKS if any(task in row for row in means)]
    names = list(dict.fromkeys(row["run"] for row in means))
    across = list(dict.fromkeys(row["dataset"] for row in means))
    longest = max(map(len, names))
    panel = max(0.4 + 0.95 * len(across), PANEL)
    width = 0.5 + 0.07 * longest + panel * max(len(tasks), 1)
    height = 1.3 + 0.45 * len(names) + 0.06 * max(map(len, across))
    # Not pyplot, which keeps figures and asks for a display.
    drawn = matplotlib.figure.Figure((width, height), dpi=150, layout="constrained")
    panels = drawn.subplots(1, max(len(tasks), 1), sharey=True, squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=False):
        _panel(axes, task, means, names, across)
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    drawn.suptitle("Runs by datasets, test splits", fontsize=10)
    if any(row["trained_on"] for row in means):
        drawn.supxlabel("framed: in-domain; others: cross-dataset", fontsize=7, color=IN_DOMAIN)
    return drawn


def save(drawn: matplotlib.figure.Figure, path: Path) -> None:
    """Write the heat map as PNG, whole or not at all."""
    with files.whole(path) as part:
        drawn.savefig(part)


def _panel(
    axes: matplotlib.axes.Axes,
    task: str,
    means: Sequence[Mapping],
    names: Sequence[str],
    across: Sequence[str],
) -> None:
    its = TASKS[task]
    scores = np.full((len(names), len(across)), np.nan)
    for row in means:
        if task in row:
            place = names.index(row["run"]), across.index(row["dataset"])
            scores[place] = row[task]["mean"]
            if row["trained_on"]:
                corner = (place[1] - 0.5 + INSET, place[0] - 0.5 + INSET)
                side = 1 - 2 * INSET
                frame = matplotlib.patches.Rectangle(
                    corner, side, side, fill=False, edgecolor=IN_DOMAIN, linewidth=2, zorder=3
                )
                axes.add_patch(frame)
    # Of one value or of equal ones the colour is the middle one.
    low, high = np.nanmin(scores), np.nanmax(scores)
    room = max(high - low, 1e-6) / 2
    colours = "Blues" if its.greater_is_better else "Blues_r"
    axes.imshow(scores, cmap=colours, vmin=low - room, vmax=high + room, aspect="auto")
    for (line, column), score in np.ndenumerate(scores):
        shown = "-" if np.isnan(score) else its.format(score)
        share = 0.0 if np.isnan(score) else (score - low + room) / (high - low + 2 * room)
        is_dark = (share if its.greater_is_better else 1 - share) > 0.6 and not np.isnan(score)
        colour = "white" if is_dark else "black"
        axes.text(column, line, shown, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(across)), across, fontsize=8, rotation=30, ha="right")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{task}, {its.score_name}", fontsize=8)
