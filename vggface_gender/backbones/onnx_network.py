"""A face network in an ONNX file, such as InsightFace's, run by ONNX Runtime within a Keras model.

Such a network takes faces in ArcFace's alignment (Deng et al., CVPR 2019), 112 pixels wide as a
rule, and gives an embedding. The model made of it here takes crops in the project's own alignment,
in the frame `geometry.ARCFACE_PADDING`, of which ArcFace's picture is a part.

The file's bytes are a weight of the model. So a classifier on such a network is one file as any
other, and features are keyed by the network's content. It has no gradients: only a head is trained.
"""

import importlib.util
import re
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vggface_gender.base import extras, geometry, networks, runtime
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.networks import EMBEDDING, OnnxFile

MEAN = DEVIATION = 127.5  # of an InsightFace network that does not scale its input itself
FIRST_NODES = 8  # among which InsightFace looks for the scaling
FRAME = "arcface_frame"  # the layer that cuts ArcFace's picture out of a crop
GREATEST_SIDE = 1024


class Form(NamedTuple):
    """What the network in a file takes and gives."""

    side: int  # of its pictures, in pixels
    channels_first: bool
    batch: int | None  # pictures that it takes at once; None for any number
    width: int  # numbers in an embedding


@keras.saving.register_keras_serializable("vggface_gender")
class OnnxNetwork(keras.layers.Layer):
    """RGB pictures (b, side, side, 3) in `[0, 255]` to embeddings (b, width), both `float32`.

    The one layer of this project that is not Keras's own: whoever opens a classifier with it needs
    this package.
    """

    def __init__(
        self,
        *,
        length: int,
        form: Form | list,
        colours: str,
        mean: float,
        deviation: float,
        **kwargs: Any,
    ):
        """Make the layer; its weight `file` is then to be assigned.

        Args:
            length: bytes of the file.
            form: see `form_of`.
            colours, mean, deviation: see `OnnxFile`.
        """
        super().__init__(**kwargs | {"trainable": False})
        self.supports_jit = False  # what calls Python can't be compiled by XLA
        self.length, self.form, self.colours = length, Form(*form), colours
        self.mean, self.deviation = mean, deviation
        self._session = None

    def build(self, input_shape: tuple) -> None:
        """Make the weight that holds the file."""
        self.file = self.add_weight(
            (self.length,), initializer="zeros", dtype="uint8", trainable=False, name="file"
        )

    def call(self, pictures: Any) -> Any:
        """See the class."""
        found = tf.numpy_function(self._run, [tf.cast(pictures, tf.float32)], tf.float32)
        return tf.ensure_shape(found, (None, self.form.width))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape of the embeddings."""
        return (input_shape[0], self.form.width)

    def get_config(self) -> dict:
        """What the layer is made of, but for the file."""
        return super().get_config() | {
            "length": self.length,
            "form": list(self.form),
            "colours": self.colours,
            "mean": self.mean,
            "deviation": self.deviation,
        }

    def _run(self, pictures: np.ndarray) -> np.ndarray:
        if self._session is None:
            self._session = runtime.session(self.file.numpy().tobytes())
        x = pictures[..., ::-1] if self.colours == "bgr" else pictures
        x = ((x - self.mean) / self.deviation).astype(np.float32)
        return run(self._session, x, form=self.form)


def run(session: Any, pictures: np.ndarray, *, form: Form) -> np.ndarray:
    """The embeddings (b, width) `float32` of pictures (b, side, side, 3) that are scaled already.

    Args:
        form: see `form_of`.
    """
    if form.channels_first:
        pictures = pictures.transpose(0, 3, 1, 2)
    count, step = len(pictures), form.batch or max(1, len(pictures))
    name, parts = session.get_inputs()[0].name, []
    for start in range(0, count, step):
        part = pictures[start : start + step]
        missing = (form.batch or len(part)) - len(part)
        whole = np.pad(part, ((0, missing), (0, 0), (0, 0), (0, 0)))
        found = session.run(None, {name: np.ascontiguousarray(whole)})[0]
        parts.append(found.reshape(len(whole), -1)[: len(part)])
    return np.concatenate(parts) if parts else np.zeros((0, form.width), np.float32)


def load(file: OnnxFile) -> keras.Model:
    """The model of a network in an ONNX file, from crops (b, size, size, 3) to layer "embedding".

    Args:
        file: where it is; what it leaves open is read from the file (see `stated`).

    Raises:
        InputError: there is none, ONNX Runtime can't read it, or it is no network from one picture
            to one embedding.
    """
    file = stated(file)
    assert file.mean is not None and file.deviation is not None
    content = _read(file)
    form = form_of(content, file)
    cut = geometry.arcface_cut(form.side)
    crop = keras.Input((cut.side, cut.side, 3), name="crop")
    below, right = cut.side - form.side - cut.top, cut.side - form.side - cut.left
    picture = keras.layers.Cropping2D(
        ((cut.top, below), (cut.left, right)), dtype="float32", name=FRAME
    )(crop)
    network = OnnxNetwork(
        length=len(content),
        form=form,
        colours=file.colours,
        mean=file.mean,
        deviation=file.deviation,
        dtype="float32",
        name=EMBEDDING,
    )
    embedding = network(picture)
    network.file.assign(np.frombuffer(content, np.uint8))
    return keras.Model(crop, embedding, name=re.sub(r"\W", "_", file.path.stem))


def is_one(backbone: keras.Model) -> bool:
    """Whether a backbone runs a network in an ONNX file, so that it has no gradients."""
    return any(isinstance(layer, OnnxNetwork) for layer in backbone.layers)


def stated(file: OnnxFile) -> OnnxFile:
    """The file with the scaling of its pictures: as given, or as InsightFace chooses it.

    A network of which one of the first nodes subtracts and one multiplies scales its input itself;
    any other takes `(value - 127.5) / 127.5` (`ArcFaceONNX` in InsightFace's
    `model_zoo/arcface_onnx.py`).

    Raises:
        InputError: it can't be read, or the package `onnx`, which that takes, is not installed.
    """
    if file.mean is not None:
        return file
    if importlib.util.find_spec("onnx") is None:
        raise InputError(f"{extras.absence('onnx')}, or state the scaling: {file.path}:rgb:M:D")
    import onnx

    try:
        graph = onnx.load_from_string(_read(file)).graph
    except InputError:
        raise
    except Exception as error:  # protobuf's are of many kinds
        raise _unreadable(file, error) from None
    first = {node.op_type for node in graph.node[:FIRST_NODES]}
    if {"Sub", "Mul"} <= first:
        return file._replace(mean=0.0, deviation=1.0)
    return file._replace(mean=MEAN, deviation=DEVIATION)


def named(backbone: str) -> str:
    """A backbone's name with all that an ONNX file leaves open stated; others as they are.

    Raises:
        InputError: see `stated`.
    """
    file = networks.onnx_file(backbone)
    return stated(file).name() if file else backbone


def form_of(content: bytes, file: OnnxFile) -> Form:
    """What the network in a file takes and gives; it is run once, on black.

    Args:
        content: the file's.
        file: for errors.

    Raises:
        InputError: see `load`.
    """
    try:
        session = runtime.session(content)
    except Exception as error:  # ONNX Runtime's are of many kinds
        raise _unreadable(file, error) from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"{file.path}: {len(inputs)} inputs and {len(outputs)} outputs; expected a network from"
            " pictures to one embedding each"
        )
    shape = inputs[0].shape
    channels_first = len(shape) == 4 and shape[1] == 3
    sides = [
        side if isinstance(side, int) else geometry.ARCFACE_SIDE
        for side in (shape[2:] if channels_first else shape[1:3])
    ]
    if (
        len(shape) != 4
        or 3 not in (shape[1], shape[3])
        or inputs[0].type != "tensor(float)"
        or sides[0] != sides[1]
        or not 8 <= sides[0] <= GREATEST_SIDE
    ):
        raise InputError(
            f"{file.path}: takes {inputs[0].type} of {shape}; expected float32 pictures, (batch, 3,"
            " side, side) or (batch, side, side, 3)"
        )
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    form = Form(sides[0], channels_first, batch, 0)
    try:
        found = run(session, np.zeros((1, sides[0], sides[0], 3), np.float32), form=form)
    except Exception as error:
        raise _unreadable(file, error) from None
    if found.dtype != np.float32:
        raise InputError(f"{file.path}: gives {found.dtype}; expected embeddings of float32")
    return form._replace(width=found.shape[1])


def _read(file: OnnxFile) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise InputError(f"{file.path}: {error.strerror}; give an ONNX network") from None


def _unreadable(file: OnnxFile, error: Exception) -> InputError:
    return InputError(
        f"{file.path}: not a network that ONNX Runtime {runtime.onnxruntime.__version__} can run"
        f" ({first_line(error)}); get or export it again, its weights in the one file"
    )
