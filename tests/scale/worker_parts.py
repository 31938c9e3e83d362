"""Parts that Beam's workers do in tests; a module, since workers import what they do."""

import os
import signal
import time
from pathlib import Path

from vggface_gender.base.errors import InputError


def make(
    place: Path,
    tick,
    *,
    number: int,
    seconds: float = 0,
    bad: int | None = None,
    deadly: int | None = None,
) -> None:
    """Write a number; or refuse to, or die."""
    time.sleep(seconds)
    if number == bad:
        raise InputError(f"{number}: bad; give another")
    if number == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    place.write_text(str(number))


def fail(pipeline) -> None:
    """A pipeline that can't be built."""
    raise ValueError("no such pipeline")
