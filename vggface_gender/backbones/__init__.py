"""Pretrained face networks without their classifiers, preprocessing inside.

A backbone takes raw RGB crops (b, size, size, 3) in `[0, 255]` and returns features.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras

from vggface_gender.backbones import dlib_resnet, vggface
from vggface_gender.command import InputError, first_line

# Rounding these to 16 bits would lose what a float32 head can use, and saves no time.
_KEPT_FLOAT32 = {"InputLayer", "Resizing", "Rescaling", "GlobalAveragePooling2D"}


def load(name: str, precision: str = "float32", layer: str | None = None) -> keras.Model:
    """A backbone by name: "dlib", "vggface", or a `.keras` file.

    Args:
        precision: the Keras dtype policy to compute in; variables stay `float32`.
        layer: whose output the features are; by default dlib's "map" (which also has "pooled",
            "embedding" and every block: see `dlib_resnet.build`), else the model's own output.

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
        model = vggface.load() if name == "vggface" else _load_file(Path(name))
        model = with_precision(model, precision)
    if layer is None:
        return model
    known = [known.name for known in model.layers]
    if layer not in known:
        raise InputError(f"{name} has no layer {layer}; the last of its layers: {known[-5:]}")
    return keras.Model(model.input, model.get_layer(layer).output, name=model.name)


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
            inner["dtype"] = "float32" if layer["class_name"] in _KEPT_FLOAT32 else precision
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
