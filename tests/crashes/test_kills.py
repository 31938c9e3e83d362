"""Whatever a kill leaves, the same command goes on from it (see `harness.py`)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MOST = 25  # kills a command: of those that leave something of their own, evenly over its course


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that copies a folder at its operations."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("preloaded") / "snapshots.so"
    source = HERE / "snapshots.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    environment = {key: value for key, value in os.environ.items() if key != "FACES_DIR"}
    return environment | {"LD_PRELOAD": str(library)}


OPERATIONS = """
import ctypes, os, shutil, sys
folder, copies = sys.argv[1:]
os.chdir(folder)
names = os.open(f"{copies}/operations", os.O_WRONLY | os.O_CREAT)
ctypes.CDLL(None).copy_at_every_operation(folder.encode(), copies.encode(), names)
with open("a", "w") as file:
    file.write("half")
    file.flush()
    file.write("more")
os.mkdir("in")
shutil.copy("a", "in/b")
os.rename("a", "c")
shutil.rmtree("in")
"""


def test_the_copies_are_what_a_kill_would_leave(preloaded, tmp_path):
    folder, copies = tmp_path / "folder", tmp_path / "copies"
    folder.mkdir()
    copies.mkdir()
    command = [sys.executable, "-c", OPERATIONS, folder, copies]
    subprocess.run(command, env=preloaded, check=True)
    operations = (copies / "operations").read_text().split("\n")[:-1]
    kinds = [operation for operation in dict.fromkeys(operations) if operation != "write in/b"]
    assert kinds == [
        *("make a", "write a", "make in", "make in/b", "rename c", "remove in/b", "remove in")
    ]
    found = [
        {path.relative_to(copy).as_posix(): path.is_dir() or path.read_text()
         for path in copy.rglob("*")}
        for copy in (copies / str(number) for number in range(1, len(operations) + 1))
    ]  # fmt: skip
    # A write of half returns half, and so the rest is written next.
    assert found[:4] == [{}, {"a": "ha"}, {"a": "hal"}, {"a": "halfmo"}]
    assert found[operations.index("rename c")] == {"a": "halfmore", "in": True, "in/b": "halfmore"}
    assert found[operations.index("remove in")] == {"c": "halfmore", "in": True}
    assert os.listdir(folder) == ["c"] and (folder / "c").read_text() == "halfmore"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        *("records", "transfer", "transfer again", "overwrite", "repeats", "multitask", "finetune"),
        *("evaluate", "cross_evaluate", "pseudo_label", "convert", "make_default"),
    ],
)
def test_after_a_kill_anywhere_the_same_command_leaves_what_an_undisturbed_one_does(
    preloaded, tmp_path, command
):
    line = [sys.executable, HERE / "harness.py", command, tmp_path / "tried", str(MOST)]
    done = subprocess.run(line, env=preloaded, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-1000:]}"
    assert done.stdout.endswith(" 0 lost\n"), done.stdout
