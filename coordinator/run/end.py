"""The end of a call of `simulate` or `resume`: one last event for the observers, whatever the call comes to."""

from pathlib import Path
from types import TracebackType

from coordinator.experiment.config import ConfigError
from coordinator.experiment.redaction import first_line
from coordinator.records.events import RunEnded, RunEvent, RunReopened, RunStarted
from coordinator.records.files.result import Result, Status
from coordinator.records.files.run_folder import way_on
from coordinator.records.observer import Observers


class EndOfRun:
    """A `with` block that publishes `RunEnded` when it is left: from the run's `result`, or from the exception."""

    def __init__(self, observers: Observers) -> None:
        self.result: Result | None = None
        self._observers = observers
        self._folder: Path | None = None
        observers.attach(self)

    def observe(self, event: RunEvent) -> None:
        """Note the run's folder once there is one."""
        if isinstance(event, RunStarted | RunReopened):
            self._folder = event.folder

    def __enter__(self) -> "EndOfRun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._observers.observe(self._event(error))

    def _event(self, error: BaseException | None) -> RunEnded:
        folder = self._folder
        if isinstance(error, KeyboardInterrupt):
            return RunEnded(Status.INTERRUPTED, way_on(folder) if folder else "before anything was run", folder)
        if error is not None:
            kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
            return RunEnded(Status.FAILED, kind + first_line(error), folder)
        assert self.result is not None, "a run that raises nothing has a result"
        return RunEnded(self.result.status, self.result.message, self.result.folder)
