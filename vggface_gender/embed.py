"""Write the embeddings of faces, of photos or of a dataset, for other programs to learn from.

    vggface-gender embed album/ --out faces.csv
    vggface-gender embed crops/ --detector none --frame 0.25 --backbone arcface.onnx --out crops.h5
    vggface-gender embed --dataset UTKFace --split train --backbone faceres --out train.h5

Detects the faces in photos and aligns them; a dataset's records are taken as a training takes them,
and its labels are written too. Each face is a row: its name, in a photo its box and score, and the
numbers.

CSV has them in columns e0, e1, ...; HDF5 (.h5) as the dataset embeddings, (faces, numbers) float32,
with the other columns beside it and the backbone, its layer and the crops' frame as attributes.

Photos that can't be read are named on standard error, and those without a face counted. Exit
status: 0 if every photo was read, 1 if some could not be, 2 if none could, and nothing was written.
"""

import argparse
import collections
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, contract, networks, options, parts, runs, text
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue

if TYPE_CHECKING:
    from vggface_gender.inference.embeddings import Rows
    from vggface_gender.inference.feature_network import Network

SUFFIXES = (".csv", ".h5", ".hdf5")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    from vggface_gender.photos import MAX_UPSAMPLE, THRESHOLD

    parser = options.Parser("embed", __doc__, extra="train")
    parser.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        help="an image, a folder of images, a quoted pattern ('album/*.jpg') or a file: URL; or "
        "none, and a --dataset",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="the table that is written: .csv or .h5",
    )
    group = parser.add_argument_group("network")
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--backbone",
        default="dlib",
        metavar="NAME",
        help="the pretrained network: dlib, faceres, vggface, resnet50, a .keras file, FILE.onnx "
        "(FILE.onnx:bgr, FILE.onnx:rgb:MEAN:DEVIATION), or several side by side, such as "
        "dlib+faceres",
    )
    either.add_argument(
        "--run", metavar="RUN", help="a trained classifier, up to its head, in its place"
    )
    group.add_argument(
        "--layer",
        metavar="NAME",
        help="the layer whose output is written (default: embedding, of dlib, FaceRes and ONNX "
        "networks; of others what they give)",
    )
    options.add_precision_argument(group)
    faces = parser.add_argument_group("photos")
    faces.add_argument("--recursive", action="store_true", help="enter folders within folders")
    options.add_detector_argument(faces)
    options.add_search_arguments(faces, most_upsample=MAX_UPSAMPLE, threshold=THRESHOLD)
    options.add_dataset_arguments(parser, catalogue.NAMED, split_seed=None, required=False)
    options.add_split_argument(parser)
    options.add_engine_arguments(parser)
    # An embedding is to be the same on every machine.
    parser.set_defaults(precision="float32")
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    if bool(arguments.photos) == (arguments.dataset is not None):
        raise InputError("give photos or a --dataset, one of the two")
    if arguments.photos and arguments.frame is not None and arguments.detector != "none":
        raise InputError("--frame says what crops show: give it with --detector none")
    if arguments.out.suffix.lower() not in SUFFIXES or arguments.out.is_dir():
        raise InputError(f"{arguments.out}: give a file whose name ends in {' or '.join(SUFFIXES)}")
    path = None if arguments.run is None else runs.find(arguments.run)
    if path is None:
        networks.check(arguments.backbone)
    else:
        contract.read(path)
    if arguments.dataset:
        from vggface_gender import datasets

        datasets.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)
    return _of_dataset(arguments, path) if arguments.dataset else _of_photos(arguments, path)


def _network(arguments: argparse.Namespace, path: Path | None) -> "Callable[[], Network]":
    """What gives the network, here and in other processes."""
    from vggface_gender.base import device

    device.start()
    from vggface_gender.inference import feature_network

    taken = {"precision": arguments.precision}
    if path is not None:
        run = {"layer": arguments.layer, **taken}
        return functools.partial(feature_network.of_run, path, arguments.run, **run)
    layer = arguments.layer or networks.embedding(arguments.backbone)
    return functools.partial(feature_network.of_backbone, arguments.backbone, layer=layer, **taken)


def _of_dataset(arguments: argparse.Namespace, path: Path | None) -> int:
    from vggface_gender import datasets
    from vggface_gender.evaluation import held_out
    from vggface_gender.inference import embeddings
    from vggface_gender.scale import engine

    does = engine.chosen(**options.engine_arguments(arguments))
    load = _network(arguments, path)
    network = load()
    given = options.dataset_arguments(arguments)
    if path is not None:
        dataset = held_out.prepare(path, **given)
    else:
        given |= {"seed": arguments.split_seed or 0, "align": arguments.align or "auto"}
        dataset = datasets.prepare(**given)
    dataset.require(arguments.split)
    count = embeddings.write(
        embeddings.of_records(
            dataset,
            arguments.split,
            network=network,
            directory=runs.features_folder(arguments.data_dir),
            engine=does,
            load=load,
        ),
        arguments.out,
        columns=embeddings.OF_RECORDS,
        network=network,
        dataset=dataset.name,
        split=arguments.split,
        records=dataset.fingerprint,
    )
    _say(count, network, arguments.out)
    return 0


def _of_photos(arguments: argparse.Namespace, path: Path | None) -> int:
    with console.silenced():  # TensorFlow's notes as it is imported
        from vggface_gender.data import features
        from vggface_gender.inference import embeddings
    from vggface_gender.photos import detect, folders, sources
    from vggface_gender.scale import engine

    found, left_out = sources.find(arguments.photos, recursive=arguments.recursive)
    for line in folders.describe(left_out):
        print(f"left out: {line}", file=sys.stderr)
    for source in found:
        if source.kind != sources.PHOTO:
            raise InputError(f"{source.name}: a {source.kind}; embed takes photos")
    load = _network(arguments, path)
    network = features.loaded(load)
    wanted = embeddings.in_parts(
        found,
        arguments.out,
        load=load,
        search=embeddings.Search(
            detect.chosen(arguments.detector),
            arguments.upsample,
            arguments.threshold,
            arguments.min_face,
            arguments.frame,
        ),
    )
    does = engine.chosen(**options.engine_arguments(arguments))
    parts.finish(does, wanted, what="photos")
    counts: collections.Counter = collections.Counter()
    errors: list[str] = []

    def rows() -> "Iterator[Rows]":
        for part in wanted:
            its = parts.read(part.path)
            errors.extend(its.errors)
            counts.update({"no face": its.no_face, "small": its.small})
            yield from its.rows
        if len(errors) == len(found):
            parts.discard(arguments.out)
            raise InputError(
                errors[0]
                if len(found) == 1
                else f"none of {len(found):,} photos can be read; nothing is written"
            )

    count = embeddings.write(
        rows(),
        arguments.out,
        columns=embeddings.OF_PHOTOS,
        network=network,
        detector=detect.chosen(arguments.detector),
    )
    parts.discard(arguments.out)
    for error in errors:
        print(f"error: {text.printable(error)}", file=sys.stderr)
    for what in ("no face", "small"):
        if counts[what]:
            said = {"no face": "photos without a face", "small": "faces left out as too small"}
            print(f"{said[what]}: {counts[what]:,}", file=sys.stderr)
    if errors:
        print(f"error: {len(errors):,} of {len(found):,} photos can't be read", file=sys.stderr)
    _say(count, network, arguments.out)
    return 1 if errors else 0


def _say(count: int, network: "Network", out: Path) -> None:
    """Print what was written."""
    of = ", ".join(f"{key} {value}" for key, value in network.about.items())
    width = network.model.output_shape[1:]
    numbers = " x ".join(map(str, width))
    print(f"{count:,} faces, {numbers} numbers each ({of}, padding {network.padding}): {out}")


if __name__ == "__main__":
    sys.exit(console.run(main))
