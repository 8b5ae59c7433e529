"""Who is told of a run's events: its own records, and the observers that its user brings."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from coordinator.experiment.config import ConfigError
from coordinator.experiment.redaction import first_line
from coordinator.records.events import Note, RunEvent


@runtime_checkable
class RunObserver(Protocol):
    """Told of everything that happens in a run, in order, between two rounds; see `events`."""

    def observe(self, event: RunEvent) -> None: ...


def checked(observers: Sequence[RunObserver]) -> list[RunObserver]:
    """The observers that a user brings. Raises: ConfigError, if they are none."""
    if not isinstance(observers, list | tuple) or not all(isinstance(each, RunObserver) for each in observers):
        raise ConfigError(f"observers: must be a list of objects with a method observe(event), got {observers!r}")
    return list(observers)


def notes_to(observers: Sequence[RunObserver]) -> Callable[[str], None]:
    """A function that tells a user's observers a line of text. Raises: ConfigError, if they are none."""
    everyone = checked(observers)

    def tell(text: str) -> None:
        for observer in everyone:
            observer.observe(Note(text))

    return tell


class ObserverRaised(Exception):
    """An observer has raised, and the run is to end."""


class Observers:
    """Hands every event to the run's own records, and then to each of the user's observers until that one raises.

    An observer that has raised is told nothing more, and the run ends when it can. raised: what the first of them has
    raised. Ctrl-C is none of their own, and passes.
    """

    def __init__(self, observers: Sequence[RunObserver] = ()) -> None:
        self._own: list[RunObserver] = []
        self._users = checked(observers)
        self.raised: BaseException | None = None

    def attach(self, *records: RunObserver) -> None:
        """Tell the run's own records from now on, before the user's observers: an error of theirs is a defect."""
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
        """Raises: ObserverRaised, if an observer has raised."""
        if self.raised is not None:
            what = first_line(self.raised, "")
            raise ObserverRaised(f"an observer raised {type(self.raised).__name__}{': ' if what else ''}{what}")

    def reraise(self) -> None:
        """Raise what an observer has raised, if one has."""
        if self.raised is not None:
            raise self.raised
