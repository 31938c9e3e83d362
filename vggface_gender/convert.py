"""Convert VGG-Face from MatConvNet to Keras, and check the file that was written.

    vggface-gender convert --mat model_files/vgg_face.mat
    vggface-gender convert --mat vgg-face.mat --output identities --to model_files/identities.keras

The check runs the written file and, in NumPy and float64, the .mat file on one image, and compares
them after every layer. It prints a line a layer. The file appears only if they agree.
"""

import argparse
import sys
import time
from pathlib import Path

from vggface_gender.base import console, options

OUTPUTS = ("pool5", "fc6", "fc7", "identities")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("convert", __doc__)
    parser.add_argument(
        "--mat",
        type=Path,
        default=Path("model_files/vgg_face.mat"),
        metavar="FILE",
        help="the weights: the Oxford archive's vgg_face.mat, or MatConvNet's vgg-face.mat",
    )
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        default="pool5",
        help="what the model gives: 7x7x512 features, 4,096 features (after ReLU) or the"
        " probabilities of 2,622 identities",
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=Path("model_files/vggface.keras"),
        metavar="FILE",
        help="the .keras file to write; where it is by default, commands find it as `vggface`",
    )
    parser.add_argument(
        "--tolerance",
        type=options.positive_real,
        default=1e-4,
        metavar="SHARE",
        help="the largest difference allowed after a layer, as a share of its largest value;"
        " above it nothing is written and the exit status is 2",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    start = time.perf_counter()

    from vggface_gender.base import device

    device.start()
    from vggface_gender.backbones import conversion

    try:
        done = conversion.convert(
            arguments.mat,
            arguments.to,
            output=arguments.output,
            tolerance=arguments.tolerance,
        )
    except conversion.DifferenceError as error:
        print(conversion.report(error.conversion))
        raise
    print(conversion.report(done))
    print(
        f"{arguments.to}: {done.total:,} parameters, gives {done.shape}; largest difference"
        f" {done.worst:.1e} (allowed {arguments.tolerance:.0e});"
        f" {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
