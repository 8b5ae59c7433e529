"""Distributes a run's events to its own records and to the user's observers."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from coordinator.experiment.config import ConfigError
from coordinator.experiment.redaction import first_line
from coordinator.experiment.sections import StopRule
from coordinator.records.events import Note, OutputsMeasured, RunEvent
from coordinator.records.stage_clock import StageClock
from coordinator.records.stop import Stop, StopRun


@runtime_checkable
class RunObserver(Protocol):
    """Receives all events of a run, in order and between rounds; see `events`.

    An observer may raise `StopRun` to end the run cleanly. It may have two further attributes:

    - `wants_outputs(completed: int) -> bool`, a pure function: whether it gets an `OutputsMeasured` with the peers'
      features and outputs after this round, if it is a measured one (0, every `evaluation.every`, and the last).
    - `holds_rounds: bool`: whether no further round begins before it has seen a round that is measured or probed.
    """

    def observe(self, event: RunEvent) -> None: ...


Observing = RunObserver | Callable[[RunEvent], Any]
"""An observer, or a plain function of the event."""


class Function:
    """A plain function as an observer, with the function's own `wants_outputs` and `holds_rounds`, if it has them."""

    def __init__(self, function: Callable[[RunEvent], Any]) -> None:
        self.function = function
        self.wants_outputs = getattr(function, "wants_outputs", None)
        self.holds_rounds = bool(getattr(function, "holds_rounds", False))

    def observe(self, event: RunEvent) -> None:
        self.function(event)


def checked(observers: Sequence[Observing | Stop]) -> tuple[list[RunObserver], StopRule | None]:
    """A user's observers, functions among them made observers, and the rule of a `Stop` among them.

    Raises: ConfigError, if an object is not an observer, or if there are two rules.
    """
    if not isinstance(observers, list | tuple):
        raise ConfigError(_not_observers(observers))
    rules = [observer.rule() for observer in observers if isinstance(observer, Stop)]
    if len(rules) > 1:
        raise ConfigError(f"observers: {len(rules)} are Stop, and a run has one rule: leave the others out")
    found = [_observer(observer, observers) for observer in observers if not isinstance(observer, Stop)]
    return found, rules[0] if rules else None


def _observer(observer: object, given: object) -> RunObserver:
    if isinstance(observer, type):
        raise ConfigError(_not_observers(given))
    if callable(getattr(observer, "observe", None)):
        return observer  # type: ignore[return-value]
    if not callable(observer):
        raise ConfigError(_not_observers(given))
    try:
        inspect.signature(observer).bind(None)
    except TypeError:
        name = getattr(observer, "__name__", repr(observer))
        raise ConfigError(f"observers: the function {name} must take one argument, the event") from None
    except ValueError:
        pass  # a builtin without a signature
    return Function(observer)


def _not_observers(given: object) -> str:
    return (
        "observers: must be a list of functions f(event), of objects with a method observe(event), or of Stop(...), "
        f"got {given!r}"
    )


def notes_to(observers: Sequence[Observing]) -> Callable[[str], None]:
    """A function that sends a `Note` to a user's observers. Raises: ConfigError, if an object is not an observer."""
    everyone, rule = checked(observers)
    if rule is not None:
        raise ConfigError("observers: Stop ends a single run: in an ablation, set run.stop in the base experiment")

    def tell(text: str) -> None:
        for observer in everyone:
            observer.observe(Note(text))

    return tell


class ObserverRaised(Exception):
    """A user's observer has raised an exception, which ends the run."""


class Observers:
    """Passes every event to the run's own records and then to the user's observers.

    A user's observer that raises receives no further events, and the run ends at the next opportunity. raised: the
    first exception of an observer. KeyboardInterrupt is not attributed to an observer, but propagates. ending: the
    first `StopRun`, with which an observer ends the run cleanly and is told on. rule: of a `Stop` among the observers.
    clock: the times of the stages, also of those before there is a `RunState`.
    """

    def __init__(self, observers: Sequence[Observing | Stop] = ()) -> None:
        self.clock = StageClock()
        self._own: list[RunObserver] = [self.clock]
        self._users, self.rule = checked(observers)
        self.raised: BaseException | None = None
        self.ending: StopRun | None = None

    def attach(self, *records: RunObserver) -> None:
        """Add the run's own records, which receive events before the user's observers; their exceptions propagate."""
        self._own += records

    @property
    def hold_rounds(self) -> bool:
        """Whether an observer has to see each measured or probed round before the next one begins."""
        return any(getattr(observer, "holds_rounds", False) for observer in self._users)

    def want_outputs(self, completed: int) -> bool:
        """Whether an observer wants the peers' features and outputs after this round."""
        return any(self._wants(observer, completed) for observer in list(self._users))

    def observe(self, event: RunEvent) -> None:
        for record in self._own:
            record.observe(event)
        for observer in list(self._users):
            if not isinstance(event, OutputsMeasured) or self._wants(observer, event.completed):
                self._call(observer, observer.observe, event)

    def check(self) -> None:
        """Raises: ObserverRaised, if a user's observer has raised an exception."""
        if self.raised is not None:
            message = first_line(self.raised, "")
            raise ObserverRaised(f"an observer raised {type(self.raised).__name__}{': ' if message else ''}{message}")

    def reraise(self) -> None:
        """Raise the first exception of a user's observer, if there is one."""
        if self.raised is not None:
            raise self.raised

    def _wants(self, observer: RunObserver, completed: int) -> bool:
        asks = getattr(observer, "wants_outputs", None)
        return asks is not None and bool(self._call(observer, asks, completed))

    def _call(self, observer: RunObserver, method: Callable[[Any], Any], argument: Any) -> Any:
        """Call an observer; if it raises, that is noted, and it is called no more."""
        try:
            return method(argument)
        except KeyboardInterrupt:
            raise
        except StopRun as ending:
            self.ending = self.ending or ending
        except BaseException as error:
            if observer in self._users:
                self._users.remove(observer)
            self.raised = self.raised or error
        return None
