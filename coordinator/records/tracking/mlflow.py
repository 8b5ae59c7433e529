"""The MLflow client of a run; no other module imports mlflow. An unreachable server causes a warning, no failure.

All requests, and the import of mlflow, happen in a background thread, so that no round waits for the store.
"""

import logging
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coordinator.experiment.config import TrackingConfig
from coordinator.experiment.redaction import without_secrets
from coordinator.records.tracking.mlflow_names import is_of_older_version
from coordinator.records.tracking.mlflow_rules import (
    LONGEST_NAME,
    LONGEST_PARAM,
    LONGEST_TAG,
    Names,
    deliver,
    metric_rows,
)
from coordinator.records.tracking.mlflow_store import (
    artifacts_beside,
    bring_artifacts,
    check_usable,
    experiment_of,
    sqlite_file,
    store_uri,
    uri_of,
)
from coordinator.records.tracking.retry_queue import RetryQueue

BUFFERED = 500  # metrics per request, which takes hardly longer than a request with ten
SECONDS = 5.0
GROUPS = {"Param": "params", "RunTag": "tags", "Metric": "metrics"}  # by entity, what a batch calls its rows
OLDER_NAMES = "metrics whose names have no group are an older version's, and end where this version went on"
_thread_flags = threading.local()  # marks the threads in which MLflow's log lines are suppressed


class Tracker:
    """One MLflow run, to which only the coordinator writes, in batches. run_id: an existing run to continue.

    Methods return at once, except `wait`, `close`, `child`, `active` and `run_id`: these wait until all earlier actions
    have been tried, but no longer than the queue's limits. on_start: called in the background thread with the run's id
    as soon as it exists.
    """

    def __init__(
        self,
        config: TrackingConfig,
        output: Path,
        run_name: str,
        run_id: str = "",
        on_start: Callable[[str], object] = lambda run_id: None,
    ) -> None:
        self.uri = config.uri or store_uri(output)
        self._run_id = ""
        self._buffer: list[Any] = []
        self._flushed = time.monotonic()
        self._client: Any = None
        self._names = Names()
        self._known_params: set[str] = set()
        self._last_steps: dict[str, int] = {}  # last logged step per metric, if the run is continued
        self._values: dict[str, float] = {}  # the value there
        self._queue: RetryQueue | None = None
        self._is_child = False
        if config.enabled:
            self._queue = RetryQueue("mlflow", _is_away)
            self._queue.send(_import)
            self._queue.send(lambda: self._start(config, output, run_name, run_id))
            self._queue.send(lambda: on_start(self._run_id) if self._run_id else None)

    @property
    def enabled(self) -> bool:
        """Whether tracking is enabled in the config."""
        return self._queue is not None

    @property
    def active(self) -> bool:
        """Whether the store was reached and nothing is waiting for it."""
        self.wait()
        return self._client is not None and self._queue is not None and self._queue.idle

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; empty if there is none."""
        self.wait()
        return self._run_id

    def wait(self) -> None:
        """Wait until all actions have been tried, or a request exceeds the queue's time limit."""
        if self._queue is not None:
            self._queue.settle()
        self._report()

    def child(self, run_name: str, tags: Mapping[str, str]) -> "Tracker":
        """Create a child run, whose actions go through this run's queue."""
        child = Tracker(TrackingConfig(enabled=False), Path(), run_name)
        child.uri, child._queue, child._is_child = self.uri, self._queue, True
        self.wait()
        child._client = self._client
        tagged = {"mlflow.parentRunId": self._run_id, **{key: value[:LONGEST_TAG] for key, value in tags.items()}}

        def create() -> None:
            experiment = self._client.get_run(self._run_id).info.experiment_id
            created = self._client.create_run(experiment, tags=tagged, run_name=run_name[:LONGEST_NAME])
            child._run_id = created.info.run_id

        child._send(create)
        return child

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters, except those that the run already has, since MLflow does not allow changes."""
        rows = [(key, str(value)[:LONGEST_PARAM]) for key, value in params.items()]
        self._batch("Param", rows, lambda row: row[0] in self._known_params)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        self._batch("RunTag", [(key, value[:LONGEST_TAG]) for key, value in tags.items()])

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Buffer finite numbers, which are sent in batches every few seconds and at the end."""
        self._buffer += metric_rows(metrics, step)
        if len(self._buffer) >= BUFFERED or time.monotonic() - self._flushed > SECONDS:
            self.flush()

    def log_final(self, metrics: Mapping[str, Any]) -> None:
        """Log final values, which take the place of those of an earlier end.

        They are all at step 0: for these MLflow draws a bar beside those of other runs, not a curve of one point.
        """
        self._batch("Metric", metric_rows(metrics, 0), lambda row: self._values.get(row[0]) == row[1])

    def flush(self) -> None:
        buffered, self._buffer = self._buffer, []
        self._flushed = time.monotonic()
        self._batch("Metric", buffered, lambda row: row[3] <= self._last_steps.get(row[0], -1))

    def log_folder(self, folder: Path, leave_out: Sequence[str] = ("checkpoints",)) -> None:
        """Log a folder's files as artifacts, except hidden ones and those in `leave_out`; TOML files are redacted."""
        for path in sorted(folder.iterdir()):
            if path.name not in leave_out and not path.name.startswith("."):
                self._send(partial(self._log_path, path))

    def close(self, status: str) -> None:
        """End the run and deliver what is queued; warns about lost requests. status: FINISHED, KILLED or FAILED."""
        self.flush()
        self._send(lambda: self._client.set_terminated(self._run_id, status))
        try:
            if self._queue is not None and not self._is_child:
                self._queue.close()
            else:
                self.wait()
        finally:
            self._report()

    def _log_path(self, path: Path) -> None:
        if path.is_dir():
            self._client.log_artifacts(self._run_id, str(path), path.name)
        elif path.suffix == ".toml":  # redact only the copy: the file on disk must still start the run
            self._client.log_text(self._run_id, without_secrets(path.read_text(encoding="utf-8")), path.name)
        else:
            self._client.log_artifact(self._run_id, str(path))

    def _batch(
        self, entity: str, rows: list[Any], is_known: Callable[[tuple[Any, ...]], bool] = lambda row: False
    ) -> None:
        """Send rows, except those that a continued run already has."""
        if not rows or self._queue is None:
            return
        renamed = self._names.add(row[0] for row in rows)
        if renamed:
            called = ", ".join(f"'{key}' is '{name}'" for key, name in list(renamed.items())[:3])
            more = f" and {len(renamed) - 3} more" if len(renamed) > 3 else ""
            warnings.warn(f"MLflow does not take every name: there {called}{more}", stacklevel=3)
        named = [(self._names[key], *values) for key, *values in rows]

        def send() -> None:
            from mlflow import entities

            values = [getattr(entities, entity)(*row) for row in named if not is_known(row)]
            if values:
                deliver(values, lambda batch: self._client.log_batch(self._run_id, **{GROUPS[entity]: batch}))

        self._send(send)

    def _start(self, config: TrackingConfig, output: Path, run_name: str, run_id: str) -> None:
        from mlflow import MlflowClient

        file = sqlite_file(self.uri)
        if file is not None:
            check_usable(file)
            if not file.exists():
                _make_store(file)
        client = MlflowClient(self.uri)
        if file is not None and not config.uri:
            client.search_experiments(max_results=1)  # the first access creates missing tables
            bring_artifacts(file)
        identity = experiment_of(client, config.experiment, artifacts_beside(file) if file is not None else None)
        self._run_id = run_id if run_id and _reopen(client, run_id) else ""
        if self._run_id:
            self._recall(client, client.get_run(run_id))
        self._run_id = self._run_id or client.create_run(identity, run_name=run_name[:LONGEST_NAME]).info.run_id
        self._client = client

    def _recall(self, client: Any, run: Any) -> None:
        """Note what a continued run already has."""
        self._known_params = set(run.data.params)
        for latest in run.to_proto().data.metrics:  # of every metric the one with the last step
            self._last_steps[latest.key], self._values[latest.key] = latest.step, latest.value
        if any(map(is_of_older_version, self._last_steps)):
            client.set_tag(run.info.run_id, "metrics_without_group", OLDER_NAMES)

    def _send(self, action: Callable[[], object]) -> None:
        """Queue an action on the store, if tracking is enabled."""

        def act() -> None:
            if self._client is not None:  # otherwise the run could not be created, which was reported
                action()

        if self._queue is not None:
            self._queue.send(act)
        self._report()

    def _report(self) -> None:
        """Issue warnings for the queue's news since the last call."""
        where = f"tracking.uri: MLflow at '{without_secrets(self.uri)}'"
        while self._queue is not None and self._queue.news:
            kind, why = self._queue.news.popleft()
            kept = "the run goes on and keeps its numbers in its folder"
            lines = {
                "away": f"{where} does not answer ({without_secrets(why)}); {kept}, and sends them when it is back",
                "back": f"{where} answers again and has got what waited",
                "refused": f"{where} refused a request ({without_secrets(why)}); {kept}",
                "lost": f"{where} did not come back: {why} requests were not delivered; the numbers are in the folder",
            }
            warnings.warn(lines[kind], stacklevel=3)


def _is_away(error: Exception) -> bool:
    """Whether the same request may succeed later: the store is unreachable, or reports a temporary error."""
    codes = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED")
    cause = getattr(error, "orig", error)  # SQLAlchemy wraps the database's own error
    return isinstance(cause, OSError | sqlite3.OperationalError) or getattr(error, "error_code", "") in codes


def _import() -> None:
    """Import mlflow with short timeouts, and silence its loggers in this thread: failures become our own warnings."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default retries for minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    _thread_flags.quiet = True
    import mlflow  # noqa: F401

    for name in ("mlflow", "alembic", "sqlalchemy.engine"):  # these get handlers from MLflow
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_not_ours)
    for name in ("sqlalchemy.pool", "urllib3.connectionpool"):
        logging.getLogger(name).addFilter(_not_ours)


def _not_ours(record: logging.LogRecord) -> bool:
    """A log filter that drops records from our own background thread."""
    return not getattr(_thread_flags, "quiet", False)


def _make_store(path: Path) -> None:
    """Create an SQLite store atomically, by way of a temporary folder, since several runs may start at once."""
    from mlflow import MlflowClient

    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent, ignore_cleanup_errors=True) as aside:
        made = Path(aside) / path.name
        MlflowClient(uri_of(made)).search_experiments(max_results=1)
        try:
            os.link(made, path)
        except FileExistsError:
            pass  # another run created it first
        except OSError:  # the file system has no hard links
            os.rename(made, path)


def _reopen(client: Any, run_id: str) -> bool:
    """Reopen a run; False if it has been deleted."""
    from mlflow import MlflowException

    try:
        if client.get_run(run_id).info.lifecycle_stage != "active":
            return False
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True
