"""What happens in a run, as typed events: they change its state, and its observers are told of them in order."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Any

from coordinator.experiment.config import RunConfig
from coordinator.measures.gains import Condition
from coordinator.measures.measure import Measures, Pairing
from coordinator.records.result import Status
from coordinator.scheduling.dropouts import Dropout
from coordinator.scheduling.scheduler import Phase
from peers.exchange.assignment import Stats
from peers.probing.measuring import ProbeOutcome


class Stage(Enum):
    """The parts of a run, in their order."""

    LOADING = auto()
    START = auto()
    CONTROLS = auto()
    ROUNDS = auto()
    FINAL_PROBES = auto()
    ALONE = auto()
    REPORT = auto()


class Remaining(Enum):
    """What is left to do of a run that is resumed: rounds, everything, or only figures, page and MLflow run."""

    ROUNDS = auto()
    EVERYTHING = auto()
    REPORT = auto()


class FaultKind(StrEnum):
    """What went wrong without ending the run."""

    HOST_LOST = "host-lost"
    CHECKPOINT_NOT_WRITTEN = "checkpoint-not-written"
    CHECKPOINT_DAMAGED = "checkpoint-damaged"
    TABLES_DAMAGED = "tables-damaged"


@dataclass(frozen=True)
class RunReopened:
    """A run's folder is taken up again, after so many completed rounds of `num_rounds`."""

    folder: Path
    completed: int
    num_rounds: int
    remaining: Remaining


@dataclass(frozen=True)
class RunStarted:
    """The peers are there and the run has a folder."""

    config: RunConfig
    folder: Path


@dataclass(frozen=True)
class StageEntered:
    """A stage begins; `config` says how much of it there will be, such as `config.run.rounds`."""

    stage: Stage
    config: RunConfig


@dataclass(frozen=True)
class StageLeft:
    """The rounds, or those of the control alone, are over, however they ended."""

    stage: Stage


@dataclass(frozen=True)
class PeersRestored:
    """All peers are back at a checkpoint of a phase, after so many of its rounds."""

    phase: Phase
    completed: int


@dataclass(frozen=True)
class Measured:
    """Consensus and collapse after a round, told before the round itself; `completed` is 0 before the first one.

    pairing: what every two peers are compared by. seconds: what the peers spent on it, all together.
    """

    completed: int
    measures: Measures
    pairing: Pairing
    seconds: float


@dataclass(frozen=True)
class RoundCompleted:
    """A round of a phase; `stats` are those of the peers that took part in it.

    num_bytes: of the messages that were heard in it; bytes_so_far: in all rounds until it. seconds: since the round
    before it; peer_seconds: what the peers computed in them, all together.
    replayed: it was told before, and is run again because hosts were lost.
    """

    phase: Phase
    completed: int
    stats: Mapping[int, Stats]
    num_bytes: int = 0
    bytes_so_far: int = 0
    seconds: float = 0.0
    peer_seconds: float = 0.0
    replayed: bool = False

    @property
    def losses(self) -> dict[int, float]:
        """The loss of each peer that studied."""
        return {peer: each.loss for peer, each in self.stats.items() if each.loss is not None}

    @property
    def loss(self) -> float | None:
        """The students' mean loss; None where nobody studied."""
        losses = self.losses
        return sum(losses.values()) / len(losses) if losses else None

    @property
    def row(self) -> dict[str, Any]:
        """The round's numbers by the names that tables and MLflow have for them."""
        return {
            "loss": self.loss,
            "students": len(self.losses),
            "bytes": self.num_bytes,
            "bytes_so_far": self.bytes_so_far,
        }


@dataclass(frozen=True)
class Probed:
    """Probes of all peers, in peer order: after `completed` rounds, as a `condition` of the verdict, or as both."""

    outcomes: list[ProbeOutcome]
    completed: int | None = None
    condition: Condition | None = None

    @property
    def accuracies(self) -> dict[str, list[float]]:
        """Each probe's accuracy on every peer, by the name that tables and MLflow have for it."""
        names = self.outcomes[0].correct
        return {f"{name}_accuracy": [float(each.correct[name].mean()) for each in self.outcomes] for name in names}


@dataclass(frozen=True)
class Digested:
    """SHA-256 of each peer's final parameters and buffers: the run's own rounds and probes are done."""

    digests: list[bytes]


@dataclass(frozen=True)
class PeerDropped:
    """A peer has failed; run_goes_on: without it, else the run stops."""

    dropout: Dropout
    run_goes_on: bool


@dataclass(frozen=True)
class ControlVoid:
    """These peers failed in the control alone, so it says nothing of the exchange."""

    peers: tuple[int, ...]


@dataclass(frozen=True)
class CheckpointWritten:
    """A checkpoint is complete; one that could not be written is a `Fault`."""

    phase: Phase
    completed: int


@dataclass(frozen=True)
class Fault:
    """Something went wrong that the run survives, after so many rounds; number: 1 for the run's first."""

    kind: FaultKind
    what: str
    completed: int
    number: int


@dataclass(frozen=True)
class FaultsRecovered:
    """All rounds that lost hosts had cost are done again, so many seconds after the loss."""

    seconds: float


@dataclass(frozen=True)
class RoundsChanged:
    """The run is resumed for another number of rounds, so what was found at its end no longer holds."""


@dataclass(frozen=True)
class Note:
    """Something that only a person can make use of."""

    text: str


@dataclass(frozen=True)
class RunEnded:
    """The run has ended, and its folder is written as far as it will be."""

    status: Status
    message: str
    folder: Path


RunEvent = (
    RunReopened
    | RunStarted
    | StageEntered
    | StageLeft
    | PeersRestored
    | Measured
    | RoundCompleted
    | Probed
    | Digested
    | PeerDropped
    | ControlVoid
    | CheckpointWritten
    | Fault
    | FaultsRecovered
    | RoundsChanged
    | Note
    | RunEnded
)
