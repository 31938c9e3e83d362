"""README and docs say what the code does: commands parse, examples run, links lead somewhere."""

import doctest
import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vggface_gender
from vggface_gender.__main__ import ALIASES, COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "vggface_gender"
PAGES = sorted(
    (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("*/README.md"),
        *PACKAGE.glob("datasets/*/README.md"),
        ROOT / "model_files" / "default" / "model_card.md",
    )
)
MODULES = sorted(PACKAGE.rglob("*.py"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(
    r"(?:\$ )?(?:vggface-gender ([\w-]+)|(?:\.venv/bin/)?python3? -m vggface_gender[. ](\w+)"
    r"|(?:\.venv/bin/)?python3? tools/(\w+)\.py)(?![\w.])(.*)"
)


def test_readme_can_be_read():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def shown(text: str) -> Iterator[tuple[str, str | None, list[str]]]:
    """The commands that a text shows: a command's name, a tool's name or None, its arguments."""
    for line in re.sub(r" *\\\n *", " ", text).splitlines():
        match = COMMAND.match(line.strip())
        if match and not re.search(r"…|\.\.\.|\.\.", match[4]):
            yield match[1] or match[2], match[3], shlex.split(match[4], comments=True)


def documented() -> Iterator:
    for page in PAGES:
        text = page.read_text()
        blocks = [block[2] for block in FENCE.finditer(text)]
        inline = CODE.findall(FENCE.sub("", text))
        for command in shown("\n".join(blocks + inline)):
            yield pytest.param(*command, id=f"{page.relative_to(ROOT)}: {command[0] or command[1]}")
    for path in PACKAGE.glob("*.py"):
        docstring = path.read_text().split('"""')[1:2]
        for command in shown("".join(docstring)):
            yield pytest.param(*command, id=f"{path.name}: {command[0] or command[1]}")


@pytest.mark.parametrize(("name", "tool", "arguments"), list(documented()))
def test_commands_that_are_shown_parse(
    name: str | None, tool: str | None, arguments: list[str], monkeypatch
):
    if "NAME" in (name, tool):  # any of them
        return
    if tool:
        assert (ROOT / "tools" / f"{tool}.py").is_file()
        name = ALIASES.get(tool, tool)
    name = name.replace("-", "_")
    if not arguments:  # it is only named
        assert name in COMMANDS or tool
    elif name in COMMANDS:
        importlib.import_module(f"vggface_gender.{name}").parser().parse_args(arguments)
    else:  # what maintainers alone run
        monkeypatch.syspath_prepend(ROOT / "tools")
        script = runpy.run_path(str(ROOT / "tools" / f"{name}.py"))
        if "parser" not in script:
            pytest.skip(f"tools/{name}.py has no parser() to ask")
        script["parser"]().parse_args(arguments)


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"https?:|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if ">>> " in path.read_text()],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_examples_in_docstrings_run(path: Path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    failures, examples = doctest.testmod(importlib.import_module(name))
    assert examples and not failures


def python_blocks(page: str) -> list[str]:
    return [block[2] for block in FENCE.finditer((ROOT / page).read_text()) if block[1] == "python"]


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A working directory from which the checkout's docs are found."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return tmp_path


def test_example_of_the_readme_gives_what_it_shows(workplace, capsys):
    known: dict = {}
    for block in python_blocks("README.md"):
        exec(compile(block, "README.md", "exec"), known)
    said = capsys.readouterr().out
    assert said == "female 98%, 29 years, (168, 69, 264, 165)\n"
    assert f"```text\n{said}```" in (ROOT / "README.md").read_text()
    assert (workplace / "astronaut-faces.jpg").is_file()


def test_examples_in_python_run(workplace, capsys):
    photos, learning, _ = python_blocks("docs/python.md")
    exec(compile(photos, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out.startswith("(168, 69, 264, 165) female 29.2")
    rng = np.random.default_rng(0)
    dark, light = (rng.integers(low, low + 99, (20, 40, 40, 3), np.uint8) for low in (0, 156))
    known = {"crops": np.concatenate([dark, light]), "labels": ["f"] * 20 + ["m"] * 20}
    exec(compile(learning, "docs/python.md", "exec"), known)
    assert known["scores"].mean() > 0.7


def test_examples_of_own_datasets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MORPH").mkdir()
    table = {"photo": ["a.jpg", "b.jpg"], "id_num": ["1", "2"], "race": ["H", "?"]}
    morph = pd.DataFrame(table | {"gender": ["F", "M"], "age": ["20", "30"]})
    morph.to_csv("MORPH/morph_2008_nonCommercial.csv", index=False)

    for block in python_blocks("docs/datasets.md"):
        exec(compile(block, "docs/datasets.md", "exec"), {})

    written = pd.read_csv("MORPH/faces.csv")
    assert list(written) == ["file", "gender", "race", "age", "subject"]
    assert written.race.fillna("").tolist() == ["Others", ""]


def test_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == vggface_gender.__version__


@pytest.mark.slow
def test_site_builds_without_warnings_and_needs_no_network(tmp_path):
    pytest.importorskip("sphinx")
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", ROOT / "docs", tmp_path],
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"', page.read_text())
        loaded += re.findall(r'<link[^>]* rel="stylesheet"[^>]* href="([^"]+)"', page.read_text())
        assert not [source for source in loaded if re.match(r"(https?:)?//", source)], page
