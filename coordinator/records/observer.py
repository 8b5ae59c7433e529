"""Distributes a run's events to its own records and to the user's observers."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from coordinator.experiment.config import ConfigError
from coordinator.experiment.redaction import first_line
from coordinator.records.events import Note, RunEvent


@runtime_checkable
class RunObserver(Protocol):
    """Receives all events of a run, in order and between rounds; see `events`."""

    def observe(self, event: RunEvent) -> None: ...


def checked(observers: Sequence[RunObserver]) -> list[RunObserver]:
    """Check a user's observers. Raises: ConfigError, if an object is not an observer."""
    if not isinstance(observers, list | tuple) or not all(map(_can_observe, observers)):
        raise ConfigError(f"observers: must be a list of objects with a method observe(event), got {observers!r}")
    return list(observers)


def _can_observe(observer: object) -> bool:
    """Whether it is an object, not a class, with a method `observe`."""
    return not isinstance(observer, type) and callable(getattr(observer, "observe", None))


def notes_to(observers: Sequence[RunObserver]) -> Callable[[str], None]:
    """A function that sends a `Note` to a user's observers. Raises: ConfigError, if an object is not an observer."""
    everyone = checked(observers)

    def tell(text: str) -> None:
        for observer in everyone:
            observer.observe(Note(text))

    return tell


class ObserverRaised(Exception):
    """A user's observer has raised an exception, which ends the run."""


class Observers:
    """Passes every event to the run's own records and then to the user's observers.

    A user's observer that raises receives no further events, and the run ends at the next opportunity. raised: the
    first exception of an observer. KeyboardInterrupt is not attributed to an observer, but propagates.
    """

    def __init__(self, observers: Sequence[RunObserver] = ()) -> None:
        self._own: list[RunObserver] = []
        self._users = checked(observers)
        self.raised: BaseException | None = None

    def attach(self, *records: RunObserver) -> None:
        """Add the run's own records, which receive events before the user's observers; their exceptions propagate."""
        self._own += records

    def observe(self, event: RunEvent) -> None:
        for record in self._own:
            record.observe(event)
        for observer in list(self._users):
            try:
                observer.observe(event)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._users.remove(observer)
                self.raised = self.raised or error

    def check(self) -> None:
        """Raises: ObserverRaised, if a user's observer has raised an exception."""
        if self.raised is not None:
            message = first_line(self.raised, "")
            raise ObserverRaised(f"an observer raised {type(self.raised).__name__}{': ' if message else ''}{message}")

    def reraise(self) -> None:
        """Raise the first exception of a user's observer, if there is one."""
        if self.raised is not None:
            raise self.raised
