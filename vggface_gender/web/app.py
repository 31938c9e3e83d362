"""The application: what is answered at which address."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable
from importlib import resources
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vggface_gender import __version__
from vggface_gender.inference.answers import PhotoAnswer
from vggface_gender.inference.interface import Predictor
from vggface_gender.web import explaining, guard, inference, markdown, schemas, uploads
from vggface_gender.web.answering import Answerer, Asked
from vggface_gender.web.meters import Meters
from vggface_gender.web.settings import Refusal, Settings

STATIC = Path(str(resources.files("vggface_gender.web"))) / "static"
LINES = "application/x-ndjson"  # who accepts this gets a line a photo, as `predict --json` prints
TITLE = "Perceived gender, race and age from faces"


def create(
    classifier: Predictor, *, model: str, settings: Settings, card: str | None = None
) -> guard.App:
    """The application, ready for an ASGI server.

    Args:
        model: the classifier's name.
        card: its model card in Markdown.
    """
    answerer: Answerer
    meters = Meters(taken=lambda: answerer.taken)
    answerer = Answerer(classifier, settings, on_batch=meters.batches.observe)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        answerer.close()

    app = FastAPI(
        title=TITLE,
        version=__version__,
        description="Labels say how annotators would have perceived a face, not who a person is.",
        docs_url=None,  # FastAPI's own pages load from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_pages(app, answerer, model=model, card=card)
    _add_answers(app, answerer, meters)
    app.include_router(inference.router(answerer, model=model))
    app.mount("/static", StaticFiles(directory=STATIC))
    _add_faults(app)
    return guard.guarded(app, token=settings.token, meters=meters)


def _add_answers(app: FastAPI, answerer: Answerer, meters: Meters) -> None:
    limits = answerer.settings
    options = Annotated[Asked, Depends(schemas.asked)]

    @app.post(
        "/predict",
        dependencies=[Depends(schemas.known())],
        summary="The faces of a photo, or of several, and what is predicted of them",
        description=f"A photo as the body, or one or several as a form. One photo is answered by "
        f"an object, several by a list; `Accept: {LINES}` asks for one object a line.",
        responses={200: {"model": schemas.Photo | list[schemas.Photo]}, **schemas.FAILURES},
        openapi_extra=schemas.PHOTO_BODY,
    )
    async def predict(request: Request, asked: options) -> Response:
        answerer.chosen(asked.tasks)
        answers = await answerer.in_time(
            lambda: uploads.photos(request, max_bytes=limits.max_bytes, most=limits.queue),
            lambda files: _predicted(answerer, files, asked),
        )
        for answer in answers:
            meters.photos.labels(answer.status).inc()
            meters.faces.inc(len(answer.faces))
        return _response(answers, as_lines=LINES in request.headers.get("accept", ""))

    @app.post(
        "/explain",
        dependencies=[Depends(schemas.known("face", "task"))],
        summary="What one face's prediction depends on: an occlusion map",
        responses={200: {"model": schemas.Map}, **schemas.FAILURES},
        openapi_extra=schemas.PHOTO_BODY,
    )
    async def explain(
        request: Request,
        asked: options,
        face: Annotated[int, Query(ge=1, description="its number from the left, from 1")] = 1,
        task: Annotated[str, Query(description="gender, age or, where it is on, race")] = "gender",
    ) -> Response:
        answerer.chosen((task,))

        def explained(files: list[uploads.Upload]) -> Awaitable[dict]:
            name, content, media_type = files[0]
            uploads.require_image(media_type)
            return explaining.explain(
                answerer, content, name=name, face=face, task=task, asked=asked
            )

        return JSONResponse(
            await answerer.in_time(
                lambda: uploads.photos(request, max_bytes=limits.max_bytes, most=1), explained
            )
        )

    @app.get("/metrics", summary="Counters for Prometheus")
    async def metrics() -> Response:
        content, media_type = meters.text()
        return Response(content, headers={"Content-Type": media_type})


async def _predicted(
    answerer: Answerer, files: list[uploads.Upload], asked: Asked
) -> list[PhotoAnswer]:
    async def one(file: uploads.Upload) -> PhotoAnswer:
        try:
            uploads.require_image(file.media_type)
        except Refusal as refusal:
            if len(files) == 1:
                raise
            said = f"{file.name}: {refusal.message}"
            return PhotoAnswer(photo=file.name, width=None, height=None, faces=[], error=said)
        return await answerer.photo(file.content, file.name, asked=asked)

    with answerer.places(len(files) - 1):
        return list(await asyncio.gather(*map(one, files)))


def _response(answers: list[PhotoAnswer], *, as_lines: bool) -> Response:
    """The answers as JSON; 422 where none of the photos could be read, as `predict` ends with 2."""
    status = 422 if all(answer.error for answer in answers) else 200
    if as_lines:
        lines = "".join(answer.to_json() + "\n" for answer in answers)
        return Response(lines, status, media_type=LINES)
    published = [answer.to_dict() for answer in answers]
    content = json.dumps(published[0] if len(published) == 1 else published)
    return Response(content, status, media_type="application/json")


def _add_pages(app: FastAPI, answerer: Answerer, *, model: str, card: str | None) -> None:
    pages = {name: (STATIC / name).read_text(encoding="utf-8") for name in _PAGES}

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(pages["index.html"])

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(pages["docs.html"])

    @app.get("/model-card", summary="The classifier's model card", response_class=HTMLResponse)
    async def model_card() -> HTMLResponse:
        if card is None:
            raise Refusal(404, "no model_card.md lies beside this classifier")
        return HTMLResponse(pages["card.html"].replace("{{card}}", markdown.to_html(card)))

    @app.get("/about", summary="The classifier, what may be asked for, and the limits")
    async def about() -> dict:
        settings = answerer.settings
        return {
            "version": __version__,
            "model": model,
            "tasks": {task: list(labels) for task, labels in answerer.tasks.items()},
            "needs_token": settings.token is not None,
            "has_card": card is not None,
            "max_bytes": settings.max_bytes,
            "max_pixels": settings.max_pixels,
            "max_faces": settings.max_faces,
        }


_PAGES = ("index.html", "docs.html", "card.html")


def _add_faults(app: FastAPI) -> None:
    """Every fault is answered by `{"error": "one line"}`, as the inference protocol has it."""

    def failure(status: int, message: str, headers: dict | None = None) -> JSONResponse:
        return JSONResponse({"error": message}, status, headers)

    @app.exception_handler(Refusal)
    async def refused(_: Request, fault: Refusal) -> Response:
        return failure(fault.status, fault.message, fault.headers)

    @app.exception_handler(HTTPException)
    async def http(_: Request, fault: HTTPException) -> Response:
        return failure(fault.status_code, str(fault.detail), dict(fault.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, fault: RequestValidationError) -> Response:
        first = fault.errors()[0]
        return failure(422, f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, fault: ClientDisconnect) -> Response:
        return failure(400, "the client went away")  # nobody reads it; it is counted

    @app.exception_handler(Exception)
    async def failed(_: Request, fault: Exception) -> Response:
        return failure(500, "the server failed; its log says where")
