"""The extras: what pyproject.toml says of them, requirements.txt and the messages say too."""

import re
import tomllib
from pathlib import Path

from vggface_gender.base import extras

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ALL = PROJECT["optional-dependencies"]
# Distributions whose modules are called otherwise.
MODULES = {
    "scikit_learn": "sklearn",
    "prometheus_client": "prometheus_client",
    "python_multipart": "python_multipart",
    "uvicorn[standard]": "uvicorn",
}


def names(requirements):
    """What requirements name, as modules are spelt; our own extras are left out."""
    found = (re.split(r"[><=;~ ]", each)[0].replace("-", "_") for each in requirements)
    return {name for name in found if not name.startswith("vggface_gender")}


def test_requirements_are_those_of_the_package_and_its_extras():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    stated = [*PROJECT["dependencies"]]
    for extra, requirements in ALL.items():
        if extra not in ("test", "docs", "demo", "all", "beam", "heif", "track"):
            stated += [each for each in requirements if not each.startswith("vggface-gender")]
    assert sorted(listed) == sorted(set(stated))


def test_every_extras_libraries_are_known_to_the_messages():
    for extra in extras.EXTRAS:
        modules = {MODULES.get(name, name) for name in names(ALL.get(extra, ()))}
        assert modules <= {*extras.EXTRAS[extra]}, extra
    for module in names(PROJECT["dependencies"]):
        assert extras.of(module) is None
