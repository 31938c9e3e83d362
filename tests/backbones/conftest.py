"""What the tests of backbones share with those of weight files: the writers of files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "weights"))
