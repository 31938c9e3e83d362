"""How costs grow: what is measured is what a command and all below it take."""

import itertools
import sys

import numpy as np
import pytest
from PIL import Image

from benchmark import scaling
from benchmark.scaling import Cost
from vggface_gender.base.errors import InputError

HUNDRED = "held = b'x' * 100_000_000; import time; time.sleep(1.5)"


@pytest.mark.slow
def test_memory_is_that_of_a_command_and_what_it_starts():
    below = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HUNDRED!r}])"
    seconds, memory = scaling.watched([sys.executable, "-c", f"{below}\n{HUNDRED}"])
    assert 3 < seconds < 30 and 100e6 < memory < 160e6  # one after the other
    both = f"import subprocess, sys; its = subprocess.Popen([sys.executable, '-c', {HUNDRED!r}])"
    _, memory = scaling.watched([sys.executable, "-c", f"{both}\n{HUNDRED}\nits.wait()"])
    assert 200e6 < memory < 300e6


def test_a_command_that_fails_is_one_line():
    with pytest.raises(InputError, match="--dataset nothing: error: no dataset nothing"):
        scaling.watched([sys.executable, "-m", "vggface_gender.records", "--dataset", "nothing"])


def test_turned_faces_are_other_pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    turned = [np.asarray(scaling.turned(Image.fromarray(pixels), k)) for k in range(scaling.TURNS)]
    assert np.array_equal(turned[0], pixels)
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(turned, 2))


def test_so_many_faces_have_a_table(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        name = f"{20 + number}_{number % 2}_0_{number:017d}.jpg.chip.jpg"
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(source / name)
    table = scaling.many(source, 7, folder=tmp_path / "many")
    lines = table.read_text().splitlines()
    assert len(lines) == 8 and len(list((tmp_path / "many" / "images").iterdir())) == 7
    assert lines[1] == "images/000000.jpg,male,White,20.0" and lines[5].endswith(
        "female,White,21.0"
    )
    with pytest.raises(InputError, match="3 images make 24 faces"):
        scaling.many(source, 25, folder=tmp_path / "too many")


def test_growth_is_what_a_further_face_costs():
    line = [Cost("records", n, "one process", 5 + 0.001 * n, 10**9) for n in (1_000, 10_000)]
    square = [Cost("pairs", n, "one process", 1e-6 * n * n, 10**9) for n in (1_000, 10_000)]
    said = scaling.describe(line + square)
    assert "1.00" in said and "28 h" in said  # 1 ms a face, 1e8 faces
    assert "2.00" in said and "6.0 s, 1,000 MB" in said
