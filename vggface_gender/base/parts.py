"""Work in parts, each of which ends in a file that is whole or not there.

What does the parts is an engine: this process (`here`), one of several jobs, each with its share
(`share`), or Apache Beam (`scale.engine.beam`). All do the same parts, so what they make is equal;
and a part whose file is there is done, so a job that was stopped goes on.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vggface_gender.base import files

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
    """A share is done, and the parts of others are not: no error. Its text says what is next."""


def do(part: Part, tick: Tick = lambda count: None) -> None:
    """Do a part, unless it is done."""
    if not part.path.exists():
        with files.whole(part.path) as place:
            part.make(place, tick)


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
                f"{what}: share {number} of {count} is done; {len(others):,} of {len(parts):,} "
                "parts are left to the others: when they are done, give the same command again"
            )

    return Engine(run, is_share=True)


def finish(engine: Engine, parts: Sequence[Part], what: str) -> None:
    """Have an engine do the last parts of a work, before they are brought together.

    Raises:
        Unfinished: it does a share alone, which is done: another command brings them together.
    """
    engine.run(parts, what)
    if engine.is_share:
        raise Unfinished(
            f"{what}: all {len(parts):,} parts are done: the same command without --shards brings "
            "them together"
        )


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
    """A bar over all things of some parts; gives what moves it on."""
    from tqdm import tqdm

    total = sum(part.size for part in parts)
    with tqdm(total=total, desc=what, unit="", leave=False, mininterval=1) as bar:
        yield bar.update
