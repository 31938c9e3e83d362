"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

from vggface_gender import command

command.quiet()  # before any test module imports Keras


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
