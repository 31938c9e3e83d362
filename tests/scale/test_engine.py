"""Apache Beam as what does the parts: what is refused, and what a killed worker changes."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("apache_beam", reason="takes Apache Beam: the extra [beam]")

from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import Part
from vggface_gender.scale import engine, process

IN_TWO = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Workers import this module, as they import the package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def _made(folder: Path, count: int, **given) -> list[Part]:
    import worker_parts

    return [
        Part(folder / f"{n}.txt", functools.partial(worker_parts.make, number=n, **given))
        for n in range(count)
    ]


def _workers(of: int) -> list[int]:
    """Beam's worker processes of the pipelines that a process waits for."""
    found = subprocess.run(["pgrep", "-f", "sdk_worker_main"], capture_output=True, text=True)
    workers = []
    for pid in map(int, found.stdout.split()):
        with contextlib.suppress(OSError):  # it has ended
            leader = Path("/proc", str(os.getsid(pid)), "stat").read_text()
            if int(leader.rpartition(")")[2].split()[1]) == of:
                workers.append(pid)
    return workers


def test_beam_does_the_parts_and_says_what_one_was_refused(tmp_path):
    its = _made(tmp_path, 4, bad=2)
    does = engine.on_beam("DirectRunner")
    with pytest.raises(InputError, match=r"^2: bad; give another$"):
        does.run(its, "trying")
    assert [part.path.exists() for part in its] == [True, True, False, True]
    assert sorted(os.listdir(tmp_path)) == ["0.txt", "1.txt", "3.txt"]


def test_what_beam_does_not_have_is_refused():
    with pytest.raises(InputError, match=r"no runner SparkleRunner: give one of .*DirectRunner"):
        engine.on_beam("SparkleRunner")
    with pytest.raises(InputError, match="--direct_num_wokers=2"):
        engine.on_beam("DirectRunner", options=["--direct_num_wokers=2"])
    with pytest.raises(InputError, match="invalid int value: 'two'; give its options as --NAME"):
        engine.on_beam("DirectRunner", options=["--direct_num_workers=two"])
    with pytest.raises(InputError, match="--shards divides the work without Beam"):
        engine.chosen("DirectRunner", (1, 2))


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(tmp_path):
    its = _made(tmp_path, 12, seconds=0.5)
    killed = []

    def kill() -> None:
        while not any(part.path.exists() for part in its):
            time.sleep(0.05)
        killed.append(_workers(os.getpid())[-1])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    engine.on_beam("DirectRunner", options=IN_TWO).run(its, "trying")
    killer.join()
    assert killed and [part.path.read_text() for part in its] == [str(n) for n in range(12)]


@pytest.mark.slow
def test_a_part_that_kills_its_worker_ends_in_one_line(tmp_path):
    its = _made(tmp_path, 4, deadly=3)
    with pytest.raises(InputError, match="a worker process died: give the same command again"):
        engine.on_beam("DirectRunner", options=IN_TWO).run(its, "trying")
    assert not its[3].path.exists()


@pytest.mark.slow
def test_nothing_of_a_pipeline_is_left_when_who_waits_for_it_is_killed(tmp_path):
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "import test_engine as t\n"
        "its = t._made(pathlib.Path(sys.argv[2]), 50, seconds=0.5)\n"
        "t.engine.on_beam('DirectRunner', options=t.IN_TWO).run(its, 'trying')"
    )
    here = str(Path(__file__).parent)
    waiting = subprocess.Popen([sys.executable, "-c", program, here, str(tmp_path)])
    while not list(tmp_path.glob("*.txt")):
        time.sleep(0.1)
    before = _workers(waiting.pid)
    waiting.kill()
    waiting.wait()
    deadline = time.monotonic() + 20
    while any(Path("/proc", str(pid)).exists() for pid in before) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert before and not [pid for pid in before if Path("/proc", str(pid)).exists()]


def test_what_goes_wrong_in_a_pipeline_is_one_line():
    with pytest.raises(InputError, match=r"^DirectRunner: no such pipeline"):
        import worker_parts

        process.run(worker_parts.fail, "DirectRunner")
