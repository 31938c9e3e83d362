"""Work in parts, each of which ends in a file that is whole or not there.

What does the parts is an engine: this process (`HERE`), one of several jobs, each with its share
(`share`), or Apache Beam (`scale.engine.on_beam`). All do the same parts, so what they make is
equal; and a part whose file is there is done, so a job that was stopped goes on.
"""

import contextlib
import functools
import itertools
import math
import pickle
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vggface_gender.base import files, locks

PREFIX = ".parts-"  # of the folders that keep parts
MOST = 4096  # parts of a work, about: as many files in a folder

Tick = Callable[[int], object]  # takes how many more things of a part are done


class Part(NamedTuple):
    """Some of a work."""

    path: Path  # the file (or folder) that it ends in
    # Writes what is to be at the path to the place that it is given. Other processes do it: it can
    # be pickled, and holds little.
    make: Callable[[Path, Tick], None]
    size: int = 1  # things in it, for the progress bar


class Engine(NamedTuple):
    """What does the parts of a work."""

    # Does all (or its share) of the parts that are not done; the text says what they are, as
    # "writing records".
    run: Callable[[Sequence[Part], str], None]
    # Whether what is done is kept for another command to go on with, as other machines have to.
    is_kept: bool = True
    is_share: bool = False  # whether other commands do other parts at the same time


class Unfinished(Exception):
    """A share is done, and the work is not: no error. Its text says so, and what is next."""

    def __init__(self, done: str, following: str):
        super().__init__(f"{done}: {following}")
        self.done = done


TOGETHER = "the same command without --shards brings them together"


def place(out: Path, key: str) -> Path:
    """The folder, beside what a work is to end in, that keeps its parts; it is made.

    Args:
        key: a hash of all that makes the parts: parts made with other settings are not resumed.

    Raises:
        InputError: no folder can be made there.
    """
    folder = out.parent / f"{PREFIX}{out.name}" / key
    locks.make_folder(folder)
    return folder


def is_begun(out: Path) -> bool:
    """Whether there are parts of what is to be at a path."""
    return (out.parent / f"{PREFIX}{out.name}").is_dir()


def discard(out: Path) -> None:
    """Remove the parts of what is whole now."""
    files.remove(out.parent / f"{PREFIX}{out.name}")


def divided(
    items: Collection[Any], folder: Path, *, least: int, make: Callable[..., None], ending: str = ""
) -> list[Part]:
    """The parts of a work on many things, each on some of them, which lie in a file.

    So a part holds little, however many things it is of.

    Args:
        folder: for the files, and for what the parts end in.
        least: things in a part, but for the last; more where there are very many.
        make: makes a part, given the file of its things as `listed`; it `read`s them.
        ending: of the names of what the parts end in.
    """
    size = max(least, math.ceil(len(items) / MOST))
    found: list[Part] = []
    waiting = iter(items)
    while its := list(itertools.islice(waiting, size)):
        number = len(found)
        listed = folder / f"listed-{number:05d}"
        write(its, listed)
        made = folder / f"made-{number:05d}{ending}"
        found.append(Part(made, functools.partial(make, listed=listed), size=len(its)))
    return found


def write(items: Any, path: Path) -> None:
    """Write what a part is of, or what it gives, whole or not at all."""
    with files.whole(path) as place:
        place.write_bytes(pickle.dumps(items))


def read(path: Path) -> Any:
    """What `write` wrote; only to a folder of the work's own, since it is unpickled."""
    return pickle.loads(path.read_bytes())


def do(part: Part, tick: Tick = lambda count: None) -> None:
    """Do a part, unless it is done."""
    if part.path.exists():
        return
    try:
        with files.whole(part.path) as place:
            part.make(place, tick)
    except FileNotFoundError:
        if part.path.parent.is_dir():
            raise
        raise Unfinished(
            "the work has been brought together meanwhile", "this share is not needed"
        ) from None


def left(parts: Sequence[Part]) -> list[Part]:
    """The parts that are not done."""
    return [part for part in parts if not part.path.exists()]


def _here(parts: Sequence[Part], what: str) -> None:
    with progress(left(parts), what) as tick:
        for part in parts:
            do(part, tick)


HERE = Engine(_here, is_kept=False)


def share(number: int, count: int) -> Engine:
    """What does one of `count` shares of the parts in this process.

    Args:
        number: of the share, from 1.
    """

    def run(parts: Sequence[Part], what: str) -> None:
        _here(parts[number - 1 :: count], what)
        if others := left(parts):
            raise Unfinished(
                f"{what}: share {number} of {count} is done, and {len(others):,} of {len(parts):,} "
                "parts are left to the others",
                "when they are done, give the same shares again",
            )

    return Engine(run, is_share=True)


def finish(engine: Engine, parts: Sequence[Part], *, what: str) -> None:
    """Have an engine do the last parts of a work, before they are brought together.

    Raises:
        Unfinished: it does a share alone, which is done: another command brings them together.
    """
    try:
        engine.run(parts, what)
    except Unfinished as stopped:
        raise Unfinished(stopped.done, f"when they are done, {TOGETHER}") from None
    if engine.is_share:
        raise Unfinished(f"{what}: all {len(parts):,} parts are done", TOGETHER)


def parse_share(text: str) -> tuple[int, int]:
    """A share's number and how many there are.

    >>> parse_share("2/8")
    (2, 8)

    Raises:
        ValueError: it is none.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError(f"{text!r} is no share: give I/N, from 1/N to N/N")
    return int(number), int(count)


@contextlib.contextmanager
def progress(parts: Sequence[Part], what: str) -> Iterator[Tick]:
    """A bar over all things of some parts, where there are several; gives what moves it on."""
    from tqdm import tqdm

    total = sum(part.size for part in parts)
    drawn = {"desc": what, "unit": "", "leave": False, "mininterval": 1}
    with tqdm(total=total, disable=total < 2, **drawn) as bar:
        yield bar.update
