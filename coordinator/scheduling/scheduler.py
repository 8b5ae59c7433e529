"""The scheduler interface, which runs the rounds of a schedule: its settings and the records it yields."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from coordinator.scheduling.probing import Probing
from peers.exchange.assignment import Stats
from peers.learning.control import Control
from peers.probing.measuring import ProbeSubject
from peers.probing.observing import Observations
from topologies.network.trace import TimedRound
from topologies.schedule import Round, Schedule


class Phase(StrEnum):
    """The rounds of the run itself, or of one of its control runs; values name the checkpoints."""

    ROUNDS = "round"
    ALONE = Control.ALONE.value
    STRANGER = Control.STRANGER.value
    SHUFFLED = Control.SHUFFLED.value
    SUPERVISED = Control.SUPERVISED.value
    ALONE_MATCHED = Control.ALONE_MATCHED.value
    IRRELEVANT = Control.IRRELEVANT.value
    PRIVATE_ONLY = Control.PRIVATE_ONLY.value
    POOLED = Control.POOLED.value
    TRUTHFUL = Control.TRUTHFUL.value
    SINGLE_TEACHER = Control.SINGLE_TEACHER.value

    @property
    def control(self) -> Control | None:
        """The control run; None for the run itself."""
        return None if self is Phase.ROUNDS else Control(self.value)


@dataclass(frozen=True)
class Cadence:
    """How many rounds to run and to keep in flight, and how often to observe, probe and checkpoint (0: never).

    checkpoint_seconds: a checkpoint is also due after this time; 0: only after every `checkpoint_every` rounds.
    aside: the folder that peers write an incomplete checkpoint to, given the completed rounds. recorded_until: rounds
    up to this one are replayed and not measured again. probed: rounds after which the peers were probed already.
    gradient_norm: the norm that the gradient of a peer's step is scaled to, by index of the round and peer.
    holds: rounds whose record has to be read before the next round is submitted, since it may be the last one.
    limit: the number of rounds that may be submitted; it may fall below `num_rounds` while they run.
    keeps: rounds after which observations keep the peers' features and outputs.
    probed_as: how peers are probed in the rounds, with the rounds whose batches they are shown for it. probed_peers:
    whom the probes look at; None: all.
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
    gradient_norm: Callable[[int, int], float | None] | None = None
    holds: Callable[[int], bool] = lambda completed: False
    limit: Callable[[], int] = lambda: sys.maxsize
    keeps: Callable[[int], bool] = lambda completed: False
    probed_as: Callable[[], tuple[ProbeSubject, Mapping[int, Sequence[int]] | None]] = lambda: (
        ProbeSubject.AS_IS,
        None,
    )
    probed_peers: Sequence[int] | None = None

    def observes(self, completed: int) -> bool:
        """Whether to measure consensus after this round; False in replayed rounds."""
        return completed > self.recorded_until and self._due(self.observe_every, completed, at_end=True)

    def probes(self, completed: int) -> bool:
        """Whether to probe the peers after this round; the final probes are a separate stage."""
        last = completed == self.num_rounds
        return not last and completed not in self.probed and self._due(self.probe_every, completed)

    def saves(self, completed: int, seconds: float, patience: float) -> bool:
        """Whether a checkpoint is due, `seconds` after the last one. patience: the time limit in seconds; 0: none."""
        late = self.checkpoint_every > 0 and 0 < patience <= seconds
        return late or self._due(self.checkpoint_every, completed, at_end=True)

    def _due(self, every: int, completed: int, at_end: bool = False) -> bool:
        return every > 0 and (completed % every == 0 or (at_end and completed == self.num_rounds))


@dataclass(frozen=True)
class PeersSaved:
    """All peers have written their checkpoint files. checksums: SHA-256 of each file, in peer order."""

    checksums: list[str]


@dataclass(frozen=True)
class SaveFailed:
    """A peer could not write its checkpoint file."""

    error: OSError


@dataclass(frozen=True)
class RoundTiming:
    """What a simulated network says of a round.

    virtual_seconds: when it ended. online: the peers that are online then. lost: messages of which it is known since
    this round that they do not arrive, but for those that a newer one has replaced before it was sent. mean_age,
    mean_age_seconds: of the messages that were learned from, one for each link, in rounds, and from publication to the
    start of the step; None if there were none. steps: the learning steps of each peer.
    """

    virtual_seconds: float
    online: int
    lost: int
    mean_age: float | None
    mean_age_seconds: float | None
    steps: Mapping[int, int]

    @property
    def row(self) -> dict[str, float | int | None]:
        """The numbers by their names in tables and MLflow."""
        return {
            "virtual_seconds": self.virtual_seconds,
            "online": self.online,
            "lost": self.lost,
            "mean_age": self.mean_age,
            "mean_age_seconds": self.mean_age_seconds,
        }


@dataclass(frozen=True)
class RoundRecord:
    """The results up to `completed` rounds; `round` and `stats` are those of the last of these rounds.

    peer_seconds: the peers' total computing time since the previous record. probes: may still be pending. saved: None
    if no checkpoint was due. timed, timing: the round in a simulated network; None without one.
    """

    completed: int
    round: Round
    stats: dict[int, Stats]
    num_bytes: int
    observations: Observations | None = None
    probes: Probing | None = None
    saved: PeersSaved | SaveFailed | None = None
    peer_seconds: float = 0.0
    timed: TimedRound | None = None
    timing: RoundTiming | None = None


@runtime_checkable
class Scheduler(Protocol):
    """Decides which peers compute when. Yields one record per round, in order."""

    def records(
        self, schedule: Schedule, cadence: Cadence, start: int, stop: Callable[[], bool]
    ) -> Iterator[RoundRecord]:
        """Run the rounds from index `start` on; the peers have completed all rounds before it.

        stop: called before each round; once it returns True, no further round is submitted.
        """
        ...

    def save(self, folder: str, completed: int) -> PeersSaved | SaveFailed:
        """Have the peers write a checkpoint of their present state into a folder; no round may be in flight."""
        ...
