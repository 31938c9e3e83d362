"""What keeps experiments: MLflow and Trackio behind one interface, each imported when asked for.

Both write beside the runs, to no other machine, unless their own environment variables say so.
"""

import contextlib
import io
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

Status = Literal["finished", "failed", "killed"]
PROJECT = "vggface-gender"  # under which runs are kept


class Tracker(Protocol):
    """Keeps runs: their settings, their numbers by step, small files."""

    store: str  # where it writes
    shown_by: str  # the command that shows what is kept

    def begin(
        self,
        name: str,
        *,
        kept: str | None,
        group: str | None,
        settings: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> str:
        """Begin a run.

        Args:
            kept: what an earlier call gave for it, to go on with that if it is still there.
            group: what `group` gave, that it belongs to.
            settings: flat, with values that JSON can hold.

        Returns:
            What the other calls know the run by.
        """

    def group(self, name: str, *, kept: str | None) -> str:
        """Begin what several runs belong to; returns what `begin` and `end` know it by."""

    def last(self, run: str, metric: str) -> int | None:
        """The greatest step at which a run has a number of that name; None where it has none."""

    def log(self, run: str, metrics: Mapping[str, float], *, step: int) -> None:
        """Add numbers to a run."""

    def add_files(self, run: str, paths: Sequence[Path]) -> None:
        """Add copies of small files to a run."""

    def end(self, run: str, status: Status) -> None:
        """End a run or a group; it can be begun again."""


class Mlflow:
    """MLflow, in an SQLite file in a folder, or where `MLFLOW_TRACKING_URI` says."""

    MOST = 100  # parameters in one call

    def __init__(self, folder: Path):
        """Connect.

        Raises:
            Exception: of whatever kind MLflow raises where it can't.
        """
        # A server that is gone is tried for seconds, not for minutes of a training's time.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        # By default it reports its use to its makers.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        place = None
        self.store = os.environ.get("MLFLOW_TRACKING_URI", "")
        self.shown_by = self.store
        if not self.store:
            folder.mkdir(parents=True, exist_ok=True)
            self.store = f"sqlite:///{folder / 'mlflow.db'}"
            self.shown_by = f"mlflow ui --backend-store-uri {self.store}"
            place = (folder / "artifacts").resolve().as_uri()
        self._client = mlflow.MlflowClient(tracking_uri=self.store)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        self._experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(name, artifact_location=place)
        )

    def begin(
        self,
        name: str,
        *,
        kept: str | None,
        group: str | None,
        settings: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> str:
        """See `Tracker`."""
        from mlflow.entities import Param

        if kept is not None and self._goes_on(kept):
            return kept
        parent = {"mlflow.parentRunId": group} if group else {}
        made = self._client.create_run(
            self._experiment, run_name=name, tags={**_SOURCE, **tags, **parent}
        )
        run = made.info.run_id
        params = [
            Param(_name(key), value if isinstance(value, str) else json.dumps(value))
            for key, value in settings.items()
        ]
        for start in range(0, len(params), self.MOST):
            self._client.log_batch(run, params=params[start : start + self.MOST])
        return run

    def group(self, name: str, *, kept: str | None) -> str:
        """See `Tracker`: a run that the others are nested in."""
        if kept is not None and self._goes_on(kept):
            return kept
        return self._client.create_run(self._experiment, run_name=name, tags=_SOURCE).info.run_id

    def last(self, run: str, metric: str) -> int | None:
        """See `Tracker`."""
        history = self._client.get_metric_history(run, _name(metric))
        return max((one.step for one in history), default=None)

    def log(self, run: str, metrics: Mapping[str, float], *, step: int) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        found = [Metric(_name(name), value, now, step) for name, value in metrics.items()]
        self._client.log_batch(run, metrics=found)

    def add_files(self, run: str, paths: Sequence[Path]) -> None:
        """See `Tracker`."""
        for path in paths:
            self._client.log_artifact(run, str(path))

    def end(self, run: str, status: Status) -> None:
        """See `Tracker`."""
        self._client.set_terminated(run, status.upper())

    def _goes_on(self, kept: str) -> bool:
        """Whether a run is still there, which is marked as running then."""
        import mlflow

        try:
            its = self._client.get_run(kept)
        except mlflow.MlflowException:
            return False
        if its.info.lifecycle_stage != "active":
            return False
        self._client.update_run(kept, status="RUNNING")
        return True


_SOURCE = {"mlflow.source.type": "LOCAL", "mlflow.source.name": PROJECT}


def _name(name: str) -> str:
    """A name as MLflow takes it: "test by gender x race/gender_accuracy/female White".

    >>> _name("test by age/age_mae/70+"), _name("labels.Ü?")
    ('test by age/age_mae/70 up', 'labels.Ü-')
    """
    return re.sub(r"[^\w.\- :/]", "-", name.replace(",", "").replace("+", " up"))


class Trackio:
    """Trackio, in a folder, or where `TRACKIO_DIR`, `TRACKIO_SPACE_ID` and the like say."""

    def __init__(self, folder: Path):
        """Connect.

        Raises:
            Exception: of whatever kind Trackio raises where it can't.
        """
        own = os.environ.get("TRACKIO_DIR")
        os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))  # read at its import
        self.store = own or str(folder)
        self.shown_by = f"TRACKIO_DIR={self.store} trackio show --project {PROJECT}"
        import trackio

        self._trackio = trackio
        self._names: dict[str, str] = {}  # of the runs that were begun
        self._current: Any = None

    def begin(
        self,
        name: str,
        *,
        kept: str | None,
        group: str | None,
        settings: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> str:
        """See `Tracker`. Of runs with one name the last is gone on with."""
        with _unsaid():
            self._current = self._trackio.init(
                PROJECT,
                name=name,
                group=group,
                config={**settings, **tags},
                resume="never" if kept is None else "allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self._names[self._current.id] = name
        return self._current.id

    def group(self, name: str, *, kept: str | None) -> str:
        """See `Tracker`: only a name, under which its page lists them."""
        return name

    def last(self, run: str, metric: str) -> int | None:
        """See `Tracker`."""
        from trackio.sqlite_storage import SQLiteStorage

        rows = SQLiteStorage.get_logs(PROJECT, self._names[run], run_id=run)
        return max((row["step"] for row in rows if metric in row), default=None)

    def log(self, run: str, metrics: Mapping[str, float], *, step: int) -> None:
        """See `Tracker`. A group holds nothing."""
        if run in self._names:
            self._current.log(dict(metrics), step=step)

    def add_files(self, run: str, paths: Sequence[Path]) -> None:
        """See `Tracker`. A group holds nothing."""
        for path in paths if run in self._names else ():
            self._current.log_artifact(str(path), name=f"{run}-{path.name}")

    def end(self, run: str, status: Status) -> None:
        """See `Tracker`. It knows no status."""
        if run in self._names:
            with _unsaid():
                self._trackio.finish()


@contextlib.contextmanager
def _unsaid() -> Iterator[None]:
    """Keep to oneself what a library prints about itself."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


TRACKERS: dict[str, Callable[[Path], Tracker]] = {"mlflow": Mlflow, "trackio": Trackio}
