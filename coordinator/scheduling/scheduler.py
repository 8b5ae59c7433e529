"""What runs the rounds of a schedule: the interface, what it is asked for, and what it gives back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from coordinator.scheduling.probing import Probing
from peers.exchange.assignment import Stats
from peers.probing.observing import Observations
from topologies.schedule import Round, Schedule


class Phase(StrEnum):
    """Which rounds: the run's own, or those of the control in which every peer learns alone."""

    ROUNDS = "round"
    ALONE = "alone"


@dataclass(frozen=True)
class Cadence:
    """How many rounds to run, how many to keep in flight, and after which to look. 0: never.

    checkpoint_seconds: a checkpoint is due after so many, whatever the rounds; 0: only after `checkpoint_every` rounds.
    aside: the folder in which the peers write a checkpoint. recorded_until: rounds up to this one are replayed, and are
    not measured again; probed: rounds after which the peers have been probed already.
    """

    num_rounds: int
    lookahead: int
    observe_every: int = 0
    probe_every: int = 0
    checkpoint_every: int = 0
    checkpoint_seconds: float = 0.0
    aside: Callable[[int], str] = "{:06d}".format
    recorded_until: int = -1
    probed: frozenset[int] = frozenset()

    def observes(self, completed: int) -> bool:
        """Whether consensus is measured after so many rounds, and was not before."""
        return completed > self.recorded_until and self._due(self.observe_every, completed, at_end=True)

    def probes(self, completed: int) -> bool:
        """Whether peers are probed; at the end that is somebody else's to do."""
        last = completed == self.num_rounds
        return not last and completed not in self.probed and self._due(self.probe_every, completed)

    def saves(self, completed: int, seconds: float, patience: float) -> bool:
        """Whether a checkpoint is due, so many seconds after the last one; patience: how many seconds may pass."""
        late = self.checkpoint_every > 0 and 0 < patience <= seconds
        return late or self._due(self.checkpoint_every, completed, at_end=True)

    def _due(self, every: int, completed: int, at_end: bool = False) -> bool:
        return every > 0 and (completed % every == 0 or (at_end and completed == self.num_rounds))


@dataclass(frozen=True)
class PeersSaved:
    """All peers have written their files of a checkpoint; checksums: SHA-256 of each, in peer order."""

    checksums: list[str]


@dataclass(frozen=True)
class SaveFailed:
    """Some peer could not write its file of a checkpoint."""

    error: OSError


@dataclass(frozen=True)
class RoundRecord:
    """What is known of the state after `completed` rounds; `plan` and `stats` are those of the last one.

    peer_seconds: how long the peers have computed since the record before. Probes may still be on their way.
    saved: None where no checkpoint was due.
    """

    completed: int
    plan: Round
    stats: dict[int, Stats]
    num_bytes: int
    observations: Observations | None = None
    probes: Probing | None = None
    saved: PeersSaved | SaveFailed | None = None
    peer_seconds: float = 0.0


@runtime_checkable
class Scheduler(Protocol):
    """Decides which peers compute when. Its records come in the order of rounds, each once."""

    def records(
        self, schedule: Schedule, cadence: Cadence, start: int, stop: Callable[[], bool]
    ) -> Iterator[RoundRecord]:
        """Run the rounds from `start` on, with peers that have completed as many.

        stop: asked before each round; once it says yes, the rounds in flight are the last.
        """
        ...

    def save(self, folder: str, completed: int) -> PeersSaved | SaveFailed:
        """Have the peers write a checkpoint into a folder as they stand, when no round is in flight."""
        ...
