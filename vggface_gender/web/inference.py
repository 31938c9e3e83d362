"""KServe's Open Inference Protocol, version 2: the classifier as other servers offer theirs.

Its inputs are `image`, encoded photos whose faces are found as `/predict` finds them, or `crop`,
faces cut out already; a request gives one of them.
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from vggface_gender import __version__
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.web import tensors, uploads
from vggface_gender.web.answering import Answerer, Asked
from vggface_gender.web.settings import Refusal

# Of a request with photos, beside the tasks: which photo a face is of, where in it, how certain
# the detector is.
FOUND = {"photo": ("INT32", [-1]), "box": ("INT32", [-1, 4]), "score": ("FP32", [-1])}


def router(answerer: Answerer, *, model: str) -> APIRouter:
    """The protocol's addresses.

    Args:
        model: the name under which the classifier is known.
    """
    made = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @made.get("", summary="What the server is")
    async def server() -> dict:
        extensions = ["binary_tensor_data"]
        return {"name": "vggface_gender", "version": __version__, "extensions": extensions}

    @made.get("/health/live", summary="Whether the server runs")
    async def live() -> dict:
        return {"live": True}

    @made.get("/health/ready", summary="Whether the classifier is loaded")
    async def ready() -> dict:
        return {"ready": True}

    @made.get("/models/{name}", summary="The classifier's inputs and outputs")
    async def metadata(name: str) -> dict:
        _require(name, model)
        return {
            "name": model,
            "versions": [],
            "platform": "onnxruntime_onnx",
            "inputs": [
                {"name": "image", "datatype": "BYTES", "shape": [-1]},
                {"name": "crop", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
            ],
            "outputs": [*_outputs(answerer), *_found()],
        }

    @made.get("/models/{name}/ready", summary="Whether the classifier is loaded")
    async def model_ready(name: str) -> dict:
        _require(name, model)
        return {"name": model, "ready": True}

    @made.post(
        "/models/{name}/infer",
        summary="Classify photos or crops given as tensors",
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": REQUEST}}}},
    )
    async def infer(name: str, request: Request) -> Response:
        _require(name, model)
        length = request.headers.get(tensors.LENGTH_HEADER)

        async def answer(content: bytes) -> tuple[bytes, dict[str, str]]:
            asked = await asyncio.to_thread(tensors.read, content, length)  # may take a second
            return tensors.write(model, await _answered(answerer, asked), asked=asked)

        body, headers = await answerer.in_time(
            lambda: uploads.body(request, answerer.settings.max_bytes), answer
        )
        return Response(body, headers=headers)

    return made


REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "description": "`image`: BYTES of any shape, base64 in JSON. `crop`: UINT8 or FP32 "
    "(n, h, w, 3), RGB in [0, 255]. One of the two.",
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": {"type": "object"}},
        "outputs": {"type": "array", "items": {"type": "object"}},
    },
}


async def _answered(answerer: Answerer, asked: tensors.Inference) -> dict[str, np.ndarray]:
    """The outputs by name.

    Raises:
        Refusal: the inputs are not one of the two, or can't be answered.
    """
    if set(asked.inputs) == {"image"} and isinstance(asked.inputs["image"], list):
        return await _of_images(answerer, asked.inputs["image"])
    crops = asked.inputs.get("crop")
    if set(asked.inputs) == {"crop"} and isinstance(crops, np.ndarray):
        if crops.ndim == 4 and len(crops) > answerer.settings.max_faces:
            raise Refusal(413, f"at most {answerer.settings.max_faces} crops in a request")
        try:
            outputs = await answerer.classify(crops)
        except InputError as error:
            raise Refusal(422, str(error)) from None
        return {task: outputs[task] for task in answerer.tasks}
    raise Refusal(400, "give one input: image as BYTES, or crop as UINT8 or FP32")


async def _of_images(answerer: Answerer, images: list[bytes]) -> dict[str, np.ndarray]:
    if len(images) > answerer.settings.queue:
        raise Refusal(413, f"at most {answerer.settings.queue} photos in a request")
    with answerer.places(max(0, len(images) - 1)):
        answers = [
            answerer.look(content, f"image {i}", asked=Asked()) for i, content in enumerate(images)
        ]
        looked = await asyncio.gather(*answers, return_exceptions=True)
    for each in looked:
        if isinstance(each, InputError):
            raise Refusal(422, str(each))
        if isinstance(each, BaseException):
            raise each
    photos = [each for each in looked if not isinstance(each, BaseException)]
    size = answerer.classifier.size
    none = np.zeros((0, size, size, 3), np.uint8)
    outputs = await answerer.classify(np.concatenate([none, *(photo.crops for photo in photos)]))
    faces = [(i, face) for i, photo in enumerate(photos) for face in photo.faces]
    return {
        **{task: outputs[task] for task in answerer.tasks},
        "photo": np.array([i for i, _ in faces], "<i4"),
        "box": np.array([face.box for _, face in faces], "<i4").reshape(-1, 4),
        "score": np.array([face.score for _, face in faces], "<f4"),
    }


def _outputs(answerer: Answerer) -> list[dict]:
    """The tasks as tensors, with their labels, which the protocol leaves room for."""
    described = []
    for task, labels in answerer.tasks.items():
        shape = [-1, len(labels)] if TASKS[task].is_classification else [-1]
        output: dict[str, Any] = {"name": task, "datatype": "FP32", "shape": shape}
        if labels:
            output["parameters"] = {"labels": list(labels)}
        described.append(output)
    return described


def _found() -> list[dict]:
    return [
        {"name": name, "datatype": datatype, "shape": shape}
        for name, (datatype, shape) in FOUND.items()
    ]


def _require(name: str, model: str) -> None:
    if name != model:
        raise Refusal(404, f"no model of this name: there is {model}")
