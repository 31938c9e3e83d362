"""Keras files for tests, of exactly the layouts that people have: see `weights/keras_h5.py`.

Weights alone are written with h5py as Keras 2 wrote them; whole models are built and saved by
Keras. All hold the network of `matconvnet_files.network`, so that one account can be held against
the other; a file whose network takes BGR has the channels of its first kernel in reverse.
"""

from pathlib import Path

import h5py
import numpy as np


def tensors(layers: list[dict], *, channels: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By name: each layer's kernel and bias, as a network that takes these channels has them."""
    found = {}
    for layer in layers:
        if layer["type"] == "conv":
            kernel, bias = layer["weights"].flat
            if layer["name"] == "conv1_1" and channels == "bgr":
                kernel = kernel[:, :, ::-1]
            found[layer["name"]] = (kernel, bias.ravel())
    return found


def write_weights(path: Path, groups: list[tuple[str, list[tuple[str, np.ndarray]]]]) -> Path:
    """A weights file of Keras 2: a group a layer, each with the names of its arrays, in order."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name, _ in groups]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0.6"
        for name, arrays in groups:
            group = file.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight, _ in arrays]
            for weight, array in arrays:
                group.create_dataset(weight, data=array)
    return path


def _dense(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(-1, kernel.shape[-1])


def keras_vggface(path: Path, layers: list[dict], *, top: bool, channels: str = "bgr") -> Path:
    """As rcmalli_vggface_tf_vgg16.h5, or its notop: named layers, fully connected ones dense."""
    held = tensors(layers, channels=channels)
    groups: list = [("input_1", [])]
    for layer in layers:
        name, kind = layer["name"], layer["type"]
        if name == "fc6" and not top:
            break
        if kind == "conv":
            kernel, bias = held[name]
            kernel = _dense(kernel) if name.startswith("fc") else kernel
            groups.append((name, [(f"{name}/kernel:0", kernel), (f"{name}/bias:0", bias)]))
        elif kind == "pool":
            groups.append((name, []))
    if top:
        at = next(i for i, (name, _) in enumerate(groups) if name == "fc6")
        groups.insert(at, ("flatten", []))
        groups += [("fc6/relu", []), ("fc7/relu", []), ("fc8/softmax", [])]
    return write_weights(path, groups)


def deepface(path: Path, layers: list[dict], *, channels: str = "rgb") -> Path:
    """As vgg_face_weights.h5: generic names in the order of a Sequential model; no dense layer."""
    groups: list = []
    for number, (name, (kernel, bias)) in enumerate(tensors(layers, channels=channels).items(), 1):
        if name.startswith("conv"):
            groups.append((f"zero_padding2d_{number}", []))
        own = f"conv2d_{number}"
        groups.append((own, [(f"{own}/kernel:0", kernel), (f"{own}/bias:0", bias)]))
        if name in ("fc6", "fc7"):
            groups.append((f"dropout_{name[-1]}", []))
    return write_weights(path, [*groups, ("flatten_1", []), ("activation_1", [])])


def model(
    layers: list[dict], kind: str, *, channels: str = "rgb", size: int = 64, top: bool = True
):
    """A whole model: "sequential" as deepface's, "functional" as keras-vggface's, or "nested".

    Its layers have names that Keras makes up.
    """
    import keras

    held = list(tensors(layers, channels=channels).items())
    made: list = [keras.layers.Input((size, size, 3))]
    block = 1
    for name, (kernel, _) in held:
        width = kernel.shape[-1]
        if name.startswith("conv"):
            if int(name[4]) > block:
                made.append(keras.layers.MaxPooling2D(2, strides=2))
                block = int(name[4])
            if kind == "sequential":
                made += [
                    keras.layers.ZeroPadding2D(1),
                    keras.layers.Conv2D(width, 3, activation="relu"),
                ]
            else:
                made += [keras.layers.Conv2D(width, 3, padding="same"), keras.layers.ReLU()]
        elif top and kind == "sequential":
            if name == "fc6":
                made.append(keras.layers.MaxPooling2D(2, strides=2))
            activation = None if name == "fc8" else "relu"
            made.append(keras.layers.Conv2D(width, kernel.shape[0], activation=activation))
            made += [] if name == "fc8" else [keras.layers.Dropout(0.5)]
        elif top:
            if name == "fc6":
                made += [keras.layers.MaxPooling2D(2, strides=2), keras.layers.Flatten()]
            made.append(keras.layers.Dense(width))
            made.append(keras.layers.Activation("softmax" if name == "fc8" else "relu"))
    if top and kind == "sequential":
        made += [keras.layers.Flatten(), keras.layers.Activation("softmax")]
    if not top:
        made.append(keras.layers.MaxPooling2D(2, strides=2))
        held = [(name, pair) for name, pair in held if name.startswith("conv")]
    if kind == "sequential":
        network = keras.Sequential(made)
    else:
        x = made[0]
        for layer in made[1:]:
            x = layer(x)
        network = keras.Model(made[0], x)
        if kind == "nested":
            image = keras.Input((size, size, 3))
            outer = keras.Model(image, network(image))
    weights = [
        a if a.ndim == w.ndim else _dense(a)
        for (_, pair), at in zip(held, range(0, 99, 2), strict=False)
        for a, w in zip(pair, network.weights[at : at + 2], strict=True)
    ]
    network.set_weights(weights)
    return outer if kind == "nested" else network
