"""Several backbones side by side on the same crops, as one flat functional model.

Flat, so that layers can be named, frozen and looked at as those of one backbone can. It is put
together from the models' configurations: a layer keeps all its settings but its name, which gets
the network's before it, so that no two collide.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

_CROP = "image"


def joined(networks: Mapping[str, keras.Model]) -> keras.Model:
    """Networks that take the same crops, as one with weights of its own.

    Crops are as large as the largest network takes them. The others resize them for themselves, in
    float32.

    Args:
        networks: name to a functional model from RGB crops (b, size, size, 3) in [0, 255]; left as
            they are.

    Returns:
        A model from crops to a list of all outputs, network after network. Layer L of network N is
        called `N.L`.
    """
    size = max(model.input_shape[1] for model in networks.values())
    image = keras.Input((size, size, 3), name=_CROP)
    starts = {name: image for name in networks}
    for name, model in networks.items():
        if (its := model.input_shape[1]) != size:
            # Not the layer: its call says training=True, which Keras 3.15 then hands on to a
            # batch normalization behind it where nothing else is said.
            starts[name] = keras.ops.image.resize(image, (its, its))
    config = keras.Model(image, list(starts.values()), name="_".join(networks)).get_config()
    firsts, ends = _places(config["output_layers"]), []
    for (name, model), first in zip(networks.items(), firsts, strict=True):
        its_config = model.get_config()
        ((source, *_),) = _places(its_config["input_layers"])
        called = {layer["name"]: f"{name}.{layer['name']}" for layer in its_config["layers"]}
        called[source] = first[0]
        config["layers"] += [
            {
                **layer,
                "name": called[layer["name"]],
                "config": {**layer["config"], "name": called[layer["name"]]},
                "inbound_nodes": _renamed(layer["inbound_nodes"], called),
            }
            for layer in its_config["layers"]
            if layer["name"] != source
        ]
        ends += [[called[end], *rest] for end, *rest in _places(its_config["output_layers"])]
    whole = keras.Model.from_config({**config, "output_layers": ends})
    for name, model in networks.items():
        for layer in model.layers:
            if layer.weights:
                copy = whole.get_layer(f"{name}.{layer.name}")
                for variable, value in zip(copy.weights, layer.weights, strict=True):
                    variable.assign(value)
    return whole


def outputs(whole: keras.Model, networks: Mapping[str, keras.Model]) -> list[keras.KerasTensor]:
    """The first output of each of the networks that `joined` made a model of."""
    firsts, place = [], 0
    for model in networks.values():
        firsts.append(whole.outputs[place])
        place += len(model.outputs)
    return firsts


def _places(value: Any) -> list[list]:
    """Tensors in a configuration: layer, call and output, out of lists and dictionaries of them."""
    return list(_found(value))


def _found(value: Any) -> Iterator[list]:
    if isinstance(value, dict):
        value = list(value.values())
    if value and isinstance(value[0], str):
        yield list(value)
        return
    for inner in value:
        yield from _found(inner)


def _renamed(value: Any, called: Mapping[str, str]) -> Any:
    """The same calls, of layers under other names."""
    if isinstance(value, dict):
        return {
            key: [called[inner[0]], *inner[1:]]
            if key == "keras_history"
            else _renamed(inner, called)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_renamed(inner, called) for inner in value)
    return value
