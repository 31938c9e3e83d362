"""Write a sheet of a dataset's training crops as a training sees them, augmented, to look at.

    vggface-gender show_batches --dataset UTKFace --out crops.png
    vggface-gender show_batches --dataset UTKFace --augment rotation=20 erasing=1 --out crops.png

Each row begins with a crop as it is; what follows are that crop's augmented copies.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender.base import console, files, geometry, options, runs, training_options
from vggface_gender.datasets import catalogue


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = options.Parser("show_batches", __doc__, extra="train")
    options.add_dataset_arguments(parser, catalogue.NAMED, mixes=True)
    training_options.add_augmentation_arguments(parser)
    group = parser.add_argument_group("sheet")
    group.add_argument(
        "--size", type=options.positive, default=150, metavar="N", help="a crop's side in pixels"
    )
    group.add_argument(
        "--rows", type=options.positive, default=8, metavar="N", help="crops, drawn at random"
    )
    group.add_argument(
        "--columns", type=options.positive, default=10, metavar="N", help="copies of each crop"
    )
    group.add_argument(
        "--seed", type=options.seed, default=0, metavar="N", help="of the crops and their changes"
    )
    group.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the picture's file (default: model_files/crops-<dataset>.png)",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)

    from vggface_gender.datasets import mixes

    mixes.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start(arguments.seed)
    from PIL import Image

    from vggface_gender.data import sheets
    from vggface_gender.training import config, examples

    amounts = config.augmentation(dict(arguments.augment))
    mix = mixes.prepare(**options.dataset_arguments(arguments))
    crops = examples.sampled_crops(
        mix,
        count=arguments.rows,
        copies=arguments.columns,
        size=arguments.size,
        padding=geometry.PADDING if arguments.padding is None else arguments.padding,
        amounts=amounts,
        seed=arguments.seed,
    )
    rows = len(crops) // (arguments.columns + 1)
    out = arguments.out or runs.MODEL_FILES / f"crops-{mix.label}.png"
    with files.whole(out) as part:
        Image.fromarray(sheets.sheet(crops, arguments.columns + 1)).save(part)
    print(f"{rows} crops and {arguments.columns} augmented copies of each: {out}")


if __name__ == "__main__":
    sys.exit(console.run(main))
