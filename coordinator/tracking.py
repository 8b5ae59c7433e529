"""MLflow, and the only module that imports it. A server that is away costs one warning, never the run.

Everything that speaks to it, its import included, happens in one thread beside the run: no round waits for a store.
"""

import math
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from coordinator.config import TrackingConfig

BUFFERED = 500  # one request for so many metrics costs little more than one for ten
SECONDS = 5.0
ATTEMPTS = 20


def store_uri(output: str | Path) -> str:
    """The default store of an output folder: one SQLite file for all its runs."""
    return f"sqlite:///{Path(output).absolute() / 'mlflow.db'}"


class Tracker:
    """One MLflow run, written in batches by the coordinator alone; `run_id` continues one, if it is still there.

    Its methods return at once but for `wait`, `close`, `active` and `run_id`, which wait for what was asked before.
    """

    def __init__(self, config: TrackingConfig, output: Path, run_name: str, run_id: str = "") -> None:
        self.uri = config.uri or store_uri(output)
        self._run_id = ""
        self._buffer: list[Any] = []
        self._flushed = time.monotonic()
        self._client: Any = None
        self._parent: Tracker | None = None
        self._error: Exception | None = None  # why tracking ended; told from the caller's thread
        self._thread: ThreadPoolExecutor | None = None
        if config.enabled:
            self._thread = ThreadPoolExecutor(1, "mlflow")
            self._thread.submit(self._attempt, lambda: self._start(config, output, run_name, run_id))

    @property
    def active(self) -> bool:
        """Whether the store has answered so far."""
        self.wait()
        return self._client is not None

    @property
    def run_id(self) -> str:
        """MLflow's name of the run; empty where there is none."""
        self.wait()
        return self._run_id

    def wait(self) -> None:
        """Until everything that was asked for is done; bounded by the time limits of requests."""
        if self._thread is not None:
            self._thread.submit(lambda: None).result()
        self._tell()

    def child(self, run_name: str, tags: Mapping[str, str]) -> "Tracker":
        """A run below this one. Where its store gives up so does this one, with one warning for both."""
        child = Tracker(TrackingConfig(enabled=False), Path(), run_name)
        child.uri, child._parent, child._thread = self.uri, self, self._thread
        self.wait()
        child._client = self._client
        tagged = {"mlflow.parentRunId": self._run_id, **tags}

        def create() -> None:
            experiment = self._client.get_run(self._run_id).info.experiment_id
            child._run_id = self._client.create_run(experiment, tags=tagged, run_name=run_name).info.run_id

        child._guard(create)
        return child

    def log_params(self, params: Mapping[str, Any]) -> None:
        self._batch("params", "Param", [(key, str(value)[:6000]) for key, value in params.items()])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        self._batch("tags", "RunTag", list(tags.items()))

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Buffer the finite numbers; they are sent together, every few seconds and at the end."""
        now = int(time.time() * 1000)
        self._buffer += [
            (key, float(value), now, step)
            for key, value in metrics.items()
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        if len(self._buffer) >= BUFFERED or time.monotonic() - self._flushed > SECONDS:
            self.flush()

    def flush(self) -> None:
        buffered, self._buffer = self._buffer, []
        self._flushed = time.monotonic()
        self._batch("metrics", "Metric", buffered)

    def log_folder(self, folder: Path, leave_out: Sequence[str] = ("checkpoints",)) -> None:
        """The files of a folder as artifacts, but for hidden ones and those of these names; TOML without secrets."""
        for path in sorted(folder.iterdir()):
            if path.name not in leave_out and not path.name.startswith("."):
                self._guard(partial(self._log_path, path))

    def close(self, status: str) -> None:
        """`status`: FINISHED, KILLED or FAILED."""
        self.flush()
        self._guard(lambda: self._client.set_terminated(self._run_id, status))
        self.wait()
        if self._thread is not None and self._parent is None:
            self._thread.shutdown()
            self._thread = None

    def _log_path(self, path: Path) -> None:
        if path.is_dir():
            self._client.log_artifacts(self._run_id, str(path), path.name)
        elif path.suffix == ".toml":  # on the disk it must still start the run
            self._client.log_text(self._run_id, without_secrets(path.read_text(encoding="utf-8")), path.name)
        else:
            self._client.log_artifact(self._run_id, str(path))

    def _batch(self, what: str, entity: str, rows: list[tuple[Any, ...]]) -> None:
        def send() -> None:
            from mlflow import entities

            values = [getattr(entities, entity)(*row) for row in rows]
            self._client.log_batch(self._run_id, **{what: values})

        if rows:
            self._guard(send)

    def _start(self, config: TrackingConfig, output: Path, run_name: str, run_id: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default waits for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        import logging

        for chatty in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        from mlflow import MlflowClient

        client = _patient_client(self.uri) if self.uri.startswith("sqlite:") else MlflowClient(self.uri)
        artifacts = (output / "mlartifacts").absolute().as_uri() if self.uri.startswith("sqlite:") else None
        identity = _experiment(client, config.experiment, artifacts)
        self._run_id = run_id if run_id and _continued(client, run_id) else ""
        self._run_id = self._run_id or client.create_run(identity, run_name=run_name).info.run_id
        self._client = client

    def _guard(self, action: Callable[[], object]) -> None:
        """Have the thread run an action on the store, unless it has failed before."""

        def run() -> None:
            if self._client is not None:
                self._attempt(action)

        if self._thread is not None:
            self._thread.submit(run)
        self._tell()

    def _attempt(self, action: Callable[[], object]) -> None:
        """In the thread: the first failure ends the tracking, of the parent as well."""
        try:
            action()
        except Exception as error:
            for tracker in (self, self._parent):
                if tracker is not None:
                    tracker._client = None
            self._error = error

    def _tell(self) -> None:
        """Say once that the tracking has ended."""
        error, self._error = self._error, None
        if error is None:
            return
        reason = without_secrets((str(error).strip().splitlines() or [type(error).__name__])[0][:200])
        warnings.warn(
            f"tracking.uri: MLflow at '{without_secrets(self.uri)}' does not answer ({reason}); the run goes on and "
            "keeps its numbers in its folder",
            stacklevel=3,
        )


def without_secrets(text: str) -> str:
    """The text with the user and password of any URI in it hidden."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _patient_client(uri: str) -> Any:
    """A client whose SQLite file exists: where several runs start at once, one of them makes its tables."""
    from mlflow import MlflowClient

    for _ in range(ATTEMPTS):
        try:
            client = MlflowClient(uri)
            client.search_experiments(max_results=1)
            return client
        except Exception:  # half-made tables show in many ways
            time.sleep(1)
    return MlflowClient(uri)


def _continued(client: Any, run_id: str) -> bool:
    """Reopen a run, unless it has been deleted."""
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


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    """The experiment's number; it is made where there is none, unless another run has just done so."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except Exception:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return str(experiment.experiment_id)
