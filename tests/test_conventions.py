"""What holds of all files: docstrings, no private parts of Keras, nobody's home."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("vggface_gender", "tools")
    for path in (ROOT / folder).rglob("*.py")
)


def public(tree: ast.Module | ast.ClassDef) -> list[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes that stand directly in a module or class, without the private."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]


@pytest.mark.parametrize("file", FILES)
def test_modules_and_what_they_offer_have_docstrings(file):
    text = (ROOT / file).read_text()
    if not text:
        return  # a package that only holds others
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no docstring at its top"
    offered = [*public(tree)]
    for node in public(tree):
        # A class with a base has methods whose docstring is the base's.
        if isinstance(node, ast.ClassDef) and not node.bases:
            offered += public(node)
    # A command's `main` is what the docstring at the top is about.
    bare = [node.name for node in offered if not ast.get_docstring(node) and node.name != "main"]
    assert not bare


def test_library_functions_take_at_most_two_arguments_by_position():
    found = []
    for file in FILES:
        if file.startswith("vggface_gender/") and file.count("/") > 1:
            for node in public(ast.parse((ROOT / file).read_text())):
                if isinstance(node, ast.FunctionDef):
                    count = len(node.args.posonlyargs + node.args.args)
                    if count > 2:
                        found.append(f"{file}: {node.name} takes {count}")
    assert not found


def test_nothing_names_a_place_on_somebodys_machine():
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, capture_output=True, cwd=ROOT)
    if done.returncode:
        pytest.skip("not a git checkout")
    home = re.compile(rb"(?<![\w./-])(?:/(?:work|root|home|Users)/|[A-Z]:\\Users\\)\w+")
    found = {
        name.decode(): home.search(path.read_bytes())
        for name in done.stdout.split(b"\0")
        if (path := ROOT / name.decode()).is_file()
    }
    assert found
    assert {name: match[0] for name, match in found.items() if match} == {}
