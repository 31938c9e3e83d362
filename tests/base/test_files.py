"""Files: whole or not there; their hashes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vggface_gender.base import files, locks
from vggface_gender.base.errors import InputError


def test_a_digest_stands_for_the_content(tmp_path):
    for name, content in {"a": "one", "b": "one", "c": "two"}.items():
        (tmp_path / name).write_text(content)
    a, b, c = (files.digest(tmp_path / name) for name in "abc")
    assert a == b != c


def test_a_whole_file_appears_at_the_end_of_the_block(tmp_path):
    target = tmp_path / "new" / "folders" / "a.json"
    with files.whole(target) as part:
        part.write_text("content")
        assert not target.exists()
        assert part.suffix == ".json" and part.parent.parent == target.parent
    assert target.read_text() == "content"
    assert os.listdir(target.parent) == ["a.json"]


def test_a_whole_file_replaces_the_old_one_at_once(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")
    with files.whole(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("before", [None, "old"])
def test_an_exception_leaves_the_target_as_it_was(tmp_path, before):
    target = tmp_path / "a.json"
    if before:
        target.write_text(before)
    with pytest.raises(ZeroDivisionError), files.whole(target) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert [path.read_text() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), files.whole(tmp_path / "a.json"):
        pass
    assert not os.listdir(tmp_path)


def test_a_whole_folder(tmp_path):
    target = tmp_path / "epoch-0001"
    with files.whole(target) as part:
        part.mkdir()
        (part / "weights").write_text("1")
        assert not target.exists()
    assert (target / "weights").read_text() == "1"
    with pytest.raises(OSError), files.whole(target) as part:  # there, and not empty
        part.mkdir()
        (part / "weights").write_text("2")
    assert (target / "weights").read_text() == "1"
    assert os.listdir(tmp_path) == ["epoch-0001"]


@pytest.mark.parametrize("name", ["x" * 251 + ".csv", "é" * 127 + "x"])
def test_a_whole_file_may_have_the_longest_name(tmp_path, name):
    assert len(os.fsencode(name)) == 255 == os.pathconf(tmp_path, "PC_NAME_MAX")
    with files.whole(tmp_path / name) as part:
        part.write_text("content")
    assert os.listdir(tmp_path) == [name]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with files.whole(tmp_path / "a") as one, files.whole(tmp_path / "a") as other:
        one.write_text("one")
        other.write_text("other")
        assert one.read_text() == "one"
    assert (tmp_path / "a").read_text() == "one"  # the last to be finished


# --- what killed writers leave

KILLED = """
import os, signal, sys
from vggface_gender.base import files, locks
from vggface_gender.base.errors import InputError
with files.whole(sys.argv[1]) as part:
    part.write_text("half of")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def leftover(tmp_path):
    """What a killed writer left in the folder."""
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "killed"], check=False)
    (part,) = tmp_path.iterdir()
    assert (part / "killed").read_text() == "half of"
    return part


def test_what_a_killed_writer_left_is_swept_by_the_next_in_that_folder(tmp_path, leftover):
    with files.whole(tmp_path / "another") as part:
        part.write_text("whole")
        assert not leftover.exists()
    assert os.listdir(tmp_path) == ["another"]


def test_what_is_being_written_is_not_swept(tmp_path):
    with files.whole(tmp_path / "a") as part:
        part.write_text("half of")
        files.sweep(tmp_path)
        subprocess.run(
            [sys.executable, "-c", f"{SWEEP}files.sweep(Path(sys.argv[1]))", tmp_path], check=True
        )
        assert part.read_text() == "half of"


SWEEP = "import sys; from pathlib import Path; from vggface_gender.base import files; "


def test_many_writers_and_sweepers_of_one_folder(tmp_path):
    """Each sweeps while others begin: none loses its file."""
    code = f"""{SWEEP}
for number in range(60):
    files.sweep(Path(sys.argv[1]))
    files.write_json([number], Path(sys.argv[1], sys.argv[2], "x"))
    files.write_json([number], Path(sys.argv[1], f"{{sys.argv[2]}}-{{number}}"))
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, name]) for name in ("a", "b", "c")
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.iterdir())) == 3 * 61


def test_a_folder_replaces_another_and_is_removed_at_once(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    for content in ("old", "new"):
        with files.whole(folder, replace=True) as part:
            part.mkdir()
            (part / content).touch()
    assert os.listdir(folder) == ["new"] and os.listdir(tmp_path) == ["folder"]
    with monkeypatch.context() as patched:  # as a kill before it would
        patched.setattr(files.shutil, "rmtree", lambda *_, **__: None)
        files.remove(folder)
    assert not folder.exists()
    files.remove(folder)
    files.sweep(tmp_path)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_where_no_file_can_be_made_it_is_said(tmp_path):
    for path in (Path("/proc/x"), Path("/proc/x/y")):
        with pytest.raises(InputError, match="can be made there"), files.whole(path):
            pytest.fail("made")
        with pytest.raises(InputError, match="can be made there"), locks.held(path / "y"):
            pytest.fail("made")


def test_a_pipe_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="not a regular file; name another"), files.whole(pipe):
        pass
    assert pipe.is_fifo()
