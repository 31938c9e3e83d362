"""Clusters of features, and how well they agree with labels that the clustering did not see.

Each cluster is given one label and no label twice, so that as many faces as possible have the label
of their cluster: the assignment problem, which the Hungarian algorithm solves (H. W. Kuhn, Naval
Research Logistics Quarterly 2, 1955). Clusters are fitted on, and matched with, the faces that they
are scored on, so the accuracy is a little optimistic, the more so the fewer faces there are. The
adjusted Rand index is not: for clusters that are independent of the labels it is 0 on average.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from vggface_gender.evaluation import intervals, metrics
from vggface_gender.evaluation.groups import SMALL

METHODS = ("k-means", "agglomerative")
STARTS = 10  # of k-means, from which the tightest clusters are taken


def find(features: np.ndarray, count: int, *, method: str, seed: int = 0) -> np.ndarray:
    """The cluster of each face, by Euclidean distances between features as they are.

    Args:
        features: (n, d), any float dtype, n at least `count`.
        count: how many clusters.
        method: "k-means", the best of `STARTS`; or "agglomerative", which merges the two clusters
            whose merging adds least to the squared distances from the centres (J. H. Ward, JASA 58,
            1963), and holds all n (n - 1) / 2 distances in memory, twice, 8 bytes each.
        seed: of k-means's starts; agglomerative clustering draws nothing.

    Returns:
        (n,) `int64` in `[0, count)`.
    """
    if method == "k-means":
        model = KMeans(count, n_init=STARTS, random_state=seed)
    else:
        model = AgglomerativeClustering(count, linkage="ward")
    # Sums over several threads depend on which of them is first, and so would all that follows.
    with threadpool_limits(1):
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


def scores(true: np.ndarray, clusters: np.ndarray, *, names: Sequence[str]) -> dict:
    """How well clusters agree with labels, as JSON can hold it.

    Args:
        true: (n,) places in `names`.
        clusters: (n,) numbers of clusters in `[0, len(names))`, in any order.

    Returns:
        - `accuracy` after matching, and its 95% Wilson `interval`;
        - `adjusted_rand`: 1 for clusters that are the labels, about 0 for chance (L. Hubert and
          P. Arabie, Journal of Classification 2, 1985);
        - `purity`: the share of faces that have the most frequent label of their cluster (C. D.
          Manning et al., Introduction to Information Retrieval, 2008, 16.3), never under the share
          of the most frequent label;
        - `clusters`: the `label` matched to each, in the order of their numbers, and their `count`;
        - `groups`: by true label that occurs, `count`, `accuracy`, `interval`, and whether it is
          `small`;
        - `confusion`: counts, a row for each true label, a column for each matched one.
    """
    counts = metrics.confusion(true, clusters, classes=len(names))
    labels = match(counts)
    confusion = counts[:, np.argsort(labels)]
    number = len(true)
    return {
        **_accuracy(int(confusion.trace()), number),
        "adjusted_rand": float(adjusted_rand_score(true, clusters)),
        "purity": int(counts.max(axis=0).sum()) / number,
        "clusters": [
            {"label": names[label], "count": int(size)}
            for label, size in zip(labels, counts.sum(axis=0), strict=True)
        ],
        "groups": {
            name: {
                "count": (total := int(row.sum())),
                **_accuracy(int(row[place]), total),
                "small": total < SMALL,
            }
            for place, (name, row) in enumerate(zip(names, confusion, strict=True))
            if row.any()
        },
        "confusion": confusion.tolist(),
    }


def majority(true: np.ndarray, *, names: Sequence[str]) -> dict:
    """The most frequent label, and the `accuracy` of giving it to every face.

    Args:
        true: (n,) places in `names`.
    """
    counts = np.bincount(true, minlength=len(names))
    return {"label": names[int(counts.argmax())], "accuracy": int(counts.max()) / len(true)}


def _accuracy(hits: int, count: int) -> dict:
    return {"accuracy": hits / count, "interval": intervals.wilson(hits, count).tolist()}
