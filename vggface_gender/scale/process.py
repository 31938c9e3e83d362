"""Pipelines run in a process of their own, which ends where a runner would wait for ever.

Beam's direct runner waits for the answer of a worker process that has died; and of what is
interrupted it leaves threads and processes behind. Here the pipeline and its workers are a session
of their own: it is ended as a whole when a worker dies, when whoever waits for it is interrupted or
killed, and when it is done.
"""

import contextlib
import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    import apache_beam as beam

# Runners that come with Beam and that it finds by their paths alone.
RUNNERS = {"daskrunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import {0}; {0}._serve()"
_DIED = "a worker process died"


def run(
    build: "Callable[[beam.Pipeline], object]", runner: str, *, options: Sequence[str] = ()
) -> None:
    """Build a pipeline and run it to its end.

    Args:
        build: can be pickled, and so can what it puts into the pipeline.
        runner: Beam's name of it.
        options: as command-line flags.

    Raises:
        InputError: it failed; the line quotes why.
    """
    flags = [f"--runner={RUNNERS.get(runner.lower(), runner)}", *options]
    request = pickle.dumps((build, flags))
    # Workers are started by Beam, and import what this process imports.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    is_direct = "direct" in runner.lower()  # of others people want to see what Beam says
    with subprocess.Popen(
        [sys.executable, "-c", _START.format(__name__), json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if is_direct else None,
        start_new_session=True,
        env=environment,
    ) as child:
        assert child.stdin and child.stdout
        try:
            with contextlib.suppress(BrokenPipeError):  # it is gone; below says so
                child.stdin.write(len(request).to_bytes(8, "little") + request)
                child.stdin.flush()
            said = child.stdout.readline()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    ended = json.loads(said) if said.endswith(b"\n") else {"error": "its process died"}
    if "error" in ended:
        raise InputError(f"{runner}: {ended['error']}: give the same command again") from (
            RuntimeError(ended.get("traceback"))
        )


def _serve() -> None:
    """Run the pipeline that is read from standard input, and say how it ended."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what workers print
    threading.excepthook = lambda raised: _end(answer, raised.exc_value)
    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    request = sys.stdin.buffer.read(size)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        build, options = pickle.loads(request)
        with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
            build(pipeline)
    except Exception as error:  # each runner has errors of its own
        _say(answer, {"error": _reason(error), "traceback": str(error)})
    else:
        _say(answer, {})
    # The parent ends all that is left of this session, threads that Beam would wait for too.


def _end(answer: IO[bytes], error: BaseException | None) -> None:
    """End the session where a thread of Beam's says that its worker process has died."""
    if "subprocess exited" in str(error):
        _say(answer, {"error": _DIED})
        os.killpg(0, signal.SIGKILL)


def _end_with_parent() -> None:
    """End the session once the parent is gone, and with it the other end of standard input."""
    sys.stdin.buffer.read(1)
    os.killpg(0, signal.SIGKILL)


def _say(answer: IO[bytes], ended: dict) -> None:
    answer.write(json.dumps(ended).encode() + b"\n")
    answer.flush()


def _reason(error: Exception) -> str:
    """What a runner's error says, in a line: its last one, below the traceback that it quotes."""
    full = os.strerror(errno.ENOSPC)
    if full in str(error):
        return f"{full} where its parts are written: make room"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
