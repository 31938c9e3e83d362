"""The Open Inference Protocol's tensors, as JSON and as its binary extension has them.

https://github.com/kserve/open-inference-protocol and, for the extension, Triton's
`docs/protocol/extension_binary_data.md`: after the JSON, whose length a header states, the raw
bytes of each tensor follow in order.
"""

import base64
import binascii
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vggface_gender.web.settings import Refusal

LENGTH_HEADER = "Inference-Header-Content-Length"
DATATYPES: dict[str, np.dtype] = {
    "UINT8": np.dtype("u1"),
    "INT32": np.dtype("<i4"),
    "FP32": np.dtype("<f4"),
}
NAMES = {dtype: name for name, dtype in DATATYPES.items()}
MAX_SIDES, MAX_SIDE = 8, 2**32 - 1  # of a shape: the product of longer ones takes minutes


class Inference(NamedTuple):
    """A request for an inference."""

    inputs: dict[str, np.ndarray | list[bytes]]  # a list of a BYTES tensor
    outputs: dict[str, bool] | None  # name to whether it is wanted as binary; None for all
    all_binary: bool  # what holds where `outputs` is None
    id: str | None


def read(content: bytes, json_length: str | None) -> Inference:
    """A request.

    Args:
        content: its body.
        json_length: its header `LENGTH_HEADER`; None where the body is JSON alone.

    Raises:
        Refusal: it is no such request.
    """
    try:
        length = len(content) if json_length is None else int(json_length)
        if not 0 <= length <= len(content):
            raise ValueError(f"{LENGTH_HEADER} is {length}, the body has {len(content)} bytes")
        asked = json.loads(content[:length])
        rest = memoryview(content)[length:]
        inputs = {}
        for tensor in asked["inputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size")
            if size is None:
                inputs[tensor["name"]] = _from_json(tensor)
            else:
                if not 0 <= size <= len(rest):
                    raise ValueError(f"{tensor['name']}: {size} bytes, and {len(rest)} are there")
                inputs[tensor["name"]] = _from_binary(tensor, rest[:size])
                rest = rest[size:]
        if len(rest):
            raise ValueError(f"{len(rest)} bytes belong to no input")
        outputs = None
        if asked.get("outputs"):
            outputs = {
                output["name"]: bool(output.get("parameters", {}).get("binary_data", False))
                for output in asked["outputs"]
            }
        all_binary = bool(asked.get("parameters", {}).get("binary_data_output", False))
        given = asked.get("id")
        return Inference(inputs, outputs, all_binary, None if given is None else str(given))
    except KeyError as error:
        raise Refusal(400, f"not an inference request: no {error}") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise Refusal(400, f"not an inference request: {reason}") from None


def write(
    model: str, tensors: Mapping[str, np.ndarray], *, asked: Inference
) -> tuple[bytes, dict[str, str]]:
    """A response's body, and its headers.

    Args:
        tensors: of the dtypes of `DATATYPES`; those that were asked for are written.

    Raises:
        Refusal: an output that was asked for is not among them.
    """
    wanted = dict.fromkeys(tensors, asked.all_binary) if asked.outputs is None else asked.outputs
    if unknown := sorted(wanted.keys() - tensors.keys()):
        raise Refusal(400, f"no output {unknown[0]}: there is {', '.join(tensors)}")
    described, raw = [], []
    for name, is_binary in wanted.items():
        tensor = tensors[name]
        about: dict[str, Any] = {
            "name": name,
            "datatype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
        }
        if is_binary:
            raw.append(np.ascontiguousarray(tensor).tobytes())
            about["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            about["data"] = tensor.ravel().tolist()
        described.append(about)
    response: dict[str, Any] = {"model_name": model, "outputs": described}
    if asked.id is not None:
        response["id"] = asked.id
    head = json.dumps(response).encode()
    if not raw:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(head))}
    return b"".join([head, *raw]), headers


def _from_json(tensor: Mapping[str, Any]) -> np.ndarray | list[bytes]:
    shape, datatype = _form(tensor)
    if datatype == "BYTES":
        data = tensor["data"]
        for _ in shape[1:]:
            if data and isinstance(data[0], list):
                data = [item for part in data for item in part]
        try:
            items = [base64.b64decode(item, validate=True) for item in data]
        except (binascii.Error, TypeError):
            raise ValueError(f"{tensor['name']}: as JSON, BYTES are base64") from None
        return _counted(tensor["name"], items, shape)
    # As float64, so that 256 or 0.5 in a UINT8 tensor is seen and not wrapped.
    given = np.asarray(tensor["data"])
    if given.dtype.kind not in "biuf" and given.size:
        raise ValueError(f"{tensor['name']}: its data is not of numbers")
    numbers = given.astype(np.float64).reshape(shape)
    with np.errstate(invalid="ignore", over="ignore"):  # looked for below
        made = numbers.astype(DATATYPES[datatype])
    if datatype != "FP32" and not np.array_equal(made, numbers):
        raise ValueError(f"{tensor['name']}: not all of it is {datatype}")
    return made


def _from_binary(tensor: Mapping[str, Any], raw: memoryview) -> np.ndarray | list[bytes]:
    shape, datatype = _form(tensor)
    if datatype != "BYTES":
        return np.frombuffer(raw, DATATYPES[datatype]).reshape(shape)
    items, start = [], 0
    while start < len(raw):  # each is its length in four bytes, and its content
        if start + 4 > len(raw):
            raise ValueError(f"{tensor['name']}: cut off")
        [length] = struct.unpack_from("<I", raw, start)
        start += 4 + length
        if start > len(raw):
            raise ValueError(f"{tensor['name']}: cut off")
        items.append(bytes(raw[start - length : start]))
    return _counted(tensor["name"], items, shape)


def _form(tensor: Mapping[str, Any]) -> tuple[list[int], str]:
    shape, datatype = tensor["shape"], tensor["datatype"]
    if not isinstance(shape, list) or len(shape) > MAX_SIDES:
        raise ValueError(f"{tensor['name']}: a shape is a list of at most {MAX_SIDES} numbers")
    if not all(type(side) is int and 0 <= side <= MAX_SIDE for side in shape):
        raise ValueError(f"{tensor['name']}: a shape is a list of whole numbers")
    if datatype not in ("BYTES", "UINT8", "FP32"):
        raise ValueError(f"{tensor['name']}: {datatype} is not BYTES, UINT8 or FP32")
    return shape, datatype


def _counted(name: str, items: list[bytes], shape: list[int]) -> list[bytes]:
    if len(items) != math.prod(shape):
        raise ValueError(f"{name}: {len(items)} elements, and its shape is {shape}")
    return items
