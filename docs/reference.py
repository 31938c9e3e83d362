"""Writes what nobody should write by hand: a page for each command and each part of the library.

What stands elsewhere in the checkout, as the README does, is copied, and links to it are bent.
"""

import importlib
import os
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import vggface_gender
from vggface_gender.__main__ import COMMANDS

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PACKAGE = Path(vggface_gender.__file__).parent
COPIED = {  # a page's name to the file that it is a copy of
    "pages/readme": ROOT / "README.md",
    "pages/changelog": ROOT / "CHANGELOG.md",
    "pages/contributing": ROOT / "CONTRIBUTING.md",
    "pages/runs": ROOT / "model_files" / "README.md",
    "pages/records": ROOT / "tfrecords" / "README.md",
    "pages/default_card": ROOT / "model_files" / "default" / "model_card.md",
    **{
        f"pages/dataset_{path.parent.name}": path
        for path in sorted(PACKAGE.glob("datasets/*/README.md"))
    },
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
PARTS = (  # in the order in which they import one another
    "base",
    "weights",
    "backbones",
    "photos",
    "datasets",
    "data",
    "inference",
    "evaluation",
    "exports",
    "training",
    "api",
    "web",
)
COMMAND = """# {title}

{docstring}

## Options

```{{eval-rst}}
.. argparse::
   :module: {module}
   :func: parser
   :prog: {title}
   :nodescription:
   :noepilog:
   :nodefaultconst:
```
"""
MODULE = """## {module}

```{{eval-rst}}
.. automodule:: {module}
```
"""


def commands() -> dict[str, ModuleType]:
    """The commands' modules by their names, in the order in which `vggface-gender` lists them."""
    return {name: importlib.import_module(f"vggface_gender.{name}") for name in COMMANDS}


def modules(part: str) -> Iterator[str]:
    """The dotted names of a part's modules, the part itself first."""
    package = importlib.import_module(f"vggface_gender.{part}")
    yield package.__name__
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            yield module.name


def write() -> None:
    """Write docs/api, docs/cli and docs/pages, and remove what is there of an earlier build."""
    pages = {name: path.read_text() for name, path in COPIED.items()}
    pages |= command_pages() | part_pages()
    for folder in ("api", "cli", "pages"):
        for stale in (DOCS / folder).glob("*.md"):
            if f"{folder}/{stale.stem}" not in pages:
                stale.unlink()
    for name, text in pages.items():
        path = DOCS / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text() != text:  # what is unchanged is not built again
            path.write_text(text)


def command_pages() -> dict[str, str]:
    """The text of every command's page, and of the page above them, by name."""
    known = commands()
    rows = [
        f"| [`{command.parser().prog}`]({name}.md) | {command.__doc__.splitlines()[0]} |"
        for name, command in known.items()
    ]
    above = index(
        "Commands",
        "Every command is also `python -m vggface_gender.NAME`. These pages are generated from the "
        "commands' own help.\n\n| command | does |\n| --- | --- |\n" + "\n".join(rows),
        known,
    )
    return {"cli/index": above} | {
        f"cli/{name}": command_page(command) for name, command in known.items()
    }


def part_pages() -> dict[str, str]:
    """The text of the page of every part of the library, and of the page above them, by name."""
    pages, rows = {}, []
    for part in PARTS:
        if not (PACKAGE / part / "__init__.py").is_file():
            continue
        itself, *within = modules(part)
        sections = [MODULE.format(module=module) for module in (itself, *within)]
        pages[f"api/{part}"] = "\n".join(sections).removeprefix("#")  # the part's own is the title
        names = ", ".join(module.removeprefix(f"{itself}.") for module in within)
        rows.append(f"| [`{itself}`]({part}.md) | {names} |")
    above = index(
        "Library",
        "The parts of the library, in the order in which they import one another. These pages are "
        "generated from the docstrings.\n\n| part | holds |\n| --- | --- |\n" + "\n".join(rows),
        [name.removeprefix("api/") for name in pages],
    )
    return {"api/index": above} | pages


def command_page(command: ModuleType) -> str:
    """A command's page: its module's docstring, and its options where Sphinx is to set them."""
    docstring = re.sub(r"(?:^    .*\n?)+", _fenced, command.__doc__.strip(), flags=re.MULTILINE)
    return COMMAND.format(title=command.parser().prog, docstring=docstring, module=command.__name__)


def _fenced(match: re.Match) -> str:
    lines = (line.removeprefix("    ") for line in match[0].strip("\n").splitlines())
    return "```shell\n" + "\n".join(lines) + "\n```\n"


def index(title: str, text: str, names: Iterable[str]) -> str:
    """A page that stands above others of its folder."""
    below = "\n".join(names)
    return f"# {title}\n\n{text}\n\n```{{toctree}}\n:hidden:\n\n{below}\n```\n"


def bend_links(app, name: str, source: list[str]) -> None:
    """Have a page's links lead to pages of the site; what has no page there is named alone."""
    origin = COPIED.get(name, DOCS / f"{name}.md").parent
    pages = {path: DOCS / f"{copy}.md" for copy, path in COPIED.items()}

    def bent(match: re.Match) -> str:
        image, text, target = match.groups()
        file, _, anchor = target.partition("#")
        if not file or re.match(r"https?:|mailto:", target):
            return match[0]
        linked = (origin / file).resolve()
        linked = pages.get(linked, linked)
        if not linked.is_relative_to(DOCS):
            return text
        place = os.path.relpath(linked, (DOCS / name).parent)
        return f"{image}[{text}]({place}{'#' if anchor else ''}{anchor})"

    source[0] = LINK.sub(bent, source[0])


def mark_code(app, what, name, obj, options, lines: list[str]) -> None:
    """Mark a docstring's code as reStructuredText has it, which is how autodoc reads docstrings.

    An indented block that follows a blank line is code, as in Markdown; one right after a line, as
    under `Args:`, is not. Backticks may stand right before a letter.
    """
    marked: list[str] = []
    for line in lines:
        starts = line.startswith("    ") and len(marked) > 1 and not marked[-1]
        before = next((known for known in reversed(marked) if known), "")
        if starts and before and not before.startswith(" ") and before != "::":
            marked += ["::", ""]
        marked.append(line)
    text = re.sub(r"`[^`]+`(?=(\w?))", _apart, "\n".join(marked))
    lines[:] = text.split("\n")


def _apart(code: re.Match) -> str:
    return f"`{code[0]}`\\ " if code[1] else code[0]


def skip_fields(app, what, name, obj, skip: bool, options) -> bool | None:
    """Leave out a named tuple's fields, of which its signature has said all that autodoc knows."""
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field") else None
