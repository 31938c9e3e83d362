"""Make the CNN face detector that comes with the package from dlib's published weights.

    python tools/make_detector.py

Writes vggface_gender/photos/faces_cnn.onnx: the Keras model of `backbones.dlib_mmod` as ONNX, with
what its scores mean as metadata. The file is compared with the Keras model before it is kept.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vggface_gender.base import console, files, options

if TYPE_CHECKING:
    import keras

PLACE = Path(__file__).resolve().parents[1] / "vggface_gender" / "photos" / "faces_cnn.onnx"
OPSET, IR_VERSION = 17, 8  # what ONNX Runtime 1.20 reads, and older ones too
LARGEST = 1_000_000  # bytes, since the file is kept in the repository
TOLERANCE = 5e-5  # of scores, which are about 1 where there is a face
LICENCE = "weights: public domain, by Davis E. King (dlib's mmod_human_face_detector.dat)"


def parser() -> options.Parser:
    """The command line's options."""
    made = options.Parser("make_detector", __doc__)
    made.prog = "python tools/make_detector.py"
    made.add_argument("--out", type=Path, default=PLACE, metavar="FILE", help="where to write it")
    return made


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)

    from vggface_gender.base import device

    device.start()
    content = make()
    with files.whole(arguments.out, replace=True) as part:
        part.write_bytes(content)
    print(f"{arguments.out}: {len(content):,} bytes")


def make() -> bytes:
    """The detector's file.

    Raises:
        SystemExit: it is too large, or scores otherwise than the Keras model.
        InputError: dlib's weights are not there.
    """
    from vggface_gender.backbones import dlib_mmod
    from vggface_gender.weights import dlib_layers
    from vggface_gender.weights import dlib_mmod as weights

    found = weights.read(weights.find())
    model = dlib_mmod.build(found.arrays)
    about = {"window": found.window, "overlap": found.overlap, "mean": dlib_layers.MEAN}
    content = to_onnx(model, about)
    if len(content) > LARGEST:
        sys.exit(f"error: {len(content):,} bytes; allowed are {LARGEST:,}")
    off = difference(model, content)
    print(f"scores differ from Keras's by at most {off:.1e} (allowed: {TOLERANCE:.0e})")
    if not off <= TOLERANCE:  # a NaN is no success
        sys.exit("error: the file does not score as the Keras model does")
    return content


def to_onnx(model: "keras.Model", about: dict) -> bytes:
    """A model of a rescaling and convolutions, one after the other, as ONNX.

    It is written out here, not by Keras's export, so that the same weights give the same bytes, and
    in forms that ONNX Runtime computes a third faster; scores stay the same to rounding:

    - Pictures and scores are planes, (b, 3, h, w) and (b, 1, rows, columns).
    - The rescaling is drawn into the first convolution, which has no padding.
    - Filters are filled up with zeros to a multiple of 16, what vectors of a processor hold.
    - The last convolution, of one filter, is a transposed one with its kernel turned by 180
      degrees: that takes one matrix product instead of windows of 81 pixels.

    Args:
        model: from `picture` (b, h, w, 3) to scores.
        about: what the scores mean, for the metadata.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    from vggface_gender.photos import detect_cnn

    rescaling, first, *others = model.layers[1:]
    assert first.padding == "valid" and others[-1].kernel.shape[3] == 1
    kernel, bias = (weight.astype(np.float64) for weight in first.get_weights())
    bias = bias + np.einsum("hwcf,c->f", kernel, np.array(rescaling.offset))
    folded = {first.name: (kernel * rescaling.scale, bias)}

    nodes: list[Any] = []
    weights: list[Any] = []
    last, channels = detect_cnn.INPUT, 3
    for layer in (first, *others):
        is_last = layer is others[-1]
        kernel, bias = folded.get(layer.name) or layer.get_weights()
        filters = 1 if is_last else -(-kernel.shape[3] // 16) * 16
        filled = np.zeros((*kernel.shape[:2], channels, filters), np.float32)
        filled[:, :, : kernel.shape[2], : kernel.shape[3]] = kernel
        shift = np.zeros(filters, np.float32)
        shift[: len(bias)] = bias
        # Both forms take (one side, the other side, rows, columns).
        turned = filled[::-1, ::-1].transpose(2, 3, 0, 1) if is_last else None
        arrays = (filled.transpose(3, 2, 0, 1) if turned is None else turned), shift
        names = [f"{layer.name}/kernel", f"{layer.name}/bias"]
        weights += map(numpy_helper.from_array, map(np.ascontiguousarray, arrays), names)
        padding = [side // 2 if layer.padding == "same" else 0 for side in layer.kernel_size]
        nodes.append(
            helper.make_node(
                "ConvTranspose" if is_last else "Conv",
                [last, *names],
                [layer.name],
                name=layer.name,
                kernel_shape=list(layer.kernel_size),
                strides=list(layer.strides),
                pads=padding + padding,
            )
        )
        last, channels = layer.name, filters
        if not is_last:
            nodes.append(helper.make_node("Relu", [last], [f"{last}/relu"], name=f"{last}/relu"))
            last = f"{last}/relu"

    made = helper.make_model(
        helper.make_graph(
            nodes,
            model.name,
            [_planes(detect_cnn.INPUT, ["b", 3, "h", "w"])],
            [_planes(last, ["b", 1, "rows", "columns"])],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="vggface_gender",
    )
    said = {detect_cnn.DETECTOR: json.dumps(about), detect_cnn.LICENCE: LICENCE}
    helper.set_model_props(made, said)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)


def _planes(name: str, axes: list) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)


def difference(model: "keras.Model", content: bytes) -> float:
    """By how much the scores of a file and of a Keras model differ, on noise of several sizes."""
    import numpy as np

    from vggface_gender.base import runtime
    from vggface_gender.photos import detect_cnn

    session = runtime.session(content)
    random = np.random.default_rng(0)
    worst = []
    for shape in ((1, 29, 29, 3), (2, 157, 200, 3), (1, 300, 211, 3)):
        coarse = random.uniform(0, 255, (shape[0], *(-(-side // 8) for side in shape[1:3]), 3))
        smooth = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, : shape[1], : shape[2]]
        picture = smooth.astype(np.float32)
        [found] = session.run(None, {detect_cnn.INPUT: picture.transpose(0, 3, 1, 2)})
        expected = np.asarray(model(picture)).transpose(0, 3, 1, 2)
        worst.append(float(np.abs(found - expected).max()))
    return max(worst)


if __name__ == "__main__":
    sys.exit(console.run(main))
