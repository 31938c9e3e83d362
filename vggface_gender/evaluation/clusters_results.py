"""Datasets' faces clustered: the figures, a row for each face, and the plots."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.figure
import numpy as np
import pandas as pd
from tqdm import tqdm

from vggface_gender.base import files
from vggface_gender.evaluation import clusters, clusters_faces, clusters_figure, clusters_report
from vggface_gender.evaluation.clusters_faces import Faces
from vggface_gender.inference.feature_network import Network


class Results(NamedTuple):
    """What the clustering of several datasets comes to."""

    summary: dict  # see `measure`
    table: pd.DataFrame  # see `cluster`; all datasets' rows
    plots: dict[str, matplotlib.figure.Figure]  # by file name


def measure(
    chosen: Sequence[Faces], network: Network, *, directory: Path, seed: int = 0
) -> Results:
    """Cluster the faces of each dataset by a network's features.

    Args:
        chosen: at least one; of one split and one task, no two datasets of one `label`.
        directory: the cache of features (see `features.extract`).
        seed: of k-means and t-SNE.

    Returns:
        The summary, as JSON can hold it, has `task`, `split`, `features` (what they are), `seed`, a
        `note` for readers, and `datasets`: for each what `cluster` gives, and the name of its
        `plot`.

    Raises:
        InputError: see `clusters_faces.vectors`.
    """
    vectors = [clusters_faces.vectors(faces, network, directory=directory) for faces in chosen]
    found, tables, plots = [], [], {}
    features = clusters_report.describe_features(network.about)
    steps = len(chosen) * (len(clusters.METHODS) + 1)
    with tqdm(total=steps, desc="clusters and plots", unit=" steps") as bar:
        for faces, its in zip(chosen, vectors, strict=True):
            figures, table = cluster(faces, its, seed=seed, advance=bar.update)
            name = f"tsne-{faces.label.replace('/', '-')}.png"
            plots[name] = clusters_figure.tsne(
                its,
                table,
                task=faces.task,
                names=faces.names,
                title=f"{faces.label} {faces.split}, t-SNE of {features}",
                seed=seed,
            )
            found.append(figures | {"plot": name})
            tables.append(table)
            bar.update()
    summary = {
        "task": chosen[0].task,
        "split": chosen[0].split,
        "features": network.about,
        "seed": seed,
        "note": clusters_report.NOTE,
        "datasets": found,
    }
    return Results(summary, pd.concat(tables, ignore_index=True), plots)


def cluster(
    faces: Faces,
    vectors: np.ndarray,
    *,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> tuple[dict, pd.DataFrame]:
    """The clusters of one dataset's faces by each method, as many as there are labels.

    Args:
        vectors: (n, d) the faces' features.
        seed: see `clusters.find`.
        advance: called after each method.

    Returns:
        The figures, as JSON can hold them: `dataset`, `fingerprint`, `trained_on` (whether it is
        in-domain), `count`, `missing`, `left_out`, `labels`, `majority` (see `clusters.majority`)
        and, by method, `methods` (see `clusters.scores`). And a table of a row for each face:
        `dataset`, `name`, the task's label, and by method its cluster's number, `<method>`, and the
        label matched to that, `<method> label`.
    """
    by_method = {}
    for method in clusters.METHODS:
        by_method[method] = clusters.find(vectors, len(faces.names), method=method, seed=seed)
        advance()
    methods = {
        method: clusters.scores(faces.true, places, names=faces.names)
        for method, places in by_method.items()
    }
    figures = {
        "dataset": faces.label,
        "fingerprint": faces.dataset.fingerprint,
        "trained_on": faces.is_in_domain,
        "count": len(faces.rows),
        "missing": faces.missing,
        "left_out": faces.left_out,
        "labels": list(faces.names),
        "majority": clusters.majority(faces.true, names=faces.names),
        "methods": methods,
    }
    return figures, _table(faces, methods, by_method)


def place(folder: Path, results: Results) -> Path:
    """The folder where results belong: `folder`, one beside it where that is of other records."""
    try:
        there = json.loads((folder / "clusters.json").read_text())["datasets"]
        known = [each["fingerprint"] for each in there]
    except (OSError, ValueError, KeyError, TypeError):
        return folder
    wanted = [each["fingerprint"] for each in results.summary["datasets"]]
    if known == wanted:
        return folder
    digest = hashlib.blake2b("".join(wanted).encode(), digest_size=4).hexdigest()
    return folder.with_name(f"{folder.name}-{digest}")


def write(results: Results, folder: Path) -> list[Path]:
    """Write `clusters.json`, `clusters.csv` and the plots, all of them or none; returns the files.

    One that is there already is replaced.
    """
    written = [folder / name for name in ("clusters.json", "clusters.csv", *results.plots)]
    with contextlib.ExitStack() as stack:  # none is moved into place before all are written
        for name, plot in results.plots.items():
            plot.savefig(stack.enter_context(files.whole(folder / name)))
        rows = stack.enter_context(files.whole(folder / "clusters.csv"))
        results.table.to_csv(rows, index=False)
        files.write_json(results.summary, folder / "clusters.json")
    return written


def _table(
    faces: Faces, methods: Mapping[str, Mapping], by_method: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    columns: dict = {
        "dataset": faces.label,
        "name": faces.files,
        faces.task: np.array(faces.names)[faces.true],
    }
    for method, places in by_method.items():
        matched = np.array([cluster["label"] for cluster in methods[method]["clusters"]])
        columns |= {method: places, f"{method} label": matched[places]}
    return pd.DataFrame(columns)
