"""Apache Beam as what does the parts of a work, on any of its runners.

Beam hands out the parts, and does those of a lost worker again; what a part reads and writes are
files that all workers reach. So no runner has to hold images, and one that fails as a whole, as the
direct runner does when a worker dies, goes on with what is left.
"""

import argparse
import contextlib
import functools
import importlib
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vggface_gender.base import extras, files, parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.parts import Engine, Part
from vggface_gender.scale import process

if TYPE_CHECKING:
    import apache_beam as beam

TRIES = 3  # in a row that bring nothing on
POLLED = 0.5  # seconds between two looks at how many parts are done


def chosen(
    runner: str | None = None,
    share: tuple[int, int] | None = None,
    *,
    options: Sequence[str] = (),
) -> Engine:
    """What does a command's parts: see `base.options.add_engine_arguments`.

    Args:
        runner: Beam's.
        share: which of how many shares to do here; not with a runner.
        options: the runner's.

    Raises:
        InputError: both are given; see `on_beam`.
    """
    if runner and share:
        raise InputError("--shards divides the work without Beam: leave --runner out, or --shards")
    if runner:
        return on_beam(runner, options=options)
    return parts.share(*share) if share else parts.HERE


def on_beam(runner: str, *, options: Sequence[str] = ()) -> Engine:
    """Beam as what does the parts.

    Args:
        runner: its name, such as "DirectRunner" or "FlinkRunner".
        options: as command-line flags, such as "--direct_num_workers=2".

    Raises:
        InputError: Beam is not installed, has no such runner or no such option.
    """
    check(runner, options)

    def do_all(wanted: Sequence[Part], what: str) -> None:
        in_vain = 0
        while todo := parts.left(wanted):
            try:
                with _watched(todo, what):
                    process.run(functools.partial(_done, todo), runner, options=options)
            except InputError:
                in_vain = in_vain + 1 if len(parts.left(todo)) == len(todo) else 0
                if in_vain == TRIES:
                    raise
            _raise_refusals(todo)

    return Engine(do_all)


def check(runner: str, options: Sequence[str]) -> None:
    """Refuse a runner or options that Beam does not have.

    Raises:
        InputError: there are such, or Beam is not installed.
    """
    extras.require("apache_beam")
    logging.disable(logging.WARNING)  # of packages for clouds that are not there
    from apache_beam.options import pipeline_options

    logging.disable(logging.NOTSET)

    paths = pipeline_options.StandardOptions.ALL_KNOWN_RUNNERS
    known = sorted(path.rpartition(".")[2] for path in [*paths, *process.RUNNERS.values()])
    if runner.lower().removesuffix("runner") not in [
        name.lower().removesuffix("runner") for name in known
    ]:
        raise InputError(f"no runner {runner}: give one of {', '.join(known)}")
    if path := process.RUNNERS.get(runner.lower()):
        module = path.rpartition(".")[0]
        try:
            importlib.import_module(module)  # its options come with it
        except ImportError as error:
            raise InputError(f"{runner} takes {error.name}, which is not installed") from None
    parser = pipeline_options._BeamArgumentParser(add_help=False, allow_abbrev=False)
    for group in pipeline_options.PipelineOptions.__subclasses__():
        with contextlib.suppress(argparse.ArgumentError):  # one that another group has, too
            group._add_argparse_args(parser)
    parser.error = functools.partial(_refuse, runner)  # type: ignore[method-assign]
    _, unknown = parser.parse_known_args([f"--runner={runner}", *options])
    if unknown:
        raise InputError(f"{unknown[0]}: neither this command nor {runner} has this option")


def _refuse(runner: str, message: str) -> NoReturn:
    raise InputError(f"{runner}: {message}; give its options as --NAME=VALUE")


def _done(todo: Sequence[Part], pipeline: "beam.Pipeline") -> "beam.PCollection":
    import apache_beam as beam

    # Made anew each time: a runner would do all of one bundle's in one worker.
    given = pipeline | "parts" >> beam.Create(todo) | beam.Reshuffle()
    return given | "do" >> beam.Map(_do)


def _do(part: Part) -> None:
    """Do a part in a worker; what is refused is kept for who waits for it, and not tried again."""
    try:
        parts.do(part)
    except (InputError, OSError) as error:
        with files.whole(_refusal(part)) as place:
            place.write_text(str(error))


def _refusal(part: Part) -> Path:
    """Where the error of a part is kept."""
    return part.path.with_name(f"{part.path.name}.error")


def _raise_refusals(todo: Sequence[Part]) -> None:
    """Raise what workers were refused; the next command tries these parts again."""
    refused = [path for path in map(_refusal, todo) if path.exists()]
    texts = [path.read_text() for path in refused]
    for path in refused:
        path.unlink()
    if texts:
        others = f" (and {len(texts) - 1:,} other parts)" if len(texts) > 1 else ""
        raise InputError(f"{texts[0]}{others}")


@contextlib.contextmanager
def _watched(todo: Sequence[Part], what: str) -> Iterator[None]:
    """Show how many things are done, by the files that are there."""
    is_over = threading.Event()

    def watch(tick: parts.Tick) -> None:
        waiting = list(todo)
        while not is_over.wait(POLLED):
            undone = parts.left(waiting)
            tick(sum(part.size for part in waiting) - sum(part.size for part in undone))
            waiting = undone

    with parts.progress(todo, what) as tick:
        watcher = threading.Thread(target=watch, args=[tick], daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()
