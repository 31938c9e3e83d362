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
