"""Cluster faces by a network's features, and measure how well the clusters agree with labels.

    vggface-gender cluster --datasets UTKFace FairFace --source path/to/faces
    vggface-gender cluster --datasets UTKFace --task race --run RUN

As many clusters as labels, by k-means and by agglomerative clustering, which see no label; then
each cluster is given the label that makes the most faces agree. Writes clusters.json, clusters.csv
with a row for each face, and for each dataset a t-SNE plot, coloured by label and by cluster.
Features are cached beside the records, as those of transfer are.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender.base import console, contract, networks, options, runs, tasks
from vggface_gender.datasets import catalogue


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("cluster", __doc__, extra="train")
    options.add_datasets_arguments(parser, catalogue.NAMED)
    group = parser.add_argument_group("faces")
    options.add_split_argument(group)
    group.add_argument(
        "--task",
        choices=tasks.CLASSIFICATION,
        default="gender",
        help="whose labels the clusters are compared with",
    )
    group.add_argument(
        "--count",
        type=options.positive,
        default=5_000,
        metavar="N",
        help="cluster a random sample of N faces of each dataset that has more: agglomerative "
        "clustering needs 8 bytes times their square, 200 MB for 5,000",
    )
    group = parser.add_argument_group("features")
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--backbone",
        default="dlib",
        metavar="NAME",
        help="the pretrained network whose features to cluster: dlib, faceres, vggface, resnet50, "
        "a .keras file or FILE.onnx; or several side by side, such as dlib+faceres",
    )
    either.add_argument(
        "--run",
        metavar="RUN",
        help="a trained classifier whose features to cluster in place of a backbone's: a run's "
        "name under model_files, its folder, or a .keras file. A dataset that it was trained on "
        "is split as then",
    )
    group.add_argument(
        "--layer",
        metavar="NAME",
        help="the layer whose output is the features; with --run one of its backbone's or of its "
        "head's, such as shared (default: dlib's embedding, FaceRes's pooled; the last of other "
        "backbones, and of a run's)",
    )
    options.add_precision_argument(group)
    parser.add_argument(
        "--seed",
        type=options.seed,
        default=0,
        metavar="N",
        help="the seed of the sample of faces, of k-means and of t-SNE",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the folder that all is written to (default: a folder clusters-... in model_files, or "
        "in the run's folder; another one where that is of other datasets)",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    called = catalogue.labels(arguments.datasets)
    path = None if arguments.run is None else runs.find(arguments.run)
    if path is None:
        networks.check(arguments.backbone)
    else:
        contract.read(path)

    from vggface_gender import datasets

    datasets.check_each(arguments.datasets, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start(arguments.seed)
    from vggface_gender.evaluation import (
        clusters_faces,
        clusters_report,
        clusters_results,
    )
    from vggface_gender.inference import feature_network

    taken = {"layer": arguments.layer, "precision": arguments.precision}
    if path is None:
        network = feature_network.of_backbone(arguments.backbone, **taken)
    else:
        network = feature_network.of_run(path, arguments.run, **taken)
    chosen = [
        clusters_faces.choose(
            name,
            arguments.split,
            task=arguments.task,
            count=arguments.count,
            seed=arguments.seed,
            run=path,
            source=arguments.source,
            data_dir=arguments.data_dir,
            split_seed=arguments.split_seed,
            keep_going=arguments.keep_going,
            align=arguments.align,
        )
        for name in arguments.datasets
    ]
    chosen = [faces._replace(label=called[faces.dataset.name]) for faces in chosen]
    results = clusters_results.measure(
        chosen, network, directory=runs.features_folder(arguments.data_dir), seed=arguments.seed
    )
    out = arguments.out or clusters_results.place(
        default_out(arguments, path, network.about["layer"]), results
    )
    written = clusters_results.write(results, out)
    print(clusters_report.report(results.summary) + "\n")
    for file in written:
        print(file)


def default_out(arguments: argparse.Namespace, path: Path | None, layer: str) -> Path:
    """Where results go that the user names no place for.

    Args:
        path: the classifier's file, if a run's features are clustered.
    """
    of = [] if path else [networks.label(arguments.backbone)]
    name = "-".join(["clusters", arguments.split, arguments.task, *of, layer])
    return (runs.results_folder(path) if path else runs.MODEL_FILES) / name


if __name__ == "__main__":
    sys.exit(console.run(main))
