"""Clusters of features, and how well they agree with labels that the clustering did not see.

Each cluster is given one label and no label twice, so that as many faces as possible have the label
of their cluster (the assignment problem; H. W. Kuhn, Naval Research Logistics Quarterly 2, 1955).
Clusters are fitted on, and matched with, the faces that they are scored on, so an accuracy here
flatters a little, the more the fewer faces there are. The adjusted Rand index does not: for
clusters that have nothing to do with the labels it is 0 on average.
"""

from collections.abc import Mapping, Sequence

import matplotlib.figure
import numpy as np
from matplotlib.lines import Line2D
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from vggface_gender.evaluation import metrics
from vggface_gender.evaluation.metrics import CONFIDENCE, SMALL

METHODS = ("k-means", "agglomerative")
STARTS = 10  # of k-means, from which the tightest clusters are taken
PERPLEXITY = 30  # of t-SNE: about how many neighbours a face has
# For people of every colour vision: those of M. Okabe and K. Ito (Color Universal Design, 2008),
# with grey in place of their yellow, which is faint on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#555555")


def find(features: np.ndarray, count: int, method: str, seed: int = 0) -> np.ndarray:
    """The cluster of each face, by Euclidean distances between features as they are.

    Args:
        features: (n, d), any float dtype, n at least `count`.
        count: how many clusters.
        method: "k-means", the best of `STARTS`; or "agglomerative", which joins the two clusters
            whose joining adds least to the squared distances from the centres (J. H. Ward, JASA 58,
            1963), and holds all n (n - 1) / 2 distances in memory, twice, 8 bytes each.
        seed: of k-means's starts; agglomerative clustering has no chance in it.

    Returns:
        (n,) `int64` in `[0, count)`.
    """
    if method == "k-means":
        model = KMeans(count, n_init=STARTS, random_state=seed)
    else:
        model = AgglomerativeClustering(count, linkage="ward")
    with _one_thread():
        return model.fit_predict(features).astype(np.int64)


def match(counts: np.ndarray) -> np.ndarray:
    """The label of each cluster, no label twice, under which most faces agree with theirs.

    Which of several that are equally good does not depend on how the clusters are numbered.

    Args:
        counts: (labels, clusters) faces, as many labels as clusters.

    Returns:
        (clusters,) places of labels.
    """
    order = np.lexsort(counts)
    rows, columns = linear_sum_assignment(counts[:, order], maximize=True)
    return rows[np.argsort(order[columns])]


def scores(true: np.ndarray, clusters: np.ndarray, names: Sequence[str]) -> dict:
    """How well clusters agree with labels, as JSON can hold it.

    Args:
        true: (n,) places in `names`.
        clusters: (n,) numbers of clusters in `[0, len(names))`, in any order.

    Returns:
        - `accuracy` after matching, and its 95% Wilson `interval`;
        - `adjusted_rand`: 1 for clusters that are the labels, about 0 for chance (L. Hubert and
          P. Arabie, Journal of Classification 2, 1985);
        - `purity`: the share of faces that have the commonest label of their cluster (C. D. Manning
          et al., Introduction to Information Retrieval, 2008, 16.3), never under the share of the
          commonest label;
        - `clusters`: the `label` matched to each, in the order of their numbers, and their `count`;
        - `groups`: by true label that occurs, `count`, `accuracy`, `interval`, and whether it is
          `small`;
        - `confusion`: counts, a row for each true label, a column for each matched one.
    """
    counts = metrics.confusion(true, clusters, classes=len(names))
    labels = match(counts)
    confusion = counts[:, np.argsort(labels)]
    hits, number = int(confusion.trace()), len(true)
    return {
        "accuracy": hits / number,
        "interval": metrics.wilson(hits, number),
        "adjusted_rand": float(adjusted_rand_score(true, clusters)),
        "purity": int(counts.max(axis=0).sum()) / number,
        "clusters": [
            {"label": names[label], "count": int(size)}
            for label, size in zip(labels, counts.sum(axis=0), strict=True)
        ],
        "groups": {
            name: {
                "count": (total := int(row.sum())),
                "accuracy": int(row[place]) / total,
                "interval": metrics.wilson(int(row[place]), total),
                "small": total < SMALL,
            }
            for place, (name, row) in enumerate(zip(names, confusion, strict=True))
            if row.any()
        },
        "confusion": confusion.tolist(),
    }


def majority(true: np.ndarray, names: Sequence[str]) -> dict:
    """The commonest label, and the `accuracy` of giving it to every face.

    Args:
        true: (n,) places in `names`.
    """
    counts = np.bincount(true, minlength=len(names))
    return {"label": names[counts.argmax()], "accuracy": int(counts.max()) / len(true)}


def flatten(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Points in the plane whose neighbours are those of the features: t-SNE.

    What lies near together is alike; distances between groups and their sizes tell nothing
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
    with _one_thread():
        return model.fit_transform(features)


def figure(
    points: np.ndarray, panels: Mapping[str, np.ndarray], names: Sequence[str], title: str
) -> matplotlib.figure.Figure:
    """The same points once for each way of colouring them, side by side.

    Args:
        points: (n, 2), in an order that means nothing: later ones hide earlier ones.
        panels: by heading, (n,) places in `names`.
        names: at most `len(COLOURS)`.
    """
    # Not pyplot, which keeps figures and asks for a display.
    drawn = matplotlib.figure.Figure((4.6 * len(panels), 5.6), dpi=150, layout="constrained")
    drawn.suptitle(title, fontsize=12)
    for axes, (heading, places) in zip(
        drawn.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        axes.scatter(*points.T, s=8, c=[COLOURS[place] for place in places], linewidths=0)
        axes.set_title(heading, fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        handles = [
            Line2D([], [], marker="o", linestyle="", color=colour, label=f"{name} ({number:,})")
            for name, colour, number in zip(
                names, COLOURS, np.bincount(places, minlength=len(names)), strict=False
            )
        ]
        axes.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.01),
            ncols=2,
            frameon=False,
            fontsize=10,
        )
    return drawn


def report(figures: Mapping) -> str:
    """A plain-text report on one dataset.

    Args:
        figures: `labels`, `majority` (see there) and, by method, `methods` (see `scores`).
    """
    percent = "{:.1%}".format
    overall = [["", "accuracy", f"{CONFIDENCE:.0%} interval", "adjusted Rand", "purity"]]
    overall += [
        [
            method,
            percent(one["accuracy"]),
            "{:.1%} to {:.1%}".format(*one["interval"]),
            f"{one['adjusted_rand']:.3f}",
            percent(one["purity"]),
        ]
        for method, one in figures["methods"].items()
    ]
    guess = figures["majority"]
    share = percent(guess["accuracy"])
    overall.append([f'"{guess["label"]}" for every face', share, "-", f"{0:.3f}", share])
    groups = [["", "label", "faces", "accuracy", f"{CONFIDENCE:.0%} interval", "its cluster", ""]]
    for method, one in figures["methods"].items():
        sizes = {cluster["label"]: cluster["count"] for cluster in one["clusters"]}
        groups += [
            [
                method,
                name,
                f"{group['count']:,}",
                percent(group["accuracy"]),
                "{:.1%} to {:.1%}".format(*group["interval"]),
                f"{sizes[name]:,}",
                "small" if group["small"] else "",
            ]
            for name, group in one["groups"].items()
        ]
    note = f"\n  small: under {SMALL} faces" if any(row[-1] for row in groups) else ""
    return "\n\n".join(
        [
            metrics.aligned(overall, text_columns=range(1)),
            metrics.aligned(groups, text_columns=range(2)) + note,
        ]
    )


def _one_thread() -> threadpool_limits:
    """Sums over several threads depend on which of them is first, and so would all that follows."""
    return threadpool_limits(1)
