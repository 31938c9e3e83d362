"""The maintainers' scripts start, from any folder, beside packages of the same names."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.mark.parametrize(
    "script", ["alignment", "benchmark", "reproduce", "make_default", "make_detector", "demo"]
)
def test_a_script_starts_without_heavy_imports(script, tmp_path):
    line = [sys.executable, "-X", "importtime", TOOLS / f"{script}.py", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python tools/{script}.py ")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "vggface_gender.base.options" in imported
    assert not imported & {"numpy", "tensorflow", "keras"}


def test_packages_are_found_before_scripts_of_the_same_name():
    import benchmark
    import reproduce

    for package in (benchmark, reproduce):
        assert Path(package.__file__) == TOOLS / package.__name__ / "__init__.py"
