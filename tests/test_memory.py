"""What a training on VGG-Face at full size takes, in a process of its own."""

import subprocess
import sys

import pytest

from vggface_gender.backbones import vggface

MEASURED = (
    "import re, sys\n"
    "from vggface_gender import transfer\n"
    "transfer.main(sys.argv[1:])\n"
    # Not getrusage: a child's peak there begins with its parent's.
    "print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
)


@pytest.mark.slow
def test_the_published_head_trains_on_vggface_below_3_gb(workplace, draw_table):
    (workplace / "model_files").mkdir()
    vggface.save(vggface.build(), vggface.PATH)
    (workplace / "faces").mkdir()
    table = draw_table(workplace / "faces", 240, 200)
    options = ["--dataset", str(table), "--backbone", "vggface", "--precision", "float32"]
    command = [sys.executable, "-c", MEASURED, *options, "--epochs", "2", "--run", "it"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) < 3e6  # in kB
