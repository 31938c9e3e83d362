"""The commands as people start them: listed, helped, refused in one line; by every name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from vggface_gender import __main__, __version__

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"numpy", "pandas", "tensorflow", "keras", "tensorflow_datasets", "cv2", "dlib", "tabulate"}
OLDER = {
    "convert_vggface": "convert",
    "write_tfrecords": "records",
    "compare_runs": "compare",
} | {
    name: name
    for name in (
        *("predict", "cross_evaluate", "audit", "gradcam", "robustness", "detection", "cluster"),
        *("pseudo_label", "show_batches"),
    )
}


def package(*arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    line = [sys.executable, *options, "-m", "vggface_gender", *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_package_lists_its_commands(arguments):
    done = package(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for name, does in __main__.COMMANDS.items():
        assert any(line.split() == [name, *does.split()] for line in done.stdout.splitlines())


def test_the_list_may_be_cut_short():
    line = f"{sys.executable} -m vggface_gender | head -n 1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("vggface_gender ") and done.stderr == ""


def test_every_command_is_listed_and_every_file_at_the_top_is_a_command():
    files = {path.stem for path in (ROOT / "vggface_gender").glob("*.py")}
    assert files - {"__init__", "__main__"} == set(__main__.COMMANDS)


def test_the_package_prints_its_version():
    assert package("--version").stdout == f"{__version__}\n"


def test_an_unknown_command_is_one_line_and_2():
    for given, hint in (("trasnfer", "did you mean transfer?"), ("juggle", "give one of transfer")):
        done = package(given)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: no command {given}: {hint}")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_a_commands_help_needs_nothing_heavy(name):
    done = package(name, "--help", options=("-X", "importtime"))
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: vggface-gender {name} ")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "vggface_gender.base" in imported  # the list was understood
    assert not imported & HEAVY


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_a_command_imports_only_options_until_it_runs(name):
    """What it needs beyond them is imported in `main`, and no command imports another."""
    tree = ast.parse((ROOT / "vggface_gender" / f"{name}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "vggface_gender":
            assert not {alias.name for alias in node.names} & set(__main__.COMMANDS)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vggface_gender"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            allowed = ("vggface_gender.base.", "vggface_gender.datasets.catalogue")
            assert all(one.startswith(allowed) for one in names), names


def test_commands_refuse_an_unknown_option_in_one_line(capsys):
    import importlib

    for name in __main__.COMMANDS:
        module = importlib.import_module(f"vggface_gender.{name}")
        with pytest.raises(SystemExit) as caught:
            module.main(["--no-such-option"])
        out, error = capsys.readouterr()
        assert (caught.value.code, out) == (2, "")
        assert error.startswith("error: ") and error.count("\n") == 1
        assert module.parser().prog == f"vggface-gender {name}"


@pytest.mark.parametrize(("script", "name"), OLDER.items())
def test_the_older_names_are_the_same_commands(script, name, tmp_path):
    line = [sys.executable, ROOT / "tools" / f"{script}.py", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: vggface-gender {name} ")


def test_outside_the_environment_a_command_says_so_in_one_line(tmp_path):
    """An interpreter without the package's libraries, as a system's own Python is."""
    for line in (["-m", "vggface_gender.evaluate"], [str(ROOT / "tools" / "predict.py")]):
        bare = [sys.executable, "-S", *line, "--dataset", "SyntheticFaces"]
        bare = bare if "evaluate" in line[-1] else [*bare[:-2], "photo.jpg"]
        done = subprocess.run(bare, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 2, done.stderr
        assert "is not installed in this Python" in done.stderr
        assert done.stderr.count("\n") == 1
