"""Duplicates found on Beam are those found in one process, whatever happens to its workers."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import duplicates as evaluation
from vggface_gender.photos.prints import Prints
from vggface_gender.scale import duplicates

IN_PROCESSES = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]


def drawn(count, seed=0):
    """Prints of so many images, of which a few are copies, near-duplicates or blank."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, (count, 4), np.uint64)
    digests = np.arange(count, dtype=np.uint64)
    few = count // 20
    one, other = rng.permutation(count)[: 2 * few].reshape(2, few)
    hashes[other] = hashes[one] ^ (np.uint64(1) << rng.integers(0, 64, (few, 4), np.uint64))
    hashes[one[:4]] = 0
    copies, originals = rng.permutation(count)[: 2 * few].reshape(2, few)
    digests[copies], hashes[copies] = digests[originals], hashes[originals]
    return Prints(digests, hashes)


def write(prints, folder, *, size):
    """The files of parts of `size` images each."""
    paths = []
    for start in range(0, len(prints.digests), size):
        paths.append(folder / f"{start:08}.npz")
        rows = slice(start, start + size)
        np.savez(paths[-1], digests=prints.digests[rows], hashes=prints.hashes[rows])
    return paths


def listed(found):
    pairs = list(zip(*(array.tolist() for array in found.pairs), strict=True))
    return pairs, found.compared, found.skipped


def workers() -> list[int]:
    """The worker processes that this one, or its children, have started."""
    parents, lines = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int(
                (place / "stat").read_text().rpartition(")")[2].split()[1]
            )
            lines[int(place.name)] = (place / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue

    def is_ours(process: int) -> bool:
        while process in parents:
            process = parents[process]
            if process == os.getpid():
                return True
        return False

    # Without the shells that start them.
    named = [each for each, line in lines.items() if b"\0-m\0apache_beam" in line]
    return [each for each in named if is_ours(each)]


def test_parts_give_what_all_images_give(tmp_path):
    prints = drawn(3_000)
    paths = write(prints, tmp_path, size=700)
    assert listed(duplicates.find(paths)) == listed(evaluation.find(prints))
    truth = duplicates.find_exhaustively(paths)
    assert truth.pairs.exact.sum() > 100 and (truth.pairs.bits > 0).sum() > 100
    assert len(duplicates.find([]).pairs.first) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("together", "options"), [(2**17, IN_PROCESSES), (400, [])])
def test_beam_finds_what_one_process_finds(tmp_path, together, options):
    """In one place and in many; with images in every part that belong to others in every other."""
    pytest.importorskip("apache_beam")
    paths = write(drawn(3_000), tmp_path, size=170)
    here = duplicates.find(paths)
    there = duplicates.find(paths, runner="DirectRunner", options=options, together=together)
    assert listed(there) == listed(here)
    assert sorted(tmp_path.iterdir()) == paths  # nothing is left beside them


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="workers are found by /proc")
def test_a_worker_that_is_killed_changes_nothing(tmp_path):
    pytest.importorskip("apache_beam")
    paths = write(drawn(60_000), tmp_path, size=4_096)
    here, there = duplicates.find(paths), []

    given = {"options": IN_PROCESSES, "together": 4_096}

    def find():
        there.append(duplicates.find(paths, runner="DirectRunner", **given))

    finding = threading.Thread(target=find)
    finding.start()
    killed: set[int] = set()
    while finding.is_alive() and len(killed) < 2:
        # One as it begins, and one as the first of what was found is written.
        if (now := workers()) and (not killed or any(tmp_path.glob(".part-*/*.npz"))):
            time.sleep(0 if killed else 1)
            killed.add(now[-1])
            os.kill(now[-1], signal.SIGKILL)
        time.sleep(0.02)
    finding.join()
    assert len(killed) == 2
    assert listed(there[0]) == listed(here)


@pytest.mark.slow
def test_a_pipeline_that_fails_is_one_error(tmp_path):
    pytest.importorskip("apache_beam")
    paths = write(drawn(100), tmp_path, size=50)
    with np.load(paths[1]) as kept:
        np.savez(paths[1], digests=kept["digests"], hashes=kept["hashes"][:, :3])
    with pytest.raises(InputError, match="DirectRunner"):
        duplicates.find(paths, runner="DirectRunner")
    assert sorted(tmp_path.iterdir()) == paths
