"""The server under load against its classifier alone, on the same crops; and a long run.

    python tools/benchmark.py --rows serving
    PYTHONPATH=tools:. python -m benchmark.serving --requests 10000 --broken 0.2

The clients are threads of this process, which shares the processor with the server: the figures are
what one machine does for both. The long run says how the server's memory grows.
"""

import argparse
import collections
import contextlib
import functools
import http.client
import io
import itertools
import queue
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from benchmark import faces
from benchmark.report import Row
from benchmark.timing import in_turns
from vggface_gender.base import options

if TYPE_CHECKING:
    from vggface_gender.inference.interface import Predictor

CLIENTS = (1, 8, 32)
REQUESTS = 512  # a turn
BATCH_SIZE = 32  # crops, of the classifier alone: what the server takes together at most
WARM = 1000  # requests after which the memory is what growth is measured from
TIMEOUT = 120  # seconds
MAX_BYTES = 2_000_000  # of the server in a long run, so that a body can be too large for it
PATH = "/predict?detector=none"


class Request(NamedTuple):
    """A body to be sent to `PATH`."""

    content: bytes
    expected: int = 200  # the status
    media_type: str = "image/jpeg"
    path: str = PATH


class Answered(NamedTuple):
    """What came back."""

    status: int  # 0 where nothing did
    seconds: float
    content: bytes


@contextlib.contextmanager
def serving(*more: str) -> Iterator[str]:
    """The URL of a server in a process of its own, with its usual limits unless told otherwise."""
    line = [sys.executable, "-m", "vggface_gender", "serve", "--port", "0", "--queue", "64", *more]
    started = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert started.stdout is not None
        yield next(word for word in started.stdout.readline().split() if "http" in word)
    finally:
        started.terminate()
        started.wait(60)


def ask(url: str, requests: Iterable[Request], *, clients: int) -> list[Answered]:
    """The answers to requests in their order, from so many clients at once."""
    waiting: queue.SimpleQueue[tuple[int, Request]] = queue.SimpleQueue()
    for item in enumerate(requests):
        waiting.put(item)
    answers: dict[int, Answered] = {}

    def client() -> None:
        place = urlsplit(url).netloc
        connection = http.client.HTTPConnection(place, timeout=TIMEOUT)
        while True:
            try:
                number, request = waiting.get_nowait()
            except queue.Empty:
                connection.close()
                return
            answers[number] = _one(connection, request)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(answers))]


def _one(connection: http.client.HTTPConnection, request: Request) -> Answered:
    start = time.perf_counter()
    try:
        headers = {"Content-Type": request.media_type}
        connection.request("POST", request.path, request.content, headers)
        response = connection.getresponse()
        content, status = response.read(), response.status
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens it anew
        content, status = b"", 0
    return Answered(status, time.perf_counter() - start, content)


def hostile(good: bytes) -> list[Request]:
    """Bodies that a server has to refuse, each with the status for it.

    Args:
        good: a JPEG.
    """
    from PIL import Image

    bomb = io.BytesIO()
    Image.new("1", (20000, 20000)).save(bomb, "PNG")  # 50 KB that say they have 400 megapixels
    return [
        Request(good[: len(good) // 2], 422),
        Request(b"", 422),
        Request(bomb.getvalue(), 422, "image/png"),
        Request(good, 415, "application/pdf"),
        Request(b"\xff\xd8" + b"x" * MAX_BYTES, 413),
        Request(b"some words that are no picture", 422),
        Request(b"GIF89a" + bytes(random.Random(0).randbytes(2000)), 422, "image/gif"),
        Request(b"--x", 400, "multipart/form-data; boundary=y"),
    ]


def mixed(paths: Sequence[Path], count: int, *, broken: float, seed: int = 0) -> list[Request]:
    """Requests in a random order, `broken` of them hostile."""
    chance = random.Random(seed)
    good = [path.read_bytes() for path in paths]
    bad = itertools.cycle(hostile(good[0]))
    return [
        next(bad) if chance.random() < broken else Request(good[i % len(good)])
        for i in range(count)
    ]


def memory(url: str) -> float:
    """The server's memory in MiB, as it says itself."""
    place = urlsplit(url).netloc
    connection = http.client.HTTPConnection(place, timeout=TIMEOUT)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r"^process_resident_memory_bytes (\S+)$", page, re.M)
    return float(found[1]) / 2**20 if found else float("nan")


def measure(paths: Sequence[Path], *, repeats: int, quick: bool = False) -> list[Row]:
    """Requests a second of several clients against the classifier's own crops a second.

    Args:
        paths: JPEG files of faces.
        quick: so few requests that the figures say little.
    """
    from vggface_gender.base import runs
    from vggface_gender.inference import backends

    jpegs = [path.read_bytes() for path in paths][: 16 if quick else REQUESTS]
    requests = [Request(jpeg) for jpeg in jpegs]
    classifier = backends.load(runs.find(None, onnx=True), backend="onnx")
    alone = _classifying(paths[: len(jpegs)], classifier)
    rows = []
    with serving() as url:
        for clients in CLIENTS:
            seconds: list[float] = []

            def together(clients: int = clients, seconds: list[float] = seconds) -> None:
                answers = ask(url, requests, clients=clients)
                assert all(answer.status == 200 for answer in answers)
                seconds += [answer.seconds for answer in answers]

            name = f"serving, {clients}"
            turns = in_turns(name, (alone, together), repeats=repeats)
            rows.append(
                Row(
                    name=name,
                    ours=f"{len(jpegs)} crops as requests of {clients} clients; the server then "
                    f"holds {memory(url):.0f} MiB",
                    reference=f"the classifier alone, {BATCH_SIZE} crops at a time",
                    unit="images/s",
                    goal="near 1",
                    pairs=[(len(jpegs) / theirs, len(jpegs) / ours) for theirs, ours in turns],
                    parts={"half within": _share(seconds, 50), "99% within": _share(seconds, 99)},
                )
            )
    return rows


def _classifying(paths: Sequence[Path], classifier: "Predictor") -> Callable[[], object]:
    crops = faces.crops(paths, classifier.size)
    return functools.partial(classifier.predict, crops, batch_size=BATCH_SIZE)


def _share(seconds: Sequence[float], percent: int) -> float:
    """The time within which so many percent are."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


def main(argv: list[str] | None = None) -> int:
    """One server, many requests: what it answered, how fast, and what it then holds."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--requests", type=options.positive, default=10_000, metavar="N")
    parser.add_argument("--clients", type=options.positive, default=32, metavar="N")
    parser.add_argument("--broken", type=options.share, default=0.2, metavar="SHARE")
    parser.add_argument("--source", type=Path, metavar="DIR", help="default: $FACES_DIR/UTKFace")
    arguments = parser.parse_args(argv)
    source = faces.find(arguments.source)
    if source is None:
        parser.error("name a folder of JPEGs, or set FACES_DIR")
    paths = sorted(source.glob("*.jpg"))[:: max(1, len(list(source.glob("*.jpg"))) // 500)]
    requests = mixed(paths, arguments.requests, broken=arguments.broken)
    wrong: collections.Counter = collections.Counter()
    with serving("--max-bytes", str(MAX_BYTES)) as url:
        for start in range(0, len(requests), WARM):
            part = requests[start : start + WARM]
            begun = time.perf_counter()
            answers = ask(url, part, clients=arguments.clients)
            rate = len(part) / (time.perf_counter() - begun)
            for request, answer in zip(part, answers, strict=True):
                if request.expected != answer.status:
                    wrong[request.expected, answer.status] += 1
            good = [answer.seconds for answer in answers if answer.status == 200]
            print(
                f"{start + len(part):>7,} requests, {rate:6.1f} a second, half within "
                f"{_share(good, 50):.3f} s, 99% within {_share(good, 99):.3f} s, "
                f"{memory(url):.1f} MiB",
                flush=True,
            )
    for (expected, status), count in wrong.items():
        print(f"expected {expected}, got {status}: {count}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
