"""Pretrained face networks without their classifiers, preprocessing inside.

A backbone takes raw RGB crops (b, size, size, 3) in `[0, 255]` and returns features.
"""

import contextlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import keras

from vggface_gender.backbones import dlib_resnet, resnet50, vggface
from vggface_gender.base.errors import InputError, first_line

# Rounding these to 16 bits would lose what a float32 head can use, and saves no time.
_KEPT_FLOAT32 = {"InputLayer", "Resizing", "Rescaling", "GlobalAveragePooling2D"}
FEATURES = "features"  # the layer that joins several layers' outputs, float32 likewise
SMALL_MAP = 2  # rows and columns up to which a map's places tell more than noise


def load(name: str, precision: str = "float32", layer: str | None = None) -> keras.Model:
    """A backbone by name.

    Args:
        name: "dlib"; "vggface"; "resnet50" with random weights, or "resnet50:FILE" with those of a
            file (see `resnet50.load`); or a `.keras` file.
        precision: the Keras dtype policy to compute in; variables stay `float32`.
        layer: whose output the features are; by default dlib's "map" (which also has "pooled",
            "embedding" and every block: see `dlib_resnet.build`), else the model's own output.
            Several joined by "+", as "map+block_4_3", give one `float32` vector (b, n), in which a
            map of at most 2x2 is flattened and a larger one averaged over rows and columns.

    Returns:
        A functional model from crops to one tensor of features.

    Raises:
        InputError: no such backbone or layer, or the weights are not there.
    """
    kind, _, file = name.partition(":")
    if name == "dlib":
        layer = layer or "map"
        with _policy(precision):
            model = dlib_resnet.load()
    else:
        if name == "vggface":
            model = vggface.load()
        elif kind == "resnet50":
            model = resnet50.load(file or None)
        else:
            model = _load_file(Path(name))
        model = with_precision(model, precision)
    if layer is None:
        return model
    known = [known.name for known in model.layers]
    wanted = list(dict.fromkeys(layer.split("+")))
    for each in wanted:
        if each not in known:
            last = ", ".join(known[-5:])
            raise InputError(f"{name} has no layer {each}; the last of its layers: {last}")
    outputs = [model.get_layer(each).output for each in wanted]
    features = outputs[0] if len(outputs) == 1 else _joined(wanted, outputs)
    return keras.Model(model.input, features, name=model.name)


def _joined(names: list[str], outputs: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Layers' outputs as one vector (b, n), in float32 under any precision."""
    vectors = []
    for name, output in zip(names, outputs, strict=True):
        is_large = len(output.shape) == 4 and max(output.shape[1:3]) > SMALL_MAP
        kind = keras.layers.GlobalAveragePooling2D if is_large else keras.layers.Flatten
        vectors.append(kind(dtype="float32", name=f"{name}_vector")(output))
    return keras.layers.Concatenate(dtype="float32", name=FEATURES)(vectors)


def split(backbone: keras.Model, first: str) -> tuple[keras.Model, keras.Model]:
    """A backbone cut in two before a layer; both parts share its layers, so its weights.

    Args:
        backbone: a functional model with one input and one output.
        first: the first layer beyond the cut, or the start of its name: "block_4_1" cuts before
            the first of that block's layers.

    Returns:
        `NAME_trunk`, from crops to the one tensor that all the rest needs, and `NAME_top`, from
        that tensor to the backbone's output. All that depends on the crops in other ways than
        through that tensor is before the cut, so `freeze_before` freezes the trunk's layers.

    Raises:
        InputError: no such layer, nothing lies before it, or what follows it needs more than one
            tensor, as where a skip connection passes the cut.
    """
    cut = _cut(backbone, _find(backbone, first))
    if cut is None:
        raise InputError(
            f"{backbone.name} cannot be cut before {first}: nothing lies before it, or the rest "
            f"needs more than one tensor; it can be cut before {', '.join(_places(backbone))}"
        )
    trunk = keras.Model(backbone.input, cut, name=f"{backbone.name}_trunk")
    return trunk, keras.Model(cut, backbone.output, name=f"{backbone.name}_top")


def freeze_before(backbone: keras.Model, first: str | None) -> list[str]:
    """Have only a layer and what does not lead to it trained.

    A frozen batch normalization also keeps its averages.

    Args:
        first: the first layer to train, or the start of its name (see `split`); None for all.

    Returns:
        The names of the layers with weights that are frozen now: all of those that the first one's
        input depends on.

    Raises:
        InputError: no such layer.
    """
    before = set()
    if first is not None:
        taken = _taken(backbone, _find(backbone, first))
        before = {id(_maker(tensor)) for tensor in _leading_to(taken)}
    layers = [layer for layer in backbone.layers if not isinstance(layer, keras.layers.InputLayer)]
    for layer in layers:
        layer.trainable = id(layer) not in before
    return [layer.name for layer in layers if id(layer) in before and layer.weights]


def _find(backbone: keras.Model, first: str) -> keras.Operation:
    """The operation nearest to the crops whose name is, or starts with, `first`."""
    for operation in _operations(backbone):
        if operation.name.startswith(first):
            return operation
    raise InputError(
        f"{backbone.name} has no layer {first}, nor any whose name starts so; it can be cut before "
        f"{', '.join(_places(backbone))}"
    )


def _operations(backbone: keras.Model) -> list[keras.Operation]:
    """Layers and bare operations such as pads, each after what it depends on."""
    return [
        operation
        for operation in backbone.operations
        if not isinstance(operation, keras.layers.InputLayer)
    ]


def _cut(backbone: keras.Model, operation: keras.Operation) -> keras.KerasTensor | None:
    """What an operation takes, if the output depends on the crops through that tensor alone."""
    taken = {id(tensor): tensor for tensor in _taken(backbone, operation)}
    crops = id(backbone.inputs[0])
    if len(taken) != 1 or crops in taken:
        return None
    beyond = _leading_to(backbone.outputs, taken)
    return None if crops in map(id, beyond) else next(iter(taken.values()))


def _places(backbone: keras.Model) -> list[str]:
    """The layers whose names cut the backbone, one a cut."""
    places = {}
    for operation in _operations(backbone):
        if not isinstance(operation, keras.Layer):
            continue  # its name is numbered anew in every process
        if _find(backbone, operation.name) is not operation:
            continue  # a block's last layer, say: a layer before it has a name that starts so
        if (cut := _cut(backbone, operation)) is not None:
            places.setdefault(id(cut), operation.name)
    return list(places.values())


# Keras gives no public way from a tensor back to what it was made from: a layer's `input` is that
# of its first call, and a nested model's the one within it.
def _maker(tensor: keras.KerasTensor) -> keras.Operation:
    return tensor._keras_history.operation


def _sources(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    return _maker(tensor)._inbound_nodes[tensor._keras_history.node_index].input_tensors


def _taken(backbone: keras.Model, operation: keras.Operation) -> list[keras.KerasTensor]:
    """The tensors that an operation of the backbone takes."""
    return [
        source
        for tensor in _leading_to(backbone.outputs)
        if _maker(tensor) is operation
        for source in _sources(tensor)
    ]


def _leading_to(
    ends: Iterable[keras.KerasTensor], stops: Container[int] = ()
) -> list[keras.KerasTensor]:
    """The tensors that some are made from, these included, and none beyond the ids in `stops`."""
    seen, waiting = {}, list(ends)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in seen:
            seen[id(tensor)] = tensor
            if id(tensor) not in stops:
                waiting += _sources(tensor)
    return list(seen.values())


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
            inner = _recast(inner, precision if inner["name"] != "head" else "float32")
        elif "dtype" in inner:
            kept = layer["class_name"] in _KEPT_FLOAT32 or inner["name"] == FEATURES
            inner["dtype"] = "float32" if kept else precision
        layers.append(layer | {"config": inner})
    return config | {"layers": layers}


def _load_file(path: Path) -> keras.Model:
    if not path.is_file():
        raise InputError(
            f"no backbone {path}: give dlib, vggface, resnet50 or a .keras file that exists"
        )
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
