"""The forms of requests and answers, as the server's own description (OpenAPI) states them."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BaseModel, Field

from vggface_gender.base.numbers import SCORES
from vggface_gender.base.text import printable
from vggface_gender.photos import MAX_UPSAMPLE, THRESHOLD
from vggface_gender.web.answering import Asked
from vggface_gender.web.settings import Refusal


class Label(BaseModel):
    """A perceived attribute."""

    label: str | None = Field(description="the likeliest; null below `min_confidence`")
    probability: float = Field(ge=0, le=1, description="of the likeliest label")
    probabilities: dict[str, float]


class Years(BaseModel):
    """A perceived age."""

    years: float


class Face(BaseModel):
    """A face, and what is predicted of it."""

    box: tuple[int, int, int, int] = Field(
        description="left, top, right, bottom in pixels of the upright photo"
    )
    score: float | None = Field(description="the detector's; null where nothing was detected")
    gender: Label | None = None
    age: Years | None = None
    race: Label | None = Field(None, description="of a server started with --race")


class Photo(BaseModel):
    """What `predict --json` prints for a photo."""

    photo: str
    status: Literal["ok", "no face", "unreadable"]
    error: str | None = Field(None, description="of an unreadable photo alone: why")
    width: int | None
    height: int | None
    faces: list[Face] = Field(description="from left to right")


class Failure(BaseModel):
    """A request that was not answered."""

    error: str


class Map(BaseModel):
    """What a prediction depends on."""

    face: int
    task: str
    label: str | None = None
    probability: float | None = None
    years: float | None = None
    grid: int
    drops: list[list[float]] = Field(
        description="by how much the label's probability, or the years, fall where the crop is "
        "covered at that place, row by row"
    )
    crop: str = Field(description="what was classified, a PNG in base64")


def asked(
    *,
    tasks: Annotated[
        list[str] | None,
        Query(description="of gender, age and, where it is on, race; all by default", max_length=9),
    ] = None,
    min_confidence: Annotated[
        float, Query(ge=0, le=1, description="the probability below which there is no label")
    ] = 0.0,
    detector: Annotated[
        Literal["auto", "cnn", "hog", "none"],
        Query(description="what finds faces; none: the photo is one face cut out already"),
    ] = "auto",
    upsample: Annotated[
        int, Query(ge=0, le=MAX_UPSAMPLE, description="doublings of the photo before detection")
    ] = 1,
    threshold: Annotated[
        float, Query(ge=SCORES[0], le=SCORES[1], description="the least detection score of a face")
    ] = THRESHOLD,
) -> Asked:
    """The options of a request."""
    named = None
    if tasks is not None:
        named = tuple(task for each in tasks for task in each.split(",") if task)
        if not named:
            raise Refusal(422, "tasks names none: name one, or leave it out")
    return Asked(
        tasks=named,
        min_confidence=min_confidence,
        detector=detector,
        upsample=upsample,
        threshold=threshold,
    )


def known(*more: str) -> Callable[[Request], None]:
    """A dependency that refuses options that there are not: answered, they would be passed over.

    Args:
        more: names of options beyond those of `asked`.
    """
    names = [*inspect.signature(asked).parameters, *more]

    def check(request: Request) -> None:
        for name in request.query_params:
            if name not in names:
                raise Refusal(422, f"no option {printable(name)[:80]}: give {', '.join(names)}")

    return check


# What FastAPI can't tell from an endpoint that reads its body by itself.
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
_FORM = {"type": "object", "properties": {"file": {"type": "array", "items": _FILE}}}
PHOTO_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": _BINARY,
            "application/octet-stream": _BINARY,
            "multipart/form-data": {"schema": _FORM},
        },
    }
}
FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "the request is not understood"},
    401: {"model": Failure, "description": "a bearer token is needed"},
    403: {"model": Failure, "description": "race is not answered here"},
    408: {"model": Failure, "description": "the body did not come in time"},
    413: {"model": Failure, "description": "too large"},
    415: {"model": Failure, "description": "not an image's media type"},
    422: {"model": Failure, "description": "can't be read, or an option is out of its range"},
    503: {"model": Failure, "description": "busy; Retry-After says when to come again"},
    504: {"model": Failure, "description": "not answered in time"},
}
