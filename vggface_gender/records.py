"""Write a dataset's images and labels to TFRecords.

    vggface-gender records --dataset UTKFace --source path/to/UTKFace
    vggface-gender records --dataset path/to/images
    vggface-gender records --dataset faces.csv

Writes tfrecords/KIND/SPLIT/VERSION/: the records, at most eight files a split, and metadata.json,
which counts labels, sizes and copies and names each image that was left out, and why. Training
commands do this by themselves where records are missing.
"""

import argparse
import sys

from vggface_gender.base import console, options
from vggface_gender.datasets import catalogue


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("records", __doc__, extra="train")
    options.add_dataset_arguments(parser, catalogue.NAMED)
    options.add_engine_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)

    from vggface_gender import datasets
    from vggface_gender.scale import engine

    does = engine.chosen(**options.engine_arguments(arguments))
    datasets.prepare(**options.dataset_arguments(arguments), engine=does)


if __name__ == "__main__":
    sys.exit(console.run(main))
