"""Print published figures beside ours, each table by its name.

    python tools/reproduce.py --list
    python tools/reproduce.py utkface-multitask --source path/to/faces
    python tools/reproduce.py resnet50-subgroups --tables MORPH=MORPH/faces.csv --runs RUN
    python tools/reproduce.py vggface-transfer --source path/to/faces

The folder of this name holds what it does, and the published figures.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduce.command import main, parser
from vggface_gender.base import console

__all__ = ["main", "parser"]

if __name__ == "__main__":
    sys.exit(console.run(main))
