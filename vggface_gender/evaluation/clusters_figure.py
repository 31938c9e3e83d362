"""Faces as points in the plane, by t-SNE of their features, coloured by label and by cluster."""

from collections.abc import Mapping, Sequence

import matplotlib.axes
import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from vggface_gender.evaluation import clusters, palette

PLOTTED = 2_000  # faces in a plot at most: more hide one another, and take minutes
PERPLEXITY = 30  # of t-SNE: about how many neighbours a face has


def tsne(
    vectors: np.ndarray,
    table: pd.DataFrame,
    *,
    task: str,
    names: Sequence[str],
    title: str,
    seed: int = 0,
    most: int = PLOTTED,
) -> matplotlib.figure.Figure:
    """A dataset's t-SNE plot: the same faces coloured by their label and by that of their clusters.

    Args:
        vectors: (n, d) features.
        table: (n rows) the faces, see `clusters_faces.measure`.
        task: the column of their labels.
        names: the labels.
        title: the first words of it; how many faces there are is added.
        seed: of t-SNE, and of the sample.
        most: how many faces to draw, a sample where there are more.
    """
    drawn = np.random.default_rng(seed).permutation(len(table))[:most]
    sample = "" if len(drawn) == len(table) else f"{len(drawn):,} of "
    columns = {f"true {task}": task} | {
        f"{method} clusters, by matched label": f"{method} label" for method in clusters.METHODS
    }
    panels = {
        heading: table[column].iloc[drawn].map(list(names).index).to_numpy()
        for heading, column in columns.items()
    }
    return figure(
        plane(vectors[drawn], seed=seed),
        panels,
        names=names,
        title=f"{title}: {sample}{len(table):,} faces",
    )


def plane(features: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Points in the plane whose neighbours are those of the features: t-SNE.

    Neighbours have similar features; distances between groups and their sizes have no meaning
    (L. van der Maaten and G. Hinton, JMLR 9, 2008).

    Args:
        features: (n, d), any float dtype, n at least 2.

    Returns:
        (n, 2) `float32`.
    """
    count = len(features)
    model = TSNE(
        perplexity=min(PERPLEXITY, (count - 1) / 3),
        init="pca" if min(features.shape) > 1 else "random",
        random_state=seed,
    )
    with threadpool_limits(1):  # see `clusters.find`
        return model.fit_transform(features)


def figure(
    points: np.ndarray, panels: Mapping[str, np.ndarray], *, names: Sequence[str], title: str
) -> matplotlib.figure.Figure:
    """The same points once for each way of colouring them, side by side.

    Args:
        points: (n, 2), in random order: later ones hide earlier ones.
        panels: by heading, (n,) places in `names`.
        names: at most `len(palette.LABELS)`.
    """
    # Not pyplot, which keeps figures and asks for a display.
    drawn = matplotlib.figure.Figure((4.6 * len(panels), 5.6), dpi=150, layout="constrained")
    engine = drawn.get_layout_engine()
    engine.set(h_pad=0.12)  # type: ignore[call-arg,union-attr]
    drawn.suptitle(title, fontsize=12)
    colours = palette.of(names)
    every = drawn.subplots(1, len(panels), squeeze=False)[0]
    for axes, (heading, places) in zip(every, panels.items(), strict=True):
        axes.scatter(*points.T, s=8, c=[colours[place] for place in places], linewidths=0)
        axes.set_title(heading, fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        _add_legend(axes, names, np.bincount(places, minlength=len(names)))
    return drawn


def _add_legend(axes: matplotlib.axes.Axes, names: Sequence[str], counts: np.ndarray) -> None:
    """Each label's colour and count, below a panel."""
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=f"{name} ({number:,})")
        for name, colour, number in zip(names, palette.of(names), counts, strict=True)
    ]
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=2,
        frameon=False,
        fontsize=10,
    )
