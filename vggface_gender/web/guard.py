"""What surrounds every request: the token, headers, counting, one log line, no traceback.

Plain ASGI (https://asgi.readthedocs.io/): nothing here holds a body.
"""

import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from vggface_gender.web.meters import Meters

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("vggface_gender.web")

# Answered without a token: what orchestrators ask, and pages that hold nothing of anyone's.
OPEN = {
    "/",
    "/about",
    "/docs",
    "/openapi.json",
    "/model-card",
    "/v2/health/live",
    "/v2/health/ready",
}
OPEN_FOLDER = "/static/"

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # answers are about people; the page is small
}


def guarded(app: App, *, token: str | None, meters: Meters) -> App:
    """An ASGI application that checks the token before it asks another.

    Args:
        token: None where everyone may ask.
    """
    expected = None if token is None else f"Bearer {token}".encode()

    async def call(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def send_more(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        try:
            if expected and not _may_pass(scope, expected):
                await _refuse(send_more, 401, "a bearer token is needed")
            else:
                await app(scope, receive, send_more)
        except Exception as error:
            LOG.error("%s in %s", type(error).__name__, _where(error))
            if not status:
                await _refuse(send_more, 500, "the server failed; its log says where")
        finally:
            route = getattr(scope.get("route"), "path", None) or "other"
            seconds = time.perf_counter() - start
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            meters.requests.labels(method, route, str(status)).inc()
            meters.seconds.labels(route).observe(seconds)
            # The route and not the path: what a client wrote there could be anything.
            LOG.info("%s %s %d %.3f s", method, route, status, seconds)

    return call


def _may_pass(scope: Message, expected: bytes) -> bool:
    path = scope["path"]
    if path in OPEN or path.startswith(OPEN_FOLDER):
        return True
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return hmac.compare_digest(given, expected)


async def _refuse(send: Send, status: int, message: str) -> None:
    content = json.dumps({"error": message}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _where(error: Exception) -> str:
    """The place in the code that an error comes from; its text could quote a photo's name."""
    trace, where = error.__traceback__, "?"
    while trace:
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return where
