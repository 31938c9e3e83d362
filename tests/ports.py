"""Ports for tests that listen."""

import itertools
import os
import socket

_next = itertools.count(os.getpid() * 13 % 9000)


def free() -> int:
    """A port that nobody has, and that the system gives to nobody else meanwhile.

    Those that it gives by itself, to whoever asks for any, begin at 32768 on Linux.
    """
    for place in _next:
        port = 20_000 + place % 12_000
        try:
            with socket.create_server(("", port)):
                return port
        except OSError:
            continue
    raise AssertionError
