"""Servers as people start them, and a classifier that answers at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart", "httpx", "onnxruntime")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what lies here where the server's libraries are not installed."""
    import importlib.util

    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    if missing:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"{missing[0]} is not installed"))


class Server(NamedTuple):
    """A process that serves."""

    url: str  # without a slash at its end
    process: subprocess.Popen
    log: Path  # its standard error

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Iterator[Callable[..., Server]]:
    """A function that starts a server with options, at a free port: (*options, **environment)."""
    started: list[Server] = []

    def begin(*options: str, **environment: str) -> Server:
        log = tmp_path_factory.mktemp("server") / "log"
        line = [sys.executable, "-m", "vggface_gender", "serve", "--port", "0", *options]
        with log.open("w") as errors:
            process = subprocess.Popen(
                line,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | environment,
            )
        assert process.stdout is not None
        said = process.stdout.readline().split()
        assert said, log.read_text()
        url = next(word for word in said if word.startswith("http")).rstrip("/")
        started.append(Server(url, process, log))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def server(start) -> Server:
    """One with the default classifier and the usual limits."""
    return start()


@pytest.fixture(scope="session")
def photos_dir(faces_dir) -> Path:
    """The folder of real photos."""
    return faces_dir / "photos"


@pytest.fixture(scope="session")
def model():
    """What the library answers with."""
    import vggface_gender as vg

    return vg.load(backend="onnx")


class Stub:
    """A classifier that answers a crop with its brightness."""

    tasks = {"gender": ("female", "male"), "race": ("A", "B"), "age": ()}
    size = 8
    padding = 0.25
    about: dict = {}

    def predict(self, crops: np.ndarray, *, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Shares of 255, and the mean in years."""
        mean = np.asarray(crops, np.float32).mean(axis=(1, 2, 3))
        shares = np.stack([1 - mean / 255, mean / 255], axis=1)
        return {"gender": shares, "race": shares, "age": mean}

    def embed(self, crops: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """The mean."""
        return np.asarray(crops, np.float32).mean(axis=(1, 2, 3))[:, None]


@pytest.fixture
def stub() -> Stub:
    """See `Stub`."""
    return Stub()
