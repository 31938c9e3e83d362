"""Measure how fast the package is on this machine, each figure against a limit or an alternative.

    python tools/benchmark.py --source path/to/UTKFace --json benchmark.json
    python tools/benchmark.py --rows extraction crops
    python tools/benchmark.py --quick
    python tools/benchmark.py scale

The folder of this name holds what it does.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark import command, scaling
from benchmark.command import parser
from vggface_gender.base import console

__all__ = ["main", "parser"]


def main(argv: list[str] | None = None) -> None:
    """Measure how fast the package is, or, after the word scale, how its cost grows."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["scale"]:
        scaling.main(arguments[1:])
    else:
        command.main(arguments)


if __name__ == "__main__":
    sys.exit(console.run(main))
