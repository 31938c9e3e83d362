"""Changes to a functional model that keep its weights: cut in two, frozen in part, recast.

Cuts and freezes follow tensors through the graph, not the order of a model's list of layers: with
skip connections the two differ.
"""

from collections.abc import Collection, Iterable

import keras
import numpy as np

from vggface_gender.base.errors import InputError

FEATURES = "features"  # the layer that joins several layers' outputs (see `backbones.load`)
# Preprocessing, for which 16 bits are too few, and the last averages and joins, which a float32
# head reads: rounding those saves no time.
_KEPT_FLOAT32 = {
    *("InputLayer", "Resizing", "Rescaling", "Cropping2D", "GlobalAveragePooling2D"),
    "OnnxNetwork",  # ONNX Runtime takes what its file says
}


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
            f"needs more than one tensor; {_known(backbone)}"
        )
    trunk = keras.Model(backbone.input, cut, name=f"{backbone.name}_trunk")
    return trunk, keras.Model(cut, backbone.output, name=f"{backbone.name}_top")


def freeze_before(backbone: keras.Model, first: str | None) -> list[str]:
    """Set which layers are trained: one and all that do not lead to it.

    A frozen batch normalization also keeps its averages.

    Args:
        backbone: a functional model; its layers' `trainable` is set.
        first: the first layer to train, or the start of its name (see `split`); None for all. Of
            several networks side by side the first of each, joined by "+", as
            "dlib.block_2_1+faceres.conv_dw_4"; all of one that is not named is trained.

    Returns:
        The names of the layers with weights that are frozen now: all of those that the first one's
        input depends on.

    Raises:
        InputError: no such layer.
    """
    before: set[int] = set()
    for each in [] if first is None else first.split("+"):
        taken = _taken(backbone, _find(backbone, each))
        before |= {id(maker(tensor)) for tensor in _leading_to(taken)}
    layers = [layer for layer in backbone.layers if not isinstance(layer, keras.layers.InputLayer)]
    for layer in layers:
        layer.trainable = id(layer) not in before
    return [layer.name for layer in layers if id(layer) in before and layer.weights]


def with_precision(model: keras.Model, precision: str) -> keras.Model:
    """A functional model with the same weights that computes in another dtype policy.

    Preprocessing and whatever is named "head" stay in `float32`, as all variables do.

    Args:
        model: left as it is; the two share no variable.
        precision: the name of a Keras dtype policy, such as "mixed_bfloat16".
    """
    changed = keras.Model.from_config(_recast(model.get_config(), precision))
    # One at a time: `set_weights(get_weights())` would hold them all a third time.
    for variable, value in zip(changed.weights, model.weights, strict=True):
        variable.assign(value)
    return changed


def assign(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Give every variable the array of its name, `layer/variable`.

    Raises:
        ValueError: the two sets of names differ, or a shape does.
    """
    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        for variable in layer.variables
    }
    missing, unexpected = variables.keys() - arrays.keys(), arrays.keys() - variables.keys()
    if missing or unexpected:
        raise ValueError(f"weights missing: {sorted(missing)}; unexpected: {sorted(unexpected)}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def require_finite(model: keras.Model, name: object) -> None:
    """Raise an InputError unless every weight of a model is a finite number.

    A network with one that is not still answers, with nothing or with nonsense.

    Args:
        name: what to call the model in the error: its file, or what it was loaded by.
    """
    for variable in model.variables:
        weights = keras.ops.convert_to_numpy(variable)
        # Least and largest are NaN if any is, and take no memory.
        if weights.size and not (np.isfinite(weights.min()) and np.isfinite(weights.max())):
            bad = np.count_nonzero(~np.isfinite(weights))
            raise InputError(
                f"{name}: damaged, {bad:,} of {weights.size:,} numbers in {variable.path} are "
                "infinite or none; make or get the file again"
            )


def _find(backbone: keras.Model, first: str) -> keras.Operation:
    """The operation nearest to the crops whose name is, or starts with, `first`."""
    for operation in _operations(backbone):
        if operation.name.startswith(first):
            return operation
    raise InputError(
        f"{backbone.name} has no layer {first}, nor any whose name starts so; {_known(backbone)}"
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


def _known(backbone: keras.Model) -> str:
    """What there is to say of the layers by which a backbone is cut, or else frozen."""
    if places := _places(backbone):
        return f"it can be cut before {', '.join(places)}"
    weighted = [layer.name for layer in backbone.layers if layer.weights]
    return f"it can't be cut; its layers are {', '.join(weighted)}"


def _places(backbone: keras.Model) -> list[str]:
    """The layers whose names cut the backbone, one a cut."""
    places: dict[int, str] = {}
    for operation in _operations(backbone):
        if not isinstance(operation, keras.Layer):
            continue  # its name is numbered anew in every process
        if _find(backbone, operation.name) is not operation:
            continue  # a block's last layer, say: a layer before it has a name that starts so
        if (cut := _cut(backbone, operation)) is not None:
            places.setdefault(id(cut), operation.name)
    return list(places.values())


# Keras gives no public way from a tensor back to what it was made from: a layer's `input` is that
# of its first call, and a nested model's the one within it. Hence the two private attributes here,
# and nowhere else.
def maker(tensor: keras.KerasTensor) -> keras.Operation:
    """The layer, operation or model that made a tensor."""
    return tensor._keras_history.operation


def _sources(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """The tensors that one was made from."""
    return maker(tensor)._inbound_nodes[tensor._keras_history.node_index].input_tensors


def _taken(backbone: keras.Model, operation: keras.Operation) -> list[keras.KerasTensor]:
    """The tensors that an operation of the backbone takes."""
    return [
        source
        for tensor in _leading_to(backbone.outputs)
        if maker(tensor) is operation
        for source in _sources(tensor)
    ]


def _leading_to(
    ends: Iterable[keras.KerasTensor], stops: Collection[int] = ()
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


def _recast(config: dict, precision: str) -> dict:
    """A functional model's configuration with another dtype policy in every layer."""
    layers = []
    for layer in config["layers"]:
        inner = dict(layer["config"])
        if "layers" in inner:  # a model within the model
            inner = _recast(inner, "float32" if inner["name"] == "head" else precision)
        elif "dtype" in inner:
            kept = (
                layer["class_name"] in _KEPT_FLOAT32
                or inner["name"] == FEATURES
                # TensorFlow's bfloat16 gradient of it takes 14 to 50 times as long on a processor.
                or (layer["class_name"] == "DepthwiseConv2D" and max(inner["strides"]) > 1)
            )
            inner["dtype"] = "float32" if kept else precision
        layers.append(layer | {"config": inner})
    return config | {"layers": layers}
