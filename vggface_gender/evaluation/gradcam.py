"""Grad-CAM: where in a face a classifier's answer comes from (Selvaraju et al., ICCV 2017).

The channels of a layer's map, each weighted by the mean over the map of the answer's gradient with
respect to it, added up and cut off below 0. For gender and race the answer is the label's score
before softmax, for age the years.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont

from vggface_gender.base.errors import InputError

SIDE, MARGIN, LABEL = 120, 8, 30  # pixels of a figure's pictures, and around them
LEAST_MAP = 3  # rows and columns: dlib's last map has 2, which hardly says where


def explainer(
    model: keras.Model, task: str, layer: str | None = None
) -> Callable[[np.ndarray, np.ndarray | None], tuple[np.ndarray, np.ndarray]]:
    """A function that explains crops, a batch a call, its graph compiled once.

    Args:
        model: a classifier's, a backbone and a head within it; or any functional model from crops
            to a dictionary by task. Gender and race end in a dense layer with softmax.
        task: whose answer.
        layer: whose map is weighted; by default the last of at least `LEAST_MAP` rows and columns.

    Returns:
        Takes crops (b, size, size, 3) in `[0, 255]`, size the backbone's, and the places (b,) of
        the labels asked about, or None for the likeliest (of age nothing is asked). Gives the maps
        (b, h, w) `float32` from 0 up, and the labels' places (b,), or for age the years.

    Raises:
        InputError: no such task or layer, or the layer gives no map.
    """
    backbone, head = _parts(model)
    last, scores_of = _scores(head or backbone, task)
    beyond = last if head is None else backbone.output
    watched = keras.Model(backbone.input, [_layer(backbone, layer).output, beyond])
    if head is not None:
        head = keras.Model(head.input, last)
    signature = [
        tf.TensorSpec([None, *backbone.input_shape[1:]], tf.float32),
        tf.TensorSpec([None], tf.int64),
    ]

    @tf.function(input_signature=signature)  # a last batch of fewer crops is no other graph
    def explain(crops: tf.Tensor, asked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(crops)  # so that all that comes of them is recorded
            maps, features = watched(crops, training=False)
            scores = scores_of(features if head is None else head(features, training=False))
            if len(scores.shape) == 1:
                told = chosen = scores
            else:
                told = tf.where(asked < 0, tf.argmax(scores, axis=1), asked)
                chosen = tf.gather(scores, told, axis=1, batch_dims=1)
        gradient = tf.cast(tape.gradient(chosen, maps), tf.float32)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1)), told

    def explained(crops: np.ndarray, asked: np.ndarray | None = None):
        asked = np.full(len(crops), -1) if asked is None else np.asarray(asked)
        maps, told = explain(tf.constant(crops, tf.float32), tf.constant(asked, tf.int64))
        return maps.numpy(), told.numpy()

    return explained


def overlay(crop: np.ndarray, heat: np.ndarray, opacity: float = 0.45) -> np.ndarray:
    """A crop with its map laid over in colours, from blue (0) to red (the map's greatest).

    Args:
        crop: (h, w, 3) `uint8` RGB.
        heat: a map (rows, columns) from 0 up.

    Returns:
        (h, w, 3) `uint8` RGB.
    """
    height, width = crop.shape[:2]
    smooth = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    levels = np.clip(smooth / max(float(smooth.max()), 1e-12), 0, 1)
    colours = cv2.applyColorMap((levels * 255).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    return cv2.addWeighted(np.ascontiguousarray(colours), opacity, crop, 1 - opacity, 0)


class Average(NamedTuple):
    """What a group's faces have in common."""

    count: int
    face: np.ndarray  # (size, size, 3) uint8 RGB, the mean crop
    heat: np.ndarray  # (rows, columns) the mean map, each face's greatest value taken as 1


def averages(
    explained: Iterable[tuple[np.ndarray, np.ndarray, Iterable[tuple]]],
) -> dict[tuple, Average]:
    """The average face and map of every group.

    Args:
        explained: batches of crops (b, size, size, 3), their maps (b, rows, columns) and, crop by
            crop, a group's key or None for none.
    """
    sums: dict[tuple, list] = {}
    for crops, maps, keys in explained:
        greatest = maps.max(axis=(1, 2), keepdims=True)
        shares = maps / np.maximum(greatest, 1e-12)
        for crop, share, key in zip(crops, shares, keys, strict=True):
            if key is None:
                continue
            total = sums.setdefault(key, [0, np.zeros(crop.shape), np.zeros(share.shape)])
            total[0] += 1
            total[1] += crop
            total[2] += share
    return {
        key: Average(count, (face / count + 0.5).astype(np.uint8), heat / count)
        for key, (count, face, heat) in sums.items()
    }


def figure(cells: dict[tuple, Average], rows: list[tuple], columns: list[str]) -> Image.Image:
    """Average faces and maps, a row a group, a pair of pictures for each of the columns.

    Args:
        cells: by (*row, column); where there is none the place stays empty.
        rows: keys such as ("female", "Asian"), the rows' labels.
        columns: "right" and "wrong", say.
    """
    stride = SIDE + MARGIN
    left = 170
    sheet = Image.new(
        "RGB", (left + 2 * stride * len(columns), LABEL + stride * len(rows)), "white"
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for place, column in enumerate(columns):
        pen.text((left + 2 * stride * place, LABEL / 2), column, "black", font, anchor="lm")
    for line, row in enumerate(rows):
        top = LABEL + stride * line
        pen.text((MARGIN, top + SIDE / 2), ", ".join(row), "black", font, anchor="lm")
        for place, column in enumerate(columns):
            cell = cells.get((*row, column))
            if cell is None:
                continue
            face = cv2.resize(cell.face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            for number, picture in enumerate((face, overlay(face, cell.heat))):
                x = left + stride * (2 * place + number)
                sheet.paste(Image.fromarray(picture), (x, top))
            count = f"{cell.count:,}"
            corner = (left + stride * 2 * place + 4, top + SIDE - 4)
            pen.text(corner, count, "white", font, anchor="lb", stroke_width=2, stroke_fill="black")
    return sheet


def _parts(model: keras.Model) -> tuple[keras.Model, keras.Model | None]:
    """Backbone and head; the whole model and None where nothing is nested in it."""
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return (inner[0], inner[-1]) if len(inner) > 1 else (model, None)


def _layer(backbone: keras.Model, name: str | None) -> keras.layers.Layer:
    maps = [
        layer
        for layer in backbone.layers
        if isinstance(layer.output, keras.KerasTensor) and len(layer.output.shape) == 4
    ]
    if name is None:
        large = [layer for layer in maps if min(layer.output.shape[1:3]) >= LEAST_MAP]
        if not large:
            raise InputError(f"the backbone has no map of {LEAST_MAP} rows and columns to explain")
        return large[-1]
    found = next((layer for layer in maps if layer.name == name), None)
    if found is None:
        last = ", ".join(layer.name for layer in maps[-5:])
        raise InputError(f"the backbone has no layer {name} that gives a map; its last: {last}")
    return found


def _scores(model: keras.Model, task: str) -> tuple[keras.KerasTensor, Callable]:
    """The tensor that a task's scores come from, and what makes the scores of its values."""
    outputs = model.output if isinstance(model.output, dict) else {}
    if task not in outputs:
        raise InputError(f"the classifier does not tell {task}; it tells {', '.join(outputs)}")
    if len(outputs[task].shape) == 1:
        return outputs[task], lambda years: years
    dense, node, _ = outputs[task]._keras_history
    if getattr(dense, "activation", None) is not keras.activations.softmax:
        raise InputError(f"{task} does not end in a dense layer with softmax")
    # Not dense.input: a layer that stands in several models has several.
    before = dense._inbound_nodes[node].input_tensors[0]
    return before, lambda inputs: tf.cast(inputs, tf.float32) @ dense.kernel + dense.bias
