"""MLflow, and the only module that imports it. A server that is away costs one warning, never the run.

Everything that speaks to it, its import included, happens in one thread beside the run: no round waits for a store.
"""

import math
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from coordinator.config import TrackingConfig
from coordinator.courier import Courier

BUFFERED = 500  # one request for so many metrics costs little more than one for ten
SECONDS = 5.0
ATTEMPTS = 20


def store_uri(output: str | Path) -> str:
    """The default store of an output folder: one SQLite file for all its runs."""
    return f"sqlite:///{Path(output).absolute() / 'mlflow.db'}"


class Tracker:
    """One MLflow run, written in batches by the coordinator alone; `run_id` continues one, if it is still there.

    Its methods return at once but for `wait`, `close`, `active` and `run_id`, which wait until what was asked before
    has been tried. on_start: gets the run's id in the thread, as soon as there is one.
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
        self._known_params: set[str] = set()
        self._last_steps: dict[str, int] = {}  # of a run that is continued
        self._courier: Courier | None = None
        self._is_child = False
        if config.enabled:
            self._courier = Courier("mlflow", _is_away)
            self._courier.send(lambda: self._start(config, output, run_name, run_id))
            self._courier.send(lambda: on_start(self._run_id))

    @property
    def enabled(self) -> bool:
        """Whether there is a store to write to at all."""
        return self._courier is not None

    @property
    def active(self) -> bool:
        """Whether the store has answered so far."""
        self.wait()
        return self._client is not None and self._courier is not None and self._courier.idle

    @property
    def run_id(self) -> str:
        """MLflow's name of the run; empty where there is none."""
        self.wait()
        return self._run_id

    def wait(self) -> None:
        """Until everything that was asked for was tried; bounded by the time limits of requests."""
        if self._courier is not None:
            self._courier.settle()
        self._tell()

    def child(self, run_name: str, tags: Mapping[str, str]) -> "Tracker":
        """A run below this one. Its actions wait behind this one's."""
        child = Tracker(TrackingConfig(enabled=False), Path(), run_name)
        child.uri, child._courier, child._is_child = self.uri, self._courier, True
        self.wait()
        child._client = self._client
        tagged = {"mlflow.parentRunId": self._run_id, **tags}

        def create() -> None:
            experiment = self._client.get_run(self._run_id).info.experiment_id
            child._run_id = self._client.create_run(experiment, tags=tagged, run_name=run_name).info.run_id

        child._send(create)
        return child

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Those that the run does not have: MLflow never changes one."""
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
                self._send(partial(self._log_path, path))

    def close(self, status: str) -> None:
        """`status`: FINISHED, KILLED or FAILED. Tells what could not be delivered."""
        self.flush()
        self._send(lambda: self._client.set_terminated(self._run_id, status))
        if self._courier is not None and not self._is_child:
            self._courier.close()
        else:
            self.wait()
        self._tell()

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

            values = [getattr(entities, entity)(*row) for row in rows if not self._is_known(what, row)]
            if values:
                self._client.log_batch(self._run_id, **{what: values})

        if rows:
            self._send(send)

    def _is_known(self, what: str, row: tuple[Any, ...]) -> bool:
        """Whether a run that is continued has this already."""
        if what == "params":
            return row[0] in self._known_params
        return what == "metrics" and row[3] <= self._last_steps.get(row[0], -1)

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
        if self._run_id:
            data = client.get_run(run_id).data
            self._known_params = set(data.params)
            for key in data.metrics:
                self._last_steps[key] = max(each.step for each in client.get_metric_history(run_id, key))
        self._run_id = self._run_id or client.create_run(identity, run_name=run_name).info.run_id
        self._client = client

    def _send(self, action: Callable[[], object]) -> None:
        """Have the thread act on the store, if there is one."""

        def act() -> None:
            if self._client is not None:  # else it would not start the run, and has said why
                action()

        if self._courier is not None:
            self._courier.send(act)
        self._tell()

    def _tell(self) -> None:
        """Say what has happened to the store since this was last asked."""
        where = f"tracking.uri: MLflow at '{without_secrets(self.uri)}'"
        while self._courier is not None and self._courier.news:
            what, why = self._courier.news.popleft()
            kept = "the run goes on and keeps its numbers in its folder"
            told = {
                "away": f"{where} does not answer ({without_secrets(why)}); {kept}, and sends them when it is back",
                "back": f"{where} answers again and has got what waited",
                "refused": f"{where} refused a request ({without_secrets(why)}); {kept}",
                "lost": f"{where} did not come back: {why} requests were not delivered; the numbers are in the folder",
            }
            warnings.warn(told[what], stacklevel=3)


def _is_away(error: Exception) -> bool:
    """Whether a store may take the same request later: no answer, or one that says so."""
    codes = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED")
    return isinstance(error, OSError) or getattr(error, "error_code", "") in codes


def without_secrets(text: str) -> str:
    """The text with user and password of any URI in it hidden, and what it passes as token, key, secret or password."""
    text = re.sub(r"://[^/@:\s'\"]*:(?!\d+(?:/|$))[^\s'\"]*@", "://***@", text)  # a password may hold a / or an @
    text = re.sub(r"://[^/\s'\"]*@", "://***@", text)
    named = r"(?i)([?&;][^=&;\s]*(?:token|key|secret|passw(?:or)?d|pwd|signature)[^=&;\s]*=)[^&;\s'\"]+"
    return re.sub(named, r"\1***", text)


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
