"""The server's process: a socket, the classifier, and an end that answers what has begun."""

import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import uvicorn

from vggface_gender.base import runs
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.inference import backends
from vggface_gender.photos import detect
from vggface_gender.web import app, guard
from vggface_gender.web.settings import Settings

CARD = "model_card.md"
GRACE = 5  # seconds beyond the time limit that requests have to end in
KEPT_ALIVE = 15  # seconds that a connection may be idle


def serve(
    classifier: Path,
    *,
    host: str,
    port: int,
    settings: Settings,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; requests that have begun are answered first.

    Args:
        classifier: its file, beside which an exported one lies.
        port: 0 for a free one.
        on_ready: called with the server's address when it listens.

    Raises:
        InputError: the address can't be had, or the classifier not be read by ONNX Runtime.
    """
    listening = listen(host, port)
    with listening:
        loaded = backends.load(classifier, backend="onnx")
        # What loads at its first use loads now: the first request waits no longer than others.
        loaded.predict(np.zeros((1, loaded.size, loaded.size, 3), np.uint8))
        for detector in detect.SEARCHES:
            detect.detect(np.zeros((80, 80, 3), np.uint8), detector=detector)
        detect.landmark_predictor()
        card = classifier.with_name(CARD)
        application = app.create(
            loaded,
            model=runs.called(classifier),
            settings=settings,
            card=card.read_text(encoding="utf-8") if card.is_file() else None,
        )
        guard.LOG.setLevel(logging.INFO)
        if not guard.LOG.handlers:
            guard.LOG.addHandler(_to_standard_error())
        server = uvicorn.Server(
            uvicorn.Config(
                application,
                lifespan="on",
                access_log=False,  # it would hold whatever a client writes into a path
                log_level="error",
                server_header=False,
                timeout_keep_alive=KEPT_ALIVE,
                timeout_graceful_shutdown=int(settings.timeout) + GRACE,
            )
        )

        def end(*_: object) -> None:
            server.should_exit = True

        # uvicorn has handlers of its own while it runs. One that comes before is not lost, and the
        # one that ended it, which uvicorn raises once more when all is done, is no failure.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        on_ready(_address(listening))
        server.run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for connections at a host's name or address and a port, 0 for any.

    What is sent is not held back (Nagle's algorithm): an answer's body would wait for the client to
    acknowledge its head, 40 ms. asyncio sees to that only for sockets that it opens itself.

    Raises:
        InputError: there is no such place, or it is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        listening = socket.create_server(place[:2], family=family, backlog=2048)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # connections inherit it
        return listening
    except (OSError, OverflowError, UnicodeError) as error:  # the last of a label that is too long
        reason = getattr(error, "strerror", None) or first_line(error)
        raise InputError(f"{host}:{port}: {reason}; give another --host or --port") from None


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _to_standard_error() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    return handler
