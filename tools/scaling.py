"""Measure how time and memory grow with the number of faces, in one process and on Apache Beam.

    python tools/scaling.py
    python tools/scaling.py --sizes 1000 10000 --steps records duplicates

`benchmark/scaling.py` holds what it does.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark.scaling import main, parser
from vggface_gender.base import console

__all__ = ["main", "parser"]

if __name__ == "__main__":
    sys.exit(console.run(main))
