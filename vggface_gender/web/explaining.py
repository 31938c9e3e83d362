"""What a prediction depends on, for one face of a photo: an occlusion map."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.inference import occlusion
from vggface_gender.web.answering import Answerer, Asked
from vggface_gender.web.settings import Refusal

DIGITS = 4


async def explain(
    answerer: Answerer, content: bytes, *, name: str, face: int, task: str, asked: Asked
) -> dict[str, Any]:
    """How a face's prediction changes where the face is covered.

    Args:
        content: the photo's file.
        face: its number from the left, from 1.
        asked: how faces are found; the same as in the answer that the number is of.

    Raises:
        Refusal: the photo can't be read, has no such face, or the task is not answered.
    """
    labels = answerer.chosen((task,))[task]
    try:
        looked = await answerer.look(content, name, asked=asked)
    except InputError as error:
        raise Refusal(422, str(error)) from None
    if not 1 <= face <= len(looked.faces):
        raise Refusal(422, f"no face {face}: there are {len(looked.faces)}")
    crop = looked.crops[face - 1]
    whole = (await answerer.classify(crop[None]))[task][0]
    parts = (await answerer.classify(occlusion.covered(crop)))[task]
    about: dict[str, Any] = {"face": face, "task": task}
    if TASKS[task].is_classification:
        likeliest = int(np.argmax(whole))
        about |= {"label": labels[likeliest], "probability": round(float(whole[likeliest]), DIGITS)}
        fallen = occlusion.drops(float(whole[likeliest]), parts[:, likeliest])
    else:
        about["years"] = round(float(whole), 1)
        fallen = occlusion.drops(float(whole), parts)
    encoded = io.BytesIO()
    Image.fromarray(crop).save(encoded, "PNG")
    return about | {
        "grid": occlusion.GRID,
        "drops": [[round(value, DIGITS) for value in row] for row in fallen.tolist()],
        "crop": base64.b64encode(encoded.getvalue()).decode(),
    }
