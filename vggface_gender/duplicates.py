"""Find exact copies and near-duplicates among a dataset's images, or among photos.

    vggface-gender duplicates --dataset UTKFace
    vggface-gender duplicates album/ more/*.jpg --recursive --out album.csv
    vggface-gender duplicates --dataset FairFace --runner DirectRunner --direct_num_workers=2

Exact copies have the same pixels, in whatever file they lie; near-duplicates show the same picture
resized, recompressed or a little recoloured: perceptual hashes of 256 bits, at most 24 bits apart.
Hashes are compared by locality-sensitive hashing, which finds over 99% of the pairs at a small
fraction of the comparisons.

The table has a row a pair: name, other, kind (exact or near), bits, by how many the hashes differ,
and group, a number; of a dataset also split, other_split, and differ: the labels that are not the
same. A group is all that pairs connect. Of copies, each is paired with the first only.

What was computed of the images is kept until the table is written, so a command that was stopped
goes on. Images that can't be read are named on standard error. Exit status: 0 if every image was
read, 1 if some could not be, 2 if none could, and nothing was written.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, options, parts, text
from vggface_gender.base.errors import InputError
from vggface_gender.base.splits import ALL
from vggface_gender.datasets import catalogue

if TYPE_CHECKING:
    from vggface_gender.base.parts import Engine, Part

FIRST = 10  # of the images that can't be read, those that are named


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("duplicates", __doc__, extra="train")
    parser.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        help="an image, a folder of images, a quoted pattern ('album/*.jpg') or a URL (file:, or "
        "s3: and the like); or none, and a --dataset",
    )
    parser.add_argument("--recursive", action="store_true", help="enter folders within folders")
    parser.add_argument(
        "--out", type=Path, default="duplicates.csv", metavar="FILE", help="the table of pairs"
    )
    parser.add_argument(
        "--exhaustive",
        action="store_true",
        help="compare all pairs, write these, and say how many of them hashing finds: half a "
        "minute for 50,000 images, four times as long for twice as many",
    )
    parser.add_argument(
        "--seed",
        type=options.seed,
        default=0,
        metavar="N",
        help="which bits of the hashes are compared first: chance decides what is missed",
    )
    options.add_dataset_arguments(parser, catalogue.NAMED, required=False)
    options.add_split_argument(parser, default="all")
    options.add_engine_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    if bool(arguments.photos) == (arguments.dataset is not None):
        raise InputError("give photos or a --dataset, one of the two")
    if arguments.out.is_dir():
        raise InputError(f"{arguments.out}: a folder; name the table that is written, a .csv file")

    from vggface_gender.scale import engine

    does = engine.chosen(**options.engine_arguments(arguments))
    its = _of_photos(arguments) if arguments.photos else _of_dataset(arguments, does)
    parts.finish(does, its, what="image hashes")

    from vggface_gender.evaluation import duplicates_images, duplicates_report
    from vggface_gender.scale import duplicates

    paths = [part.path for part in its]
    bad = [each for path in paths for each in duplicates_images.read_unreadable(path)]
    count = sum(part.size for part in its)
    if len(bad) == count:
        parts.discard(arguments.out)
        name, why = bad[0]
        raise InputError(f"none of {count:,} images can be read, {name}: {why}")
    found = duplicates.find(
        paths, runner=arguments.runner, options=arguments.runner_options, seed=arguments.seed
    )
    truth = duplicates.find_exhaustively(paths) if arguments.exhaustive else found
    images = duplicates_report.members(truth.pairs, paths)
    table = duplicates_report.table(truth.pairs, images)
    duplicates_report.write(table, arguments.out)
    parts.discard(arguments.out)
    for name, why in bad[:FIRST]:
        print(f"error: {text.printable(name)}: {text.printable(why)}", file=sys.stderr)
    if bad:
        print(f"error: {len(bad):,} of {count:,} images can't be read", file=sys.stderr)
    print(f"{count - len(bad):,} images")
    print(duplicates_report.describe(duplicates_report.summarize(table, images)))
    if found.skipped and not arguments.exhaustive:
        print(duplicates_report.describe_skipped(found))
    if arguments.exhaustive:
        recall = duplicates_report.recall(found.pairs, truth.pairs)
        print(f"\nof all pairs, found by hashing:\n{recall}\n")
    print(arguments.out)
    return 1 if bad else 0


def _of_photos(arguments: argparse.Namespace) -> "list[Part]":
    from vggface_gender.evaluation import duplicates_images
    from vggface_gender.photos import folders, sources

    found, left_out = sources.find(arguments.photos, recursive=arguments.recursive)
    for line in folders.describe(left_out):
        print(f"left out: {line}", file=sys.stderr)
    # An image that is named twice is no duplicate.
    return duplicates_images.of_photos(list(dict.fromkeys(found)), arguments.out)


def _of_dataset(arguments: argparse.Namespace, does: "Engine") -> "list[Part]":
    from vggface_gender import datasets

    datasets.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)
    dataset = datasets.prepare(**options.dataset_arguments(arguments), engine=does)
    dataset.require(arguments.split)

    from vggface_gender.evaluation import duplicates_images

    splits = list(dataset.counts) if arguments.split == ALL else [arguments.split]
    return duplicates_images.of_records(dataset, splits, out=arguments.out)


if __name__ == "__main__":
    sys.exit(console.run(main))
