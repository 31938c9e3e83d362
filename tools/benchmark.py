"""Measure how fast the package is on this machine, each figure against a limit or an alternative.

    python tools/benchmark.py --source path/to/UTKFace --json benchmark.json
    python tools/benchmark.py --rows extraction crops
    python tools/benchmark.py --quick

The folder of this name holds what it does.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark.command import main, parser
from vggface_gender.base import console

__all__ = ["main", "parser"]

if __name__ == "__main__":
    sys.exit(console.run(main))
