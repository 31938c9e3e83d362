"""Pretrained face networks without their classifiers, preprocessing inside.

A backbone takes raw RGB crops (b, size, size, 3) in `[0, 255]` and returns features.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras

from vggface_gender.backbones import dlib_resnet, resnet50, vggface
from vggface_gender.command import InputError, first_line

# Layers of fixed weights inside a backbone's preprocessing.
_FIXED = {"to_bgr"}
# Rounding these to 16 bits would lose what a float32 head can use, and saves no time.
_KEPT_FLOAT32 = {"InputLayer", "Resizing", "Rescaling", "GlobalAveragePooling2D"}


def load(name: str, precision: str = "float32", layer: str | None = None) -> keras.Model:
    """A backbone by name: "dlib", "vggface", "resnet50", "resnet50:FILE", or a `.keras` file.

    Args:
        precision: the Keras dtype policy to compute in; variables stay `float32`.
        layer: whose output the features are; by default dlib's "map" (which also has "pooled",
            "embedding" and every block: see `dlib_resnet.build`), else the model's own output.
            Several, joined by "+", are made vectors and put side by side: a map of at most 2x2 is
            flattened, a larger one averaged over its pixels.

    Returns:
        A functional model from crops to one tensor of features.

    Raises:
        InputError: no such backbone or layer, or the weights are not there.
    """
    if name == "dlib":
        layer = layer or "map"
        with _policy(precision):
            model = dlib_resnet.load()
    else:
        if name == "vggface":
            model = vggface.load()
        elif name.partition(":")[0] == "resnet50":
            model = resnet50.load(name.partition(":")[2] or None)
        else:
            model = _load_file(Path(name))
        model = with_precision(model, precision)
    if layer is None:
        return model
    known = {known.name: known for known in model.layers}
    for part in layer.split("+"):
        if part not in known:
            last = ", ".join(list(known)[-5:])
            raise InputError(f"{name} has no layer {part}; the last of its layers: {last}")
    outputs = [known[part].output for part in layer.split("+")]
    output = outputs[0] if len(outputs) == 1 else _side_by_side(outputs)
    return keras.Model(model.input, output, name=model.name)


def split(backbone: keras.Model, first: str) -> tuple[keras.Model, keras.Model]:
    """The backbone cut before a layer: `trunk`, from crops, and `top`, from what trunk gives.

    Both share their layers with the backbone.

    Args:
        first: the first layer after the cut, or the start of its name.

    Raises:
        InputError: there is no such layer, or what follows it needs more than one tensor from
            before it.
    """
    before, after = _cut(backbone, first)
    crossing = {
        id(tensor): tensor
        for operation in after
        for node in operation._inbound_nodes
        if node in _nodes(backbone)
        for tensor in node.input_tensors
        if tensor._keras_history.operation in before
    }
    if len(crossing) != 1:
        raise InputError(
            f"{backbone.name} can't be cut before {first}: what follows needs the outputs of "
            f"{len(crossing)} layers before it; name the first layer of a block"
        )
    (tensor,) = crossing.values()
    trunk = keras.Model(backbone.input, tensor, name=f"{backbone.name}_trunk")
    top = keras.Model(tensor, backbone.output, name=f"{backbone.name}_top")
    return trunk, top


def freeze_before(backbone: keras.Model, first: str | None) -> list[str]:
    """Freeze every layer before one and unfreeze those from it on; None unfreezes all.

    Args:
        first: as `split` takes it.

    Returns:
        The names of the frozen layers that have weights.

    Raises:
        InputError: there is no such layer.
    """
    frozen = _cut(backbone, first)[0] if first else []
    for layer in backbone.layers:
        layer.trainable = layer not in frozen and layer.name not in _FIXED
    return [layer.name for layer in backbone.layers if layer in frozen and layer.weights]


def _nodes(model: keras.Model) -> list:
    return [node for nodes in model._nodes_by_depth.values() for node in nodes]


def _cut(backbone: keras.Model, first: str) -> tuple[list, list]:
    """The operations of a functional model before and from a layer on, in the order they run in."""
    operations = []
    for depth in sorted(backbone._nodes_by_depth, reverse=True):
        for node in backbone._nodes_by_depth[depth]:
            if node.operation not in operations:
                operations.append(node.operation)
    place = next((i for i, each in enumerate(operations) if each.name.startswith(first)), None)
    if not place:
        names = ", ".join(layer.name for layer in backbone.layers if layer.weights)
        raise InputError(f"{backbone.name} has no layer {first} to cut before; its layers: {names}")
    return operations[:place], operations[place:]


def _side_by_side(outputs: list[keras.KerasTensor]) -> keras.KerasTensor:
    vectors = []
    for output in outputs:
        if len(output.shape) == 4 and max(output.shape[1:3]) > 2:
            output = keras.layers.GlobalAveragePooling2D(dtype="float32")(output)
        elif len(output.shape) > 2:
            output = keras.layers.Flatten(dtype="float32")(output)
        vectors.append(output)
    return keras.layers.Concatenate(dtype="float32", name="features")(vectors)


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def with_precision(model: keras.Model, precision: str) -> keras.Model:
    """The same functional model and weights, computing in another dtype policy.

    Preprocessing and whatever is named "head" stay in `float32`.
    """
    changed = keras.Model.from_config(_recast(model.get_config(), precision))
    changed.set_weights(model.get_weights())
    return changed


def _recast(config: dict, precision: str) -> dict:
    layers = []
    for layer in config["layers"]:
        inner = dict(layer["config"])
        if "layers" in inner:
            kept = precision if inner["name"] != "head" else "float32"
            inner = _recast(inner, kept)
        elif "dtype" in inner:
            kept = layer["class_name"] in _KEPT_FLOAT32 or inner["name"] in _FIXED
            inner["dtype"] = "float32" if kept else precision
        layers.append(layer | {"config": inner})
    return config | {"layers": layers}


def _load_file(path: Path) -> keras.Model:
    if not path.is_file():
        raise InputError(f"no backbone {path}: give dlib, vggface, or a .keras file that exists")
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise InputError(f"{path}: not a model that Keras can load: {first_line(error)}") from None
    if len(model.inputs) != 1 or not isinstance(model.output, keras.KerasTensor):
        raise InputError(f"{path}: a backbone has one input and one output")
    shape = model.input_shape
    if len(shape) != 4 or shape[3] != 3 or shape[1] is None or shape[1] != shape[2]:
        raise InputError(f"{path}: takes {shape}; expected crops of (batch, size, size, 3)")
    return model
