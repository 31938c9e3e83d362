"""VGG-Face in MatConvNet's terms: which layers a file has to hold, and in which order.

Written apart from the Keras graph (`vggface.build`), so that a file is compared with the published
network, not with what Keras makes of it.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.weights.network import Layer, Network, times

# A Caffe network rounds a pool's size up, which MatConvNet writes as this padding. It does nothing
# here, where every pool halves an even size.
_CEILING = (0, 1, 0, 1)


def architecture(
    channels: Sequence[Sequence[int]],
    size: int,
    *,
    dense: int,
    identities: int,
    has_dropout: bool = True,
) -> tuple[Layer, ...]:
    """The layers of table 3 of Parkhi et al.: 39 of them, 37 without dropout.

    Args:
        channels: the convolutions' channels, a sequence a block.
        size: rows and columns of the image in pixels.
        dense: fc6's and fc7's channels.
        identities: fc8's channels.
        has_dropout: whether the file has the layers that only training needs.
    """
    layers, depth = [], 3
    for block, widths in enumerate(channels, 1):
        for number, width in enumerate(widths, 1):
            kernel = (3, 3, depth, width)
            layers.append(Layer(f"conv{block}_{number}", "conv", kernel, pad=(1, 1, 1, 1)))
            layers.append(Layer(f"relu{block}_{number}", "relu"))
            depth = width
        layers.append(Layer(f"pool{block}", "pool", window=(2, 2), stride=(2, 2)))
    side = size >> len(channels)  # every pool halves it; fc6 is as large as what is left
    for number, kernel in ((6, (side, side, depth, dense)), (7, (1, 1, dense, dense))):
        layers += [Layer(f"fc{number}", "conv", kernel), Layer(f"relu{number}", "relu")]
        if has_dropout:
            layers.append(Layer(f"dropout{number}", "dropout", rate=0.5))
    layers += [Layer("fc8", "conv", (1, 1, dense, identities)), Layer("prob", "softmax")]
    return tuple(layers)


def match(network: Network, expected: Sequence[Layer], *, last: str) -> dict[str, Layer]:
    """The file's layers by the published names, once they are known to be the expected ones.

    Layers without weights may have names of their own, and dropout a rate of its own. A file may
    end early: one of convolutions alone, say, gives pool5.

    Args:
        last: the last layer that is needed, by its published name.

    Raises:
        InputError: a layer is missing, is another one, or is one too many; or the names under which
            the file has weights are not those of its layers.
    """
    matched: dict[str, Layer] = {}
    for found, wanted in zip_longest(network.layers, expected):
        if found is None:
            if last in matched:
                break
            raise _other(network, wanted.name, "missing at the end", _described(wanted))
        if wanted is None:
            raise _other(network, found.name, _described(found), "no layer after the softmax")
        has_own_name = wanted.type in ("relu", "dropout", "softmax")
        if found.type != wanted.type or not (has_own_name or found.name == wanted.name):
            raise _other(
                network, wanted.name, f"{found.name}, {_described(found)}", _described(wanted)
            )
        if found.type == "pool" and found.pad == _CEILING:
            found = replace(found, pad=wanted.pad)
        if replace(found, name=wanted.name, rate=wanted.rate) != wanted:
            raise _other(network, found.name, _described(found), _described(wanted))
        matched[wanted.name] = found

    weighted = {layer.name for layer in matched.values() if layer.shape}
    missing, left = weighted - network.weights.keys(), network.weights.keys() - weighted
    if missing or left:
        raise InputError(
            f"{network.path}: weights missing: {', '.join(sorted(missing)) or 'none'}; left over: "
            f"{', '.join(sorted(left)) or 'none'}"
        )
    return matched


def mean(network: Network, size: int) -> np.ndarray:
    """The file's mean, of red, green and blue, as float32.

    Returns:
        (3,) where it is the same all over the image, else (size, size, 3); in [0, 255].

    Raises:
        InputError: it is of another size.
    """
    found = network.mean.astype(np.float32)
    if found.shape not in ((1, 1, 3), (size, size, 3)):
        raise InputError(
            f"{network.path}: averageImage is {times(found.shape)};"
            f" expected 1x1x3 or {size}x{size}x3"
        )
    if network.channels == "bgr":
        found = found[..., ::-1]
    return found[0, 0] if (found == found[0, 0]).all() else found


def _other(network: Network, layer: str, found: str, expected: str) -> InputError:
    return InputError(
        f"{network.path}: not VGG-Face: layer {layer}: found {found}; expected {expected}"
    )


def _described(layer: Layer) -> str:
    match layer.type:
        case "conv":
            return f"conv {times(layer.shape)}, stride {layer.stride}, pad {layer.pad}"
        case "pool":
            return f"pool {times(layer.window)}, stride {layer.stride}, pad {layer.pad}"
        case _:
            return layer.type
