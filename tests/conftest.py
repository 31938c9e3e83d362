"""Fixtures that several test files share.

What takes seconds to make is made once for all processes that run tests, and never changed.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from vggface_gender.base import console

console.quiet()  # before any test module imports Keras
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes, that share the cores already
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# The same examples in every run, however slow the machine; nothing is kept between runs.
hypothesis.settings.register_profile(
    "here", max_examples=60, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("here")


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """The folder of real faces: $FACES_DIR, or ../shared/faces beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "faces"
    folder = Path(os.environ.get("FACES_DIR", default))
    if not folder.is_dir():
        pytest.skip(f"no real faces at {folder} (set FACES_DIR)")
    return folder


@pytest.fixture
def write_image():
    """A function that writes a small image, its content made by a seed: (path, seed=0, size=64)."""
    import cv2
    import numpy as np

    def write(path: Path, seed: int = 0, size: int = 64) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        image = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(path), image)
        return path

    return write


@pytest.fixture(scope="session")
def draw_table():
    """A function that draws faces into a folder and writes their table: (folder, count, size).

    Half of the races and every seventh gender are missing.
    """
    import cv2
    import numpy as np

    from vggface_gender.datasets.synthetic_faces import drawing

    def draw(folder: Path, count: int, size: int) -> Path:
        lines = ["file,gender,race,age"]
        for i in range(count):
            rng = np.random.default_rng(i)
            gender, race, age = drawing.sample_labels(rng)
            crop = drawing.draw(rng, gender, race=race, age=age, size=size)
            cv2.imwrite(str(folder / f"{i}.jpg"), crop[..., ::-1])
            lines.append(f"{i}.jpg,{gender if i % 7 else ''},{race if i % 2 else ''},{age}")
        (folder / "faces.csv").write_text("\n".join(lines) + "\n")
        return folder / "faces.csv"

    return draw


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """A function that gives a folder, filled once for all worker processes: (name, fill)."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the one of all workers

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = base / name
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                part = base / f"{name}.part"
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                fill(part)
                part.rename(folder)
        return folder

    return make


class Drawn(NamedTuple):
    """Drawn faces and a tiny network that takes them."""

    table: Path  # 200 faces of 48 pixels; half of the races and every seventh gender are missing
    backbone: Path  # `conv1`, `conv2` on crops of 32 pixels
    records: Path  # for --data-dir; written already, their frame stated: nothing is aligned


@pytest.fixture(scope="session")
def drawn(made_once, draw_table) -> Drawn:
    """The dataset and the backbone that trainings here learn from: made once, only read."""

    def fill(folder: Path) -> None:
        import keras

        draw_table(folder, 200, 48)
        keras.utils.set_random_seed(0)
        crop = keras.Input((32, 32, 3))
        x = keras.layers.Rescaling(1 / 255)(crop)
        for number in (1, 2):
            x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name=f"conv{number}")(x)
        keras.Model(crop, x, name="tiny").save(folder / "tiny.keras")

    folder = made_once("drawn", fill)

    def write(to: Path) -> None:
        from vggface_gender import datasets

        datasets.prepare(str(folder / "faces.csv"), data_dir=to, padding=0.25)

    return Drawn(folder / "faces.csv", folder / "tiny.keras", made_once("records", write))


@pytest.fixture(scope="session")
def tiny_run(made_once, drawn) -> Path:
    """The folder of a finished run of all three tasks, the backbone's `conv2` trained too.

    It is trained once for all tests: copy it before you change anything in it.
    """

    def fill(folder: Path) -> None:
        from vggface_gender import multitask

        before = Path.cwd()
        os.chdir(folder)
        try:
            multitask.main(
                [
                    *("--dataset", str(drawn.table), "--data-dir", str(drawn.records)),
                    *("--backbone", str(drawn.backbone), "--unfreeze", "conv2", "--run", "tiny"),
                    *("--batch-size", "16", "--head-epochs", "2", "--epochs", "2", "--ema", "0.5"),
                    *("--rate", "1e-4"),  # so slow that the second phase still improves on the head
                ]
            )
        finally:
            os.chdir(before)

    return made_once("trained", fill) / "model_files" / "tiny"


@pytest.fixture
def unwritable():
    """A context manager in which nothing may be written in a folder, not by root either."""

    @contextlib.contextmanager
    def refuse(folder: Path):
        if os.geteuid() != 0:
            folder.chmod(0o555)
            yield
            folder.chmod(0o755)
            return
        mounted = ["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder]
        if any(subprocess.run(command, capture_output=True).returncode for command in mounted):
            pytest.skip("root may write anywhere, and may not mount")
        try:
            yield
        finally:
            subprocess.run(["umount", folder], check=True)

    return refuse


@pytest.fixture
def full_disk(tmp_path) -> Iterator[Path]:
    """A folder on a disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
