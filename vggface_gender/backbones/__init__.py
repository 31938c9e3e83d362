"""Pretrained face networks without their classifiers, preprocessing inside.

A backbone takes raw RGB crops (b, size, size, 3) in `[0, 255]` and returns features.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras

from vggface_gender.backbones import (
    dlib_resnet,
    faceres,
    onnx_network,
    pairs,
    resnet50,
    vggface,
)
from vggface_gender.backbones.surgery import (
    FEATURES,
    freeze_before,
    maker,
    require_finite,
    split,
    with_precision,
)
from vggface_gender.base import networks
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.weights import keras_h5

__all__ = ["family", "freeze_before", "load", "require_finite", "split", "with_precision"]

_CONVERT = "Make VGG-Face's a backbone with `vggface-gender convert --h5 {}` (see its --help)"

# Outputs that are probabilities: answers of a classifier, not features.
_PROBABILITIES = ("softmax", "sigmoid", "log_softmax")

_SMALL_MAP = 2  # rows and columns up to which a map's places tell more than noise


def load(name: str, *, precision: str = "float32", layer: str | None = None) -> keras.Model:
    """A backbone by name.

    Args:
        name: "dlib"; "vggface"; "faceres", or "faceres:SIZE" for crops of another size;
            "resnet50" with random weights, or "resnet50:FILE" with those of a file (see
            `resnet50.load`); a `.keras` file; an ONNX file, "FILE.onnx", "FILE.onnx:bgr" or
            "FILE.onnx:rgb:MEAN:DEVIATION" (see `onnx_network`); or several of all but the last
            joined by "+", whose features stand side by side (see `pairs.joined`).
        precision: the Keras dtype policy to compute in; variables stay `float32`.
        layer: whose output the features are; by default dlib's "map" (which also has "pooled",
            "embedding" and every block: see `dlib_resnet.build`), FaceRes's "pooled" (also "map"
            and "embedding"), else the model's own output. Several joined by "+", as
            "map+block_4_3", give one `float32` vector (b, n), in which a map of at most 2x2 is
            flattened and a larger one averaged over rows and columns. Of several networks their
            layers are named "dlib.map", "faceres.pooled"; one of which none is named gives those
            that it has by default.

    Returns:
        A functional model from crops to one tensor of features.

    Raises:
        InputError: no such backbone or layer, or the weights are not there, not all numbers, or of
            no use: a whole classifier, or VGG-Face without its preprocessing.
    """
    names = networks.parts(name)
    if len(names) > 1:
        return _side_by_side(names, precision, layer)
    model, usual = _whole(name, precision)
    layer = layer or usual
    if layer is not None:
        model = _features(model, layer.split("+"), name)
    return _without_answers(model, name)


def family(model: keras.Model) -> str:
    """What a backbone is: "vggface" by its weights alone, whatever it is called; else its name."""
    if vggface.has_its_convolutions(model):
        return "vggface"
    return model.name if model.name != "vggface" else "another network"


def _whole(name: str, precision: str) -> tuple[keras.Model, str | None]:
    """One network with all its layers, and the layer of its features; None: its own output."""
    kind, _, file = name.partition(":")
    usual = None
    if name == "dlib":
        usual = "map"
        with _policy(precision):  # quicker than to build it twice, and it has three outputs
            model = dlib_resnet.load()
    elif name == "vggface":
        model = with_precision(vggface.load(), precision)
    elif kind == "faceres":
        usual = "pooled"
        model = with_precision(faceres.load(networks.faceres_size(name)), precision)
    elif kind == "resnet50":
        model = with_precision(resnet50.load(file or None), precision)
    elif onnx := networks.onnx_file(name):
        model = onnx_network.load(onnx)
    else:
        model = with_precision(_load_file(Path(name)), precision)
    require_finite(model, name)
    return model, usual


def _side_by_side(names: list[str], precision: str, layer: str | None) -> keras.Model:
    """Several networks on the same crops, and the vector of all their features."""
    found: dict[str, keras.Model] = {}
    usual: dict[str, str | None] = {}
    wanted = layer.split("+") if layer else []
    for name in names:
        model, its = _whole(name, precision)
        called = networks.called(name) or model.name
        if called in found:
            raise InputError(f"{'+'.join(names)}: two networks are called {called}; join others")
        if its is None and not any(each.startswith(f"{called}.") for each in wanted):
            _without_answers(model, name)
        found[called], usual[called] = model, its
    whole = pairs.joined(found)
    outputs = dict(zip(found, pairs.outputs(whole, found), strict=True))
    chosen: list[str] = []
    for called, its in usual.items():
        named = [each for each in wanted if each.startswith(f"{called}.")]
        chosen += named or [called if its is None else f"{called}.{its}"]
    chosen += [each for each in wanted if each not in chosen]  # of no network: an error below
    return _features(whole, chosen, "+".join(names), outputs=outputs)


def _without_answers(model: keras.Model, name: str) -> keras.Model:
    """A model, once its output is known to be features."""
    last = maker(model.output)
    while isinstance(last, keras.Model):
        last = maker(last.outputs[0])
    if _activation(last) in _PROBABILITIES:
        layers = [each for each in model.layers if not isinstance(each, keras.layers.InputLayer)]
        before = [layer.name for layer in layers if layer is not last][-4:]
        raise InputError(
            f"{name}: a whole classifier: {last.name} gives probabilities ({model.output.shape[-1]}"
            f" a crop), not features; name a layer before it with --layer: {', '.join(before)}"
        )
    return model


def _activation(operation: Any) -> str:
    """The name of the function that an operation ends in."""
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    activation = getattr(operation, "activation", None)
    return getattr(activation, "__name__", type(operation).__name__.lower())


def _features(
    model: keras.Model,
    layers: list[str],
    name: str,
    *,
    outputs: Mapping[str, keras.KerasTensor] = MappingProxyType({}),
) -> keras.Model:
    """A model from the crops to the output of one of its layers, or of several joined.

    Args:
        outputs: tensors by other names than layers'.
    """
    known = [layer.name for layer in model.layers]
    wanted = list(dict.fromkeys(layers))
    for each in wanted:
        if each not in known and each not in outputs:
            last = ", ".join(known[-5:])
            raise InputError(f"{name} has no layer {each}; the last of its layers: {last}")
    tensors = [
        outputs[each] if each in outputs else model.get_layer(each).output for each in wanted
    ]
    features = tensors[0] if len(tensors) == 1 else _joined(wanted, tensors)
    return keras.Model(model.input, features, name=model.name)


def _joined(names: list[str], outputs: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Layers' outputs as one vector (b, n), in float32 under any precision."""
    vectors = []
    for name, output in zip(names, outputs, strict=True):
        is_large = len(output.shape) == 4 and max(output.shape[1:3]) > _SMALL_MAP
        kind = keras.layers.GlobalAveragePooling2D if is_large else keras.layers.Flatten
        vectors.append(kind(dtype="float32", name=f"{name}_vector")(output))
    return keras.layers.Concatenate(dtype="float32", name=FEATURES)(vectors)


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Layers made within compute in this dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _load_file(path: Path) -> keras.Model:
    """The functional model in a `.keras` file, once it is known to take crops."""
    if not path.is_file():
        raise networks.unknown(path)
    try:
        keras_h5.check(path)
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        hint = (
            "" if path.suffix == ".keras" else f"; are they weights alone? {_CONVERT.format(path)}"
        )
        raise InputError(
            f"{path}: not a model that Keras can load: {first_line(error)}{hint}"
        ) from None
    model = _functional(model, path)
    shape = model.input_shape
    if len(shape) != 4 or shape[3] != 3 or shape[1] is None or shape[1] != shape[2]:
        raise InputError(f"{path}: takes {shape}; expected crops of (batch, size, size, 3)")
    if vggface.has_its_convolutions(model) and vggface.takes_no_preprocessing(model):
        raise InputError(
            f"{path}: VGG-Face's layers without its preprocessing: raw crops would give wrong"
            f" features. {_CONVERT.format(path)}"
        )
    return model


def _functional(model: Any, path: Path) -> keras.Model:
    """A loaded model as a functional one of one input and one output."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise InputError(
            f"{path}: a {type(model).__name__} that says no input; expected a functional or"
            " Sequential model that takes crops of (batch, size, size, 3): save it once it is built"
        )
    if isinstance(model, keras.Sequential):  # which has no tensors of its own
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if len(model.inputs) != 1 or not isinstance(model.output, keras.KerasTensor):
        raise InputError(
            f"{path}: {len(model.inputs)} inputs and {len(model.outputs)} outputs; a backbone has"
            " one input and one output (a classifier of this package is continued by"
            " `finetune --init`)"
        )
    return model
