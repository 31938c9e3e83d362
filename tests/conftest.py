"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

from vggface_gender.base import console

console.quiet()  # before any test module imports Keras


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
            crop = drawing.draw(rng, gender, race, age, size=size)
            cv2.imwrite(str(folder / f"{i}.jpg"), crop[..., ::-1])
            lines.append(f"{i}.jpg,{gender if i % 7 else ''},{race if i % 2 else ''},{age}")
        (folder / "faces.csv").write_text("\n".join(lines) + "\n")
        return folder / "faces.csv"

    return draw
