"""A classifier as an ONNX file, which answers without Keras and TensorFlow.

The file holds the contract too, as metadata, so that it is a classifier by itself
(`inference.onnx_classifier` reads it). The format: https://onnx.ai/onnx/intro/
"""

import contextlib
import io
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vggface_gender.base import console, contract, files
from vggface_gender.evaluation import card_sources
from vggface_gender.inference import classifier
from vggface_gender.inference.classifier import Classifier
from vggface_gender.inference.onnx_classifier import CROP, LICENCE, MADE_FROM

OPSET = 17
LARGE = 1_000  # numbers of a weight that is worth storing in 16 bits


def save(
    trained: Classifier,
    path: str | os.PathLike,
    *,
    made_from: str | os.PathLike | None = None,
    licence: str | None = None,
) -> None:
    """Write a classifier as ONNX, whole or not at all.

    Its input `crop` is `float32` (batch, height, width, 3) RGB in `[0, 255]`; its outputs are the
    classifier's, by task, and `features` (batch, n), which the head works on.

    Args:
        trained: loaded in `float32`.
        made_from: its `.keras` file, by whose hash it is known later whether the two still agree.
        licence: the terms of what it is made of; by default those that follow from what it says.
    """
    model = _exported(trained)
    _halve(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        axes = ("batch", "height", "width") if value.name == CROP else ("batch",)  # of any length
        for axis, name in zip(value.type.tensor_type.shape.dim, axes, strict=False):
            axis.dim_param = name
    if licence is None:
        licence = card_sources.licence_of(trained.about)
    said = {contract.NAME: json.dumps(classifier.described(trained)), LICENCE: licence}
    if made_from is not None:
        said[MADE_FROM] = files.digest(made_from)
    helper.set_model_props(model, said)
    onnx.checker.check_model(model, full_check=True)
    with files.whole(path) as part:
        part.write_bytes(model.SerializeToString())


def _exported(trained: Classifier) -> Any:
    """The model and its features as Keras exports them."""
    model = classifier.with_features(trained)
    model(np.zeros((1, trained.size, trained.size, 3), np.float32))  # Keras asks for a first call
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        console.silenced(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # tf2onnx's, on NumPy's names
        file = Path(folder, "model.onnx")
        model.export(file, format="onnx", verbose=False, opset_version=OPSET)
        return onnx.load(file)


def _halve(graph: Any) -> None:
    """Store weights that 16 bits hold exactly in 16 bits, widened where they are used.

    Such are those of a classifier whose own file is in half precision.
    """
    casts = []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < LARGE:
            continue
        values, name = numpy_helper.to_array(weight), weight.name
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        stored = f"{name}_16"
        weight.CopyFrom(numpy_helper.from_array(half, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
