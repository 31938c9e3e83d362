"""Work in parts: done once, whole or not at all, here or in shares."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vggface_gender.base import parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import Part


def _make(place, tick, *, text, counts):
    """Write the text; each call is noted, so that a second one shows."""
    with open(counts, "a") as file:
        file.write(f"{text}\n")
    if text == "bad":
        place.write_text("half of")
        raise InputError("bad: no such thing; give another")
    place.write_text(text)
    tick(1)


def _copy(place, tick, *, listed):
    """Write the things that are listed."""
    parts.write(parts.read(listed), place)


@pytest.fixture
def wanted(tmp_path):
    """A function that gives parts which write these texts, and the file that notes each call."""
    counts = tmp_path / "calls"

    def wanted(texts):
        return [
            Part(tmp_path / f"{number}.txt", functools.partial(_make, text=text, counts=counts))
            for number, text in enumerate(texts)
        ], counts

    return wanted


def test_all_parts_are_done_once(wanted):
    its, calls = wanted(["a", "b", "c"])
    parts.HERE.run(its, "trying")
    parts.HERE.run(its, "trying")
    assert [part.path.read_text() for part in its] == ["a", "b", "c"]
    assert calls.read_text().split() == ["a", "b", "c"]


def test_a_part_that_fails_leaves_nothing_and_what_was_done_is_kept(wanted, tmp_path):
    its, _calls = wanted(["a", "bad", "c"])
    with pytest.raises(InputError, match="no such thing"):
        parts.HERE.run(its, "trying")
    assert [part.path.exists() for part in its] == [True, False, False]
    assert sorted(os.listdir(tmp_path)) == ["0.txt", "calls"]
    assert parts.left(its) == its[1:]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_shares_are_all_of_the_parts_each_once(wanted, count):
    its, calls = wanted("abcdefg")
    said = []
    for number in range(1, count + 1):
        with pytest.raises(parts.Unfinished) as stopped:
            parts.finish(parts.share(number, count), its, what="trying")
        said.append(str(stopped.value))
    assert sorted(calls.read_text().split()) == list("abcdefg")
    assert not parts.left(its)
    assert all("are left to the others" in text for text in said[:-1] if count <= 7)
    assert "without --shards brings them together" in said[-1]
    parts.finish(parts.HERE, its, what="trying")
    assert len(calls.read_text().split()) == 7


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/2/3", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="give I/N"):
        parts.parse_share(text)


@pytest.mark.parametrize(("count", "least"), [(1, 4), (4, 4), (9, 4), (100, 1)])
def test_lists_are_divided_and_read_again(tmp_path, monkeypatch, count, least):
    monkeypatch.setattr(parts, "MOST", 40)
    its = parts.divided(list(range(count)), tmp_path, least=least, make=_copy, ending=".numbers")
    parts.HERE.run(its, "trying")
    found = [number for part in its for number in parts.read(part.path)]
    assert found == list(range(count))
    sizes = [part.size for part in its]
    assert sum(sizes) == count and len(its) <= parts.MOST
    assert all(size >= least for size in sizes[:-1])
    assert [len(parts.read(part.path)) for part in its] == sizes
    assert {part.path.suffix for part in its} == {".numbers"}


def test_parts_of_other_settings_are_not_gone_on_with(tmp_path):
    out = tmp_path / "table.csv"
    assert not parts.is_begun(out)
    one, other = parts.place(out, "one"), parts.place(out, "other")
    assert one != other and parts.is_begun(out)
    (one / "x").write_text("1")
    parts.discard(out)
    assert not parts.is_begun(out) and not os.listdir(tmp_path)


def test_a_share_ends_a_command_with_status_0():
    program = (
        "from vggface_gender.base import console, parts\n"
        "def main():\n    raise parts.Unfinished('share 1 of 2 is done', 'go on')\n"
        "raise SystemExit(console.run(main))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "share 1 of 2 is done: go on\n", "")


def test_a_share_that_ends_after_all_were_brought_together_says_so(tmp_path):
    folder = parts.place(tmp_path / "out", "key")

    def late(place, tick):
        place.write_text("late")
        parts.discard(tmp_path / "out")

    with pytest.raises(parts.Unfinished, match="brought together meanwhile"):
        parts.do(Part(folder / "0", late))


def test_where_no_folder_can_be_made_is_one_line():
    with pytest.raises(InputError, match="no folder can be made there"):
        parts.place(Path("/proc/x.csv"), "key")
