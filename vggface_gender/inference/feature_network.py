"""The network whose features are wanted: a backbone, or a run's own up to one of its layers."""

from pathlib import Path
from typing import NamedTuple

import keras

from vggface_gender import backbones
from vggface_gender.backbones import onnx_network
from vggface_gender.base import device, networks
from vggface_gender.base.errors import InputError
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier


class Network(NamedTuple):
    """A network from crops to features, and what there is to say about these."""

    model: keras.Model  # crops (b, size, size, 3) to features (b, ...)
    padding: float | None  # the crops' frame, as `dlib.get_face_chip`'s padding
    about: dict[str, str]  # "backbone" or "run", and "layer"


def of_backbone(name: str, *, layer: str | None = None, precision: str = "auto") -> Network:
    """A backbone.

    Args:
        name, layer: see `backbones.load`; by default dlib's embedding, and of others what that
            gives.
        precision: see `device.precision`.

    Raises:
        InputError: no such backbone or layer.
    """
    if name == "dlib":
        layer = layer or "embedding"
    model = backbones.load(name, precision=device.precision(precision), layer=layer)
    about = {
        "backbone": onnx_network.named(name),
        "layer": layer or model.output_names[0],
    }
    return Network(model, networks.padding(name), about)


def of_run(path: Path, name: str, *, layer: str | None = None, precision: str = "auto") -> Network:
    """A run's own network.

    Args:
        path: the classifier's file.
        name: the run's, as people give it.
        layer: see `cut`.
        precision: see `classifier.load`.

    Raises:
        InputError: no such classifier or layer.
    """
    trained = classifier.load(path, precision)
    model = cut(trained, layer)
    about = {"run": name, "layer": layer or model.output_names[0]}
    return Network(model, trained.padding, about)


def cut(trained: Classifier, layer: str | None) -> keras.Model:
    """A classifier's network from crops (b, size, size, 3) to the output of one of its layers.

    Args:
        layer: of the head, or else of the backbone; None for the backbone's last, which the head
            begins with.

    Raises:
        InputError: neither has it.
    """
    backbone, head = trained.parts()
    if layer is None:
        return backbone
    inner = {one.name: one for one in head.layers if not isinstance(one, keras.layers.InputLayer)}
    outer = {one.name: one for one in backbone.layers}
    if layer in inner:
        hidden = keras.Model(head.input, inner[layer].output, name=layer)
        output = hidden(backbone.output)
    elif layer in outer:
        output = outer[layer].output
    else:
        raise InputError(
            f"the run has no layer {layer}: its head's are {', '.join(inner)}; the last of its "
            f"backbone's {', '.join([*outer][-5:])}"
        )
    return keras.Model(backbone.input, output, name=backbone.name)
