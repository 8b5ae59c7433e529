"""A monitor whose exceptions end a run in order."""

from collections.abc import Callable
from typing import Any

from coordinator.experiment.redaction import first_line
from coordinator.records.terminal import Monitor, Row


class MonitorRaised(Exception):
    """The run's monitor has raised, and the run is to end."""


class Guarded:
    """Hands everything on to a monitor until that raises; then it is told nothing more, and the run ends when it can.

    raised: what the monitor has raised. Ctrl-C is none of its own, and passes.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.raised: BaseException | None = None

    def phase(self, text: str) -> None:
        self._tell(self._monitor.phase, text)

    def begin(self, num_rounds: int, title: str) -> None:
        self._tell(self._monitor.begin, num_rounds, title)

    def round(self, row: Row) -> None:
        self._tell(self._monitor.round, row)

    def end(self) -> None:
        self._tell(self._monitor.end)

    def check(self) -> None:
        """Raises: MonitorRaised, if the monitor has raised."""
        if self.raised is not None:
            what = first_line(self.raised, "")
            raise MonitorRaised(f"the monitor raised {type(self.raised).__name__}{': ' if what else ''}{what}")

    def reraise(self) -> None:
        """Raise what the monitor has raised, if it has."""
        if self.raised is not None:
            raise self.raised

    def _tell(self, method: Callable[..., Any], *args: Any) -> None:
        if self.raised is None:
            try:
                method(*args)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.raised = error
