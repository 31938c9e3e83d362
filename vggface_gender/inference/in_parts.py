"""Photos answered in parts, each of which ends in a table; together they are one command's table.

A part answers its photos as a command does that is given these alone (`jobs.run`), with the
classifier that its process has loaded.
"""

import collections
import contextlib
import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vggface_gender.base import files, parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import Engine, Tick
from vggface_gender.inference import backends, jobs, pipeline, tables
from vggface_gender.inference.jobs import Settings
from vggface_gender.photos import sources
from vggface_gender.photos.sources import CAMERA, STDIN, Source

LEAST = 256  # photos in a part
WHAT = "answering photos"  # in progress bars

FIRST = 10  # of the errors, those that are named


class Answered(NamedTuple):
    """What came of the inputs."""

    counts: collections.Counter  # by status
    errors: list[str]  # the first few


# A process's classifier: all its parts have the same.
_load = functools.lru_cache(maxsize=1)(backends.load)


def answer(
    found: Sequence[Source],
    classifier: Path,
    *,
    settings: Settings,
    engine: Engine,
    csv: Path | None = None,
    parquet: Path | None = None,
) -> Answered:
    """Answer what was found, and write one table of all, in its order.

    What is done lies beside the table until all is, so that the same call goes on.

    Args:
        found: files alone.
        classifier: its file.
        engine: does the parts.
        csv, parquet: the table; one of the two, or both.

    Raises:
        InputError: a camera or standard input, which others can't read; see `jobs.table`.
        Unfinished: the engine does a share of the parts, which is done.
    """
    out = csv or parquet
    if out is None:
        raise InputError("photos answered in parts go to a table: give --csv or --parquet")
    for source in found:
        if source.kind == CAMERA or source.name == STDIN:
            raise InputError(f"{source.name}: only files can be answered in parts")
    if parquet:
        tables.require_pyarrow()
    load = functools.partial(_load, classifier)
    wanted = pipeline.chosen(load(), settings.tasks, extra_tasks=settings.extra_tasks)
    made_by = jobs.made_by(classifier, settings, tasks=wanted)
    folder = parts.place(out, f"{made_by}-{sources.state(found)}")
    make = functools.partial(_answer, classifier=classifier, settings=settings)
    its = parts.divided(found, folder, least=LEAST, make=make, ending=".csv")
    parts.finish(engine, its, what=WHAT)
    with contextlib.ExitStack() as stack:
        if csv is None:
            csv = stack.enter_context(files.aside(out.parent)) / "answers.csv"
        answered = _join([part.path for part in its], csv)
        if parquet:
            columns = tables.columns(load().tasks, wanted, sampled=bool(settings.samples))
            tables.to_parquet(csv, parquet, columns=columns)
    parts.discard(out)
    return answered


def _answer(path: Path, tick: Tick, *, listed: Path, classifier: Path, settings: Settings) -> None:
    """Write the table of some photos."""
    found: list[Source] = parts.read(listed)
    load = functools.partial(_load, classifier)
    with jobs.table(
        path, None, path=classifier, load=load, settings=settings, found=found
    ) as table:
        for _ in jobs.run(found, load, settings=settings, written=jobs.Written(table=table)):
            tick(1)


def _join(paths: Sequence[Path], out: Path) -> Answered:
    """Write tables as one, whole or not at all."""
    counts: collections.Counter = collections.Counter()
    errors: list[str] = []
    with files.whole(out) as place, open(place, "wb") as joined:
        for number, path in enumerate(paths):
            with open(path, "rb") as file:
                if number:
                    file.readline()  # the names of the columns, once
                shutil.copyfileobj(file, joined)
            for rows in tables.read(path):
                counts[rows[0]["status"]] += 1
                if rows[0]["error"] and len(errors) < FIRST:
                    errors.append(rows[0]["error"])
    return Answered(counts, errors)
