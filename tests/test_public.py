"""What `import vggface_gender` offers, and what it costs."""

import subprocess
import sys

import pytest

import vggface_gender
from vggface_gender.__main__ import COMMANDS
from vggface_gender.base.errors import InputError
from vggface_gender.inference import answers

HEAVY = ("numpy", "pandas", "tensorflow", "keras", "cv2", "dlib")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, vggface_gender; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    assert not {*HEAVY} & {*done.stdout.split()}


def test_public_names_are_those_of_their_modules():
    for name in ("FaceAnswer", "Label", "PhotoAnswer", "Years"):
        assert getattr(vggface_gender, name) is getattr(answers, name)
    assert {*vggface_gender.__all__} <= {*dir(vggface_gender)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vggface_gender.nothing  # noqa: B018
    assert not {*vggface_gender.__all__} & {*COMMANDS}  # `from vggface_gender import audit`


def test_load_takes_a_run_as_the_commands_do(tiny_run, workplace):
    loaded = vggface_gender.load(str(tiny_run))
    assert set(loaded.tasks) == {"gender", "race", "age"}
    with pytest.raises(InputError, match="no run nothing"):
        vggface_gender.load("nothing")
