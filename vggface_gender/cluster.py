"""Cluster faces by a network's features, and say how well the clusters agree with labels.

    python tools/cluster.py --datasets UTKFace FairFace --source path/to/faces
    python tools/cluster.py --datasets UTKFace --task race --run RUN

As many clusters as labels, by k-means and by agglomerative clustering, which see no label; then
each cluster is given the label that makes the most faces agree. Writes clusters.json, clusters.csv
with a row a face, and for each dataset a t-SNE plot, coloured by label and by cluster. Features are
cached as those of transfer are.
"""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vggface_gender.base import console, geometry, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from vggface_gender.datasets import Dataset
    from vggface_gender.inference.classifier import Classifier

PLOTTED = 2_000  # faces in a plot at most: more hide one another, and take minutes
NOTE = (
    "accuracy: every cluster is given one label and no label twice, such that most faces agree. "
    "Clusters are fitted on, and matched with, the very faces that they are scored on: an interval "
    "holds what the sampling of faces does to a share, not to the clusters. Labels are perceived."
)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(prog="python tools/cluster.py", description=__doc__.splitlines()[0])
    group = parser.add_argument_group("faces")
    group.add_argument(
        "--datasets",
        nargs="+",
        required=True,
        metavar="NAME",
        help="named ones, folders of class folders, .csv files",
    )
    group.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="the folder that holds one for each named dataset (else $FACES_DIR)",
    )
    group.add_argument("--data-dir", type=Path, default=Path("tfrecords"), metavar="DIR")
    group.add_argument(
        "--split-seed",
        type=int,
        default=0,
        metavar="N",
        help="of the split; a dataset that the run was trained on has the run's own",
    )
    group.add_argument("--split", default="test", help="train, validation or test")
    group.add_argument("--task", choices=("gender", "race"), default="gender")
    group.add_argument(
        "--count",
        type=options.positive,
        default=5_000,
        metavar="N",
        help="faces of a dataset at most, drawn by the seed: agglomerative clustering needs 8 "
        "bytes times their square, 200 MB for 5,000",
    )
    group = parser.add_argument_group("features")
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--backbone", default="dlib", metavar="NAME", help="dlib, vggface, or a .keras file"
    )
    either.add_argument("--run", metavar="RUN", help="a run's own network, as evaluate takes it")
    group.add_argument(
        "--layer",
        metavar="NAME",
        help="whose output the features are; with --run one of its backbone's or its head's, such "
        "as shared (default: dlib's embedding; of another backbone, and of a run's, the last)",
    )
    options.add_precision_argument(group)
    parser.add_argument(
        "--seed", type=options.count, default=0, metavar="N", help="of all that is drawn"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where all goes (default: model_files or the run's folder, in a folder clusters-...)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    path = None if arguments.run is None else runs.find(arguments.run)

    from vggface_gender.base import device

    device.start(arguments.seed)
    from tqdm import tqdm

    from vggface_gender.data import features
    from vggface_gender.evaluation import clusters

    model, padding, about = network(arguments, path)
    chosen = [choose(name, arguments, path) for name in arguments.datasets]
    labels = [one.dataset.label for one in chosen]
    if len(set(labels)) < len(labels):
        raise InputError(f"--datasets names two of one name: {', '.join(labels)}")
    cache = arguments.data_dir / "features"
    vectors = [
        vectors_of(features.extract(one.dataset, arguments.split, model, padding, cache), one)
        for one in chosen
    ]
    found, tables, plots = [], [], {}
    steps = len(chosen) * (len(clusters.METHODS) + 1)
    with tqdm(total=steps, desc="clusters and plots", unit=" steps") as bar:
        for one, vector in zip(chosen, vectors, strict=True):
            by_method = {}
            for method in clusters.METHODS:
                by_method[method] = clusters.find(vector, len(one.names), method, arguments.seed)
                bar.update()
            name = f"tsne-{one.dataset.label}.png"
            found.append(figures(one, by_method) | {"plot": name})
            tables.append(table(one, found[-1], by_method, arguments.task))
            plots[name] = plot(vector, tables[-1], found[-1], arguments, about)
            bar.update()

    import pandas as pd

    out = arguments.out or default_out(arguments, path, about["layer"])
    result = {
        "task": arguments.task,
        "split": arguments.split,
        "features": about,
        "seed": arguments.seed,
        "note": NOTE,
        "datasets": found,
    }
    with contextlib.ExitStack() as files:  # none is moved into place before all are written
        for name, picture in plots.items():
            picture.savefig(files.enter_context(files.whole(out / name)))
        rows = pd.concat(tables)
        rows.to_csv(files.enter_context(files.whole(out / "clusters.csv")), index=False)
        files.write_json(result, out / "clusters.json")
    for one in found:
        print(f"\n{describe(one, arguments, about)}\n\n{clusters.report(one)}")
    print(f"\n{NOTE}\n")
    for name in ("clusters.json", "clusters.csv", *plots):
        print(out / name)


def default_out(arguments: argparse.Namespace, path: Path | None, layer: str) -> Path:
    """Where results go that the user names no place for."""
    of = [] if path else [Path(arguments.backbone).stem]
    name = "-".join(["clusters", arguments.split, arguments.task, *of, layer])
    return (runs.results_folder(path) if path else runs.MODEL_FILES) / name


class Chosen(NamedTuple):
    """The faces of a dataset's split that are clustered."""

    dataset: "Dataset"
    trained_on: bool  # whether the run whose features they have was
    names: tuple[str, ...]  # the labels that occur in the split
    rows: "np.ndarray"  # (n,) places in the split
    faces: "pd.Series"  # (n,) what they are called
    true: "np.ndarray"  # (n,) places in `names`
    missing: int  # faces of the split without a label
    left_out: int  # faces with one that were not drawn


def choose(name: str, arguments: argparse.Namespace, path: Path | None) -> Chosen:
    """The faces of a dataset that have a label of the task, or `--count` of them.

    Args:
        path: the classifier's whose features are clustered, if a run's are.

    Raises:
        InputError: no such dataset or split, or too few labels or faces in it.
    """
    import numpy as np

    from vggface_gender import datasets
    from vggface_gender.data import records
    from vggface_gender.datasets import mixes

    own_split = {}
    if path and (path.parent / "config.json").is_file():
        own_split = mixes.own_split(runs.settings(path.parent), name)
    source = datasets.source_in(arguments.source, name)
    division = own_split or {"seed": arguments.split_seed}
    dataset = datasets.prepare(name, source, arguments.data_dir, **division)
    split, task = arguments.split, arguments.task
    dataset.require(split)
    truth = records.labels(dataset, split)
    occurring = set(truth[task])
    names = tuple(label for label in dataset.classes(task) if label in occurring)
    if len(names) < 2:
        there = f"one {task} alone, {names[0]}" if names else f"no {task} labels"
        raise InputError(f"{name} has {there} in its {split} split: nothing to compare clusters by")
    true = records.targets(truth, task, names)
    known = np.flatnonzero(true >= 0)
    rows = known
    if arguments.count < len(known):
        draw = np.random.default_rng(arguments.seed).choice(known, arguments.count, replace=False)
        rows = np.sort(draw)
    if len(rows) < len(names):
        raise InputError(
            f"{name}: {len(rows)} faces are fewer than the {len(names)} clusters, one for each "
            f"{task}: raise --count"
        )
    return Chosen(
        dataset,
        bool(own_split),
        names,
        rows,
        truth.name.iloc[rows],
        true[rows],
        missing=len(truth) - len(known),
        left_out=len(known) - len(rows),
    )


def network(
    arguments: argparse.Namespace, path: Path | None
) -> "tuple[keras.Model, float | None, dict]":
    """What the features come from: the model, the crops' frame, and what is to be said of it.

    Raises:
        InputError: no such backbone, classifier or layer.
    """
    from vggface_gender import backbones
    from vggface_gender.base import device
    from vggface_gender.inference import classifier

    layer = arguments.layer
    if path:
        trained = classifier.load(path, arguments.precision)
        model, padding, of = cut(trained, layer), trained.padding, {"run": arguments.run}
    else:
        if arguments.backbone == "dlib":
            layer = layer or "embedding"
        precision = device.precision(arguments.precision)
        model = backbones.load(arguments.backbone, precision, layer)
        padding, of = geometry.PADDING, {"backbone": arguments.backbone}
    return model, padding, of | {"layer": layer or model.output_names[0]}


def cut(trained: "Classifier", layer: str | None) -> "keras.Model":
    """A classifier's network from crops (b, size, size, 3) to the output of one of its layers.

    Args:
        layer: of the head, or else of the backbone; None for the backbone's last, which the head
            begins with.

    Raises:
        InputError: neither has it.
    """
    import keras

    backbone, head = trained.parts()
    if layer is None:
        return backbone
    inner = {one.name: one for one in head.layers if not isinstance(one, keras.layers.InputLayer)}
    outer = {one.name: one for one in backbone.layers}
    if layer in inner:
        hidden = keras.Model(head.input, inner[layer].output, name=layer)
        output = hidden(backbone.output)
    elif layer in outer:
        output = outer[layer].output
    else:
        raise InputError(
            f"the run has no layer {layer}: its head's are {', '.join(inner)}; the last of its "
            f"backbone's {', '.join([*outer][-5:])}"
        )
    return keras.Model(backbone.input, output, name=backbone.name)


def vectors_of(features: "np.ndarray", chosen: Chosen) -> "np.ndarray":
    """The chosen faces' features (n, d) of a split's (m, ...).

    Raises:
        InputError: they are all the same, or not numbers.
    """
    import numpy as np

    vectors = features[chosen.rows].reshape(len(chosen.rows), -1)
    if not 0 < np.ptp(vectors, axis=0).max() < np.inf:
        raise InputError(
            f"{chosen.dataset.name}: the features of all faces are the same, or not finite: "
            "give another --layer"
        )
    return vectors


def figures(chosen: Chosen, by_method: "dict[str, np.ndarray]") -> dict:
    """A dataset's part of clusters.json.

    Args:
        by_method: (n,) clusters.
    """
    from vggface_gender.evaluation import clusters

    return {
        "dataset": chosen.dataset.label,
        "fingerprint": chosen.dataset.fingerprint,
        "trained_on": chosen.trained_on,
        "count": len(chosen.rows),
        "missing": chosen.missing,
        "left_out": chosen.left_out,
        "labels": list(chosen.names),
        "majority": clusters.majority(chosen.true, chosen.names),
        "methods": {
            method: clusters.scores(chosen.true, places, chosen.names)
            for method, places in by_method.items()
        },
    }


def table(
    chosen: Chosen, found: dict, by_method: "dict[str, np.ndarray]", task: str
) -> "pd.DataFrame":
    """A dataset's rows of clusters.csv, a face each: its label, and each method's for its cluster.

    Args:
        found: what `figures` gives.
        by_method: (n,) clusters.
    """
    import pandas as pd

    columns = {
        "dataset": chosen.dataset.label,
        "name": chosen.faces.to_numpy(),
        task: [chosen.names[place] for place in chosen.true],
    }
    for method, places in by_method.items():
        matched = [cluster["label"] for cluster in found["methods"][method]["clusters"]]
        columns[method] = places
        columns[f"{method} label"] = [matched[place] for place in places]
    return pd.DataFrame(columns)


def plot(
    features: "np.ndarray",
    faces: "pd.DataFrame",
    found: dict,
    arguments: argparse.Namespace,
    about: dict,
) -> "Figure":
    """A dataset's t-SNE plot: the faces coloured by their label and by that of their clusters.

    Args:
        features: (n, d).
        faces: what `table` gives of them.
        found: what `figures` gives.
        about: the features.
    """
    import numpy as np

    from vggface_gender.evaluation import clusters

    drawn = np.random.default_rng(arguments.seed).permutation(len(faces))[:PLOTTED]
    names = found["labels"]
    panels = {f"true {arguments.task}": arguments.task} | {
        f"{method} clusters, by the label matched": f"{method} label" for method in found["methods"]
    }
    of = "" if len(drawn) == len(faces) else f"{len(drawn):,} of "
    return clusters.figure(
        clusters.flatten(features[drawn], arguments.seed),
        {
            heading: faces[column].iloc[drawn].map(names.index).to_numpy()
            for heading, column in panels.items()
        },
        names,
        f"{found['dataset']} {arguments.split}, {of}{len(faces):,} faces, t-SNE of {told(about)}",
    )


def told(about: dict) -> str:
    """What the features are, to read."""
    return ", ".join(f"{key} {value}" for key, value in about.items())


def describe(found: dict, arguments: argparse.Namespace, about: dict) -> str:
    """What a dataset's figures are of.

    Args:
        found: what `figures` gives.
    """
    lines = [
        f"{found['dataset']} {arguments.split}: {found['count']:,} faces in "
        f"{len(found['labels'])} clusters by {told(about)}"
    ]
    if found["missing"]:
        lines.append(f"  without a {arguments.task}, left out: {found['missing']:,}")
    if found["left_out"]:
        lines.append(
            f"  not drawn, left out: {found['left_out']:,} (--count {arguments.count}, "
            f"seed {arguments.seed})"
        )
    if found["trained_on"]:
        lines.append("  the run was trained on this dataset's training split")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(console.run(main))
