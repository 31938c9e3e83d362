"""A training as an experiment tracker keeps it, where one is asked for; a hook, off by default.

Whatever a tracker raises while there is a training is said in a line, and the training goes on. A
training that was killed goes on with the run that it began there: `.tracked.json` in its folder
says which, until all is kept.
"""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import vggface_gender
from vggface_gender.base import files, locks, runs, state
from vggface_gender.base.errors import InputError, first_line
from vggface_gender.base.text import shortened
from vggface_gender.training import run, trackers
from vggface_gender.training.config import flattened
from vggface_gender.training.trackers import Status, Tracker

RECORD = ".tracked.json"
LONGEST = 200  # characters of what a tracker says of a failure


def connected(track: str | None, folder: Path) -> Tracker | None:
    """What keeps experiments, reached before anything is trained; how to look at it is printed.

    Args:
        track: "mlflow", "trackio", or None for none.
        folder: within which it keeps them, where its environment variables say nothing else.

    Raises:
        InputError: it can't be reached.
        ModuleNotFoundError: it is not installed.
    """
    if track is None:
        return None
    try:
        with locks.held(folder / track):  # of two processes one makes the tables
            tracker = trackers.TRACKERS[track](folder / track)
    except (InputError, ModuleNotFoundError):
        raise
    except Exception as error:  # of databases, files, servers
        said = shortened(first_line(error), LONGEST)
        raise InputError(f"{track} can't keep the experiment: {said}") from None
    print(f"tracked: {tracker.shown_by}")
    return tracker


class _Kept:
    """A run of a tracker, which may fail at any time."""

    def __init__(self, tracker: Tracker | None, folder: Path):
        self.tracker, self.folder = tracker, folder
        self.run: str | None = None
        self._has_warned = self._is_lost = False

    def attempt(self, what: Callable[[Tracker], None], *, again: bool = False) -> bool:
        """Do something with the tracker; returns whether that was done.

        Args:
            again: also after a failure.
        """
        if self.tracker is None or (self._is_lost and not again):
            return False
        try:
            what(self.tracker)
        except Exception as error:
            if not self._has_warned:
                said = shortened(first_line(error), LONGEST)
                print(
                    f"warning: {run.name(self.folder)} can't be tracked now: {said}; the training "
                    "goes on, and at its end it is tried once more",
                    file=sys.stderr,
                )
            self._has_warned = self._is_lost = True
            return False
        return True

    def recorded(self, tracker: Tracker) -> str | None:
        """The run that a training which was killed began."""
        try:
            found = state.read(self.folder / RECORD, {"store": str, "run": str})
        except InputError:  # there is none
            return None
        return found["run"] if found["store"] == tracker.store else None

    def record(self, tracker: Tracker, run: str) -> None:
        """Keep which run it is, for a training that goes on after a kill."""
        self.run = run
        files.write_json({"store": tracker.store, "run": run}, self.folder / RECORD)

    def end(self, tracker: Tracker, status: Status) -> None:
        """End the run, if there is one."""
        if self.run is not None:
            tracker.end(self.run, status)

    def forget(self) -> None:
        """Let a later training begin a run of its own."""
        (self.folder / RECORD).unlink(missing_ok=True)


class Group(_Kept):
    """What the trainings of a command, or the combinations of a sweep, belong to."""

    def keep(self, metrics: Mapping[str, float], paths: Sequence[Path]) -> None:
        """Add what is made of all of them together."""

        def add(tracker: Tracker) -> None:
            if self.run is not None:
                tracker.log(self.run, metrics, step=0)
                tracker.add_files(self.run, paths)

        self.attempt(add, again=True)


class Tracked(_Kept):
    """One training: shown as it goes on, kept in the end; of a tracker that is None nothing is."""

    def __init__(self, group: Group, folder: Path, settings: Mapping[str, Any]):
        super().__init__(group.tracker, folder)
        self._group, self._settings = group.run, settings
        self._history = pd.DataFrame()
        self._shown: dict[str, int] = {}  # the last epoch of each phase

    def show(self, history: pd.DataFrame) -> None:
        """Add what epochs there are to those that are kept; see `loop.fit`."""
        self._history = history
        self.attempt(self._catch_up)

    def keep(self, metrics: Mapping[str, float], paths: Sequence[Path]) -> None:
        """Add what is reached in the end, and small files."""

        def add(tracker: Tracker) -> None:
            self._catch_up(tracker)
            its = self._begun(tracker)
            if metrics and tracker.last(its, next(iter(metrics))) is None:
                tracker.log(its, metrics, step=0)
            tracker.add_files(its, paths)
            tracker.end(its, "finished")
            self.forget()

        self.attempt(add, again=True)

    def _begun(self, tracker: Tracker) -> str:
        """The tracker's run, begun or gone on with when first asked for."""
        if self.run is None:
            config = runs.config(self.folder)
            began = tracker.begin(
                run.name(self.folder),
                kept=self.recorded(tracker),
                group=self._group,
                settings=flattened(self._settings),
                tags=_tags(self._settings, config["versions"], self.folder),
            )
            self.record(tracker, began)
        assert self.run is not None
        return self.run

    def _catch_up(self, tracker: Tracker) -> None:
        its = self._begun(tracker)
        for row in self._history.to_dict("records"):
            phase, epoch = row["phase"], int(row["epoch"])
            metrics = {
                f"{phase}/{name}": float(value)
                for name, value in row.items()
                if name not in ("phase", "epoch", "is_best") and math.isfinite(value)
            }
            if phase not in self._shown:
                self._shown[phase] = tracker.last(its, f"{phase}/loss") or 0
            if epoch > self._shown[phase]:
                tracker.log(its, metrics, step=epoch)
                self._shown[phase] = epoch


def _tags(settings: Mapping, versions: Mapping, folder: Path) -> dict[str, str]:
    """What a tracker finds runs by."""
    named = ("command", "dataset", "fingerprint")
    return {
        **{name: str(settings[name]) for name in named},
        "folder": str(folder),
        **{f"version.{package}": str(version) for package, version in versions.items()},
        "version.vggface-gender": vggface_gender.__version__,
    }


@contextlib.contextmanager
def grouped(
    tracker: Tracker | None, folder: Path, *, several: bool = True, grows: bool = False
) -> Iterator[Group]:
    """What several trainings in a folder belong to, while they are trained.

    Args:
        folder: of them all.
        several: else there is one training, which belongs to nothing.
        grows: whether the same command, given again, adds to them.
    """
    group = Group(tracker, folder)

    def begin(tracker: Tracker) -> None:
        group.record(tracker, tracker.group(run.name(folder), kept=group.recorded(tracker)))

    if several:
        group.attempt(begin)
    with _ending(group):
        yield group
        if several and group.attempt(lambda its: group.end(its, "finished")) and not grows:
            group.forget()


@contextlib.contextmanager
def tracked(group: Group, folder: Path, *, settings: Mapping[str, Any]) -> Iterator[Tracked]:
    """One training while it goes on.

    Args:
        group: that it belongs to.
        folder: the run's, begun.
        settings: of its `Config`.
    """
    one = Tracked(group, folder, settings)
    with _ending(one):
        yield one


@contextlib.contextmanager
def _ending(kept: _Kept) -> Iterator[None]:
    """Where what ends a training early is told to its tracker."""
    try:
        yield
    except BaseException as error:
        is_stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        kept.attempt(lambda its: kept.end(its, "killed" if is_stopped else "failed"))
        raise
