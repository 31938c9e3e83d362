"""Convert VGG-Face from MatConvNet to Keras, and check the file that was written.

    vggface-gender convert --mat model_files/vgg_face.mat

The check runs the written file and, in NumPy and float64, the .mat file on one image, and compares
them after every layer.
"""

import gc
import itertools
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from vggface_gender.base import console, files, options
from vggface_gender.base.errors import InputError


def main(argv: list[str] | None = None) -> None:
    parser = options.Parser("convert", __doc__.splitlines()[0])
    parser.add_argument(
        "--mat",
        type=Path,
        default=Path("model_files/vgg_face.mat"),
        help="Oxford's vgg_face.mat, or MatConvNet's vgg-face.mat",
    )
    parser.add_argument(
        "--output",
        choices=("pool5", "fc6", "fc7", "identities"),
        default="pool5",
        help="what the model gives: 7x7x512 features, 4,096 features (after ReLU) or the"
        " probabilities of 2,622 identities",
    )
    parser.add_argument(
        "--to", type=Path, default=Path("model_files/vggface.keras"), help="the file to write"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="the largest difference allowed, as a share of the largest value of a layer",
    )
    args = parser.parse_args(argv)
    convert(args.mat, args.to, args.output, args.tolerance)


def convert(mat: Path, to: Path, output: str, tolerance: float, **architecture) -> None:
    """Convert `mat`, check what was written and print a report; `to` appears only if all is well.

    Args:
        mat: a MatConvNet file.
        to: the `.keras` file to write.
        output: one of `vggface.OUTPUTS`.
        tolerance: the largest difference allowed after a layer, relative to its largest value.
        architecture: what differs from VGG-Face, as for `vggface.architecture`.

    Raises:
        InputError: the file is missing, damaged or not VGG-Face.
        SystemExit: the two networks differ by more than `tolerance`.
    """
    start = time.perf_counter()

    from vggface_gender.base import device

    device.start()
    import numpy as np

    from vggface_gender.backbones import vggface
    from vggface_gender.weights import matconvnet

    if not mat.is_file():
        raise InputError(
            f"{mat}: no such file. Read the licence at {vggface.PAGE}, download and unpack"
            f" {vggface.SOURCE} and give its data/vgg_face.mat as --mat"
        )
    network = matconvnet.read(mat)
    with files.whole(to) as part:
        model = vggface.from_matconvnet(network, output, **architecture)
        vggface.save(model, part, network.identities if output == "identities" else ())
        del model, network
        gc.collect()  # Keras's models refer to themselves; this one may be of 580 MB

        # What is compared are the two files: nothing above has a part in it.
        model = reload(part)
        network = matconvnet.read(mat)
        differences = compare(model, network)
        print(report(network, differences))
        worst = np.max(list(differences.values()))
        if not worst <= tolerance:  # a NaN is no success
            sys.exit(f"error: {mat}: the model differs by {worst:.1e}; allowed are {tolerance:.0e}")
    print(
        f"{to}: {model.count_params():,} parameters, gives {model.output.shape[1:]}; largest"
        f" difference {worst:.1e} (allowed {tolerance:.0e}); {time.perf_counter() - start:.1f} s"
    )


def reload(path: Path):
    """The `keras.Model` in a `.keras` file, without holding the whole file in memory.

    Keras would: it opens the archive there. It reads an unpacked one from disk.
    """
    import keras

    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        archive.extractall(folder, ("config.json", "metadata.json", "model.weights.h5"))
        return keras.models.load_model(folder, compile=False)


def compare(model, network) -> dict[str, float]:
    """The largest difference after each layer of a `keras.Model`, relative to its largest value.

    Args:
        model: as `vggface.load` gives it.
        network: the `matconvnet.MatConvNet` that it was made from.
    """
    import keras
    import numpy as np
    from tqdm import tqdm

    from vggface_gender.weights import matconvnet

    probe = keras.Model(model.input, {layer.name: layer.output for layer in model.layers[1:]})
    image = np.random.default_rng(0).integers(0, 256, model.input.shape[1:]).astype(np.float32)
    outputs = probe(image[np.newaxis], training=False)
    for ours in ("normalization", "flatten"):
        outputs.pop(ours, None)

    differences = {}
    steps = itertools.islice(matconvnet.forward(network, image), len(outputs))
    for layer, expected in tqdm(steps, "checking", len(outputs), unit="layer", disable=None):
        found = np.asarray(outputs[layer.name]).reshape(expected.shape)
        scale = np.abs(expected).max() or 1.0
        differences[layer.name] = float(np.abs(found - expected).max() / scale)
    return differences


def report(network, differences: dict[str, float]) -> str:
    """A line a layer: its kernel, its parameters, and how far Keras is from NumPy after it."""
    from vggface_gender.weights import matconvnet

    lines = [f"{'layer':10} {'type':8} {'kernel':>16} {'parameters':>12} {'difference':>11}"]
    for layer in network.layers:
        parameters = sum(array.size for array in network.weights.get(layer.name, ()))
        difference = differences.get(layer.name)
        lines.append(
            f"{layer.name:10} {layer.type:8} {matconvnet.times(layer.shape):>16} {parameters:>12,}"
            f" {'left out' if difference is None else f'{difference:.1e}':>11}"
        )
    if network.training_state:
        lines.append(f"left out, as only training needs them: {', '.join(network.training_state)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(console.run(main))
