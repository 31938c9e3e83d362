"""The command `vggface-gender predict` under its older name, from a checkout."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.argv.insert(1, "predict")
runpy.run_module("vggface_gender", run_name="__main__")
