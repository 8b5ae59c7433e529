"""Peers that fail because their numbers are no longer finite, and the reasons for which the rounds stop early."""

from dataclasses import dataclass
from enum import Enum, auto

from coordinator.scheduling.scheduler import RoundRecord


@dataclass(frozen=True)
class Dropout:
    """A peer that failed, the number of rounds completed by then, and the reason."""

    peer: int
    completed: int
    reason: str

    def __str__(self) -> str:
        return f"round {self.completed}, peer {self.peer}: {self.reason}"


class StopReason(Enum):
    """The reason for stopping the rounds early."""

    NOT_FINITE = auto()
    NO_PEER_LEFT = auto()


@dataclass(frozen=True)
class Stop:
    """Stops the rounds early. dropout: the failed peer, if its failure is what stops the run."""

    reason: StopReason
    dropout: Dropout | None = None


def dropouts_of(record: RoundRecord) -> list[Dropout]:
    """The peers that failed in a round or whose outputs on the probe batch are not finite, in peer order."""
    failures = {peer: (stats.failure_round + 1, stats.failure) for peer, stats in record.stats.items() if stats.failure}
    for peer, observation in (record.observations.peers if record.observations else {}).items():
        if observation.failed:
            failures.setdefault(peer, (record.completed, "outputs on the probe batch are not finite"))
    return [Dropout(peer, completed, reason) for peer, (completed, reason) in sorted(failures.items())]
